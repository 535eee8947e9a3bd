"""Did the run begin where the runs before it on the same people ended, and count what they spent?

With ``budget_scope = "lifetime"`` the header of a ledger names the ledger of the run before (its
size and Merkle root) and carries in what all earlier runs charged. Where their folders lie beside
the run, both are compared with what those ledgers say; so a run that forgets them, or is begun
twice from the same place, shows.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import rfc8785

from homebody_privacy.errors import IntegrityError
from homebody_privacy.merkle import Tree

from .facts import LEDGER, OLD_LEDGERS, RunFacts
from .independent import seen_squares
from .independent_lines import RawLedger, parse_ledger
from .verify_lines import Line, note, ok, wrong

_LARGEST: Final = 1 << 28
_ROUNDED: Final = 1e-9


@dataclass(frozen=True, slots=True)
class _Other:
    """The ledger of another run on the same people, with the root after each entry."""

    ledger: RawLedger = field(repr=False)
    tree: Tree = field(repr=False)

    def begins(self, previous: Mapping[str, Any]) -> bool:
        size = previous.get("size")
        if type(size) is not int or not 1 <= size <= self.tree.size:
            return False
        return self.tree.root_at(size).hex() == previous.get("root")


def check_before(facts: RunFacts, runs: Path) -> tuple[Line, ...]:
    """Compare a lifetime's ledger with those of the other runs on the same people.

    Args:
        facts: The run's files.
        runs: Folder of all runs.
    """
    ledger = facts.ledger
    if ledger is None or not facts.has_merkle or ledger.header.get("scope") != "lifetime":
        return ()
    if facts.is_pack:
        return (note("what earlier runs spent is the ledger's word: a pack holds one run"),)
    others = dict(_others(facts, ledger, runs))
    return tuple(_lines(ledger, others))


def _lines(ledger: RawLedger, others: Mapping[str, _Other]) -> Iterator[Line]:
    previous = ledger.header.get("previous")
    known = _ancestors(ledger, others)
    strangers = [
        name
        for name, other in others.items()
        if name not in known and ledger.header.get("run") not in _ancestors(other.ledger, others)
    ]
    for _ in strangers:
        yield wrong("another run on the same people is here whose spend was not carried in")
    if not isinstance(previous, dict):
        if not strangers:
            yield ok("no run before this one spent of the same budget")
        return
    other = others.get(str(previous.get("run")))
    if other is None:
        yield note("the run before is not here: what it carried in is this ledger's word")
    elif not other.begins(previous):
        yield wrong("the run before does not end as this ledger says: one of them was rewritten")
    elif seen_squares(ledger, carried=True) < (
        seen_squares(other.ledger, carried=True) + seen_squares(other.ledger, carried=False)
    ) * (1.0 - _ROUNDED):
        yield wrong("less was carried in than the runs before spent")
    else:
        yield ok("what the runs before spent was carried in")


def _ancestors(ledger: RawLedger, others: Mapping[str, _Other]) -> set[str]:
    """Return the runs that a ledger comes after, by what each says of the one before it."""
    found: set[str] = set()
    previous = ledger.header.get("previous")
    while isinstance(previous, dict) and str(previous.get("run")) not in found:
        name = str(previous.get("run"))
        found.add(name)
        other = others.get(name)
        previous = None if other is None else other.ledger.header.get("previous")
    return found


def _others(facts: RunFacts, own: RawLedger, runs: Path) -> Iterator[tuple[str, _Other]]:
    """Give the other ledgers of a lifetime on the same people, by the name of their run."""
    for path in sorted(runs.glob(f"*/{LEDGER}")):
        if path.parent.resolve() == facts.folder.resolve() or path.stat().st_size > _LARGEST:
            continue
        try:
            found = parse_ledger(path.read_bytes())
        except (OSError, IntegrityError):
            continue  # its own verify tells of it
        header = found.header
        same = header.get("population") == own.header.get("population")
        lifetime = header.get("scope") == "lifetime" and header.get("schema") not in OLD_LEDGERS
        if same and lifetime and header.get("run") != own.header.get("run"):
            yield str(header.get("run")), _Other(found, _tree(found))


def _tree(ledger: RawLedger) -> Tree:
    tree = Tree()
    for entry in ledger.entries:
        try:
            tree.append(rfc8785.dumps(dict(entry)))
        except (rfc8785.CanonicalizationError, RecursionError):
            tree.append(b"")
    return tree
