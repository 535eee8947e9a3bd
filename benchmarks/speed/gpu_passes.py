"""Every device once on a GPU: the one-shot statistics, and the models of one launch or few."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).parent))

from roofline import median_s, processor_here
from world import CLIP_NORM, ITEMS, World, cohort, device_keys, make_world, round_key

from homebody_client.statistic import Pairs, Statistic
from homebody_models.core_tower import CoreTower
from homebody_models.draws import Draws
from homebody_models.popularity import Popularity
from homebody_models.statistics.contribution import popularity_statistic
from homebody_models.statistics.space import Space
from homebody_privacy.lattice import Lattice
from homebody_simulation.cohort.kernel import Work

HEAD: Final = 3_000
"""Items of the pairs' head."""

WINDOW: Final = 0.8
CORE_DIM: Final = 64

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """What a pass over some devices took.

    Attributes:
        what: What was computed.
        devices: Of how many devices.
        seconds: Median seconds, from the work to the sum on the host.
        most_steps: Largest difference of an integer from that of the devices' own code.
        different: Integers that differ, a device of those checked.
    """

    what: str
    devices: int
    seconds: float
    most_steps: int
    different: float

    @property
    def rate(self) -> float:
        """Devices a second."""
        return self.devices / self.seconds


def statistic_passes(population: int, rounds: int, checked: int) -> list[Pass]:
    """Count both one-shot statistics of a population.

    Args:
        population: Devices.
        rounds: Passes timed.
        checked: Devices whose sum is held against their own code: it must be the same.

    Raises:
        NoDeviceError: If there is no CUDA device, and Triton does not interpret.
        RuntimeError: If an integer differs.
    """
    processor_here()  # says what is missing, before a program is loaded
    from homebody_simulation.cohort.on_triton.counts import TritonPopularity  # noqa: PLC0415
    from homebody_simulation.cohort.on_triton.kernels import counter_beside  # noqa: PLC0415

    world = make_world(population)
    counter = counter_beside(TritonPopularity(ITEMS))
    chosen = np.bincount(world.items, minlength=ITEMS).astype(np.float32)
    space, lattice = Space.of(chosen, HEAD), Lattice(1.0)
    everyone, few = np.arange(population), np.sort(cohort(world, 0, checked))
    found = []
    for what, length, of, count in (
        (
            "one-shot statistic of popularity",
            ITEMS,
            popularity_statistic,
            lambda work: counter.popularity(work, ITEMS),
        ),
        (
            f"one-shot statistic of the pairs of {HEAD:,} items",
            space.length,
            Pairs(space=space, window=WINDOW),
            lambda work: counter.pairs(work, space, WINDOW),
        ),
    ):
        alone = Statistic(length=length, lattice=lattice, of=of)
        apart = count(_work(world, few, lattice)) - alone.total(map(world.history, few.tolist()))
        if apart.any():
            raise RuntimeError(f"{what}: {np.count_nonzero(apart)} integers are not the devices'")
        work = _work(world, everyone, lattice)
        seconds = median_s(lambda c=count, w=work: c(w), rounds)
        found.append(
            Pass(what=what, devices=population, seconds=seconds, most_steps=0, different=0.0)
        )
    return found


def model_passes(population: int, devices: int, rounds: int, checked: int) -> list[Pass]:
    """Train popularity and the core tower.

    Args:
        population: Devices in all.
        devices: Devices trained.
        rounds: Passes timed.
        checked: Devices held against their own code.

    Raises:
        NoDeviceError: If there is no CUDA device, and Triton does not interpret.
        RuntimeError: If an integer is more than a step away.
    """
    processor_here()  # says what is missing, before a program is loaded
    from homebody_simulation.cohort.on_triton.kernels import kernel_of  # noqa: PLC0415

    world, lattice = make_world(population), Lattice(CLIP_NORM)
    rows = np.sort(cohort(world, 0, devices))
    found = []
    for model in (Popularity(ITEMS), CoreTower(ITEMS, dim=CORE_DIM)):
        kernel = kernel_of(model)
        if kernel is None:
            raise RuntimeError(f"{model.name} has no kernel")
        parameters = model.init(np.random.default_rng(0))
        few = _work(world, rows[:checked], lattice, per_device=True)
        each = kernel.run(parameters, few).each
        most = different = 0
        for row, key, own in zip(few.rows.tolist(), few.keys.tolist(), each, strict=True):
            gradient = model.local_gradient(parameters, world.history(row), Draws(key)).vector
            apart = np.abs(own - lattice.contribution(-gradient))
            most = max(most, int(apart.max()))
            different += int(np.count_nonzero(apart))
        if most > 1:
            raise RuntimeError(f"{model.name}: an integer is {most} steps from the device's")
        work = _work(world, rows, lattice)
        found.append(
            Pass(
                what=f"model {model.name}",
                devices=devices,
                seconds=median_s(lambda k=kernel, p=parameters, w=work: k.run(p, w), rounds),
                most_steps=most,
                different=different / max(checked, 1),
            )
        )
    return found


def _work(world: World, rows: Integers, lattice: Lattice, *, per_device: bool = False) -> Work:
    return Work(
        ptr=world.ptr,
        items=world.items,
        rows=rows,
        keys=device_keys(round_key(0), rows),
        lattice=lattice,
        per_device=per_device,
    )
