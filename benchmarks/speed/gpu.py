"""How fast a GPU trains: the workload of the table, TwoTower beside its own roofline, the rest.

    python benchmarks/speed/gpu.py [--rounds N] [--tune] [--json FILE]

Prints devices a second at a cohort of 500 of 6,040 devices and of 50,000 of a million, then of the
one-shot statistics of as many, of popularity and of the core tower, each after it has held some
devices' integers against one device at a time. Without a CUDA device it says so and ends
with code 1; with ``TRITON_INTERPRET=1`` and small numbers it can be tried without one:

    TRITON_INTERPRET=1 python benchmarks/speed/gpu.py --small
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

sys.path.insert(0, str(Path(__file__).parent))

from gpu_passes import Pass, model_passes, statistic_passes
from roofline import NoDeviceError, Roofline, processor_here, tower_roofline
from world import (
    BATCH,
    CLIP_NORM,
    DEVICES,
    DIM,
    ITEMS,
    NEGATIVES,
    NOISE_MULTIPLIER,
    TIMED,
    World,
    cohort,
    device_keys,
    make_world,
    negatives,
    round_key,
)

from homebody_models.logistic_epoch import Epoch, local_epoch
from homebody_models.logistic_factorization import LogisticFactorization
from homebody_privacy.lattice import Lattice
from homebody_privacy.mechanisms import GaussianMechanism
from homebody_privacy.stream import NoiseStream, derive_key
from homebody_simulation.cohort.kernel import Sums, Work

_WARM: Final = 3
_CHECKED: Final = 8  # devices held against the reference
_TOWER_COHORT: Final = 4096
_KEY: Final = bytes(32)  # the benchmark's noise protects nobody

SHAPES: Final[tuple[dict[str, int], ...]] = (
    {"pairs": 16, "warps": 1, "registers": 255, "programs": 8},
    {"pairs": 8, "warps": 1, "registers": 128, "programs": 16},
    {"pairs": 16, "warps": 2, "registers": 168, "programs": 6},
    {"pairs": 32, "warps": 8, "registers": 128, "programs": 2},
)
"""Ways to cut up the work that ``--tune`` times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounds:
    """What rounds of one cohort took.

    Attributes:
        cohort: Devices of a round.
        population: Devices in all.
        train_s: Median seconds from the draw of the cohort to the sum on the host: keys, ordering,
            training, clip, sum, user vectors written.
        round_s: The same with the bound's check, the noise and the server's step.
        most_steps: Largest difference of an integer of the checked devices.
        different: Coordinates that differ, a device.
    """

    cohort: int
    population: int
    train_s: float
    round_s: float
    most_steps: int
    different: float

    @property
    def train_rate(self) -> float:
        """Devices a second, training alone."""
        return self.cohort / self.train_s

    @property
    def rate(self) -> float:
        """Devices a second, whole rounds."""
        return self.cohort / self.round_s


def gpu_rounds(
    size: int, population: int, rounds: int, checked: int = _CHECKED, **shape: int
) -> Rounds:
    """Train rounds of the workload and return what they took.

    Args:
        size: Devices of a round.
        population: Devices in all.
        rounds: Rounds timed.
        checked: Devices held against the reference.
        shape: How the work is cut up, where not as always; see ``Shape``.

    Raises:
        NoDeviceError: If there is no CUDA device, and Triton does not interpret.
        RuntimeError: If a sum cannot be that of so many devices, or the check does not hold.
    """
    trainer = _Trainer(make_world(population), shape)
    most, different = trainer.check(checked)
    noise = GaussianMechanism(Lattice(CLIP_NORM), NOISE_MULTIPLIER)
    alone, whole = [], []
    for number in range(_WARM + rounds):
        begun = time.perf_counter()
        rows = cohort(trainer.world, number, size)
        total = trainer.train(rows, number).sum
        alone.append(time.perf_counter() - begun)
        if not trainer.lattice.is_within_bound(total, size):
            raise RuntimeError("the sum is more than so many devices can add")
        stream = NoiseStream(derive_key(_KEY, "benchmark", number + 1))
        trainer.step(total + noise.noise(total.size, stream), size)
        whole.append(time.perf_counter() - begun)
    return Rounds(
        cohort=size,
        population=population,
        train_s=statistics.median(alone[_WARM:]),
        round_s=statistics.median(whole[_WARM:]),
        most_steps=most,
        different=different,
    )


