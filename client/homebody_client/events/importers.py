"""Read the files of four systems as one stream of events. No file is loaded whole.

========  ======  =========================================================================
source    format  what it looks like
========  ======  =========================================================================
app       JSONL   the vocabulary itself
web       JSONL   an analytics track call: ``event``, ``userId``, ``timestamp``, ``properties``
crm       CSV     an export of activities, one a line, named by contact
tickets   CSV     an export of a help desk: the kind of a ticket and its product, never its text
========  ======  =========================================================================

A line that cannot be read stops the import with the number of the line and nothing of its content.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

from homebody_privacy.errors import InvalidFileError, UsageError

from .event import Event
from .parse import Mode, parse_event
from .plain_json import read_object
from .shapes import NotReadError, from_crm, from_ticket, from_web

_MOST_LINE: Final = 65_536  # characters; a longer one is no event


def read_app(path: Path, *, now: float, mode: Mode = "strict") -> Iterator[Event]:
    """Yield the events of an app's log, one JSON object a line.

    Args:
        path: The file. Not trusted.
        now: Unix seconds.
        mode: As in ``parse_event``.

    Raises:
        InvalidFileError: If a line is no event, with its number and what helps.
    """
    return _events(_json_lines(path), path, dict, now=now, mode=mode, source="app")


def read_web(path: Path, *, now: float, mode: Mode = "strict") -> Iterator[Event]:
    """Yield the events of a web tracker's log, one track call a line. See ``read_app``."""
    return _events(_json_lines(path), path, from_web, now=now, mode=mode, source="web")


def read_crm(path: Path, *, now: float, mode: Mode = "strict", offset: str = "") -> Iterator[Event]:
    """Yield the events of a CRM's export of activities. See ``read_app``.

    Args:
        path: The file. Not trusted.
        now: Unix seconds.
        mode: As in ``parse_event``.
        offset: Offset of the times, such as ``Z`` or ``+02:00``, where the export names none.
    """
    shape = functools.partial(from_crm, offset=offset)
    return _events(_csv_lines(path), path, shape, now=now, mode=mode, source="crm")


def read_tickets(
    path: Path, *, now: float, mode: Mode = "strict", offset: str = ""
) -> Iterator[Event]:
    """Yield the events of a help desk's export of tickets. See ``read_crm``."""
    shape = functools.partial(from_ticket, offset=offset)
    return _events(_csv_lines(path), path, shape, now=now, mode=mode, source="tickets")


def _events(
    lines: Iterator[tuple[int, dict[str, Any]]],
    path: Path,
    shape: Callable[[Mapping[str, Any]], dict[str, Any]],
    *,
    now: float,
    mode: Mode,
    source: str,
) -> Iterator[Event]:
    for number, row in lines:
        event, problem, fix = None, "", ""
        try:
            event = parse_event(shape(row), now=now, mode=mode, source=source)
        except (UsageError, NotReadError) as error:
            problem, fix = str(error), error.fix
        if event is None:
            _refuse(path, number, problem, fix)
        yield event


def _json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in _lines(path):
        if not line.strip():
            continue
        value = read_object(line)
        if value is None:
            _refuse(path, number, "it is not one JSON object", "give one JSON object a line")
        yield number, value


def _csv_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    import csv  # noqa: PLC0415  # a device that imports nothing starts without it

    numbers: list[int] = [0]

    def text() -> Iterator[str]:
        for number, line in _lines(path):
            numbers[0] = number
            yield line

    reader = csv.reader(text(), strict=True)
    header: list[str] | None = None
    while True:
        row: list[str] | None = None
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error:
            pass  # refused below: its message can hold a value
        if row is None:
            _refuse(path, numbers[0], "it is no line of CSV", "quote fields as RFC 4180 says")
        if header is None:
            header = [name.strip().lower() for name in row]
            continue
        if not row:
            continue
        if len(row) != len(header):
            fix = "give each line one field for each column of the header"
            _refuse(path, numbers[0], "it has another number of fields than the header", fix)
        yield numbers[0], dict(zip(header, row, strict=True))


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a UTF-8 file with their numbers, from 1."""
    number = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            while line := file.readline(_MOST_LINE + 1):
                number += 1
                if len(line) > _MOST_LINE:
                    _refuse(path, number, f"it has over {_MOST_LINE} characters", "split the line")
                yield number, line
    except UnicodeDecodeError:
        _refuse(path, number + 1, "it is not UTF-8", "save the file as UTF-8")
    except OSError as error:
        raise InvalidFileError(f"{path}: {error.strerror}", fix="name a readable file") from None


def _refuse(path: Path, number: int, problem: str, fix: str) -> NoReturn:
    raise InvalidFileError(f"{path}: line {number}: {problem}", fix=fix) from None
