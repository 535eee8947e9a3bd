"""A tiny ragged cohort, and a child process in which Triton interprets its programs.

Triton decides when it is first imported whether to interpret, so that whoever does must be a
process of its own: ``python triton_world.py FILE CASE...`` runs the cases and writes their arrays.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from homebody_models.core_tower import CoreTower
from homebody_models.draws import Draws, device_keys
from homebody_models.logistic_factorization import LogisticFactorization
from homebody_models.matrix_factorization import MatrixFactorization
from homebody_models.popularity import Popularity
from homebody_models.recommender import Recommender
from homebody_models.two_tower import TwoTower
from homebody_privacy.lattice import Lattice
from homebody_simulation.cohort.bounds import Bounds
from homebody_simulation.cohort.kernel import Kernel, Work

ITEMS: Final = 20
ROUND_KEY: Final = 3
STATISTICS: Final = "statistics"
"""The case of one-shot statistics; see ``triton_statistics``."""

Arrays = dict[str, npt.NDArray[Any]]


def histories(case: str = "") -> list[npt.NDArray[np.int64]]:
    """Return histories of 0, 1, 2, 33 and 70 events, with repeats, and one of a single item.

    In a long case, on the finest lattice: of 300 events, of 64, of 65, of every item once, of every
    item twice, of two items in turn.
    """
    rng = np.random.default_rng(5)
    if case.endswith(":long"):
        drawn = [rng.integers(0, ITEMS, n) for n in (300, 64, 65)]
        everything = np.arange(ITEMS)
        return [*drawn, everything, np.tile(everything, 2), np.tile([3, 4], 20)]
    drawn = [rng.integers(0, ITEMS, n) for n in (0, 1, 2, 33, 70)]
    return [*drawn, np.full(9, 7, np.int64)]


def models() -> dict[str, Recommender]:
    """Return the models by the name of their case; the wide ones are compiled alone."""
    features = np.random.default_rng(6).normal(size=(ITEMS, 3)).astype(np.float32)
    return {
        # Rates at which a row met again shows.
        "factorization": LogisticFactorization(
            ITEMS, dim=5, batch=16, negatives=2, rows_rate=20.0, user_rate=2.0
        ),
        "gentle": LogisticFactorization(ITEMS, dim=5, batch=16, negatives=2),
        "content": TwoTower(
            ITEMS, features, content=True, dim=6, cuts=3, history_max=16, repeat=2.0
        ),
        "ridge": MatrixFactorization(ITEMS, dim=5, history_max=40),
        "core": CoreTower(ITEMS, dim=5, history_max=16),
        "popularity": Popularity(ITEMS),
        "tower": TwoTower(ITEMS, features, dim=17, cuts=8),
        "repeats": CoreTower(ITEMS, dim=37, cuts=9, hidden=False, repeat=2.0, sharpness=1.0),
        "wide-factorization": LogisticFactorization(ITEMS, dim=64),  # as the speed benchmark
        "wide-tower": TwoTower(ITEMS, features, content=True, dim=64, repeat=1.0),
        "wide-ridge": MatrixFactorization(ITEMS, dim=64),
        "wide-core": CoreTower(ITEMS, dim=128, repeat=1.0),
    }


def model_of(case: str) -> Recommender:
    """Return the model of a case, which is its name and perhaps what befalls it."""
    return models()[case.partition(":")[0]]


def parameters_of(case: str) -> npt.NDArray[np.float32]:
    """Return a model to train: no part of it is zero, and all of it NaN in a broken case."""
    model = model_of(case)
    flat = model.init(np.random.default_rng(7)).astype(np.float32).reshape(-1)
    flat += np.random.default_rng(8).normal(0.0, 0.1, flat.shape).astype(np.float32)
    return np.full_like(flat, np.nan) if case.endswith(":broken") else flat


def work_of(rows: list[int], case: str = "", *, per_device: bool = False) -> Work:
    """Return the work of some devices."""
    own = histories(case)
    numbers = np.array(rows, np.int64)
    return Work(
        ptr=np.concatenate(([0], np.cumsum([len(h) for h in own]))).astype(np.int64),
        items=np.concatenate(own).astype(np.int32),
        rows=numbers,
        keys=device_keys(ROUND_KEY, numbers),
        lattice=Lattice(0.1, 20 if case.endswith(":long") else 16),
        per_device=per_device,
    )


def alone(case: str, device: int, work: Work) -> tuple[npt.NDArray[np.int32], float]:
    """Return one device's contribution by the code a device runs, and the norm of its update."""
    draws = Draws.of(ROUND_KEY, device)
    with np.errstate(all="ignore"):
        gradient = model_of(case).local_gradient(
            parameters_of(case), histories(case)[device], draws
        )
    return work.lattice.contribution(-gradient.vector), float(np.linalg.norm(gradient.vector))


