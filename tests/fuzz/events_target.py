"""Target of atheris: any bytes are an event or a quiet refusal, in both modes.

Run as a program: libFuzzer ends the process itself. Arguments are libFuzzer's, such as
``-runs=100000``.
"""

import importlib
import json
import sys
from types import ModuleType
from typing import Final

_NOW: Final = 1_800_000_000.0


def check(events: ModuleType, data: bytes) -> None:
    """Raise on anything but an event that comes back as it was, or a refusal without values."""
    refused = importlib.import_module("homebody_privacy.errors").UsageError
    for mode in ("strict", "lax"):
        try:
            event = events.parse_event(data, now=_NOW, mode=mode)
        except refused as error:
            event = None
            if error.__context__ is not None or not error.fix:
                raise AssertionError("a refusal carries another error, or no fix") from None
        if event is not None and events.event_json(event) != json.loads(data):
            raise AssertionError("an event does not come back as it was")


def main() -> None:
    """Fuzz until the runs are over; atheris is optional, so it loads here."""
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports():
        events = importlib.import_module("homebody_client.events")
        for name in ("parse_event", "event_json"):
            getattr(events, name)  # loaded at first use: now, while imports are instrumented
    atheris.Setup(sys.argv, lambda data: check(events, data))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
