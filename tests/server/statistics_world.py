"""Worlds with one-shot statistics, and what their releases are made of."""

from typing import Any

import numpy as np
import numpy.typing as npt
from flwr.app import Message

from homebody_client.statistic import statistic_of
from homebody_privacy.lattice import Lattice
from homebody_privacy.mechanisms import GaussianMechanism
from homebody_privacy.messages import STATISTICS, StatisticName
from homebody_privacy.stream import NoiseStream, derive_key
from homebody_server.statistic_files import StatisticFiles
from homebody_server.statistic_plan import StatisticPass
from homebody_simulation.grid import Cohort

from .world import DEVICES, PASSES, Builder, PowerCutError, Work, World

Integers = npt.NDArray[np.int64]
ALONE: dict[str, Any] = {"rounds": 0, "mechanism": "blt", "noise_multiplier": 0.0}


def statistics(make_world: Builder, name: str = "run", **own: Any) -> World:  # noqa: ANN401
    """Return a world of a run with statistics and one round, whose devices keep their record."""
    return make_world(name, **{"statistics": PASSES, "rounds": 1, "counted": True, **own})


def passes(multiplier: float, bits: int = 16) -> tuple[StatisticPass, ...]:
    """Return both statistics with the same noise."""
    return tuple(
        StatisticPass(name=name, noise_multiplier=multiplier, lattice_bits=bits)
        for name in STATISTICS
    )


def released(world: World) -> dict[str, Integers]:
    """Return the released sums in lattice steps."""
    found = StatisticFiles(world.folder).released()
    return {name: np.rint(array.astype(np.float64) * 2**16).astype(np.int64)
            for name, array in found.items()}  # fmt: skip


def drawn(world: World, plan: StatisticPass, length: int) -> Integers:
    """Return the one draw of noise of a statistic."""
    stream = NoiseStream(derive_key(world.folder.read_key(), "statistics", plan.name))
    return GaussianMechanism(plan.lattice, plan.noise_multiplier).noise(length, stream)


def one_by_one(world: World, name: StatisticName, devices: range | None = None) -> Integers:
    """Return the sum of what each device adds to a statistic, each vector whole and by itself."""
    sent = StatisticFiles(world.folder).sent(name)
    asked = statistic_of(world.host, name, np.zeros(1, np.float32) if sent is None else sent)
    total = np.zeros(asked.length, np.int64)
    for device in devices or range(DEVICES):
        part = asked.of(world.host.history(device))
        whole = np.zeros(asked.length)
        whole[part.places] = part.values
        total += Lattice(clip_norm=1.0).contribution(whole)
    return total


def group_of(work: Work) -> str:
    """Return what a push is about."""
    return work[0][0].metadata.group_id


def cut_at(honest: Cohort, about: str, *, after: bool) -> Cohort:
    """Return devices whose machine stops when they are asked something, or once they answered."""

    def cohort(work: Work) -> list[Message | None]:
        if group_of(work).startswith(about) and not after:
            raise PowerCutError
        replies = honest(work)
        if group_of(work).startswith(about):
            raise PowerCutError
        return replies

    return cohort
