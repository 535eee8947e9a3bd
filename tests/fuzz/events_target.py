"""Target of atheris: any bytes are an event or a quiet refusal, in both modes.

Run as a program: libFuzzer ends the process itself. Arguments are libFuzzer's, such as
``-runs=100000``.
"""

import importlib
import json
import sys

_atheris = importlib.import_module("atheris")  # an optional tool; it ships no types

with _atheris.instrument_imports():
    from homebody_client.events import Event, event_json, parse_event
    from homebody_privacy.errors import UsageError

_NOW = 1_800_000_000.0


def target(data: bytes) -> None:
    """Raise on anything but an event that comes back as it was, or a refusal without values."""
    for mode in ("strict", "lax"):
        try:
            event: Event | None = parse_event(data, now=_NOW, mode=mode)
        except UsageError as error:
            event = None
            if error.__context__ is not None or not error.fix:
                raise AssertionError("a refusal carries another error, or no fix") from None
        if event is not None and event_json(event) != json.loads(data):
            raise AssertionError("an event does not come back as it was")


if __name__ == "__main__":
    _atheris.Setup(sys.argv, target)
    _atheris.Fuzz()
