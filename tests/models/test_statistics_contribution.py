"""What a device adds: bounded whatever it holds, and equal to its plain definition."""

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from homebody_models.statistics.contribution import (
    EVENTS,
    Sparse,
    gram_statistic,
    popularity_statistic,
)
from homebody_models.statistics.space import Space

ITEMS = 12
histories = st.lists(st.integers(0, ITEMS - 1), max_size=40).map(lambda h: np.array(h, np.int32))
windows = st.floats(0.0, 1.0, exclude_min=True)
popularities = st.lists(st.floats(0.1, 100.0), min_size=ITEMS, max_size=ITEMS).map(
    lambda p: np.array(p, np.float32)
)


def dense(sparse: Sparse, length: int) -> npt.NDArray[np.float64]:
    vector = np.zeros(length)
    vector[sparse.places] = sparse.values
    return vector


def plainly(history: npt.NDArray[np.int32], space: Space, window: float) -> npt.NDArray[np.float64]:
    """Take the closest of every pair of items, then divide by the norm."""
    nearest = np.zeros((space.size, space.size))
    for newer in range(len(history)):
        for older in range(newer):
            low, high = sorted((space.place[history[older]], space.place[history[newer]]))
            if low >= 0 and low != high:
                steps = newer - older
                nearest[low, high] = max(nearest[low, high], window**steps / (1 + steps))
    vector = nearest[np.triu_indices(space.size, 1)]
    norm = np.linalg.norm(vector)
    return vector / norm if norm > 0.0 else vector


@given(histories, popularities, st.integers(0, ITEMS + 2), windows)
def test_no_history_adds_a_gram_statistic_of_norm_above_one(
    history: npt.NDArray[np.int32], popularity: npt.NDArray[np.float32], head: int, window: float
) -> None:
    space = Space.of(popularity, head)
    added = gram_statistic(history, space, window)
    norm = float(np.linalg.norm(added.values))
    assert norm <= 1.0 + 1e-12
    assert np.isfinite(added.values).all()
    assert (np.diff(added.places) > 0).all()
    assert ((added.places >= 0) & (added.places < space.length)).all()
    seen = len(set(history.tolist()) & set(space.head.tolist()))
    if window > 1e-3:  # so that no weight underflows
        assert abs(norm - (seen > 1)) < 1e-12


@given(histories, popularities, st.integers(2, ITEMS), st.floats(0.3, 1.0))
def test_a_gram_statistic_holds_how_close_each_pair_of_items_came(
    history: npt.NDArray[np.int32], popularity: npt.NDArray[np.float32], head: int, window: float
) -> None:
    space = Space.of(popularity, head)
    added = dense(gram_statistic(history, space, window), space.length)
    np.testing.assert_allclose(added, plainly(history, space, window), atol=1e-12)


def test_a_long_history_adds_what_its_newest_events_add() -> None:
    space = Space.of(np.ones(40, np.float32), 40)
    newest = np.arange(EVENTS) * 7 % 40
    older = np.arange(3 * EVENTS) * 11 % 17
    whole = gram_statistic(np.concatenate((older, newest)), space, 1.0)
    alone = gram_statistic(newest, space, 1.0)
    np.testing.assert_array_equal(whole.places, alone.places)
    np.testing.assert_allclose(whole.values, alone.values, rtol=1e-12)
    assert abs(float(np.linalg.norm(whole.values)) - 1.0) < 1e-12


def test_items_outside_the_head_take_no_norm_but_are_steps() -> None:
    space = Space.of(np.array([3, 2, 1, 0.5], np.float32), 3)
    close = dense(gram_statistic(np.array([0, 1, 2]), space, 1.0), space.length)
    apart = dense(gram_statistic(np.array([0, 1, 3, 3, 2]), space, 1.0), space.length)
    assert abs(float(np.linalg.norm(apart)) - 1.0) < 1e-12
    assert apart[0] > close[0]  # 0 and 1 stand as near as before, 2 is further off
    assert apart[2] < close[2]


@given(histories)
def test_popularity_counts_an_item_once_at_norm_one(history: npt.NDArray[np.int32]) -> None:
    added = popularity_statistic(history)
    assert added.places.tolist() == sorted(set(history.tolist()))
    assert abs(float(np.linalg.norm(added.values)) - (len(history) > 0)) < 1e-12
    assert len(set(added.values.tolist())) <= 1
