"""From pool to list: diversity by the formula, draws with true propensities, caps that hold."""

from collections import Counter

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homebody_models.diversity import POOL, Taste, candidates, choose
from homebody_models.order import serving_order


def _slow_mmr(
    scores: npt.NDArray[np.float64], rows: npt.NDArray[np.float64], n: int, mmr: float
) -> list[int]:
    """Choose by the written formula, one pair at a time."""
    low, high = scores.min(), scores.max()
    scaled = (scores - low) / (high - low) if high > low else np.zeros_like(scores)

    def cosine(i: int, j: int) -> float:
        length = float(np.linalg.norm(rows[i]) * np.linalg.norm(rows[j]))
        return max(0.0, float(rows[i] @ rows[j]) / length) if length else 0.0

    chosen: list[int] = []
    while len(chosen) < min(n, len(scores)):
        worth = {
            i: (1 - mmr) * scaled[i] - mmr * max((cosine(i, j) for j in chosen), default=0.0)
            for i in range(len(scores))
            if i not in chosen
        }
        chosen.append(max(worth, key=lambda i: (round(worth[i], 12), -i)))
    return chosen


@settings(max_examples=60)
@given(seed=st.integers(0, 10_000), n=st.integers(0, 12), mmr=st.sampled_from([0.1, 0.3, 0.9, 1.0]))
def test_diversity_follows_the_formula(seed: int, n: int, mmr: float) -> None:
    rng = np.random.default_rng(seed)
    scores = np.sort(rng.standard_normal(20))[::-1]
    rows = rng.standard_normal((20, 3))
    rows[5] = 0.0
    places = choose(np.arange(20), scores, n, Taste(mmr=mmr), vectors=lambda items: rows[items])
    assert [place.item for place in places] == _slow_mmr(scores, rows, n, mmr)
    assert {place.propensity for place in places} <= {1.0}


def test_no_diversity_is_the_serving_order() -> None:
    scores = np.random.default_rng(0).standard_normal(500)
    pool = candidates(scores, 10)
    assert len(pool) == POOL
    assert [place.item for place in choose(pool, scores, 10, Taste())] == np.argsort(-scores)[
        :10
    ].tolist()


def test_similarity_counts_what_is_listed_already() -> None:
    rows = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.1]])
    scores = np.array([1.0, 0.9, 0.95])
    pool = np.array([1, 2])
    first = choose(
        pool, scores, 1, Taste(mmr=0.9), vectors=lambda items: rows[items], listed=np.array([0])
    )
    assert first[0].item == 1


def test_frequencies_are_the_propensities() -> None:
    scores = np.arange(5.0)[::-1].copy()
    taste = Taste(explore=0.4, rng=np.random.default_rng(1))
    shown: Counter[tuple[int, int]] = Counter()
    told: dict[tuple[int, int], float] = {}
    draws = 20_000
    for _ in range(draws):
        first, second = choose(np.arange(5), scores, 2, taste)
        shown[0, first.item] += 1
        told[0, first.item] = first.propensity
        if first.item == 0:
            shown[1, second.item] += 1
            told[1, second.item] = second.propensity
    assert told[0, 0] == pytest.approx(0.6 + 0.4 / 5)
    assert told[0, 3] == pytest.approx(0.4 / 5)
    assert told[1, 1] == pytest.approx(0.6 + 0.4 / 4)
    for (place, item), chance in told.items():
        cases = draws if place == 0 else shown[0, 0]
        sd = np.sqrt(chance * (1 - chance) / cases)
        assert abs(shown[place, item] / cases - chance) < 5 * sd
        assert abs(shown[place, item] / cases - 1.5 * chance) > 5 * sd  # the test can fail


@settings(max_examples=100)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(1, 30),
    cap=st.integers(1, 6),
    groups=st.integers(1, 40),
    explore=st.sampled_from([0.0, 0.5]),
)
def test_caps_hold_and_places_are_filled_if_they_can_be(
    seed: int, n: int, cap: int, groups: int, explore: float
) -> None:
    rng = np.random.default_rng(seed)
    items = 600
    group = rng.integers(-1, groups, items)
    scores = rng.standard_normal(items) - 0.5 * group  # the first groups crowd the pool
    visible = rng.random(items) < 0.9
    room = np.full(groups, cap)
    pool = candidates(scores, n, visible=visible, room=room, groups=group)
    assert (np.diff(scores[pool]) <= 0).all()
    assert visible[pool].all()
    taste = Taste(explore=explore, rng=rng)
    places = choose(pool, scores, n, taste, groups=group, room=room)
    counts = Counter(group[[place.item for place in places]].tolist())
    assert all(number <= cap for name, number in counts.items() if name >= 0)
    sizes = np.bincount(group[visible & (group >= 0)], minlength=groups)
    fits = int(np.minimum(sizes, cap).sum() + (visible & (group < 0)).sum())
    assert len(places) == min(n, fits)


def test_greedy_choice_under_a_cap_is_the_best_that_fits() -> None:
    scores = np.array([5.0, 4.0, 3.0, 2.0, 1.0])
    group = np.array([0, 0, 0, 1, -1])
    room = np.array([2, 2])
    places = choose(candidates(scores, 4), scores, 4, Taste(), groups=group, room=room)
    assert [place.item for place in places] == [0, 1, 3, 4]


@pytest.mark.parametrize(
    "fields",
    [{"mmr": -0.1}, {"mmr": float("nan")}, {"explore": 1.0}, {"explore": 0.5}],
)
def test_taste_out_of_range_is_refused(fields: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"mmr|explore"):
        Taste(**fields)  # type: ignore[arg-type]  # wrong on purpose


@settings(max_examples=100)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(1, 5_000),
    k=st.integers(0, 200),
    levels=st.sampled_from([2, 10, 10_000]),
    shown=st.sampled_from([None, 0.01, 0.9]),
)
def test_serving_order_of_a_large_catalog_is_that_of_a_full_sort(
    seed: int, n: int, k: int, levels: int, shown: float | None
) -> None:
    rng = np.random.default_rng(seed)
    scores = (rng.integers(0, levels, n) / levels).astype(np.float32)
    visible = None if shown is None else rng.random(n) < shown
    allowed = np.arange(n) if visible is None else np.flatnonzero(visible)
    wanted = sorted(allowed.tolist(), key=lambda i: (-scores[i], i))[:k]
    assert serving_order(scores, k, visible).tolist() == wanted
