"""The model of a run with statistics: as wide and as recent as the statistics were planned."""

import numpy as np
import pytest

from homebody_models.statistics.settings import StatisticsSettings
from homebody_privacy.protection import Recipe
from homebody_simulation.datasets import load_dataset
from homebody_simulation.start_model import start_model_spec

SETTINGS = StatisticsSettings(window=1.0, head=5, history_decay=0.7, rank=3, repeat=20.0)
CATALOG = load_dataset("synthetic", devices=5, items=10).interactions.catalog


@pytest.mark.parametrize(
    ("recipe", "name", "trained"),
    [("statistics", "two-tower", 10 * 3 + 10), ("both", "core-tower", 6)],
)
def test_rounds_train_a_core_and_statistics_alone_are_a_table(
    recipe: Recipe, name: str, trained: int
) -> None:
    spec = start_model_spec(SETTINGS, recipe=recipe, repeats=False)
    model = spec.build(CATALOG)
    assert (model.name, model.layout.trained_size) == (name, trained)
    assert spec.options["history_decay"] == 0.7


@pytest.mark.parametrize("repeats", [True, False])
def test_both_recipes_rank_alike_at_the_start(repeats: object) -> None:
    table = np.random.default_rng(0).standard_normal(10 * 3 + 10).astype(np.float32)
    plain = start_model_spec(SETTINGS, recipe="statistics", repeats=bool(repeats)).build(CATALOG)
    core = start_model_spec(SETTINGS, recipe="both", repeats=bool(repeats)).build(CATALOG)
    ones = np.zeros(core.layout.trained_size, np.float32)
    ones[[0, 3, 5]] = 1.0  # the identity, packed by row
    histories = [np.array([1, 4, 1]), np.array([8]), np.zeros(0, np.int64)]
    start = core.scores(np.concatenate((table, ones)), histories)
    assert start == pytest.approx(plain.scores(table, histories), rel=1e-5, abs=1e-5)
