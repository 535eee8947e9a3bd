"""S73: what left a device against what the ledger charged, in both directions."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from homebody_privacy.charges import CorrelatedRun, GaussianReleases, PoissonRounds
from homebody_privacy.egress_map import charge_of_round, unmatched, words_of_charge
from homebody_privacy.ledger import Ledger
from homebody_privacy.ledger_record import Header

MODEL = "d" * 64
FIGURE = GaussianReleases(noise_multiplier=9.0)
SUM = GaussianReleases(noise_multiplier=9.0, part="statistics")

Line = dict[str, Any]


def line(charge: str | None, round: int = 1, **more: object) -> Line:  # noqa: A002 - glossary
    """Return a line of a log."""
    return {"round": round, "charge": charge, "purpose": "training", **more}


@pytest.fixture
def ledger(tmp_path: Path, header: Header) -> Iterator[Ledger]:
    """An open ledger with its header alone."""
    with Ledger.create(tmp_path / "ledger.jsonl", header) as ledger:
        yield ledger


@pytest.fixture
def by_round(ledger: Ledger, charge: Callable[..., PoissonRounds]) -> Ledger:
    """A ledger of tuning, a statistic, two rounds charged by themselves, and a figure."""
    ledger.purchase("tuning", charge().with_part("tuning"))
    ledger.purchase("statistics/gram", SUM)
    for number in (1, 2):
        ledger.intend(number, charge())
        ledger.void(number, "report-goal")  # who answered has sent, whatever became of it
    ledger.purchase("metrics/quality/2", FIGURE)
    return ledger


@pytest.fixture
def by_run(ledger: Ledger, correlated: Callable[..., CorrelatedRun]) -> Ledger:
    """A ledger of a run that was paid for as a whole, and two of its rounds."""
    ledger.purchase("run", correlated())
    for number in (1, 2):
        ledger.intend(number, None)
        ledger.release(number, MODEL)
    return ledger


EACH = [
    line("statistics/gram", 0),
    line("round/1", 1),
    line("round/2", 2),
    line("metrics/quality/2", 2, purpose="metrics"),
]


def test_s73_every_line_has_its_charge_and_every_charge_its_line(by_round: Ledger) -> None:
    assert unmatched(EACH, by_round.record) == []


def test_s73_a_run_paid_for_as_a_whole_pays_for_each_of_its_rounds(by_run: Ledger) -> None:
    assert unmatched([line("run", 1), line("run", 2)], by_run.record) == []
    assert unmatched([line("run", 1)], by_run.record) == [
        "the ledger opened round 2, which no line of the egress log shows"
    ]


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (line(None), "names no charge"),
        ({"round": 1}, "names no charge"),
        (line("round/3", 3), "names round/3, which the ledger did not charge"),
        (line("round/0", 0), "names round/0, which the ledger did not charge"),
        (line("round/1", 2), "names round/1 for another round"),
        (line("run"), "names run, which the ledger did not charge"),
        (line("metrics/quality/1"), "metrics/quality/1, which the ledger did not charge"),
        (line("tuning", 0), "names tuning, for which nothing leaves"),
        (line("something/else"), "which the ledger did not charge"),
    ],
)
def test_s73_a_line_without_a_charge_is_told_of(by_round: Ledger, wrong: Line, why: str) -> None:
    (found,) = unmatched([*EACH, wrong], by_round.record)
    assert found.startswith("line 5 of the egress log ")
    assert why in found
    assert unmatched([wrong], by_round.record, whole=False) != []


@pytest.mark.parametrize("number", [0, 3, None, True, "1"])
def test_s73_a_round_of_a_run_that_was_never_opened_is_told_of(
    by_run: Ledger, number: object
) -> None:
    found = unmatched([{"round": number, "charge": "run"}], by_run.record, whole=False)
    assert found == ["line 1 of the egress log names a round that the ledger never opened"]


@pytest.mark.parametrize(
    ("gone", "why"),
    [
        (0, "charged statistics/gram"),
        (1, "opened round 1"),
        (2, "opened round 2"),
        (3, "charged metrics/quality/2"),
    ],
)
def test_s73_a_charge_without_a_line_is_told_of_where_the_log_is_whole(
    by_round: Ledger, gone: int, why: str
) -> None:
    log = [one for index, one in enumerate(EACH) if index != gone]
    (found,) = unmatched(log, by_round.record)
    assert why in found
    assert unmatched(log, by_round.record, whole=False) == []  # a device took part in the others


def test_what_was_held_back_and_what_holds_nothing_of_the_person_needs_no_charge(
    by_round: Ledger,
) -> None:
    more = [
        line(None, sent=False, kind="update"),
        line(None, kind="leave"),
        line(None, kind="query"),
    ]
    assert unmatched([*EACH, *more], by_round.record) == []
    assert len(unmatched([line(None, kind="log")], by_round.record, whole=False)) == 1


@pytest.mark.parametrize(
    ("charge", "words"),
    [
        ("round/3", "round 3"),
        ("run", "part of the run, charged as a whole"),
        ("statistics/gram", "the statistic gram"),
        ("metrics/hit_rate/2", "the figure hit rate after round 2"),
        ("tuning", "tuning"),
        (None, ""),
    ],
)
def test_a_charge_has_words(charge: str | None, words: str) -> None:
    assert words_of_charge(charge) == words


def test_an_update_is_paid_for_by_its_round_or_by_the_run() -> None:
    assert charge_of_round(4, whole_run=False) == "round/4"
    assert charge_of_round(4, whole_run=True) == "run"
