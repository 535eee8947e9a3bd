"""Ranks, relevance, coverage and intervals against slow and published definitions."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homebody_models.bootstrap import bootstrap
from homebody_models.interactions import Interactions
from homebody_models.local_recency import LocalRecency
from homebody_models.metrics import (
    coverage,
    evaluate,
    hit,
    mrr,
    ndcg,
    novelty,
    personalisation,
    recall,
    segments,
    target_ranks,
)
from homebody_models.popularity import Popularity, popularity_baseline
from homebody_models.split import Choice, Task, leave_one_out

Make = Callable[..., Interactions]
FIXED = Choice(what="popularity", by="fixed beforehand")


def _slow_rank(scores: Sequence[float], target: int, hidden: set[int]) -> float:
    others = [s for i, s in enumerate(scores) if i != target and i not in hidden]
    return sum(s > scores[target] for s in others) + 0.5 * sum(s == scores[target] for s in others)


@settings(max_examples=100)
@given(st.data())
def test_rank_counts_better_items_and_half_of_ties(data: st.DataObject) -> None:
    scores = data.draw(st.lists(st.integers(-2, 2), min_size=1, max_size=8))
    target = data.draw(st.integers(0, len(scores) - 1))
    hidden = data.draw(st.lists(st.integers(0, len(scores) - 1))) if len(scores) > 1 else []
    gone = set(hidden) - {target}
    rows = [np.array([i for i in hidden if i != target], np.int64)]
    got = target_ranks(np.array([scores], np.float32), np.array([target]), rows)
    assert got.tolist() == [_slow_rank(scores, target, gone)]


def test_constant_scorer_gets_nothing() -> None:
    ranks = target_ranks(np.zeros((3, 100)), np.array([0, 50, 99]))
    assert hit(ranks, 10).sum() == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_scores_raise(bad: float) -> None:
    scores = np.zeros((2, 3))
    scores[1, 2] = bad
    with pytest.raises(ValueError, match="finite"):
        target_ranks(scores, np.array([0, 0]))


def test_hidden_target_raises() -> None:
    with pytest.raises(ValueError, match="hidden"):
        target_ranks(np.zeros((1, 3)), np.array([1]), [np.array([1])])


@pytest.mark.parametrize(
    ("rank", "wanted"),
    [(0.0, (1.0, 1.0, 1.0)), (2.0, (1.0, 0.5, 1 / 3)), (9.5, (1.0, 1 / math.log2(11.5), 1 / 10.5))],
)
def test_relevance_of_a_rank_in_the_list(rank: float, wanted: tuple[float, ...]) -> None:
    ranks = np.array([rank])
    got = tuple(float(metric(ranks, 10)[0]) for metric in (hit, ndcg, mrr))
    assert got == pytest.approx(wanted)
    assert recall(ranks, 10) == hit(ranks, 10)


def test_relevance_past_the_list_is_zero() -> None:
    ranks = np.array([10.0, 11.0])
    assert [metric(ranks, 10).sum() for metric in (hit, ndcg, mrr, recall)] == [0.0] * 4


def test_coverage_counts_distinct_items_and_no_padding() -> None:
    assert coverage(np.array([[0, 1], [1, -1]]), items=4) == 0.5


def test_novelty_is_the_surprise_in_bits() -> None:
    # shares 2/4 and 1/4 after adding one to each count: 1 bit and 2 bits
    assert novelty(np.array([[0, 1]]), np.array([1, 0, 0])) == pytest.approx(1.5)


def test_novelty_of_empty_lists_is_nan() -> None:
    assert math.isnan(novelty(np.array([[-1]]), np.array([1])))


@settings(max_examples=50)
@given(st.integers(2, 6), st.integers(1, 4), st.integers(0, 2**32))
def test_personalisation_is_the_mean_pairwise_difference(n: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    top = np.array([rng.choice(8, k, replace=False) for _ in range(n)])
    pairs = [(a, b) for a in range(n) for b in range(a)]
    overlap = [len(set(top[a]) & set(top[b])) / k for a, b in pairs]
    assert personalisation(top) == pytest.approx(1 - np.mean(overlap))


def test_lists_are_counted_in_blocks_as_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(6)
    top = np.array([rng.choice(40, 5, replace=False) for _ in range(23)])
    top[4, 2:] = -1
    chosen = rng.integers(100, size=50)

    def run() -> tuple[float, float, float]:
        return coverage(top, 50), novelty(top, chosen), personalisation(top)

    whole = run()
    shown = top[top >= 0]
    surprise = -np.log2((chosen + 1.0) / (chosen + 1.0).sum())
    assert whole[0] == len(np.unique(shown)) / 50
    assert whole[1] == pytest.approx(surprise[shown].mean(), rel=1e-12)
    monkeypatch.setattr("homebody_models.metrics._COUNTED", 7)
    assert run() == whole


def test_personalisation_of_one_list_is_nan() -> None:
    assert math.isnan(personalisation(np.array([[1, 2]])))


def test_segments_are_cold_to_5_and_hot_above_100() -> None:
    groups = segments(np.array([0, 5, 6, 100, 101]))
    assert [rows.tolist() for rows in groups.values()] == [
        [True, True, False, False, False],
        [False, False, True, True, False],
        [False, False, False, False, True],
    ]


def test_interval_covers_the_true_mean_in_about_95_of_100_samples() -> None:
    rng = np.random.default_rng(11)
    samples = rng.random((300, 80))
    intervals = [bootstrap(values, rng, resamples=300) for values in samples]
    covered = np.mean([i.low <= 0.5 <= i.high for i in intervals])
    assert 0.90 <= covered <= 0.985
    # and the test can tell a wrong scale: half as wide, the intervals miss too often
    narrow = np.mean([abs(0.5 - (i.low + i.high) / 2) <= (i.high - i.low) / 4 for i in intervals])
    assert narrow < 0.80


def test_interval_is_the_same_for_the_same_seed_and_has_the_sample_size() -> None:
    values = np.arange(10.0)
    first, again = (bootstrap(values, np.random.default_rng(3)) for _ in range(2))
    assert first == again
    assert first.n == 10
    assert first.mean == 4.5


@pytest.mark.parametrize("values", [np.zeros(0), np.zeros((2, 2))])
def test_interval_of_nothing_is_refused(values: npt.NDArray[np.float64]) -> None:
    with pytest.raises(ValueError, match="values"):
        bootstrap(values, np.random.default_rng(0))


def test_evaluation_hides_the_history_of_a_new_task_and_not_of_an_again_task(
    interactions: Make,
) -> None:
    histories = [[0, 1, 2], [3, 4, 5]]
    model = LocalRecency(n_items=6)  # ranks its own history first, all else ties
    none = np.zeros(0, np.float32)
    data = interactions(histories, repeats=False)
    new = evaluate(
        model, none, leave_one_out(data).test.open(FIXED), rng=np.random.default_rng(0), k=2
    )
    assert new.kind == "new"
    assert new.overall.hit.mean == 1.0  # 4 visible items tie: rank 1.5
    again = evaluate(
        model,
        none,
        leave_one_out(interactions(histories)).test.open(FIXED),
        rng=np.random.default_rng(0),
        k=2,
    )
    assert again.overall.hit.mean == 0.0  # its two old items rank first: rank 3.5
    assert again.coverage == 4 / 6


def test_evaluation_of_popularity_is_not_personal(interactions: Make) -> None:
    rng = np.random.default_rng(5)
    data = interactions([rng.integers(0, 30, 8).tolist() for _ in range(40)], n_items=30)
    split = leave_one_out(data)
    result = evaluate(Popularity(30), popularity_baseline(split.train), split.validation, rng=rng)
    assert result.personalisation == 0.0
    assert result.coverage == 10 / 30
    assert set(result.by_segment) == {"warm"}
    assert result.by_segment["warm"].ndcg.mean == result.overall.ndcg.mean
    assert result.overall.ndcg.n == 40


def test_evaluation_in_blocks_equals_evaluation_at_once(
    interactions: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(5)
    data = interactions([rng.integers(0, 12, 6).tolist() for _ in range(25)], n_items=12)
    task = leave_one_out(data).validation

    def run() -> object:
        return evaluate(
            LocalRecency(n_items=12), np.zeros(0, np.float32), task, rng=np.random.default_rng(1)
        )

    whole = run()
    monkeypatch.setattr("homebody_models.metrics._BLOCK_SCORES", 40)
    assert run() == whole


def test_evaluation_of_no_device_is_refused(interactions: Make) -> None:
    empty = Task(
        data=interactions([[0, 1]]),
        devices=np.zeros(0, np.int64),
        targets=np.zeros(0, np.int32),
        kind="again",
    )
    with pytest.raises(ValueError, match="no device"):
        evaluate(Popularity(2), np.zeros(2, np.float32), empty, rng=np.random.default_rng(0))
