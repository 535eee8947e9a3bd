"""The budget's side of a run: what is charged when, and what crashes and other runs left."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Context, RecordDict

from homebody_privacy.charges import GaussianReleases
from homebody_privacy.environment import STATE
from homebody_privacy.errors import BudgetExhaustedError, IntegrityError, PolicyViolationError
from homebody_privacy.ledger import read_ledger
from homebody_server.flower_app import RUN_FOLDER, build_server_app
from homebody_server.run_folder import TrainState
from homebody_server.run_spec import MetricPlan
from homebody_server.spending import (
    Charged,
    Uncharged,
    anchors_of,
    open_budget,
    open_ledger,
    spent_before,
)

from .world import Builder, PowerCutError, World, cut_back, cut_in_round, entries, ledger_of

NDCG = MetricPlan(name="ndcg", noise_multiplier=9.0, releases=2)


@pytest.fixture(autouse=True)
def state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the anchors of each test apart: all worlds hold the same people."""
    folder = tmp_path / "state"
    monkeypatch.setenv(STATE, str(folder))
    return folder


def state(number: int, **fields: Any) -> TrainState:  # noqa: ANN401 - the state's
    """Return a saved state that goes on with a round."""
    return TrainState(number, np.zeros(3, np.float32), {}, **fields)


def test_a_new_ledger_promises_what_the_run_does(make_world: Builder) -> None:
    world = make_world(lifetime=True)
    with open_ledger(world.folder, world.spec) as ledger:
        header = ledger.header
    assert (header.run, header.devices, header.delta) == ("run", 12, 1e-3)
    assert (header.ceiling, header.scope) == (8.0, "lifetime")
    assert (header.population, header.config) == (world.spec.population, world.spec.config_digest)


def test_only_a_lifetime_budget_leaves_a_mark_outside_the_run(
    make_world: Builder, state_folder: Path
) -> None:
    run = make_world("short")
    run.run()
    assert anchors_of(run.spec) is None
    assert not state_folder.exists()
    make_world("long", lifetime=True).run()
    assert state_folder.is_dir()


def test_a_reference_has_neither_ledger_nor_budget(make_world: Builder) -> None:
    world = make_world(noise_multiplier=0.0, ceiling=None)
    with pytest.raises(IntegrityError, match="keeps no ledger"):
        open_ledger(world.folder, world.spec)
    with (
        open_ledger(make_world("other").folder, make_world("third").spec) as ledger,
        pytest.raises(IntegrityError, match="no budget"),
    ):
        open_budget(world.folder, world.spec, ledger)


def test_a_reference_charges_nothing_and_answers_nothing() -> None:
    none = Uncharged()
    none.start()
    none.open(1)
    none.close(state(2))
    assert none.figures_due(1) == []
    with pytest.raises(IntegrityError, match="releases no figures"):
        none.answer(1, NDCG, {"ndcg@10": 0.5})
    with pytest.raises(IntegrityError, match="releases no figures"):
        none.unanswered(1, NDCG, "quorum")


@pytest.mark.parametrize("lifetime", [False, True])
def test_pf_14_rounds_released_without_their_ledger_end_the_run(
    make_world: Builder, *, lifetime: bool
) -> None:
    world = make_world(lifetime=lifetime)
    with pytest.raises(PowerCutError):
        world.run(cut_in_round(2, world.honest))
    world.folder.ledger_file.unlink()
    with pytest.raises(IntegrityError) as refusal:
        world.run()
    assert refusal.value.exit_code == 14
    assert not world.folder.ledger_file.exists()


def test_a_lifetime_ledger_cut_back_before_any_release_is_noticed(make_world: Builder) -> None:
    # Without its anchor, this ledger and the saved model agree: only the first round was open.
    for name, lifetime in (("run", False), ("life", True)):
        world = make_world(name, lifetime=lifetime)
        with pytest.raises(PowerCutError):
            world.run(cut_in_round(1, world.honest))
        cut_back(world, 1)
        if not lifetime:
            assert world.run().next_round == 4
            continue
        with pytest.raises(IntegrityError, match="older copy"):
            world.run()


def charged(world: World) -> tuple[Charged, Any]:
    """Return the spending of a world, and its open ledger."""
    ledger = open_ledger(world.folder, world.spec)
    return Charged(open_budget(world.folder, world.spec, ledger), ledger, world.spec), ledger


def test_what_is_paid_before_the_first_round_is_paid_once(make_world: Builder) -> None:
    world = make_world(mechanism="blt", tuning_runs=1, ceiling=20.0)
    for _ in range(3):
        spending, ledger = charged(world)
        with ledger:
            spending.start()
            spending.start()
    names = [entry.get("name") for entry in entries(world)[1:]]
    assert names == ["tuning", "run"]
    parts = [charge.part for charge in ledger_of(world).charges()]
    assert parts == ["tuning", "training"]


