"""docs/privacy-engine.md shows what the benchmark kept, and that keeps to its targets."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
RUNNING_SUMS = ((3.1, 3.8), (6.9, 8.7), (17.5, 21.2), (20.0, 23.7))
"""Noise of running sums published for the same settings, to the digits published."""


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    """Return the module that measures."""
    spec = importlib.util.spec_from_file_location("privacy", ROOT / "benchmarks" / "privacy.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def kept() -> dict[str, Any]:
    """Return the results that were kept."""
    found: dict[str, Any] = json.loads(
        (ROOT / "benchmarks/results/privacy.json").read_text("utf-8")
    )
    return found


def test_the_page_shows_the_kept_results(benchmark: ModuleType, kept: dict[str, Any]) -> None:
    page = (ROOT / "docs/privacy-engine.md").read_text("utf-8")
    assert benchmark.table(kept) in page
    assert benchmark.speed_words(kept) in " ".join(page.split())


def test_the_engine_is_never_below_the_reference_and_within_a_hundredth(
    kept: dict[str, Any],
) -> None:
    assert len(kept["accounting"]) >= 8
    for row in kept["accounting"]:
        assert row["dp_accounting"] <= row["engine"] <= 1.01 * row["dp_accounting"]
        assert 0.0 <= row["prv"] - row["dp_accounting"] <= 0.02


def test_correlated_noise_is_as_small_as_published(kept: dict[str, Any]) -> None:
    for row, published in zip(kept["running_sums"], RUNNING_SUMS, strict=True):
        for measured, digits in zip(row["blt"], published, strict=True):
            assert measured <= digits + 0.05
        assert row["blt"][0] < row["independent"][0]


def test_noise_and_strategy_are_found_in_time(kept: dict[str, Any]) -> None:
    assert kept["speed"]["coordinates"] == 250_000
    assert kept["speed"]["lattice_noise_s"] <= 0.2
    assert kept["speed"]["optimise_2000_rounds_s"] <= 5.0


def test_a_row_measured_anew_is_what_was_kept(benchmark: ModuleType, kept: dict[str, Any]) -> None:
    run = benchmark.correlated(500, 100, 9.75, 250_000)
    row = next(row for row in kept["accounting"] if row["setting"].startswith("blt T 500"))
    assert benchmark.spent_epsilon([run], 1e-7) == pytest.approx(row["engine"], rel=1e-9)
    assert benchmark.direct([run], 1e-7) == pytest.approx(row["dp_accounting"], rel=1e-9)
