"""How fast each engine trains each model on one core, and how fast one-shot statistics are counted.

    OMP_NUM_THREADS=1 python benchmarks/speed/engines.py [--data NAME] [--devices 500]
        [--population 1000000]

In devices per CPU second, best of three after one to compile, all in one process: only ratios
within one run count. ``reference`` is one device after another, by the code a device runs; the
statistics' is the same, of three thousand devices. Integers are compared, too: how many of a
device's differ from the reference's, each by one step.
"""

import argparse
import time
from collections.abc import Callable, Iterable

import numpy as np

from homebody_client.statistic import Pairs, Statistic
from homebody_models.core_tower import CoreTower
from homebody_models.draws import Draws, device_keys
from homebody_models.interactions import Interactions
from homebody_models.logistic_factorization import LogisticFactorization
from homebody_models.matrix_factorization import MatrixFactorization
from homebody_models.popularity import Popularity
from homebody_models.recommender import Recommender
from homebody_models.statistics.contribution import popularity_statistic
from homebody_models.statistics.space import Space
from homebody_models.two_tower import TwoTower
from homebody_privacy.lattice import Lattice
from homebody_simulation.cohort.kernel import Work
from homebody_simulation.cohort.on_numba.counts import popularity_total
from homebody_simulation.cohort.on_numba.kernels import kernel_of as on_numba
from homebody_simulation.cohort.on_torch.kernels import kernel_of as on_torch
from homebody_simulation.cohort.statistics_pairs import pairs_total
from homebody_simulation.datasets import load_dataset

_SLOW = 40  # devices that the slow ways train
_ONE_BY_ONE = 3_000  # devices whose statistics are counted in turn
_LATTICE = Lattice(0.5)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", default="movielens-1m", help="data set that is trained on")
    parser.add_argument("--devices", type=int, default=500, help="cohort")
    parser.add_argument("--population", type=int, default=1_000_000, help="synthetic devices")
    asked = parser.parse_args()
    data = load_dataset(asked.data).interactions
    _engines(data, min(asked.devices, data.devices))
    _statistics(asked.data, data, 3_000)
    synthetic = load_dataset("synthetic", devices=asked.population, items=500).interactions
    _statistics("synthetic", synthetic, 500)


def _engines(data: Interactions, devices: int) -> None:
    items, features = len(data.catalog), data.catalog.features
    models: Iterable[Recommender] = (
        Popularity(items),
        MatrixFactorization(items),
        LogisticFactorization(items),
        TwoTower(items, features),
        TwoTower(items, features, content=True, repeat=20.0),
        CoreTower(items),
    )
    print("model, devices per CPU second: reference, torch, numba (integers apart a device)")
    for model in models:
        parameters = model.init(np.random.default_rng(0))
        rows = np.random.default_rng(1).permutation(data.devices)[:devices]
        few = rows[:_SLOW]
        expected, seconds = _timed(lambda m=model, p=parameters, r=few: _alone(m, p, data, r))
        line = [f"{len(few) / seconds:10,.0f}"]
        for find, own in ((on_torch, few), (on_numba, rows)):
            kernel = find(model)
            if kernel is None:
                line.append(f"{'-':>10}")
                continue
            work = _work(data, own)
            _, seconds = _timed(lambda k=kernel, p=parameters, w=work: k.run(p, w))
            each = kernel.run(parameters, _work(data, few, per_device=True)).each
            apart = np.count_nonzero(each != expected) / len(few)
            line.append(f"{len(own) / seconds:10,.0f} ({apart:.2f})")
        print(f"{model.name:24}", *line)


def _statistics(name: str, data: Interactions, head: int) -> None:
    items, rows = len(data.catalog), np.arange(data.devices)
    space = Space.of(np.bincount(data.items, minlength=items).astype(np.float32), head)
    lattice, pairs = Lattice(1.0), Pairs(space=space, window=0.8)
    few = np.random.default_rng(1).permutation(data.devices)[:_ONE_BY_ONE]

    def gram(own: np.ndarray) -> np.ndarray:
        return pairs_total(
            data.ptr, data.items, own, space=space, window=0.8, lattice=lattice, threads=1
        )

    def popularity(own: np.ndarray) -> np.ndarray:
        return popularity_total(data.ptr, data.items, own, length=items, lattice=lattice, threads=1)

    counted = (
        (
            "popularity",
            popularity,
            Statistic(length=items, lattice=lattice, of=popularity_statistic),
        ),
        ("pairs", gram, Statistic(length=space.length, lattice=lattice, of=pairs)),
    )
    for what, at_once, one in counted:
        alone, slow = _timed(lambda o=one: o.total(map(data.history, few.tolist())))
        same, fast = _timed(lambda f=at_once: f(few))
        _, seconds = _timed(lambda f=at_once: f(rows))
        print(
            f"{name}, {what}: {len(rows):,} devices in {seconds:.2f} CPU s; of {len(few):,},"
            f" {slow / fast:.1f} times as fast as in turn; {np.count_nonzero(alone != same)} of"
            f" {len(same):,} integers differ"
        )


def _alone(
    model: Recommender, parameters: np.ndarray, data: Interactions, rows: np.ndarray
) -> np.ndarray:
    keys = device_keys(3, rows).tolist()
    gradients = (
        model.local_gradient(parameters, data.history(row), Draws(key)).vector
        for row, key in zip(rows.tolist(), keys, strict=True)
    )
    return np.array([_LATTICE.contribution(-gradient) for gradient in gradients], np.int64)


def _work(data: Interactions, rows: np.ndarray, **own: bool) -> Work:
    keys = device_keys(3, rows)
    return Work(ptr=data.ptr, items=data.items, rows=rows, keys=keys, lattice=_LATTICE, **own)


def _timed(call: Callable[[], object]) -> tuple[object, float]:
    """Return what a call returns, and the least of three CPU seconds after one for nothing."""
    result, best = call(), np.inf
    for _ in range(3):
        start = time.process_time()
        result = call()
        best = min(best, time.process_time() - start)
    return result, best


if __name__ == "__main__":
    main()
