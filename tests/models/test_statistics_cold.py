"""Cold items rank by content: what noise decided before, public features decide."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homebody_models.statistics.cold import cold_items, content_popularity, with_cold_items
from homebody_models.statistics.factor import clean_popularity
from homebody_models.statistics.settings import settings_for
from homebody_models.statistics.start import start_parameters

_NO_HEAD = np.zeros(0, np.int64)


def _shop(
    seed: int, sigma: float, items: int = 400
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float32]]:
    """Return noised popularity and content: half the items of each shelf have no event."""
    rng = np.random.default_rng(seed)
    shelf = np.arange(items) % 4
    features = (shelf[:, None] == np.arange(4)).astype(np.float32)
    true = np.where(np.arange(items) < items // 2, 1.5 * (1 + shelf), 0.0)
    return true + sigma * rng.standard_normal(items), features


def test_an_item_within_three_deviations_of_nothing_is_cold() -> None:
    assert cold_items(np.array([-9.0, 5.9, 6.1]), 2.0).tolist() == [True, True, False]


def test_without_noise_an_item_of_no_event_is_cold() -> None:
    assert cold_items(np.array([0.0, 3.0]), 0.0).tolist() == [True, False]


def test_cold_items_are_in_the_order_of_their_shelf_not_of_the_noise() -> None:
    released, features = _shop(0, sigma=1.0)
    counts = with_cold_items(clean_popularity(released, 1.0), released, 1.0, features, _NO_HEAD)
    cold = 200 + np.flatnonzero(cold_items(released, 1.0)[200:])  # noise lifts one in a thousand
    shelf = cold % 4
    assert np.corrcoef(released[cold], shelf)[0, 1] < 0.3
    assert np.corrcoef(counts[cold], shelf)[0, 1] > 0.95


@given(st.integers(0, 50), st.sampled_from([0.5, 3.0, 30.0]))
def test_cold_items_together_are_as_popular_as_was_released(seed: int, sigma: float) -> None:
    released, features = _shop(seed, sigma)
    counts = with_cold_items(clean_popularity(released, sigma), released, sigma, features, _NO_HEAD)
    cold = cold_items(released, sigma)
    least = sigma * np.sqrt(cold.sum())
    assert counts[cold].sum() == pytest.approx(max(released[cold].sum(), least), rel=1e-4)
    assert (counts > 0.0).all()


def test_items_in_sight_and_items_of_the_head_keep_their_popularity() -> None:
    released, features = _shop(1, sigma=1.0)
    popularity = clean_popularity(released, 1.0)
    head = np.arange(390, 400)
    counts = with_cold_items(popularity, released, 1.0, features, head)
    kept = ~cold_items(released, 1.0)
    kept[head] = True
    assert (counts[kept] == popularity[kept]).all()
    assert (counts[~kept] != popularity[~kept]).mean() > 0.9


def test_without_content_nothing_is_changed() -> None:
    released, _ = _shop(2, sigma=1.0)
    popularity = clean_popularity(released, 1.0)
    none = np.zeros((len(released), 0), np.float32)
    assert with_cold_items(popularity, released, 1.0, none, _NO_HEAD) is popularity


def test_a_prediction_is_above_zero_whatever_the_noise_left() -> None:
    features = np.eye(3, dtype=np.float32)[np.arange(30) % 3]
    assert (content_popularity(np.full(30, -50.0), 10.0, features) > 0.0).all()


def test_the_exported_table_orders_cold_items_by_content() -> None:
    released, features = _shop(3, sigma=1.0)
    settings = settings_for(mu=0.5, devices=100, items=400, features=4, repeats=False)
    size = settings.head * (settings.head - 1) // 2
    flat = start_parameters(
        settings, features, released, np.zeros(size), popularity_sigma=1.0, gram_sigma=1.0
    )
    bias = flat[400 * settings.rank :]
    cold = np.flatnonzero(cold_items(released, 1.0) & (np.arange(400) >= 200))
    assert np.corrcoef(bias[cold], cold % 4)[0, 1] > 0.8
