"""One-shot statistics of a run: what is summed, released, charged and kept, and how often."""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from flwr.app import Message

from homebody_models.recommender import model_digest
from homebody_models.statistics.start import gram_broadcast, start_parameters
from homebody_privacy.errors import BudgetExhaustedError, IntegrityError, InvalidFileError
from homebody_privacy.messages import STATISTICS
from homebody_server.flower_app import run_rounds
from homebody_server.hosts import Hosts
from homebody_server.run_folder import RunFolder, TrainState
from homebody_server.run_spec import MetricPlan
from homebody_server.spending import Charged
from homebody_server.statistic_files import StatisticFiles
from homebody_server.statistics_stage import StatisticsStage

from .statistics_world import (
    ALONE,
    cut_at,
    drawn,
    group_of,
    one_by_one,
    passes,
    released,
    statistics,
)
from .world import (
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

QUALITY = MetricPlan(name="quality", noise_multiplier=6.0, releases=2)


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


@pytest.mark.parametrize(
    "cut",
    [pytest.param(cut, marks=pytest.mark.slow if i % 2 else ()) for i, cut in enumerate(CUTS)],
)
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


@pytest.mark.slow
def test_a_run_killed_before_the_figure_of_the_start_asks_for_it_later(make_world: Builder) -> None:
    world = statistics(make_world, metrics=(QUALITY,))
    with pytest.raises(PowerCutError):
        world.run(cut_at(world.honest, "0/quality", after=False))
    assert ledger_of(world).answers == {}
    world.run()
    assert list(ledger_of(world).answers) == ["metrics/quality/0", "metrics/quality/1"]


def test_a_stage_belongs_to_a_run_with_statistics(make_world: Builder) -> None:
    world = make_world()
    with pytest.raises(ValueError, match="no statistics"):
        StatisticsStage.of(
            world.spec,
            world.folder,
            gatherer=None,  # type: ignore[arg-type]
            hosts=Hosts.of({}),
            spending=None,  # type: ignore[arg-type]
        )
