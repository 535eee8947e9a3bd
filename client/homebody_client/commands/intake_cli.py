"""``homebody device record``, ``import`` and ``take-in``: bring in what happened elsewhere.

Events are read one after another, never all at once, and each passes the collect gate. What was
taken before a line that is refused stays.
"""

import sys
import time
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from homebody_privacy.errors import PolicyViolationError, UsageError

from .reasons_cli import Why, why_not
from .session_cli import (
    HERE,
    Format,
    FormatOption,
    PassphraseOption,
    ProfileOption,
    answer,
    facts,
    opened_rows,
)

if TYPE_CHECKING:
    from homebody_client.device import Device
    from homebody_client.events.event import Event

app = typer.Typer()

_MOST_LINE: Final = 65_536

LaxOption = Annotated[
    bool, typer.Option("--lax", help="Pass over fields the vocabulary does not know.")
]


class Kind(StrEnum):
    """Where a file comes from."""

    APP = "app"
    WEB = "web"
    CRM = "crm"
    TICKETS = "tickets"


@app.command("record")
def record(
    event: Annotated[
        str | None,
        typer.Argument(help="One event as JSON; without it, one a line from standard input."),
    ] = None,
    *,
    file: Annotated[
        Path | None, typer.Option(help="File of events, one JSON object a line.")
    ] = None,
    lax: LaxOption = False,
    profile: ProfileOption = HERE,
    passphrase_file: PassphraseOption = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Take events; what no switch is open for is not kept, and that is no error."""
    from homebody_client.events.importers import read_app

    if event is not None and file is not None:
        raise UsageError("an event and a file are both named", fix="name one of them")
    mode: Literal["strict", "lax"] = "lax" if lax else "strict"
    with opened_rows(profile, passphrase_file) as device:
        if file is not None:
            events = read_app(file, now=time.time(), mode=mode)
        else:
            events = _parsed(_lines() if event is None else [event], mode)
        found = _taken(device, events)
    answer(output, found.to_json(), found.text())


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="The file.")],
    *,
    kind: Annotated[Kind, typer.Option(help="app or web: JSON lines. crm or tickets: CSV.")],
    offset: Annotated[
        str,
        typer.Option(help="crm, tickets: offset of times that name none, such as Z or +02:00."),
    ] = "",
    lax: LaxOption = False,
    profile: ProfileOption = HERE,
    passphrase_file: PassphraseOption = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Take the events of one person out of a file of another system, and count what became of them.

    An event of another person than the profile's ends the import with exit 10.
    """
    from homebody_client.events import importers

    if offset and kind in {Kind.APP, Kind.WEB}:
        raise UsageError(
            "--offset is of crm and tickets only", fix="app and web name the offset of each time"
        )
    mode: Literal["strict", "lax"] = "lax" if lax else "strict"
    now = time.time()
    with opened_rows(profile, passphrase_file) as device:
        match kind:
            case Kind.APP:
                events = importers.read_app(file, now=now, mode=mode)
            case Kind.WEB:
                events = importers.read_web(file, now=now, mode=mode)
            case Kind.CRM:
                events = importers.read_crm(file, now=now, mode=mode, offset=offset)
            case Kind.TICKETS:
                events = importers.read_tickets(file, now=now, mode=mode, offset=offset)
        found = _taken(device, events)
    answer(output, found.to_json(), found.text())


@app.command("take-in")
def take_in(
    file: Annotated[Path, typer.Argument(help="A file of homebody device export.")],
    *,
    profile: ProfileOption = HERE,
    passphrase_file: PassphraseOption = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Take in the rows another device exported, as far as this one may; no yes comes with them."""
    with opened_rows(profile, passphrase_file) as device:
        kept = device.take_in(file)
    answer(output, {"kept": kept}, f"rows taken in: {kept}")


class Outcome:
    """What became of some events, counted while they are read."""

    def __init__(self) -> None:
        """Start with none."""
        self.received = 0
        self.kept = 0
        self.put_aside: dict[str, int] = {}
        self.why: list[Why] = []

    @property
    def not_allowed(self) -> int:
        """Events that no open switch is for."""
        return self.received - self.kept - sum(self.put_aside.values())

    def to_json(self) -> dict[str, Any]:
        """Return the counts by outcome."""
        return {
            "received": self.received,
            "kept": self.kept,
            "not_allowed": self.not_allowed,
            "quarantined": self.put_aside,
            "why": [one.to_json() for one in self.why],
        }

    def text(self) -> str:
        """Say it to people."""
        from homebody_client.events.quality import Problem

        if self.received == 1:
            lines = [f"kept: {'yes' if self.kept else 'no'}"]
            lines += [f"  {name}: {Problem(name).sentence}" for name in self.put_aside]
        else:
            counts = {"received": self.received, "kept": self.kept, "not allowed": self.not_allowed}
            aside = {f"put aside: {name}": count for name, count in self.put_aside.items()}
            lines = [facts({**counts, **aside})]
        return "\n".join([*lines, *(f"  {one}" for one in self.why)])


def _taken(device: "Device", events: "Iterable[Event]") -> Outcome:
    """Record events one after another.

    Raises:
        PolicyViolationError: If one is of another person; those before it stay.
        UsageError: If one is none.
    """
    found, kinds = Outcome(), set[str]()
    aside = 0
    for event in events:
        found.received += 1
        try:
            kept = device.record(event)
        except PolicyViolationError as error:
            raise PolicyViolationError(
                f"event {found.received}: {error}; those before it were taken", fix=error.fix
            ) from error
        found.put_aside = dict(device.quarantined)
        found.kept += kept
        if not kept and sum(found.put_aside.values()) == aside:
            kinds.add(event.event)
        aside = sum(found.put_aside.values())
    found.why = why_not(device, kinds)
    return found


def _parsed(lines: Iterable[str | bytes], mode: Literal["strict", "lax"]) -> "Iterator[Event]":
    """Yield the events of some lines.

    Raises:
        UsageError: If one is none; the message holds nothing of it.
    """
    from homebody_client.events.parse import parse_event

    now = time.time()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            event = parse_event(line, now=now, mode=mode)
        except UsageError as error:
            raise UsageError(f"line {number}: {error}", fix=error.fix) from error
        yield event


def _lines() -> Iterator[bytes]:
    """Yield the lines of standard input, each of bounded length."""
    while line := sys.stdin.buffer.readline(_MOST_LINE + 2):
        yield line
