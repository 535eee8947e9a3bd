"""Measures a section, in a process of its own so that its memory can be told."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from job import read_section, write_answer
from own_worker import mechanism, noise_key, one_round
from ray_cluster import cluster
from trainers import NotAvailableError, Trainer, trainer_of
from tree import cpu_seconds
from world import DEVICES, TIMED, World, make_world

from homebody import simulate
from homebody_models.interactions import Interactions
from homebody_models.metrics import rank_task, summarise
from homebody_models.recommender import Recommender
from homebody_models.split import leave_one_out
from homebody_privacy.environment import DATA
from homebody_privacy.lattice import Lattice
from homebody_privacy.mechanisms import GaussianMechanism
from homebody_privacy.stream import NoiseStream
from homebody_server.noise_ahead import NoiseAhead
from homebody_simulation.cohort.kernel_engine import KernelEngine
from homebody_simulation.cohort.on_numba.kernels import kernel_of
from homebody_simulation.datasets.registry import load_dataset
from homebody_simulation.profiles import profile_of

_HERE: Final = Path(__file__).parent
_MILLION: Final = 1_000_000
_THREADS: Final = 2
_WARM: Final = 1
_SIZES: Final = {500: 60, 2_000: 20, 10_000: 8, 50_000: 3}
"""Rounds timed at each size of a cohort."""


def cohorts(*, quick: bool) -> dict[str, Any]:
    """Time rounds of cohorts of several sizes, in turn, twice."""
    world = make_world(20 * DEVICES if quick else _MILLION)
    sizes = [500, 2_000] if quick else list(_SIZES)
    walls: dict[int, list[tuple[float, float]]] = {size: [] for size in sizes}
    alone: dict[int, list[tuple[float, float]]] = {size: [] for size in sizes}
    busy = dict.fromkeys(sizes, 0.0)
    _rounds(world, sizes[0], 1)  # compiles
    passes = 1 if quick else 2
    for _ in range(passes):
        for size in sizes:
            rounds = 3 if quick else _SIZES[size]
            began = cpu_seconds()
            walls[size] += _rounds(world, size, rounds)
            busy[size] += cpu_seconds() - began
            alone[size] += _rounds(world, size, rounds, threads=1)
    return {
        "sizes": [
            {
                "cohort": size,
                "devices_s": size / float(np.median([wall for wall, _ in walls[size]])),
                "trained_s": size / float(np.median([wall for _, wall in walls[size]])),
                "per_core_s": size * (len(walls[size]) + passes * _WARM) / busy[size],
                "one_thread_s": size / float(np.median([wall for wall, _ in alone[size]])),
                "one_thread_trained_s": size / float(np.median([own for _, own in alone[size]])),
            }
            for size in sizes
        ]
    }


def whole_pass(*, quick: bool) -> dict[str, Any]:
    """Train every device of a population once, in cohorts drawn without replacement."""
    world = make_world(5 * DEVICES if quick else _MILLION)
    size = world.devices // 20
    order = np.random.default_rng(0).permutation(world.devices)
    _rounds(world, min(size, 2_000), 1)  # compiles
    began = time.perf_counter(), cpu_seconds()
    parts = (order[start : start + size] for start in range(0, world.devices, size))
    _run(world, parts, -(-world.devices // size))
    wall, busy = time.perf_counter() - began[0], cpu_seconds() - began[1]
    return {"devices": world.devices, "cohort": size, "wall_s": wall, "cpu_s": busy}


def _rounds(
    world: World, size: int, rounds: int, threads: int = _THREADS
) -> list[tuple[float, float]]:
    """Return the seconds of rounds of one size; one round before them is not timed."""
    rng = np.random.default_rng(size)
    drawn = (rng.choice(world.devices, size, replace=False) for _ in range(rounds + _WARM))
    return _run(world, drawn, rounds + _WARM, threads)[_WARM:]


@dataclass(slots=True)
class _Timed:
    """Says how long its trainer took."""

    trainer: Trainer
    libraries: tuple[str, ...] = ()
    keeps_users: bool = True
    seconds: float = 0.0

    def train(self, *args: Any, **kwargs: Any) -> tuple[npt.NDArray[np.int64], Any]:  # noqa: ANN401 - passed on
        """Train devices; see ``Trainer``."""
        began = time.perf_counter()
        found = self.trainer.train(*args, **kwargs)
        self.seconds = time.perf_counter() - began
        return found


def _run(
    world: World,
    drawn: Iterator[npt.NDArray[np.int64]],
    rounds: int,
    threads: int = _THREADS,
) -> list[tuple[float, float]]:
    """Return the seconds of each round, the draw of its cohort included; and of its training.

    With one thread noise is drawn in its turn, with more of them beside the training.
    """
    table, users = np.array(world.table), world.users
    trainer = _Timed(trainer_of("numba-2", TIMED, threads))
    walls = []
    drawer = mechanism()

    def inline(number: int, dim: int) -> npt.NDArray[np.int64]:
        return drawer.noise(dim, NoiseStream(noise_key(number)))

    with NoiseAhead(drawer, noise_key, dim=table.size, rounds=rounds, keep=None) as ahead:
        noise = ahead.noise if threads > 1 else inline
        for number in range(rounds):
            began = time.perf_counter()
            one_round(world, table, users, next(drawn), number, trainer, noise)
            walls.append((time.perf_counter() - began, trainer.seconds))
    return walls


def movielens(*, quick: bool) -> dict[str, Any]:
    """Train TwoTower on every device of MovieLens 1M once; release what they add up to."""
    data = _movielens(quick=quick)
    train = leave_one_out(data).train
    model = _tower(train)
    kernel = kernel_of(model)
    if kernel is None:
        raise NotAvailableError("numba has no kernel of TwoTower")
    lattice = Lattice(1.0)
    engine = KernelEngine(
        kernel=kernel, histories=train, lattice=lattice, example_key=bytes(32), threads=_THREADS
    )
    noise = GaussianMechanism(lattice, 1.0)
    parameters = model.init(np.random.default_rng(0))
    rows = np.arange(train.devices)
    engine.run(parameters, rows[:64], 1)  # compiles
    walls, busy = [], cpu_seconds()
    for number in range(1 if quick else 5):
        began = time.perf_counter()
        total = engine.run(parameters, rows, number + 1).sum
        if not lattice.is_within_bound(total, len(rows)):
            raise RuntimeError("the sum is more than so many devices can add")
        total += noise.noise(total.size, NoiseStream(noise_key(number)))
        parameters += (0.02 * lattice.decode(total) / len(rows)).astype(np.float32)
        walls.append(time.perf_counter() - began)
    busy = cpu_seconds() - busy
    return {
        "devices": len(rows),
        "wall_s": float(np.median(walls)),
        "cpu_s": busy / len(walls),
        "threads": _THREADS,
    }


def evaluation(*, quick: bool) -> dict[str, Any]:
    """Rank the whole catalog for every device, and take the means with their intervals."""
    data = _movielens(quick=quick)
    split = leave_one_out(data)
    model = _tower(split.train)
    parameters = model.init(np.random.default_rng(0))
    task = split.validation
    rank_task(model, parameters, task)  # touches every page once
    began = time.perf_counter()
    ranked = rank_task(model, parameters, task)
    middle = time.perf_counter()
    summarise(ranked, task, rng=np.random.default_rng(0))
    parts = [
        ("ranks and lists of the whole catalog", middle - began),
        ("means, intervals, diversity", time.perf_counter() - middle),
    ]
    return {
        "items": len(data.catalog),
        "parts": [{"what": what, "devices": len(task), "wall_s": wall} for what, wall in parts],
    }


def _movielens(*, quick: bool) -> Interactions:
    """Return MovieLens 1M; in a hurry, or without it, nothing like it would do."""
    if quick:
        return load_dataset("synthetic", devices=500).interactions
    if not os.environ.get(DATA):
        raise NotAvailableError(f"data set movielens-1m not found: set {DATA}")
    return load_dataset("movielens-1m").interactions


def _tower(data: Interactions) -> Recommender:
    return profile_of("movielens-1m", repeats=False).model("two-tower").build(data.catalog)


def on_gpu(*, quick: bool) -> dict[str, Any]:
    """Train the workload and TwoTower on a GPU, and count statistics there."""
    import gpu  # noqa: PLC0415 - an extra, and a GPU
    import gpu_passes  # noqa: PLC0415
    import roofline  # noqa: PLC0415

    try:
        sizes = [(500, DEVICES)] if quick else [(500, DEVICES), (50_000, _MILLION)]
        rounds = [gpu.gpu_rounds(*size, 5 if quick else 50) for size in sizes]
        towers = [
            roofline.tower_roofline(way, 4096, 3 if quick else 10) for way in ("ieee", "tf32x3")
        ]
        times, checked = (3, 2) if quick else (10, 8)
        passes = [
            one
            for _, population in sizes
            for one in gpu_passes.statistic_passes(population, times, checked)
        ]
        passes += gpu_passes.model_passes(DEVICES, 4096, times, checked)
    except roofline.NoDeviceError as error:
        raise NotAvailableError(str(error)) from error
    return {
        "rounds": [
            {
                "cohort": one.cohort,
                "population": one.population,
                "devices_s": one.rate,
                "trained_s": one.train_rate,
            }
            for one in rounds
        ],
        "towers": [
            {
                "precision": one.precision,
                "devices_s": one.devices / one.seconds,
                "roofline": one.ratio,
            }
            for one in towers
        ],
        "passes": [
            {"what": one.what, "devices": one.devices, "devices_s": one.rate} for one in passes
        ],
    }


def million(*, quick: bool) -> dict[str, Any]:
    """Carry out a run of a million devices, from the request to the report."""
    devices, cohort, rounds = (20_000, 200, 5) if quick else (_MILLION, 10_000, 100)
    began = time.perf_counter(), cpu_seconds()
    with tempfile.TemporaryDirectory() as runs:
        run = simulate(
            "synthetic",
            config=_HERE / "million.toml",
            cohort=cohort,
            rounds=rounds,
            runs=runs,
            devices=devices,
        )
        stages: Mapping[str, float] = run.seconds
    return {
        "devices": devices,
        "cohort": cohort,
        "rounds": rounds,
        "wall_s": time.perf_counter() - began[0],
        "cpu_s": cpu_seconds() - began[1],
        "stages": dict(stages),
    }


def sweep(*, quick: bool) -> dict[str, Any]:
    """Carry out the sweep of five epsilons and three seeds on Complete Journey."""
    points, seeds = ("4", 1) if quick else ("0.5,1,2,4,8", 3)
    began = time.perf_counter(), cpu_seconds()
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(  # noqa: S603 - our own arguments
            [
                *(str(Path(sys.executable).parent / "homebody"), "sweep"),
                *("--config", str(_HERE.parents[1] / "privacy.toml")),
                *("--epsilon", points, "--seeds", str(seeds), "--out", f"{folder}/sweep"),
            ],
            check=True,
        )
    return {
        "points": points.count(",") + 1,
        "seeds": seeds,
        "wall_s": time.perf_counter() - began[0],
        "cpu_s": cpu_seconds() - began[1],
    }


_DOES: Final[Mapping[str, Callable[..., dict[str, Any]]]] = {
    "cohorts": cohorts,
    "pass": whole_pass,
    "movielens": movielens,
    "evaluation": evaluation,
    "gpu": on_gpu,
    "million": million,
    "sweep": sweep,
    "ray": cluster,
}


def main() -> None:
    """Measure the section asked for."""
    asked = read_section()
    try:
        found = _DOES[asked["section"]](quick=asked["quick"])
    except NotAvailableError as error:
        found = {"not_here": str(error)}
    write_answer(Path(asked["folder"]), found)


if __name__ == "__main__":
    main()
