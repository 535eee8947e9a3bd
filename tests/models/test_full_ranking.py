"""Ranks and lists of a block against one device at a time, in catalogs of any size, with ties."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homebody_models.full_ranking import best_lists, ranks_of, visible_scores
from homebody_models.history_columns import Histories
from homebody_models.order import serving_order

Scores = npt.NDArray[np.float32]
Case = tuple[Scores, npt.NDArray[np.int64], list[npt.NDArray[np.int64]]]

LEVELS = st.sampled_from([1, 2, 5, 1_000_000])  # few: ties; many: none
SIZES = st.sampled_from([1, 2, 7, 8, 9, 41, 80, 81, 333, 2_050])  # words, columns, sums of bytes


def drawn(items: int, levels: int, seed: int, *, most_hidden: int) -> Case:
    """Return scores of five devices, their targets, and what is hidden of each, with repeats."""
    rng = np.random.default_rng(seed)
    scores = (rng.integers(levels, size=(5, items)) - levels / 2).astype(np.float32)
    targets = rng.integers(items, size=5)
    hidden = []
    for target in targets:
        gone = rng.integers(items, size=rng.integers(most_hidden + 1))
        hidden.append(gone[gone != target])
    return scores, targets, hidden


def rank_one_by_one(scores: Scores, target: int, hidden: npt.NDArray[np.int64]) -> float:
    """Return a rank as it was counted: over all items, less those hidden, each once."""
    own = scores[target]
    rank = (scores > own).sum() + 0.5 * ((scores == own).sum() - 1)
    gone = scores[np.unique(hidden)]
    return float(rank - ((gone > own).sum() + 0.5 * (gone == own).sum()))


@settings(max_examples=120)
@given(SIZES, LEVELS, st.integers(0, 2**32), st.sampled_from([0, 3, 3_000]), st.integers(0, 12))
def test_a_block_ranks_as_each_device_does(
    items: int, levels: int, seed: int, most_hidden: int, k: int
) -> None:
    scores, targets, hidden = drawn(items, levels, seed, most_hidden=most_hidden)
    before = scores.copy()
    visible = visible_scores(scores, targets, Histories.of(hidden))
    wanted = [rank_one_by_one(*each) for each in zip(scores, targets, hidden, strict=True)]
    assert ranks_of(visible, targets).tolist() == wanted
    lists = best_lists(visible, k)
    assert lists.shape == (5, k)
    for row, gone, own in zip(lists, hidden, scores, strict=True):
        shown = np.ones(items, bool)
        shown[gone] = False
        best = serving_order(own, k, shown)
        assert row.tolist() == best.tolist() + [-1] * (k - len(best))
    assert scores.tobytes() == before.tobytes()  # they are the caller's
    own = visible_scores(scores, targets, Histories.of(hidden), overwrite=True)
    assert own.tobytes() == visible.tobytes()
    assert own is scores


def test_nothing_hidden_takes_no_copy() -> None:
    scores, targets, _ = drawn(41, 5, 0, most_hidden=0)
    assert visible_scores(scores, targets, None) is scores


def test_negative_zero_ties_with_zero() -> None:
    scores = np.array([[0.0, -0.0, 0.0, -1.0]], np.float32)
    assert best_lists(scores, 3).tolist() == [[0, 1, 2]]
    assert ranks_of(scores, np.array([1])).tolist() == [1.0]


def test_more_items_than_a_byte_counts_are_counted() -> None:
    items = 8 * 255 * 2 + 3
    scores = np.arange(items, dtype=np.float64)[None]
    for target in (0, 5, items - 1):
        assert ranks_of(scores, np.array([target])).tolist() == [items - 1 - target]


def test_a_hidden_target_is_named_by_its_row() -> None:
    scores, hidden = np.zeros((3, 4)), [np.array([1]), np.array([0, 2]), np.array([2])]
    with pytest.raises(ValueError, match="row 1 is hidden"):
        visible_scores(scores, np.array([0, 2, 2]), Histories.of(hidden))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_no_numbers_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        visible_scores(np.array([[0.0, bad]]), np.array([0]), None)
