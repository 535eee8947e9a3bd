"""One-shot statistics of a run: what is summed, released, charged and kept, and how often."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from flwr.app import Array, ArrayRecord, Message, RecordDict

from homebody_client.statistic import statistic_of
from homebody_models.recommender import model_digest
from homebody_models.statistics.start import gram_broadcast, start_parameters
from homebody_privacy import messages
from homebody_privacy.errors import BudgetExhaustedError, IntegrityError, InvalidFileError
from homebody_privacy.lattice import Lattice
from homebody_privacy.mechanisms import GaussianMechanism
from homebody_privacy.messages import STATISTICS, StatisticName
from homebody_privacy.stream import NoiseStream, derive_key
from homebody_server.flower_app import run_rounds
from homebody_server.run_folder import RunFolder, TrainState
from homebody_server.run_spec import MetricPlan
from homebody_server.spending import Charged
from homebody_server.statistic_files import StatisticFiles
from homebody_server.statistic_plan import StatisticPass
from homebody_server.statistics_stage import StatisticsStage
from homebody_simulation.grid import Cohort

from .disk_scan import forms, holds
from .world import (
    DEVICES,
    PASSES,
    SETTINGS,
    Builder,
    PowerCutError,
    Work,
    World,
    entries,
    ledger_of,
    same_end,
)

Integers = npt.NDArray[np.int64]
QUALITY = MetricPlan(name="quality", noise_multiplier=6.0, releases=2)
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


def test_a_release_is_the_sum_of_all_devices_vectors_and_one_known_draw_of_noise(
    make_world: Builder,
) -> None:
    world = statistics(make_world)
    world.run()
    sums = released(world)
    assert list(sums) == ["popularity", "gram"]
    for plan in PASSES:
        plain = one_by_one(world, plan.name)
        assert plain.any()
        noise = drawn(world, plan, len(plain))
        assert (sums[plan.name] == plain - noise).all()
        assert np.abs(noise).min() < np.abs(noise).max()


def test_a_reference_without_noise_releases_the_sum_itself_and_keeps_no_ledger(
    make_world: Builder,
) -> None:
    world = statistics(
        make_world, statistics=passes(0.0), noise_multiplier=0.0, ceiling=None, counted=False
    )
    world.run()
    for name, total in released(world).items():
        assert (total == one_by_one(world, name)).all()  # type: ignore[arg-type]
    assert not world.folder.ledger_file.exists()


def test_the_second_statistic_is_made_with_the_first_release_and_both_make_the_start(
    make_world: Builder,
) -> None:
    world = statistics(make_world, **ALONE)
    seen: dict[int, npt.NDArray[np.float32]] = {}
    state = _observed(world, seen)
    files = StatisticFiles(world.folder)
    sums = {name: array.astype(np.float64) for name, array in files.released().items()}
    features = world.host.histories.catalog.features
    sent = files.sent("gram")
    assert sent is not None
    assert sent.tobytes() == gram_broadcast(SETTINGS, features, sums["popularity"], 2.0).tobytes()
    start = start_parameters(
        SETTINGS, features, sums["popularity"], sums["gram"], popularity_sigma=2.0, gram_sigma=1.5
    )
    assert state.digest() == model_digest(start) == ledger_digest(files.start())
    assert state.next_round == 1
    assert np.isfinite(start).all()
    assert start.any()
    assert {number: model_digest(model) for number, model in seen.items()} == {0: state.digest()}


def ledger_digest(start: npt.NDArray[np.float32] | None) -> str:
    """Return the digest of a start that must be there."""
    assert start is not None
    return model_digest(start)


def _observed(world: World, seen: dict[int, npt.NDArray[np.float32]]) -> TrainState:
    return run_rounds(
        world.grid(), world.folder, lambda number, model: seen.update({number: model})
    )


def test_pf_14_each_statistic_is_charged_before_anybody_is_asked_and_recorded_when_kept(
    make_world: Builder,
) -> None:
    world = statistics(make_world)
    for about, bought, recorded in (
        ("0/popularity", ["popularity"], []),
        ("0/gram", ["popularity", "gram"], ["popularity"]),
    ):
        with pytest.raises(PowerCutError):
            world.run(cut_at(world.honest, about, after=False))
        ledger = ledger_of(world)
        assert [ledger.bought(f"statistics/{n}") is not None for n in STATISTICS] == [
            n in bought for n in STATISTICS
        ]
        assert list(ledger.statistics) == [f"statistics/{name}" for name in recorded]
        assert ledger.opened == 0
    world.run()
    ledger = ledger_of(world)
    sums = StatisticFiles(world.folder).released()
    assert ledger.statistics == {f"statistics/{n}": model_digest(sums[n]) for n in STATISTICS}
    assert [one["kind"] for one in entries(world)] == [
        *("header", "purchase", "statistic", "purchase", "statistic", "intent", "release")
    ]
    assert [charge.part for charge in ledger.charges()] == ["statistics", "statistics", "training"]


def test_a_statistic_past_the_ceiling_is_not_asked_for(make_world: Builder) -> None:
    world = statistics(make_world, ceiling=1.0)
    asked: list[str] = []

    def listening(work: Work) -> list[Message | None]:
        asked.append(group_of(work))
        return world.honest(work)

    with pytest.raises(BudgetExhaustedError, match="statistics/"):
        world.run(listening)
    assert not any(group.startswith("0/") for group in asked)
    assert StatisticFiles(world.folder).released() == {}


UNDISTURBED: list[tuple[TrainState, list[dict[str, Any]]]] = []
CUTS: dict[str, tuple[type, str, int]] = {
    "before the first sum is kept": (StatisticFiles, "keep", 1),
    "before the first is recorded": (Charged, "summed", 1),
    "before the second is charged": (Charged, "buy", 2),
    "before the second is kept": (StatisticFiles, "keep", 2),
    "before the second is recorded": (Charged, "summed", 2),
    "before the start is kept": (StatisticFiles, "keep_start", 1),
    "before the start is the run's": (RunFolder, "save_state", 1),
    "before the first round is kept": (RunFolder, "save_state", 2),
}


def cut_before(patch: pytest.MonkeyPatch, owner: type, name: str, nth: int) -> None:
    """Stop the machine before the nth call of a method."""
    honest, calls = getattr(owner, name), [0]

    def stopping(*args: Any, **options: Any) -> Any:  # noqa: ANN401 - whatever the method takes
        calls[0] += 1
        if calls[0] == nth:
            raise PowerCutError
        return honest(*args, **options)

    patch.setattr(owner, name, stopping)


def undisturbed(make_world: Builder) -> tuple[TrainState, list[dict[str, Any]]]:
    """Return how the run ends that nothing happened to; it is run once for all tests."""
    if not UNDISTURBED:
        world = statistics(make_world, "undisturbed")
        UNDISTURBED.append((world.run(), entries(world)[1:]))
    return UNDISTURBED[0]


@pytest.mark.parametrize("cut", CUTS)
def test_pf_03_a_run_killed_in_the_stage_goes_on_to_the_same_model_for_the_same_charge(
    make_world: Builder, monkeypatch: pytest.MonkeyPatch, cut: str
) -> None:
    world = statistics(make_world)
    with monkeypatch.context() as patch:
        cut_before(patch, *CUTS[cut])
        with pytest.raises(PowerCutError):
            world.run()
    state, expected = undisturbed(make_world)
    assert same_end(world.run(), state)
    assert entries(world)[1:] == expected


@pytest.mark.parametrize("name", STATISTICS)
def test_pf_03_devices_that_answered_before_the_kill_answer_the_same_again(
    make_world: Builder, name: str
) -> None:
    world = statistics(make_world)
    with pytest.raises(PowerCutError):
        world.run(cut_at(world.honest, f"0/{name}", after=True))
    state, expected = undisturbed(make_world)
    assert same_end(world.run(), state)
    assert entries(world)[1:] == expected
    assert released(world)[name].any()


def test_pf_03_a_run_that_lost_its_ledger_or_a_sum_does_not_go_on(make_world: Builder) -> None:
    world = statistics(make_world)
    with pytest.raises(PowerCutError):
        world.run(cut_at(world.honest, "0/gram", after=False))
    kept = world.folder.statistics_file.read_bytes()
    world.folder.statistics_file.unlink()
    with pytest.raises(IntegrityError, match="disagree"):
        world.run()
    files = StatisticFiles(world.folder)
    files.keep(released={"popularity": np.ones(20, np.float32)}, sent={})
    with pytest.raises(IntegrityError, match="disagree"):
        world.run()
    world.folder.statistics_file.write_bytes(kept[:-1])
    with pytest.raises(IntegrityError, match="cannot be read"):
        world.run()
    world.folder.statistics_file.write_bytes(kept)
    ledger = world.folder.ledger_file.read_bytes()
    world.folder.ledger_file.unlink()
    with pytest.raises(IntegrityError, match="gone"):
        world.run()
    world.folder.ledger_file.write_bytes(ledger)
    assert world.run().next_round == 2


def test_a_run_without_the_public_content_of_its_items_does_not_start(make_world: Builder) -> None:
    world = statistics(make_world)
    world.folder.features_file.unlink()
    with pytest.raises(InvalidFileError, match=r"features\.npy"):
        world.run()
    assert ledger_of(world).charges() == []


def test_figures_are_about_the_start_and_the_end_where_both_are_released(
    make_world: Builder,
) -> None:
    both = statistics(make_world, metrics=(QUALITY,), rounds=2)
    both.run()
    assert list(ledger_of(both).answers) == ["metrics/quality/0", "metrics/quality/2"]
    alone = statistics(make_world, "alone", metrics=(replace(QUALITY, releases=1),), **ALONE)
    alone.run()
    assert list(ledger_of(alone).answers) == ["metrics/quality/0"]
    assert [one["kind"] for one in entries(alone)][-2:] == ["purchase", "answer"]
    assert alone.run().next_round == 1  # and is over


def test_a_run_killed_before_the_figure_of_the_start_asks_for_it_later(make_world: Builder) -> None:
    world = statistics(make_world, metrics=(QUALITY,))
    with pytest.raises(PowerCutError):
        world.run(cut_at(world.honest, "0/quality", after=False))
    assert ledger_of(world).answers == {}
    world.run()
    assert list(ledger_of(world).answers) == ["metrics/quality/0", "metrics/quality/1"]


# What comes in.


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


def test_many_devices_are_summed_in_groups_under_one_draw_of_noise(
    make_world: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Lattice, "max_devices", 5)
    world = statistics(make_world, **ALONE)
    asked: dict[str, int] = {}

    def listening(work: Work) -> list[Message | None]:
        asked[group_of(work)] = len(work)
        return world.honest(work)

    world.run(listening)
    assert {group: n for group, n in asked.items() if group.startswith("0/")} == {
        f"0/{name}/{number}": 4 for name in STATISTICS for number in range(3)
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


# The noise.


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
    return abs(float((noise**2).mean()) - 1.0) > 4.0 * np.sqrt(2.0 / n)


def test_noise_has_the_scale_that_is_charged_and_another_scale_is_noticed(
    make_world: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = noise_of(make_world, "honest")
    assert len(honest) > 100
    assert not deviates(honest)
    assert abs(float(honest.mean())) < 4.0 / np.sqrt(len(honest))

    def weaker(plan: StatisticPass) -> GaussianMechanism:
        return GaussianMechanism(plan.lattice, 0.7 * plan.noise_multiplier)

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


def test_a_stage_belongs_to_a_run_with_statistics(make_world: Builder) -> None:
    world = make_world()
    with pytest.raises(ValueError, match="no statistics"):
        StatisticsStage.of(
            world.spec,
            world.folder,
            gatherer=None,  # type: ignore[arg-type]
            hosts={},
            spending=None,  # type: ignore[arg-type]
        )
