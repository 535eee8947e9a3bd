"""The published figures are those the benchmark kept; the slow tests measure some of them anew."""

import importlib.util
import json
import os
from pathlib import Path
from types import ModuleType

import pytest

from homebody import simulate
from homebody_privacy.environment import DATA

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    """Return the module that measures."""
    spec = importlib.util.spec_from_file_location("utility", ROOT / "benchmarks" / "utility.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_shows_the_table_of_the_kept_results(benchmark: ModuleType) -> None:
    results = json.loads((ROOT / "benchmarks/results/utility.json").read_text("utf-8"))
    assert set(results) == {setting.name for setting in benchmark.SETTINGS}
    assert benchmark.table(results) in (ROOT / "docs/utility.md").read_text("utf-8")


@pytest.mark.slow
def test_complete_journey_at_epsilon_4_is_above_popularity(tmp_path: Path) -> None:
    run = simulate(config=ROOT / "privacy.toml", epsilon=4.0, runs=tmp_path)
    assert run.epsilon is not None
    assert run.epsilon["user"]["spent"] <= 4.0
    lower_end = run.report["utility"]["model"]["ndcg@10"]["low"]
    assert lower_end > run.baselines["popularity"]["ndcg@10"]


@pytest.mark.slow
@pytest.mark.parametrize(("data", "least"), [("movielens-100k", 0.095), ("movielens-1m", 0.115)])
def test_movielens_without_privacy_reaches_its_target(
    tmp_path: Path, data: str, least: float
) -> None:
    if not os.environ.get(DATA):
        pytest.skip(f"data set {data} not found: set {DATA}")
    config = ROOT / "privacy.toml"
    run = simulate(data, config=config, epsilon=None, recipe="rounds", seed=1, runs=tmp_path)
    assert run.metrics["ndcg@10"] >= least
