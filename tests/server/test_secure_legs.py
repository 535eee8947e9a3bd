"""Nodes that vanish in a leg: the sum is that of those who stayed, or the round is void."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict

from homebody_privacy import messages
from homebody_privacy.errors import TooFewDevicesError
from homebody_privacy.legs import Decline, Step
from homebody_privacy.sealing import read_context, seal
from homebody_server.flower_app import HOME, RUN_FOLDER, build_server_app
from homebody_server.run_spec import MetricPlan
from homebody_server.secure.post import letter_of
from homebody_simulation.grid import Cohort

from .secure_time import Time
from .secure_world import Fleet, envelope_of_down, nodes_of, step_of
from .test_rounds import empty_round_key
from .world import DEVICES, Builder, Work, World, entries, ledger_of, same_end

PARTS = 6
GONE = (2, 5)  # of six, whose quorum is four
TOO_MANY = (1, 2, 3)
ALL_BUT_TWO = (1, 2, 3, 4)
BEFORE = (Step.ADVERTISE, Step.SHARE, Step.UPDATE)
AFTER = (Step.CONFIRM, Step.UNMASK)
PLAN = MetricPlan(name="quality", noise_multiplier=4.0, releases=1)


def fleet(make_world: Builder, name: str = "sealed", **own: Any) -> Fleet:  # noqa: ANN401
    """Return a fleet of six shards of two devices."""
    return nodes_of(make_world(name, secagg=True, **({"rounds": 2} | own)), PARTS, Time())


def without(world: World, *parts: int) -> Cohort:
    """Return the devices in clear, of which those of some shards keep silent in round 1."""

    def answer(asked: Message, good: Message) -> Message | None:
        node = (asked.metadata.dst_node_id - 1) % PARTS + 1
        return None if node in parts and asked.metadata.group_id == "1" else good

    return world.answering(answer)


@pytest.mark.parametrize("step", [*BEFORE, *AFTER])
def test_s74_those_who_vanish_before_their_vector_came_add_nothing_and_the_others_all(
    make_world: Builder, step: Step
) -> None:
    clear = make_world("clear", rounds=2)
    expected = clear.run(without(clear, *(GONE if step in BEFORE else ())))
    sealed = fleet(make_world)
    assert same_end(sealed.run(sealed.without(step, *GONE)), expected)
    assert (ledger_of(sealed.world).released, ledger_of(sealed.world).voids) == (2, 0)


REASONS = {
    Step.ADVERTISE: "too-few-adverts",
    Step.SHARE: "too-few-shared",
    Step.UPDATE: "too-few-vectors",
    Step.CONFIRM: "quorum",
    Step.UNMASK: "too-few-shares",
}


@pytest.mark.parametrize("step", REASONS)
def test_pf_10_beyond_the_threshold_a_round_is_void_charged_and_says_why(
    make_world: Builder, step: Step
) -> None:
    sealed = fleet(make_world)
    before = sealed.world.folder.load_state()
    gone = ALL_BUT_TWO if step is Step.ADVERTISE else TOO_MANY
    models: dict[str, str] = {}

    def cohort(work: Work) -> list[Any]:
        group = work[0][0].metadata.group_id
        models.setdefault(group, sealed.world.folder.load_state().digest())
        return sealed.without(step, *gone)(work)

    state = sealed.run(cohort)
    assert set(models) == {"enrol", "1", "2"}
    assert set(models.values()) == {before.digest()}  # round 2 starts where round 1 did
    assert state.digest() != before.digest()
    assert sealed.time.passed < 2 * sealed.world.spec.deadline_s
    record = ledger_of(sealed.world)
    assert record.void_reasons == {1: REASONS[step]}
    assert (record.closed, record.released, record.voids) == (2, 2, 1)
    void = next(entry for entry in entries(sealed.world) if entry["kind"] == "void")
    assert void == {"kind": "void", "round": 1, "reason": REASONS[step]}
    assert record.charges() == [sealed.world.spec.round_charge()] * 2  # nothing is refunded


def test_a_void_round_takes_its_step_of_correlated_noise(make_world: Builder) -> None:
    own: dict[str, Any] = {
        "mechanism": "blt",
        "cohort_size": DEVICES,
        "rounds": 3,
        "min_separation": 1,
    }
    own |= {"max_rounds_per_device": 3}
    clear = make_world("clear", **own, report_goal=12)
    sealed = fleet(make_world, **own)
    expected = clear.run(clear.mute(2))
    assert same_end(sealed.run(sealed.without(Step.UPDATE, *TOO_MANY, number=2)), expected)


def test_pf_33_fewer_nodes_than_the_config_wants_are_not_even_asked(make_world: Builder) -> None:
    sealed = nodes_of(make_world(secagg=True, rounds=1, min_nodes=5), 4, Time())
    asked: list[Step] = []

    def cohort(work: Work) -> list[Any]:
        asked.append(step_of(work[0][0]))
        return sealed.honest(work)

    sealed.run(cohort)
    assert asked == [Step.ENROL]
    assert ledger_of(sealed.world).void_reasons == {1: "too-few-adverts"}


def test_pf_33_one_node_too_few_for_the_config_voids_the_round(make_world: Builder) -> None:
    sealed = fleet(make_world, min_nodes=PARTS)
    sealed.run(sealed.without(Step.UPDATE, 3))
    assert ledger_of(sealed.world).void_reasons == {1: "too-few-vectors"}


def test_a_report_goal_is_of_the_devices_in_the_sum(make_world: Builder) -> None:
    own: dict[str, Any] = {
        "mechanism": "blt",
        "cohort_size": DEVICES,
        "rounds": 1,
        "min_separation": 1,
    }
    for goal, voids in ((10, {}), (11, {1: "report-goal"})):
        sealed = fleet(make_world, f"goal-{goal}", **own, report_goal=goal)
        sealed.run(sealed.without(Step.UPDATE, 3))
        assert ledger_of(sealed.world).void_reasons == voids


def test_a_figure_that_cannot_be_opened_is_charged_and_not_answered(make_world: Builder) -> None:
    sealed = fleet(make_world, metrics=(PLAN,), rounds=1)

    def cohort(work: Work) -> list[Any]:
        steps = {step_of(message) for message, _ in work}
        figures = work[0][0].metadata.group_id == "1/quality"
        return sealed.without(Step.CONFIRM, *(TOO_MANY if figures and steps else ()))(work)

    sealed.run(cohort)
    record = ledger_of(sealed.world)
    assert (record.answers, record.unanswered) == ({}, {"metrics/quality/1": "quorum"})
    assert record.bought("metrics/quality/1") == PLAN.charge()
    assert (record.released, record.voids) == (1, 0)
    before = sealed.world.folder.ledger_file.read_bytes()
    asked: list[Step] = []

    def watching(work: Work) -> list[Any]:
        asked.extend(step_of(message) for message, _ in work)
        return sealed.honest(work)

    sealed.run(watching)  # what went unanswered is not asked again
    assert set(asked) == {Step.ENROL}
    assert sealed.world.folder.ledger_file.read_bytes() == before


def test_a_node_that_declines_is_let_go_without_a_wait(make_world: Builder) -> None:
    clear, sealed = make_world("clear", rounds=1), fleet(make_world, rounds=1)
    sealed.nodes[4].shut = True
    assert same_end(sealed.run(), clear.run(without(clear, 4)))
    assert sealed.time.slept == []


@pytest.mark.parametrize("parts", [PARTS, DEVICES], ids=["shards", "single devices"])
def test_pf_10_a_round_that_draws_nobody_is_released_like_any(
    make_world: Builder, parts: int
) -> None:
    own: dict[str, Any] = {"rounds": 1, "cohort_size": 1, "key": empty_round_key(DEVICES)}
    clear = make_world("clear", **own)
    sealed = nodes_of(make_world("sealed", secagg=True, **own), parts, Time())
    asked: list[Step] = []

    def watching(work: Work) -> list[Any]:
        asked.extend(step_of(message) for message, _ in work)
        return sealed.honest(work)

    assert same_end(sealed.run(watching), clear.run())
    # Shards are asked all the same, and add zeros: nobody sees that nobody was drawn.
    assert (Step.UPDATE in asked) == (parts == PARTS)
    assert (ledger_of(sealed.world).released, ledger_of(sealed.world).voids) == (1, 0)


def test_a_sum_beyond_the_bound_of_its_devices_counts_as_zeros(make_world: Builder) -> None:
    clear, sealed = make_world("clear", rounds=1), fleet(make_world, rounds=1)
    sealed.nodes[4].lie = 2**20
    assert same_end(sealed.run(), clear.run(clear.mute()))


def declined(asked: Message, _good: Message) -> Message:
    """Return what a node answers that could not even open a message."""
    code = ConfigRecord({messages.CODE: "seal-refused"})
    return Message(RecordDict({messages.DECLINED: code}), reply_to=asked)


@pytest.mark.parametrize("step", [Step.ADVERTISE, Step.UPDATE])
def test_a_node_that_cannot_open_a_message_is_let_go_without_a_wait(
    make_world: Builder, step: Step
) -> None:
    clear, sealed = make_world("clear", rounds=1), fleet(make_world, rounds=1)

    def answer(asked: Message, good: Message) -> Message:
        bad = asked.metadata.dst_node_id == 4 and step_of(asked) is step
        return declined(asked, good) if bad else good

    assert same_end(sealed.run(sealed.answering(answer)), clear.run(without(clear, 4)))
    assert sealed.time.slept == []


@pytest.mark.parametrize("how", ["sealed", "in clear"])
def test_a_node_that_declines_to_enrol_leaves_the_population_incomplete(
    make_world: Builder, how: str
) -> None:
    sealed = fleet(make_world, rounds=1)

    def answer(asked: Message, good: Message) -> Message:
        node = sealed.nodes[4]
        if asked.metadata.dst_node_id != 4:
            return good
        if how == "in clear" or node.run is None:
            return declined(asked, good)
        context = read_context(envelope_of_down(good))
        recipient = bytes.fromhex(node.run.recipient)
        body = Decline(code="consent-missing").to_bytes()
        header = replace(context, step=Step.DECLINE)
        envelope = seal(header, body, recipient=recipient, signer=node.identity.signing)
        return Message(letter_of(envelope), reply_to=asked)

    with pytest.raises(TooFewDevicesError, match="not complete"):
        sealed.run(sealed.answering(answer))
    assert not sealed.world.folder.ledger_file.exists() or ledger_of(sealed.world).opened == 0


def test_the_server_app_takes_its_identity_from_the_folder_it_is_told(
    make_world: Builder, tmp_path: Path
) -> None:
    sealed = fleet(make_world, rounds=1)
    for node in sealed.nodes.values():
        node.now = time.time  # the app has the real clock
    elsewhere = tmp_path / "elsewhere"
    sealed.world.folder.aggregator_folder.rename(elsewhere)
    for told, ended in (({}, "invalid-file"), ({HOME: str(elsewhere)}, "finished")):
        config: dict[str, Any] = {RUN_FOLDER: str(sealed.world.folder.path), **told}
        context = Context(1, 0, {}, RecordDict(), config)
        build_server_app()(grid=sealed.grid(), context=context)
        assert sealed.world.folder.read_json("outcome.json")["ended"] == ended
