"""A population of any size with planted tastes, a long tail and seasons.

Devices are drawn in blocks, each with a random generator of its own: memory does not grow with the
population but for its columns, which are kept in a file once they are long, and the population does
not depend on how many blocks are drawn at once.
"""

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, ClassVar, Final

import numpy as np
from pydantic import Field

from homebody_models.columns import ColumnWriter
from homebody_models.interactions import Interactions
from homebody_privacy.errors import InvalidFileError
from homebody_simulation.datasets.loader import Dataset, Loader
from homebody_simulation.datasets.synthetic_world import DIM, Drawn, World, draw_devices

_BLOCK: Final = 4096  # devices of one generator
_WORKERS: Final = 4  # each holds some 80 MB


class Synthetic(Loader):
    """Devices with planted tastes; the truth they were drawn from comes along.

    Attributes:
        devices: Number of devices, at least 1.
        items: Number of items, at least 10.
        seed: Same seed and sizes, same arrays (of one numpy version).
    """

    name: ClassVar[str] = "synthetic"
    about: ClassVar[str] = "any number of devices with planted tastes, long tail and seasons"
    devices: Annotated[int, Field(ge=1, le=10_000_000)] = 1000
    items: Annotated[int, Field(ge=10, le=100_000)] = 500
    seed: Annotated[int, Field(ge=0)] = 0

    def load(self, _root: Path | None = None, /) -> Dataset:
        """Draw the population; the argument is not used.

        Raises:
            InvalidFileError: If the folder for temporary files has no room for a large one.
        """
        return self.draw(workers=min(os.cpu_count() or 1, _WORKERS))

    def draw(self, *, workers: int) -> Dataset:
        """Draw the population, that many blocks of devices at a time; raises as ``load``.

        The population is the same for any number of workers.
        """
        rng = np.random.default_rng(self.seed)
        world = World.draw(self.items, rng)
        try:
            drawn = _together(_in_turn(world, self._blocks(rng), workers))
        except OSError as error:
            raise InvalidFileError(
                f"the folder for temporary files cannot take {self.devices:,} devices: "
                f"{error.strerror}",
                fix="name one with more room in TMPDIR, or ask for fewer devices",
            ) from error
        interactions = Interactions(
            ptr=np.concatenate([[0], np.cumsum(drawn.lengths)]).astype(np.int64),
            items=drawn.items,
            times=drawn.times,
            values=drawn.values,
            repeats=False,
            catalog=world.catalog(),
        )
        return Dataset(
            name=self.name,
            interactions=interactions,
            unit="simulated user",
            source=f"drawn by homebody with seed {self.seed}",
            licence="no rights reserved: no person's data",
            raw_events=len(drawn.items),
            truth=world.truth(drawn.users),
        )

    def _blocks(self, rng: np.random.Generator) -> Iterator[tuple[int, np.random.Generator]]:
        """Yield each block's devices and generator; the first one's is the one of the world."""
        for number, start in enumerate(range(0, self.devices, _BLOCK)):
            if number:
                rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(number,)))
            yield min(_BLOCK, self.devices - start), rng


def _in_turn(
    world: World, blocks: Iterator[tuple[int, np.random.Generator]], workers: int
) -> Iterator[Drawn]:
    """Draw blocks in threads, a few at a time, and yield them in order."""
    with ThreadPoolExecutor(workers) as pool:
        begun: deque[Future[Drawn]] = deque()
        for devices, rng in blocks:
            if len(begun) > workers:
                yield begun.popleft().result()
            begun.append(pool.submit(draw_devices, world, devices, rng))
        while begun:
            yield begun.popleft().result()


def _together(drawn: Iterator[Drawn]) -> Drawn:
    """Put blocks together to columns, which are kept in files where they are long."""
    users, lengths = ColumnWriter(np.dtype(np.float32)), ColumnWriter(np.dtype(np.int64))
    items, times = ColumnWriter(np.dtype(np.int32)), ColumnWriter(np.dtype(np.int64))
    values = ColumnWriter(np.dtype(np.float32))
    for block in drawn:
        users.append(block.users.ravel())
        lengths.append(block.lengths)
        items.append(block.items)
        times.append(block.times)
        values.append(block.values)
    return Drawn(
        users.finish().reshape(-1, DIM),
        lengths.finish(),
        items.finish(),
        times.finish(),
        values.finish(),
    )
