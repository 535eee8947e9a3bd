"""Start one of Flower's programs with words that name no device.

``python -m homebody_server.fleet.launch PROGRAM ARGUMENTS...``. Flower writes the id of each node
and the address it came from into its log. What is written here passes ``scrub`` first: long numbers
and addresses other than loopback are left out. What Flower starts itself goes through the guard,
which does the same.
"""

import io
import os
import re
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final

from homebody_privacy.environment import FLEET, NODE

_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")
_NUMBER: Final = re.compile(r"-?\d{12,}")
_IPV4: Final = re.compile(
    r"(?<![\d.])(?!127\.|0\.0\.0\.0)\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?(?![\d.])"
)
_HEX: Final = "[0-9a-fA-F]"
_IPV6: Final = re.compile(
    rf"\[?(?:{_HEX}{{1,4}}(?::{_HEX}{{1,4}}){{7}}|[0-9a-fA-F:]*::[0-9a-fA-F:.]*)\]?(?::\d+)?"
)


def scrub(line: str) -> str:
    """Return a line without ids, addresses and colours.

    Examples:
        >>> scrub("Activated node_id=12709928266274251621")
        'Activated node_id=[id]'
        >>> scrub('2026-11-25T19:37:40.826Z 192.0.2.7:51924 - "POST /v1/fleet/x" 200')
        '2026-11-25T19:37:40.826Z [address] - "POST /v1/fleet/x" 200'
        >>> scrub("2001:db8::7:51924 said flwr 1.42.0 to 127.0.0.1:28443")
        '[address] said flwr 1.42.0 to 127.0.0.1:28443'
    """
    plain = _COLOUR.sub("", line)
    for pattern, word in ((_NUMBER, "[id]"), (_IPV4, "[address]"), (_IPV6, "[address]")):
        plain = pattern.sub(word, plain)
    return plain


class ScrubbedOutput(io.TextIOBase):
    """A text stream that writes whole, scrubbed lines to a file descriptor.

    Args:
        descriptor: Where to; it is not closed.
    """

    def __init__(self, descriptor: int) -> None:
        """Keep the descriptor."""
        self._descriptor = descriptor
        self._rest = ""
        self._lock = threading.Lock()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """How text becomes bytes."""
        return "utf-8"

    def writable(self) -> bool:
        """Tell that it may be written to."""
        return True

    def fileno(self) -> int:
        """Return the descriptor, for what insists on one."""
        return self._descriptor

    def write(self, text: str, /) -> int:
        """Write the lines that are whole; keep the rest until it is."""
        with self._lock:
            *lines, self._rest = (self._rest + text).split("\n")
            self._put("".join(f"{scrub(line)}\n" for line in lines))
        return len(text)

    def end(self) -> None:
        """Write what has no line end."""
        with self._lock:
            self._put(scrub(self._rest))
            self._rest = ""

    def _put(self, text: str) -> None:
        content = text.encode("utf-8", errors="replace")
        with suppress(OSError):  # a full disk costs words, not the process
            while content:
                content = content[os.write(self._descriptor, content) :]


def scrub_output() -> ScrubbedOutput:
    """Pass all that this process writes through ``scrub``; call before importing Flower."""
    stream = ScrubbedOutput(1)
    sys.stdout = sys.stderr = stream
    return stream


def app_log(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where an app of a fleet writes: Flower's SuperExec would throw its words away.

    Args:
        environ: As ``roles`` makes it.
    """
    folder, node = Path(environ[FLEET]), environ.get(NODE)
    if node is None:
        return folder / "logs" / "serverapp.log"
    own = "" if Path(node) == folder else f"{Path(node).name}."
    return folder / "logs" / f"{own}clientapp.log"


def log_app() -> None:
    """Let all that this app writes go to its log, through ``scrub``."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    descriptor = os.open(app_log(), flags, 0o600)
    for number in (1, 2):
        os.dup2(descriptor, number)
    os.close(descriptor)
    scrub_output()


def main(name: str, arguments: list[str]) -> None:
    """Run one of Flower's programs in this process."""
    stream = scrub_output()
    from homebody_server.fleet.steady import steady  # noqa: PLC0415 - it loads Flower

    steady()
    sys.argv = [str(Path(sys.executable).parent / name), *arguments]
    try:
        sys.exit(next(iter(entry_points(group="console_scripts", name=name))).load()())
    finally:
        stream.end()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
