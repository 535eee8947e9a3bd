"""Small runs with either noise and one without, each made once and only read by the tests."""

from collections.abc import Callable
from pathlib import Path

import pytest

from homebody_simulation.api import simulate
from homebody_simulation.simulate import SimulatedRun

DEVICES = 40


@pytest.fixture(scope="session")
def small_config(write_config: Callable[..., Path]) -> Path:
    """Return a config for forty devices, all of whom are drawn: cheap to account."""
    return write_config(rounds=2, cohort_size=DEVICES, cohort_cap=80, delta=1e-3)


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory, small_config: Path) -> SimulatedRun:
    """Return a finished run of two rounds; read only."""
    runs = tmp_path_factory.mktemp("small")
    return simulate(
        "synthetic", devices=DEVICES, items=20, config=small_config, runs=runs, name="small"
    )


QUALITY = """
[metrics.quality]
purpose = "metrics"
features = ["purchases"]
noise_multiplier = 20.0
releases_per_run = 2

[aggregation]
report_goal = 5
"""


@pytest.fixture(scope="session")
def correlated_config(write_config: Callable[..., Path]) -> Path:
    """Return a config of six ``blt`` rounds over forty devices, with a figure and a report goal."""
    return write_config(
        mechanism="blt",
        rounds=6,
        cohort_size=10,
        cohort_cap=10,
        min_separation=3,
        max_rounds_per_device=2,
        delta=1e-3,
        more=QUALITY,
    )


@pytest.fixture(scope="session")
def correlated_run(
    tmp_path_factory: pytest.TempPathFactory, correlated_config: Path
) -> SimulatedRun:
    """Return a finished run of correlated noise that released a figure twice; read only."""
    runs = tmp_path_factory.mktemp("correlated")
    return simulate(
        "synthetic", devices=DEVICES, items=20, config=correlated_config, runs=runs, name="blt"
    )


STATISTICS = """
[statistics]
recipe = "both"
"""


@pytest.fixture(scope="session")
def both_config(write_config: Callable[..., Path]) -> Path:
    """Return a config of statistics, then two rounds, with a figure of start and end."""
    return write_config(
        mechanism="blt",
        rounds=2,
        cohort_size=20,
        cohort_cap=20,
        min_separation=2,
        max_rounds_per_device=1,
        delta=1e-3,
        more=QUALITY + STATISTICS,
    )


@pytest.fixture(scope="session")
def both_run(tmp_path_factory: pytest.TempPathFactory, both_config: Path) -> SimulatedRun:
    """Return a finished run of statistics and rounds, which compared its two models; read only."""
    runs = tmp_path_factory.mktemp("both")
    return simulate(
        "synthetic", devices=DEVICES, items=20, config=both_config, runs=runs, name="both"
    )


@pytest.fixture(scope="session")
def statistics_run(tmp_path_factory: pytest.TempPathFactory, both_config: Path) -> SimulatedRun:
    """Return a finished run of statistics alone, over all but the last event; read only."""
    runs = tmp_path_factory.mktemp("statistics")
    return simulate(
        "synthetic",
        devices=DEVICES,
        items=20,
        config=both_config,
        runs=runs,
        recipe="statistics",
        refit=True,
        name="statistics",
    )


@pytest.fixture(scope="session")
def reference_run(tmp_path_factory: pytest.TempPathFactory, small_config: Path) -> SimulatedRun:
    """Return a finished run without noise; read only."""
    runs = tmp_path_factory.mktemp("reference")
    return simulate(
        "synthetic",
        devices=DEVICES,
        items=20,
        config=small_config,
        runs=runs,
        rounds=1,
        epsilon=None,
        name="reference",
        seed=3,
    )