def test_pf_20_tuning_alone_can_take_the_budget(make_world: Builder) -> None:
    world = make_world(tuning_runs=200, ceiling=4.0)
    spending, ledger = charged(world)
    with ledger, pytest.raises(BudgetExhaustedError, match="tuning would bring"):
        spending.start()
    assert ledger_of(world).charges() == []


@pytest.mark.parametrize("void", [False, True])
def test_a_round_that_ended_before_the_ledger_said_so_is_entered(
    make_world: Builder, *, void: bool
) -> None:
    world = make_world()
    spending, ledger = charged(world)
    with ledger:
        spending.open(1)
        ended = {"void": "quorum"} if void else {"unclipped": 0.25}
        spending.catch_up(state(2, **ended))
        record = ledger.record
    assert (record.closed, record.released, record.voids) == (1, 0 if void else 1, int(void))
    assert record.unclipped == [None if void else 0.25]
    assert record.void_reasons == ({1: "quorum"} if void else {})


@pytest.mark.parametrize(
    ("opened", "next_round"), [(0, 2), (1, 3), (2, 5)], ids=["never charged", "one off", "two off"]
)
def test_a_model_that_is_ahead_of_the_ledger_by_more_ends_the_run(
    make_world: Builder, opened: int, next_round: int
) -> None:
    world = make_world()
    spending, ledger = charged(world)
    with ledger:
        for number in range(1, opened + 1):
            spending.open(number)
            if number < opened:
                spending.close(state(number + 1))
        with pytest.raises(IntegrityError, match="disagree"):
            spending.catch_up(state(next_round))


def test_figures_are_due_where_the_plan_says_until_they_are_answered(make_world: Builder) -> None:
    quality = MetricPlan(name="quality", noise_multiplier=8.0, releases=1)
    world = make_world(metrics=(NDCG, quality))
    spending, ledger = charged(world)
    with ledger:
        assert spending.figures_due(1) == []
        assert spending.figures_due(2) == [NDCG]
        assert spending.figures_due(2) == [NDCG]  # charged, and not answered
        spending.answer(2, NDCG, {"ndcg@10": 0.25})
        assert spending.figures_due(2) == []
        assert spending.figures_due(3) == [NDCG, quality]
        spending.unanswered(3, quality, "quorum")
        assert spending.figures_due(3) == [NDCG]  # what was charged for nothing is not asked again
    assert ledger_of(world).charges() == [
        GaussianReleases(noise_multiplier=m) for m in (9.0, 9.0, 8.0)
    ]
    assert ledger_of(world).answers == {"metrics/ndcg/2": {"ndcg@10": 0.25}}


def test_a_round_is_open_from_its_charge_to_its_end(make_world: Builder) -> None:
    spending, ledger = charged(make_world())
    with ledger:
        assert not spending.is_open(1)
        spending.open(1)
        assert spending.is_open(1)
        assert not spending.is_open(2)
        spending.close(state(2, void="quorum"))
        assert not spending.is_open(1)
    assert not Uncharged().is_open(1)


def test_pf_15_a_lifetime_budget_counts_other_runs_and_not_the_own(make_world: Builder) -> None:
    first = make_world("first", lifetime=True)
    assert spent_before(first.folder, first.spec) == []
    first.run()
    assert spent_before(first.folder, first.spec) == []
    second, apart = make_world("second", lifetime=True), make_world("apart")
    charges = read_ledger(first.folder.ledger_file)[0].charges()
    assert spent_before(second.folder, second.spec) == charges
    assert spent_before(apart.folder, apart.spec) == []


def test_pf_15_a_second_run_stops_where_the_first_left_off(make_world: Builder) -> None:
    plan: dict[str, Any] = {"lifetime": True, "noise_multiplier": 2.0, "ceiling": 4.0}
    make_world("first", **plan).run()
    second = make_world("second", **plan)
    with pytest.raises(BudgetExhaustedError):
        second.run()
    assert ledger_of(second).released < 3
    alone = make_world("alone", **(plan | {"lifetime": False}))
    alone.run()
    assert ledger_of(alone).released == 3


def test_a_simulated_run_may_be_seeded(make_world: Builder) -> None:
    assert make_world(rounds=1, runtime="cohort", seeded=True).run().next_round == 2


def test_pf_33_a_deployed_run_is_summed_securely_or_not_at_all(make_world: Builder) -> None:
    world = make_world(rounds=1, runtime="deploy")
    with pytest.raises(PolicyViolationError, match="secure aggregation"):
        world.run()
    assert not world.folder.ledger_file.exists()


def test_pf_01_a_deployed_run_may_not_be_seeded(make_world: Builder) -> None:
    world = make_world(rounds=1, runtime="deploy", seeded=True)
    context = Context(1, 0, {}, RecordDict(), {RUN_FOLDER: str(world.folder.path)})
    build_server_app()(grid=world.grid(), context=context)
    outcome = world.folder.read_json("outcome.json")
    assert (outcome["ended"], outcome["exit_code"]) == ("policy-violation", 10)
    assert not world.folder.ledger_file.exists()
    with pytest.raises(PolicyViolationError, match="seeded"):
        world.run()
