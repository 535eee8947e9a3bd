"""One small run with noise and one without, each made once and only read by the tests."""

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
