"""Popularity's update has norm 1 whatever a device did; the baseline counts devices alike."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homebody_models.draws import Draws
from homebody_models.interactions import Interactions
from homebody_models.local_recency import LocalRecency
from homebody_models.popularity import Popularity, popularity_baseline


@given(st.lists(st.integers(0, 19), min_size=1, max_size=60))
def test_norm_of_a_popularity_update_is_one(history: list[int]) -> None:
    model = Popularity(20)
    got = model.local_gradient(np.zeros(20, np.float32), np.array(history), Draws(0))
    assert np.linalg.norm(got.vector) == pytest.approx(1.0)
    assert set(np.flatnonzero(got.vector)) == set(history)
    assert got.examples == len(set(history))


def test_steps_of_size_one_add_up_to_a_count_of_devices() -> None:
    model = Popularity(3)
    flat = model.init(np.random.default_rng(0))
    for history in ([0], [0], [1]):
        flat -= model.local_gradient(flat, np.array(history), Draws(0)).vector.astype(np.float32)
    assert flat.tolist() == [2.0, 1.0, 0.0]


def test_baseline_counts_each_device_as_one(
    interactions: Callable[..., Interactions],
) -> None:
    train = interactions([[0, 0, 0, 1], [], [2]], n_items=4)
    assert np.expm1(popularity_baseline(train)) == pytest.approx([0.75, 0.25, 1.0, 0.0])


def test_local_recency_prefers_recent_and_repeated_events() -> None:
    model = LocalRecency(n_items=4, history_decay=0.5)
    scores = model.scores(np.zeros(0, np.float32), [np.array([0, 1, 1, 2]), np.array([], int)])
    assert scores.tolist() == [[0.125, 0.75, 1.0, 0.0], [0.0] * 4]


def test_local_recency_shares_nothing_and_so_has_no_bundle() -> None:
    model = LocalRecency(n_items=4)
    none = model.init(np.random.default_rng(0))
    assert model.layout.size == 0
    assert model.privacy_split().shared == ()
    with pytest.raises(ValueError, match="no shared parameters"):
        model.export(none)


@pytest.mark.parametrize("decay", [0.0, 1.1, math.nan])
def test_local_recency_refuses_a_decay_out_of_range(decay: float) -> None:
    with pytest.raises(ValueError, match="history_decay"):
        LocalRecency(n_items=4, history_decay=decay)


def test_empty_catalog_is_refused() -> None:
    with pytest.raises(ValueError, match="n_items"):
        Popularity(0)
    with pytest.raises(ValueError, match="n_items"):
        LocalRecency(n_items=0)
