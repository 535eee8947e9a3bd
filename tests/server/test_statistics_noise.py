"""One-shot statistics: what comes in is bounded, what goes out has the noise that is charged."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from flwr.app import Array, ArrayRecord, Message, RecordDict

from homebody_privacy import messages
from homebody_privacy.lattice import Lattice
from homebody_privacy.mechanisms import GaussianMechanism
from homebody_privacy.messages import STATISTICS
from homebody_privacy.stream import NoiseStream, derive_key
from homebody_server.statistic_files import StatisticFiles
from homebody_server.statistic_plan import StatisticPass
from homebody_simulation.grid import Cohort

from .disk_scan import forms, holds
from .statistics_world import (
    ALONE,
    Integers,
    drawn,
    group_of,
    one_by_one,
    passes,
    released,
    statistics,
)
from .world import DEVICES, PASSES, Builder, Work, World


def lying(world: World, answer: Callable[[Integers], Any], node: int = 1) -> Cohort:
    """Return the devices with one whose part of each statistic is another array."""

    def other(message: Message, good: Message) -> Message:
        about = message.metadata.group_id.startswith("0/")
        if not about or message.metadata.dst_node_id != node:
            return good
        own = good.content.array_records[messages.UPDATE][messages.CONTRIBUTION].numpy()
        record = ArrayRecord({messages.CONTRIBUTION: Array(answer(own))})
        return Message(RecordDict({messages.UPDATE: record}), reply_to=message)

    return world.answering(other)


BOUND = 1 << 16
LIES: dict[str, Callable[[Integers], Any]] = {
    "too large": lambda own: np.where(np.arange(len(own)) < 2, BOUND, 0).astype(np.int32),
    "too long": lambda own: np.append(own, 1),
    "not integers": lambda own: own.astype(np.float32),
    "too short": lambda own: own[:-1],
}


@pytest.mark.parametrize("lie", LIES)
def test_pf_05_what_no_device_can_add_counts_as_zeros(make_world: Builder, lie: str) -> None:
    world = statistics(make_world, **ALONE)
    world.run(lying(world, LIES[lie]))
    for plan in PASSES:
        rest = one_by_one(world, plan.name, range(1, DEVICES))
        assert (released(world)[plan.name] == rest - drawn(world, plan, len(rest))).all()


def test_the_most_a_device_can_add_is_taken(make_world: Builder) -> None:
    world = statistics(make_world, **ALONE)
    most = lambda own: np.where(np.arange(len(own)) < 1, BOUND, 0).astype(np.int32)  # noqa: E731
    world.run(lying(world, most))
    total = one_by_one(world, "popularity", range(1, DEVICES))
    total[0] += BOUND
    assert (released(world)["popularity"] == total - drawn(world, PASSES[0], len(total))).all()


def test_nobody_answering_is_a_release_of_noise_alone(make_world: Builder) -> None:
    world = statistics(make_world, **ALONE)

    def silent(work: Work) -> list[Message | None]:
        asks = not group_of(work).startswith("0/")
        return world.honest(work) if asks else [None for _ in work]

    quick = replace(world.spec, deadline_s=0.01)
    world.folder.write_json("run.json", {"spec": quick.to_dict()})
    world.run(silent)
    for plan in PASSES:
        total = released(world)[plan.name]
        assert (total == -drawn(world, plan, len(total))).all()


def test_more_devices_than_fit_a_word_are_one_group_in_the_clear(
    make_world: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Lattice, "max_devices", 5)
    monkeypatch.setattr("homebody_server.statistics_stage._DEVICES_AT_ONCE", 5)
    world = statistics(make_world, **ALONE)
    asked: dict[str, list[int]] = {}

    def listening(work: Work) -> list[Message | None]:
        asked.setdefault(group_of(work), []).append(len(work))
        return world.honest(work)

    world.run(listening)
    assert {group: n for group, n in asked.items() if group.startswith("0/")} == {
        f"0/{name}/0": [5, 5, 2] for name in STATISTICS
    }
    for plan in PASSES:
        plain = one_by_one(world, plan.name)
        assert (released(world)[plan.name] == plain - drawn(world, plan, len(plain))).all()


def test_replies_in_clear_wait_in_memory_a_few_at_a_time(
    make_world: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("homebody_server.statistics_stage._WORDS_AT_ONCE", 100)
    world = statistics(make_world, **ALONE)
    pushes: list[int] = []

    def listening(work: Work) -> list[Message | None]:
        if group_of(work).startswith("0/popularity"):
            pushes.append(len(work))
        return world.honest(work)

    world.run(listening)
    assert pushes == [5, 5, 2]
    plain = one_by_one(world, "popularity")
    assert (released(world)["popularity"] == plain - drawn(world, PASSES[0], len(plain))).all()


def noise_of(make_world: Builder, name: str, **own: Any) -> npt.NDArray[np.float64]:  # noqa: ANN401
    """Return the noise in the releases of some runs, in units of what they promise."""
    found = []
    for number in range(3):
        key = derive_key(bytes(32), name, number)
        world = statistics(make_world, f"{name}{number}", key=key, **ALONE, **own)
        world.run()
        for plan in PASSES:
            noise = released(world)[plan.name] - one_by_one(world, plan.name)
            found.append(noise / (plan.noise_multiplier * 2**16))
    return np.concatenate(found)


def deviates(noise: npt.NDArray[np.float64]) -> bool:
    """Tell whether noise that should have deviation 1 has another, at 4 standard errors."""
    n = len(noise)
    return abs(float((noise**2).mean()) - 1.0) > 4.0 * float(np.sqrt(2.0 / n))


def test_noise_has_the_scale_that_is_charged_and_another_scale_is_noticed(
    make_world: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = noise_of(make_world, "honest")
    assert len(honest) > 100
    assert not deviates(honest)
    assert abs(float(honest.mean())) < 4.0 / np.sqrt(len(honest))

    def weaker(plan: StatisticPass) -> GaussianMechanism:
        return GaussianMechanism(plan.lattice, 0.5 * plan.noise_multiplier)

    monkeypatch.setattr(StatisticPass, "mechanism", weaker)
    assert deviates(noise_of(make_world, "weaker"))


def test_pf_02_two_statistics_and_two_runs_share_no_noise(make_world: Builder) -> None:
    same = passes(2.0)
    world = statistics(make_world, statistics=same)
    other = statistics(make_world, "other", statistics=same, key=bytes([1]) * 32)
    draws = [drawn(one, plan, 20) for one in (world, other) for plan in same]
    for i, one in enumerate(draws):
        for two in draws[:i]:
            assert (one != two).all()


def test_pf_04_each_released_entry_is_a_multiple_of_the_lattice_step(make_world: Builder) -> None:
    world = statistics(make_world, **ALONE)
    world.run()
    for array in StatisticFiles(world.folder).released().values():
        steps = array.astype(np.float64) * 2**16
        assert (steps == np.rint(steps)).all()


def test_pf_28_no_sum_without_noise_lies_on_disk(
    make_world: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = statistics(make_world)
    world.run()
    needles = [form for name in STATISTICS for form in forms(one_by_one(world, name), 2.0**-16)]
    assert not holds(world.folder.path, needles)
    monkeypatch.setattr(
        StatisticPass, "mechanism", lambda plan: _Silent(plan.lattice)
    )  # the scan sees it where it is
    bare = statistics(make_world, "bare")
    bare.run()
    needles = [form for name in STATISTICS for form in forms(one_by_one(bare, name), 2.0**-16)]
    assert holds(bare.folder.path, needles)


class _Silent(GaussianMechanism):
    """Noise that is none."""

    def __init__(self, lattice: Lattice) -> None:
        super().__init__(lattice, 1.0)

    def noise(self, dim: int, stream: NoiseStream) -> Integers:
        del stream
        return np.zeros(dim, np.int64)
