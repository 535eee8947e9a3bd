"""What left devices against what was charged: a charge for each line, a line for each charge."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from homebody_privacy.config import PrivacyConfig

from .facts import EGRESS, RunFacts
from .independent_lines import RawLedger
from .verify_lines import Line, note, ok, wrong

_ROUND: Final = re.compile(r"round/([1-9][0-9]{0,8})")
_PAYS_FOR_ROUNDS: Final = "run"
_PAYS_FOR_NO_LINE: Final = frozenset({_PAYS_FOR_ROUNDS, "tuning"})  # of this run, by itself
_SHOWN: Final = re.compile(r"[a-z0-9_]+(/[a-z0-9_]+)*")
_TRAINING: Final = "training"


def check_egress(facts: RunFacts) -> tuple[Line, ...]:
    """Compare the egress log with the raw ledger, both ways."""
    if facts.ledger is None or facts.config is None:
        return ()
    if EGRESS not in facts.content:
        missing = f"{EGRESS} is missing: what left devices is not on record"
        return () if facts.is_open else (wrong(missing),)
    try:
        every = [_parsed(line) for line in facts.content[EGRESS].splitlines()]
    except (ValueError, RecursionError):
        return (wrong(f"{EGRESS} is not what was written: a line is no JSON object"),)
    lines = [one for one in every if one.get("sent") is not False]
    charges = [charge_of(one) for one in lines]
    found = [
        *_uncharged(facts.config, facts.ledger, lines),
        *_untold(facts.ledger, {*charges, *_withheld(facts.ledger, every)}),
        *_twice(charges),
    ]
    if found:
        return tuple(found)
    if not lines:
        return (note(f"{EGRESS} is empty: nothing left a device"),)
    return (ok(f"each of {len(lines)} lines of what left devices has its charge, and back"),)


def charge_of(line: Mapping[str, Any]) -> str | None:
    """Return the charge that a line names: a purchase, or ``round/3``; None where it names none.

    Where a purchase pays for all rounds, a line of a round names that purchase and the round.
    """
    charge, number = line.get("charge"), line.get("round")
    if charge == _PAYS_FOR_ROUNDS:
        return f"round/{number}"
    if charge is None and isinstance(line.get("ledger"), str):  # as logs were written before
        kind, _, name = line["ledger"].partition(" ")
        return name if kind == "purchase" else f"round/{number}"
    return charge if isinstance(charge, str) else None


def _uncharged(
    config: PrivacyConfig, ledger: RawLedger, lines: list[Mapping[str, Any]]
) -> Iterator[Line]:
    """Yield lines that nothing was charged for, or that left for no purpose that may leave."""
    opened = ledger.rounds_of("intent")
    bought = {str(one.get("name")) for _, one in ledger.of_kind("purchase")}
    paid = {name for name in bought if name.partition("/")[0] not in _PAYS_FOR_NO_LINE}
    for number, line in enumerate(lines, start=1):
        charge = charge_of(line)
        match = None if charge is None else _ROUND.fullmatch(charge)
        charged = int(match[1]) in opened if match else charge in paid
        if not charged:
            yield wrong(f"{EGRESS} line {number}: something left that was not charged")
        elif line.get("purpose") != _purpose(config, charge or ""):
            yield wrong(f"{EGRESS} line {number}: it left for another purpose than the config has")
        elif type(size := line.get("bytes")) is not int or size < 1:
            yield wrong(f"{EGRESS} line {number}: how many bytes left is not on record")


def _untold(ledger: RawLedger, told: set[str | None]) -> Iterator[Line]:
    """Yield what was charged and left no line."""
    rounds = {f"round/{number}" for number in ledger.rounds_of("intent")}
    bought = {str(one.get("name")) for _, one in ledger.of_kind("purchase")}
    paid = {name for name in bought if name.partition("/")[0] not in _PAYS_FOR_NO_LINE}
    for name in sorted((rounds | paid) - told):
        shown = name if _SHOWN.fullmatch(name) else "something nameless"
        yield wrong(f"{shown} was charged, and {EGRESS} does not tell of it")


def _withheld(ledger: RawLedger, every: list[Mapping[str, Any]]) -> Iterator[str]:
    """Yield what was charged and by the log not sent, where the ledger released nothing for it."""
    unanswered = {one.get("name") for _, one in ledger.of_kind("unanswered")}
    for line in every:
        charge = charge_of(line)
        if line.get("sent") is False and charge is not None and charge in unanswered:
            yield charge


def _twice(charges: list[str | None]) -> Iterator[Line]:
    if len(set(charges)) != len(charges):
        yield wrong(f"{EGRESS} tells twice of what was charged once")


def _purpose(config: PrivacyConfig, charge: str) -> str:
    """Return the purpose that something must have left under."""
    head, _, rest = charge.partition("/")
    metric = config.metrics.get(rest.partition("/")[0]) if head == "metrics" else None
    return _TRAINING if metric is None else metric.purpose


def _parsed(line: bytes) -> Mapping[str, Any]:
    value = json.loads(line)
    if not isinstance(value, dict):
        raise ValueError("a line is one JSON object")  # noqa: TRY004 - damage
    return value