def run_interpreted(program: str, *arguments: str) -> None:
    """Run a program that lies beside this one where Triton interprets."""
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    file = Path(__file__).with_name(program)
    # Warnings are errors, but for typer's with click 8.5.
    warnings = ["-W", "error", "-W", "ignore:'click.:DeprecationWarning:typer"]
    command = [sys.executable, *warnings, str(file), *arguments]
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(done.stdout + done.stderr)


def interpret(folder: Path, *cases: str) -> dict[str, Arrays]:
    """Run cases in a process where Triton interprets, and return their arrays by case."""
    path = folder / "interpreted.npz"
    run_interpreted(Path(__file__).name, str(path), *cases)
    found: dict[str, Arrays] = {case: {} for case in cases}
    with np.load(path) as arrays:
        for name in arrays.files:
            case, _, what = name.rpartition("/")
            found[case][what] = arrays[name]
    return found


def everyone(kernel: Kernel, case: str) -> Arrays:
    """Return what a kernel makes of all devices at once, each apart."""
    work = work_of([3, 0, 5, 1, 2, 4], case, per_device=True)
    sums = kernel.run(parameters_of(case), work)
    assert sums.each is not None
    return {
        "rows": work.rows,
        "sum": sums.sum,
        "each": sums.each,
        "norms": sums.norms,
        "status": sums.status,
    }


def in_shards(kernel: Kernel, case: str) -> Arrays:
    """Return the sum of what a kernel makes of the devices in two shards, in another order."""
    first, second = (
        kernel.run(parameters_of(case), work_of(rows, case)).sum for rows in ([2, 4, 0], [5, 3, 1])
    )
    return {"sharded": first + second}


@contextmanager
def befallen(case: str) -> Iterator[None]:
    """Make happen what a case is about: no device keeps to the bound, or entries run out."""
    from homebody_simulation.cohort.on_triton import factorization  # noqa: PLC0415

    kept, of = vars(factorization)["_LARGEST"], Bounds.of
    if case.endswith(":past"):
        Bounds.of = lambda *given: replace(of(*given), squares=1)  # type: ignore[method-assign]
    if case.endswith(":full"):  # room for the longest device alone
        vars(factorization)["_LARGEST"] = 3 * max(map(len, histories())) + 1
    try:
        yield
    finally:
        Bounds.of = of  # type: ignore[method-assign]
        vars(factorization)["_LARGEST"] = kept


def _main(path: str, *cases: str) -> None:
    # Triton is loaded here, in the child alone.
    from homebody_simulation.cohort.on_triton.kernels import kernel_of  # noqa: PLC0415

    arrays: Arrays = {}
    for case in cases:
        with befallen(case), np.errstate(invalid="ignore" if ":broken" in case else None):
            if case.startswith(STATISTICS):
                from triton_statistics import interpreted  # type: ignore[import-not-found]  # noqa: PLC0415 beside it

                found = dict(interpreted(case))
            else:
                kernel = kernel_of(model_of(case))
                assert kernel is not None
                found = everyone(kernel, case) | in_shards(kernel, case)
        arrays |= {f"{case}/{what}": array for what, array in found.items()}
    with Path(path).open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


if __name__ == "__main__":
    _main(*sys.argv[1:])
