"""The kernel of logistic factorisation gives the same bits whoever compiled it, and for what."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import hashlib
import numpy as np
from homebody_models.draws import device_keys
from homebody_models.logistic_factorization import LogisticFactorization
from homebody_privacy.lattice import Lattice
from homebody_simulation.cohort.kernel import Work
from homebody_simulation.cohort.on_numba.factorization import LogisticKernel

model = LogisticFactorization(50, dim=20, rows_rate=3.0)
rng = np.random.default_rng(0)
lengths = rng.integers(0, 200, 40)
work = Work(
    ptr=np.concatenate(([0], np.cumsum(lengths))),
    items=rng.integers(0, 50, lengths.sum()).astype(np.int32),
    rows=np.arange(40),
    keys=device_keys(3, np.arange(40)),
    lattice=Lattice(0.5, 20),
)
sums = LogisticKernel.of(model).run(model.init(rng), work)
print(hashlib.sha256(sums.sum.tobytes() + sums.norms.tobytes()).hexdigest())
"""


def _digest(cache: Path, **variables: str) -> str:
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache)} | variables
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, env=environment
    )
    return done.stdout.strip()


@pytest.mark.slow  # compiles the kernel twice, each in a process of its own
@pytest.mark.skipif(
    platform.machine() not in {"x86_64", "AMD64"}, reason="names an x86-64 processor"
)
def test_bits_do_not_depend_on_the_compiler_run_or_the_processor(tmp_path: Path) -> None:
    fresh = _digest(tmp_path / "own")
    kept = _digest(tmp_path / "own")  # loaded from disk: inlined elsewhere than in the first
    narrow = _digest(tmp_path / "narrow", NUMBA_CPU_NAME="haswell")  # half the vector, 16 registers
    assert fresh == kept == narrow
