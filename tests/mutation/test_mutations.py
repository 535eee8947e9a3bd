"""Single edits of everything a reviewer relies on: each is caught, by the right verb and code."""

from collections import Counter
from itertools import groupby
from typing import Final

import pytest

from . import edits_approvals, edits_config, edits_ledger, edits_model, edits_pack
from .conftest import Copy
from .mutants import JUDGES, Mutant, Verb
from .world import World

ALL: Final[tuple[Mutant, ...]] = (
    *edits_config.mutants(),
    *edits_approvals.mutants(),
    *edits_ledger.mutants(),
    *edits_model.mutants(),
    *edits_pack.mutants(),
)
_EVERYDAY: Final = 40


def spread(mutants: tuple[Mutant, ...], count: int) -> list[Mutant]:
    """Return some mutants, the first of each kind among them, then evenly spread."""
    by_kind = groupby(sorted(mutants, key=lambda one: one.kind), key=lambda one: one.kind)
    first = [next(found) for _, found in by_kind]
    rest = [one for one in mutants if one not in first]
    missing = count - len(first)
    return [*first, *rest[:: max(1, len(rest) // missing)][:missing]]


def test_there_are_three_hundred_edits_and_more_and_no_two_are_one() -> None:
    assert len(ALL) >= 300
    assert len({(one.kind, one.name) for one in ALL}) == len(ALL)


def test_the_edits_are_of_what_is_there(untouched: World) -> None:
    lines = (untouched.run / "ledger.jsonl").read_text("utf-8").splitlines()
    assert len(lines) == edits_ledger.ENTRIES
    assert [name for name in edits_pack.FILES if not (untouched.pack / name).is_file()] == []


@pytest.mark.parametrize("verb", JUDGES)
def test_the_untouched_set_raises_no_alarm(copy: Copy, verb: Verb) -> None:
    assert JUDGES[verb](copy()) == 0


def test_s73_cr_39_every_kind_of_edit_is_caught(copy: Copy) -> None:
    missed = [
        (one.kind, one.name, code)
        for one in spread(ALL, _EVERYDAY)
        if (code := one.judged(copy())) not in one.codes
    ]
    assert missed == []


@pytest.mark.slow
def test_cr_39_every_edit_is_caught_and_the_table_says_by_whom(
    copy: Copy, capsys: pytest.CaptureFixture[str]
) -> None:
    caught: Counter[tuple[str, str, int]] = Counter()
    missed = []
    for one in ALL:
        code = one.judged(copy())
        caught[one.kind, one.verb, code] += 1
        if code not in one.codes:
            missed.append((one.kind, one.name, code))
    with capsys.disabled():
        print(f"\n{table(caught)}")  # noqa: T201 - what make mutations is for
    assert missed == []


def table(caught: Counter[tuple[str, str, int]]) -> str:
    """Return how many edits of each kind which verb caught with which code."""
    rows = [f"{'edited':<34} {'caught by':<12} {'exit':>4} {'edits':>6}"]
    for (kind, verb, code), count in sorted(caught.items()):
        rows.append(f"{kind:<34} {verb:<12} {code:>4} {count:>6}")
    rows.append(f"{'all':<34} {'':<12} {'':>4} {sum(caught.values()):>6}")
    return "\n".join(rows)
