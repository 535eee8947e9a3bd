"""The raw lines of a ledger, read by other code than the code that wrote them.

One JSON object a line, with the key ``entry``; what stands beside it (a hash, a Merkle root) is not
looked at here. No schema of the ledger is used: what a later check needs it asks of the entry, and
what is not there is damage.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from homebody_privacy.errors import IntegrityError

INTERRUPTED: Final = "interrupted"
"""Reason of a void round that says nothing of who came."""

CARRIED: Final = "carried/"
"""How names of charges begin that earlier runs carried in."""

_MOST_INTEGER: Final = 2**53 - 1
_FOR_NOTHING: Final = "a ledger's line holds one entry, a JSON object with a kind"


@dataclass(frozen=True, slots=True)
class RawLedger:
    """The entries of a ledger, as they stand in its file. Public.

    Attributes:
        entries: One object a line, the header first.
        lines: The lines themselves, without their ends.
        is_whole: Whether the last line ends; a crash may cut one short, which charged nothing.
    """

    entries: Sequence[Mapping[str, Any]] = field(repr=False)
    lines: Sequence[bytes] = field(repr=False)
    is_whole: bool = True

    @property
    def header(self) -> Mapping[str, Any]:
        """What the run promised."""
        return self.entries[0]

    def of_kind(self, kind: str) -> list[tuple[int, Mapping[str, Any]]]:
        """Return the entries of one kind, each with its index from 0."""
        return [(i, one) for i, one in enumerate(self.entries) if one["kind"] == kind]

    def rounds_of(self, kind: str) -> set[int]:
        """Return the rounds of the entries of one kind; a round that is no number is none."""
        found = [one.get("round") for _, one in self.of_kind(kind)]
        return {number for number in found if type(number) is int}

    @property
    def charges(self) -> list[tuple[str, Mapping[str, Any]]]:
        """Everything charged, by name, in order; what earlier runs carried in comes first."""
        return list(_charges(self.entries))

    @property
    def is_decided(self) -> bool:
        """Whether a round released nothing because of who came: coins are then no secret."""
        reasons = [one.get("reason") for _, one in self.of_kind("void")]
        return any(reason != INTERRUPTED for reason in reasons)


def parse_ledger(content: bytes, name: str = "ledger.jsonl") -> RawLedger:
    """Read the lines of a ledger.

    Args:
        content: The file's bytes. Not trusted.
        name: The file, for messages.

    Raises:
        IntegrityError: If a line is no JSON object with an entry of a kind, names a key twice or
            holds a number that is none; it says which line. Or if there is no line, or the first
            is no header.
    """
    *lines, rest = content.split(b"\n")
    entries = []
    for number, line in enumerate(lines, start=1):
        try:
            entries.append(_entry(line))
        except (ValueError, RecursionError) as error:
            raise IntegrityError(
                f"{name}: line {number} cannot be read: {_short(error)}"
            ) from error
    if not entries or entries[0]["kind"] != "header":
        raise IntegrityError(f"{name}: line 1 is missing: the ledger has no header")
    return RawLedger(entries, lines, is_whole=not rest)


def number(values: Mapping[str, Any], name: str, *, least: float = 0.0) -> float:
    """Return a field of an entry that is a finite number.

    Raises:
        IntegrityError: If it is missing, no number, infinite or below ``least``.
    """
    value = values.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise IntegrityError(f"the ledger's {name} is no number")
    if not least <= value < math.inf:
        raise IntegrityError(f"the ledger's {name} is out of range")
    return float(value)


def whole(values: Mapping[str, Any], name: str, *, least: int = 0) -> int:
    """Return a field of an entry that is a whole number.

    Raises:
        IntegrityError: If it is missing, not whole or below ``least``.
    """
    value = values.get(name)
    if type(value) is not int or not least <= value <= _MOST_INTEGER:
        raise IntegrityError(f"the ledger's {name} is no whole number of at least {least}")
    return value


def numbers(values: Mapping[str, Any], name: str) -> tuple[float, ...]:
    """Return a field of an entry that is a list of finite numbers.

    Raises:
        IntegrityError: If it is none.
    """
    found = values.get(name)
    if not isinstance(found, list):
        raise IntegrityError(f"the ledger's {name} is no list of numbers")
    return tuple(number({name: one}, name, least=-math.inf) for one in found)


def _charges(entries: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    carried = entries[0].get("carried") or []
    if not isinstance(carried, list):
        raise IntegrityError("the ledger's carried charges are no list")
    for index, one in enumerate(carried):
        yield f"{CARRIED}{index}", _charge(one)
    for entry in entries:
        if entry["kind"] == "purchase":
            yield str(entry.get("name")), _charge(entry.get("charge"))
        elif entry["kind"] == "intent" and entry.get("charge") is not None:
            yield f"round/{entry.get('round')}", _charge(entry["charge"])


def _charge(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise IntegrityError("a charge of the ledger is no object")
    return value


def _entry(line: bytes) -> Mapping[str, Any]:
    stored = json.loads(
        line, object_pairs_hook=_once, parse_constant=_no_constant, parse_int=_as_written
    )
    entry = stored.get("entry") if isinstance(stored, dict) else None
    if not isinstance(entry, dict) or not isinstance(entry.get("kind"), str):
        raise ValueError(_FOR_NOTHING)  # noqa: TRY004 - damage, not a wrong argument
    return entry


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice")
    return found


def _as_written(digits: str) -> int | float:
    """Read what canonical JSON writes without a point: beyond 2**53 it is a decimal."""
    value = int(digits)
    return value if abs(value) <= _MOST_INTEGER else float(digits)


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number")


def _short(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    if isinstance(error, json.JSONDecodeError):
        return "it is no JSON"
    return str(error) or type(error).__name__