class _Trainer:
    """The workload on a GPU: user vectors and histories stay there."""

    def __init__(self, world: World, shape: dict[str, int]) -> None:
        where = processor_here()  # says what is missing, before a program is loaded
        from homebody_simulation.cohort.on_triton.factorization import (  # noqa: PLC0415
            Shape,
            TritonFactorization,
        )
        from homebody_simulation.cohort.on_triton.loading import Loader  # noqa: PLC0415

        self.world = world
        self.lattice = Lattice(CLIP_NORM)
        self.table = torch.from_numpy(np.array(world.table)).to(where)
        self.users = torch.from_numpy(np.array(world.users)).to(where)
        self.loader = Loader(where)
        self.kernel = TritonFactorization(
            LogisticFactorization(
                ITEMS,
                dim=DIM,
                batch=BATCH,
                negatives=NEGATIVES,
                rows_rate=TIMED.rows,
                user_rate=TIMED.user,
            ),
            Shape(**shape),
        )

    def train(self, rows: npt.NDArray[np.int64], number: int, *, per_device: bool = False) -> Sums:
        """Train a cohort; the vectors of its users are changed."""
        work = Work(
            ptr=self.world.ptr,
            items=self.world.items,
            rows=rows,
            keys=device_keys(round_key(number), rows),
            lattice=self.lattice,
            per_device=per_device,
        )
        loaded = self.loader.load(work)
        places = torch.from_numpy(rows).to(self.users.device)[loaded.order]
        own = self.users[places]
        sums, left = self.kernel.train(loaded, self.table, None, own, work)
        if len(left):
            raise RuntimeError("a device was left out: it is not finite, or passed its bound")
        self.users[places] = own
        return sums

    def step(self, released: npt.NDArray[np.int64], size: int) -> None:
        """Change the table by what is released."""
        change = torch.from_numpy(self.lattice.decode(released) / size).to(self.table.device)
        self.table += change.to(torch.float32).view(self.table.shape)

    def check(self, devices: int) -> tuple[int, float]:
        """Return how far integers are from the reference's, and how many differ a device.

        Raises:
            RuntimeError: If one is further than a step away.
        """
        rows = np.sort(cohort(self.world, 0, devices))
        before = self.users.clone()
        each = self.train(rows, 0, per_device=True).each
        self.users = before
        epoch = Epoch(batch=BATCH, rows_rate=TIMED.rows, user_rate=TIMED.user)
        most, different = 0, 0
        for row, key, own in zip(rows, device_keys(round_key(0), rows), each, strict=True):
            history = self.world.history(int(row))
            drawn = negatives(key, len(history))
            user = self.world.users[row]
            change = local_epoch(self.world.table, None, user, history, drawn, epoch)
            update = np.zeros(self.world.table.shape)
            update[change.items] = change.rows
            apart = np.abs(own - self.lattice.contribution(update.ravel()))
            most = max(most, int(apart.max()))
            different += int(np.count_nonzero(apart))
        if most > 1:
            raise RuntimeError(f"an integer is {most} steps from the reference's")
        return most, different / max(devices, 1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=50, help="rounds timed")
    parser.add_argument("--tune", action="store_true", help="also time other shapes of the work")
    parser.add_argument("--small", action="store_true", help="tiny sizes, to try the program")
    parser.add_argument("--json", type=Path, help="also write what was found")
    asked = parser.parse_args(arguments)
    try:
        where = processor_here()
        name = torch.cuda.get_device_name(where) if where.type == "cuda" else "interpreted"
        print(f"GPU: {name}; torch {torch.__version__}")
        if asked.small:
            sizes, towers = [(2, DEVICES, 1, 1)], [("ieee", 2, 1, 70)]
            populations, trained = [(2, 1, 1)], [(2, 2, 1, 1)]
        else:
            sizes = [(n, of, asked.rounds, _CHECKED) for n, of in ((500, DEVICES), (50_000, 10**6))]
            towers = [(way, _TOWER_COHORT, 10, ITEMS) for way in ("ieee", "tf32x3")]
            populations = [(of, 10, _CHECKED) for of in (DEVICES, 10**6)]
            trained = [(DEVICES, _TOWER_COHORT, 10, _CHECKED)]
        rounds = [_shown(gpu_rounds(*size)) for size in sizes]
        if asked.tune:
            for shape in SHAPES:
                for size in sizes:
                    print(shape, end=": ")
                    _shown(gpu_rounds(*size, **shape))
        rooflines = [_drawn(tower_roofline(*tower)) for tower in towers]
        passes = [_passed(one) for size in populations for one in statistic_passes(*size)]
        passes += [_passed(one) for size in trained for one in model_passes(*size)]
    except NoDeviceError as error:
        print(error)
        return 1
    if asked.json:
        found = {"gpu": name, "rounds": rounds, "towers": rooflines, "passes": passes}
        asked.json.write_text(json.dumps(found, indent=1), "utf-8")
    return 0


def _shown(one: Rounds) -> dict[str, Any]:
    print(
        f"cohort {one.cohort:,} of {one.population:,}: {one.train_rate:,.0f} devices/s trained "
        f"({1e3 * one.train_s:.2f} ms), {one.rate:,.0f} with noise and step "
        f"({1e3 * one.round_s:.2f} ms); check: at most {one.most_steps} step, on "
        f"{one.different:.2f} coordinates a device"
    )
    return {**asdict(one), "devices_s": one.rate, "trained_s": one.train_rate}


def _passed(one: Pass) -> dict[str, Any]:
    print(
        f"{one.what}, {one.devices:,} devices once: {one.rate:,.0f} devices/s "
        f"({1e3 * one.seconds:.2f} ms); check: at most {one.most_steps} step, on "
        f"{one.different:.2f} coordinates a device"
    )
    return {**asdict(one), "devices_s": one.rate}


def _drawn(one: Roofline) -> dict[str, Any]:
    print(
        f"TwoTower, {one.precision}: {one.devices / one.seconds:,.0f} devices/s; "
        f"{one.flop / one.seconds / 1e12:.2f} of {one.flop_s / 1e12:.2f} TFLOP/s, "
        f"{one.bytes / one.seconds / 1e9:.0f} of {one.bytes_s / 1e9:.0f} GB/s; "
        f"{one.ratio:.2f} times its roofline ({1e3 * one.least_s:.2f} ms)"
    )
    return {**asdict(one), "ratio": one.ratio}


if __name__ == "__main__":
    sys.exit(main())
