"""From sums to a start: the same space on both sides, and a model that knows its population."""

import numpy as np
import numpy.typing as npt
import pytest

from homebody_models.metrics import ndcg, target_ranks
from homebody_models.statistics.contribution import gram_statistic, popularity_statistic
from homebody_models.statistics.settings import StatisticsSettings
from homebody_models.statistics.start import gram_broadcast, space_of, start_parameters
from homebody_models.two_tower import TwoTower

ITEMS = 30
FEATURES = np.zeros((ITEMS, 0), np.float32)
SETTINGS = StatisticsSettings(window=1.0, head=24, history_decay=0.8, prior=1.0, rank=8)


def groups(devices: int, seed: int) -> list[npt.NDArray[np.int64]]:
    """Return histories that stay within one third of the catalog each."""
    rng = np.random.default_rng(seed)
    return [rng.permutation(10)[:6] + 10 * (u % 3) for u in range(devices)]


def test_the_start_ranks_what_goes_with_a_history_first() -> None:
    histories = groups(90, 1)
    popularity = np.zeros(ITEMS)
    for history in histories:
        added = popularity_statistic(history)
        popularity[added.places] += added.values
    space = space_of(SETTINGS, FEATURES, gram_broadcast(SETTINGS, FEATURES, popularity, 0.0))
    gram = np.zeros(space.length)
    for history in histories:
        added = gram_statistic(history, space, SETTINGS.window)
        gram[added.places] += added.values
    flat = start_parameters(
        SETTINGS, FEATURES, popularity, gram, popularity_sigma=0.0, gram_sigma=0.0
    )
    model = TwoTower(ITEMS, FEATURES, dim=SETTINGS.rank, history_decay=SETTINGS.history_decay)
    assert flat.shape == (model.layout.size,)
    new = [history[:5] for history in groups(30, 2)]
    targets = np.array([history[5] for history in groups(30, 2)])
    kept = np.isin(targets, space.head)  # an item outside the head has no row of its own here
    ranks = target_ranks(model.scores(flat, new), targets, new)
    assert kept.sum() > 15
    assert ranks[kept].max() <= 5.0  # of 30 items the five left of the own third
    assert ndcg(ranks[kept], 10).mean() > 0.5


@pytest.mark.parametrize(
    "broadcast",
    [
        np.ones(ITEMS - 1, np.float32),
        np.ones((ITEMS, 1), np.float32),
        np.full(ITEMS, np.nan, np.float32),
        np.full(ITEMS, np.inf, np.float32),
        np.zeros(ITEMS, np.float32),
    ],
)
def test_a_malformed_broadcast_is_refused(broadcast: npt.NDArray[np.float32]) -> None:
    with pytest.raises(ValueError, match="broadcast"):
        space_of(SETTINGS, FEATURES, broadcast)
