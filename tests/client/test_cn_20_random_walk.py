"""CN-20: whatever happens in whatever order, crashes included, nothing goes that was shut."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from homebody_client.consent import gates, keeper, prune, receipt_file, transitions
from homebody_client.consent.receipt_file import Found
from homebody_privacy import consent
from homebody_privacy.consent_terms import DAY_S

from .consent_judged import ViolationError
from .consent_walk import walk_many

_IN_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A place for thousands of small devices; in memory where there is such a place."""
    if not _IN_MEMORY.is_dir():
        yield tmp_path / "walk"
        return
    with tempfile.TemporaryDirectory(dir=_IN_MEMORY) as made:
        yield Path(made, "walk")


def test_cn_20_cr_05_a_random_walk_finds_nothing_that_was_shut(folder: Path) -> None:
    assert walk_many(folder, range(100), steps=30) > 0, "no walk came so far as to send anything"


@pytest.mark.slow
def test_cn_20_cr_05_ten_thousand_interleavings_hold_the_rules(folder: Path) -> None:
    assert walk_many(folder, range(100_000, 110_000), steps=20) > 100


@pytest.mark.slow
def test_cn_20_cr_05_three_hundred_devices_of_forty_operations_hold_the_rules(folder: Path) -> None:
    assert walk_many(folder, range(200_000, 200_300), steps=40) > 0


def _asks_only_whether_it_is_open_now(patch: pytest.MonkeyPatch) -> None:
    """R1: a withdrawal and a smaller yes pass unnoticed."""

    def is_fresh(ticket: Any, state: Any, situation: Any) -> Any:  # noqa: ANN401, ARG001 - as the real one
        reasons = [consent.why(situation, ticket.purpose, f) for f in ticket.features]
        return next(filter(None, reasons), None)

    patch.setattr(gates, "is_fresh", is_fresh)
    patch.setattr(prune, "is_fresh", is_fresh)


def _narrowing_deletes_nothing(patch: pytest.MonkeyPatch) -> None:
    """R2: rows of a feature that is no longer chosen stay."""
    real = prune.is_retained

    def is_retained(state: Any, decision: Any, feature: str, time: float) -> bool:  # noqa: ANN401
        wider = replace(decision, features=(*decision.features, *state.seen))
        return bool(real(state, wider, feature, time))

    patch.setattr(prune, "is_retained", is_retained)


def _grace_never_ends(patch: pytest.MonkeyPatch) -> None:
    """R3: the gate shuts, the data stays."""
    patch.setattr(prune, "grace_ends", lambda _, since: since + 10_000 * DAY_S)


def _anchor_is_not_looked_at(patch: pytest.MonkeyPatch) -> None:
    """R4: a chain without its end is a valid chain."""

    def look(self: Any, base: Any, end: Any, key: Any) -> Found:  # noqa: ANN401, ARG001
        self._bytes = self.path.stat().st_size if self.path.exists() else 0
        return Found(closings=(), end=end)

    patch.setattr(receipt_file.ReceiptFile, "look", look)


def _clock_in_force_is_the_clock(patch: pytest.MonkeyPatch) -> None:
    """R6: a clock that is turned back lets an expired yes live again."""
    patch.setattr(consent, "CLOCK_SLACK_S", float("inf"))
    patch.setattr(consent.Situation, "time", property(lambda self: self.now))


def _cascade_goes_one_level(patch: pytest.MonkeyPatch) -> None:
    """R9: what needs what was closed is closed, but not what needs that."""

    def all_required(terms: Any, purpose: str) -> Any:  # noqa: ANN401
        known = terms.purposes.get(purpose)
        return () if known is None else known.requires

    patch.setattr(transitions, "all_required", all_required)


def _signal_is_silence(patch: pytest.MonkeyPatch) -> None:
    """R10: a signal shuts the gate, and when it goes off everything is open again."""
    patch.setattr(transitions, "signals_on", lambda *_: False)


def _yes_without_its_anchor_counts(patch: pytest.MonkeyPatch) -> None:
    """R17: a grant that a crash cut in half is taken for given: its receipt is left standing."""
    patch.setattr(receipt_file, "_OPENING", frozenset())


def _refusal_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    """R18: asked at each start."""
    from homebody_client.consent import book  # noqa: PLC0415 - the one constant it patches

    patch.setattr(book, "_NOES", frozenset())


def _closing_does_not_destroy_the_key(patch: pytest.MonkeyPatch) -> None:
    """A withdrawal that only shuts: rows stay readable to whoever holds the file and the key."""
    patch.setattr(keeper.Keeper, "follow", lambda *_: None)


BUGS: dict[
    Callable[[pytest.MonkeyPatch], None], int
] = {  # and a seed from which each is found soon
    _asks_only_whether_it_is_open_now: 9,
    _narrowing_deletes_nothing: 173,
    _grace_never_ends: 2,
    _anchor_is_not_looked_at: 4,
    _clock_in_force_is_the_clock: 9,
    _cascade_goes_one_level: 2,
    _signal_is_silence: 11,
    _yes_without_its_anchor_counts: 37,
    _refusal_is_forgotten: 16,
    _closing_does_not_destroy_the_key: 0,
}


@pytest.mark.parametrize("plant", BUGS, ids=lambda plant: plant.__name__.strip("_"))
def test_cn_20_cr_05_the_walk_finds_a_planted_bug(
    plant: Callable[[pytest.MonkeyPatch], None], folder: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        plant(patch)
        with pytest.raises(ViolationError):
            walk_many(folder, range(BUGS[plant], BUGS[plant] + 1_000), steps=30)
