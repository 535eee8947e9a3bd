"""The command line in a process of its own, and a small finished run."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from homebody import simulate
from homebody_privacy.environment import STATE
from homebody_simulation.simulate import SimulatedRun

DEVICES = 40

Finished = subprocess.CompletedProcess[str]
Cli = Callable[..., Finished]


@pytest.fixture(scope="session")
def environ() -> dict[str, str]:
    """Return the environment of a child: wide enough that no message is broken in two."""
    return {**os.environ, "COLUMNS": "400", "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}


@pytest.fixture(scope="session")
def cli(environ: dict[str, str]) -> Cli:
    """Runner of ``python -m homebody`` in a folder of its own."""

    def run(*arguments: str | Path, cwd: Path) -> Finished:
        command = [sys.executable, "-m", "homebody", *map(str, arguments)]
        now = {**environ, STATE: os.environ[STATE]}  # a module may have a state of its own
        return subprocess.run(
            command, cwd=cwd, env=now, capture_output=True, text=True, timeout=240, check=False
        )

    return run


@pytest.fixture(scope="session")
def tiny_config(write_config: Callable[..., Path]) -> Path:
    """Return a config for forty devices, all of whom are drawn: cheap to account."""
    small = f'[activity]\npopulation = {DEVICES}\n[ledger]\nwitness = "none"\n'
    return write_config(rounds=2, cohort_size=DEVICES, cohort_cap=80, delta=1e-3, more=small)


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory, tiny_config: Path) -> SimulatedRun:
    """Return a finished run of one round; read only."""
    runs = tmp_path_factory.mktemp("tiny")
    return simulate(
        "synthetic",
        devices=DEVICES,
        items=20,
        config=tiny_config,
        runs=runs,
        rounds=1,
        name="tiny",
    )
