"""What left a device against what the ledger charged: each line has its charge, each charge a line.

A log of what leaves (``egress.jsonl`` of a run, or a device's own) names in each line, under
``charge``, what paid for it: a purchase (``run``, ``statistics/gram``, ``metrics/hit_rate/2``), or
``round/3`` for a round that was charged by itself. A line without a charge left unpaid; a charge
without a line paid for something the log does not show.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:  # a device names charges and reads no ledger
    from .ledger_record import LedgerRecord

RUN: Final = "run"
"""Purchase that pays for all rounds of a correlated run."""

TUNING: Final = "tuning"
"""How purchases begin that pay for earlier trials: nothing of this run leaves for them."""

_ROUND: Final = re.compile(r"round/([1-9][0-9]{0,8})")
_UNCHARGED: Final = frozenset({"leave", "query"})
# What a device says of no data: that it leaves, its number in the fleet, keys and signatures of a
# secure sum.


def charge_of_round(number: int, *, whole_run: bool) -> str:
    """Return what pays for a device's update in a round.

    Args:
        number: The round, from 1.
        whole_run: Whether a purchase paid for all rounds, as under correlated noise.

    Examples:
        >>> charge_of_round(3, whole_run=False)
        'round/3'
    """
    return RUN if whole_run else f"round/{number}"


def words_of_charge(charge: str | None) -> str:
    """Return what a line was charged as, for people; empty for what is not charged.

    Examples:
        >>> words_of_charge("metrics/hit_rate/2")
        'the figure hit rate after round 2'
        >>> words_of_charge("run")
        'part of the run, charged as a whole'
    """
    if charge is None:
        return ""
    if charge == RUN:
        return "part of the run, charged as a whole"
    found = _ROUND.fullmatch(charge)
    if found is not None:
        return f"round {found[1]}"
    kind, _, rest = charge.partition("/")
    name, _, after = rest.partition("/")
    if kind == "statistics":
        return f"the statistic {name.replace('_', ' ')}"
    if kind == "metrics":
        return f"the figure {name.replace('_', ' ')} after round {after}"
    return charge


def unmatched(
    egress: Iterable[Mapping[str, Any]], ledger: "LedgerRecord", *, whole: bool = True
) -> list[str]:
    """Return what does not match between a log of what left and a ledger, in words.

    Args:
        egress: Lines of the log as JSON objects. Those that say that nothing was sent (``sent`` is
            false) need no charge, nor do a device's messages that hold nothing about the person:
            its notice that it leaves, its number in the fleet, keys and signatures.
        ledger: What the run's ledger says.
        whole: Whether the log shows everything the run paid for, as that of a simulated run does;
            a device's own shows what it took part in.

    Returns:
        One sentence for each mismatch; none if both directions hold.
    """
    found: list[str] = []
    paid: set[str] = set()
    rounds: set[int] = set()
    for number, line in enumerate(egress, start=1):
        if line.get("sent") is False or line.get("kind") in _UNCHARGED:
            continue
        charge, why = line.get("charge"), _why_not(line, ledger)
        if why:
            found.append(f"line {number} of the egress log {why}")
            continue
        paid.add(str(charge))
        if charge == RUN:
            rounds.add(line["round"])
    return [*found, *_unseen(ledger, paid, rounds)] if whole else found


def _why_not(line: Mapping[str, Any], ledger: "LedgerRecord") -> str | None:
    """Return what is wrong with the charge a line names; None if nothing is."""
    charge, number = line.get("charge"), line.get("round")
    if not isinstance(charge, str):
        return "names no charge of the ledger"
    one_round = _ROUND.fullmatch(charge)
    if one_round is not None:
        charged = ledger.charged_round(int(one_round[1]))
    else:
        charged = ledger.bought(charge) is not None
    if not charged:
        return f"names {charge}, which the ledger did not charge"
    if charge.partition("/")[0] == TUNING:
        return f"names {charge}, for which nothing leaves"
    if one_round is not None and number != int(one_round[1]):
        return f"names {charge} for another round"
    if charge == RUN and not (type(number) is int and 1 <= number <= ledger.opened):
        return "names a round that the ledger never opened"
    return None


def _unseen(ledger: "LedgerRecord", paid: set[str], rounds: set[int]) -> Iterator[str]:
    """Give what the ledger charged that no line shows."""
    for name in ledger.purchases:
        if name != RUN and name.partition("/")[0] != TUNING and name not in paid:
            yield f"the ledger charged {name}, which no line of the egress log shows"
    for number in range(1, ledger.opened + 1):
        shown = f"round/{number}" in paid or number in rounds
        if not shown:
            yield f"the ledger opened round {number}, which no line of the egress log shows"
