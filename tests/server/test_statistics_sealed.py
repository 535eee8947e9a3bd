"""One-shot statistics in sealed sessions: the plain sums bit for bit, and nobody asked twice."""

from typing import Any

import pytest
from flwr.app import Message

from homebody_privacy.errors import TooFewDevicesError
from homebody_privacy.lattice import Lattice
from homebody_privacy.legs import Step
from homebody_privacy.messages import STATISTICS
from homebody_privacy.sealing import read_context
from homebody_server.statistic_files import StatisticFiles
from homebody_simulation.grid import Cohort

from .secure_time import Time
from .secure_world import Fleet, Sent, envelope_of_down, nodes_of, sent_envelopes, step_of
from .world import (
    DEVICES,
    PASSES,
    Builder,
    PowerCutError,
    Work,
    entries,
    ledger_of,
    same_end,
)

RUN: dict[str, Any] = {"statistics": PASSES, "rounds": 1, "counted": True}
ALONE: dict[str, Any] = {**RUN, "rounds": 0, "mechanism": "blt", "noise_multiplier": 0.0}


def fleet(make_world: Builder, name: str, parts: int = DEVICES, **own: Any) -> Fleet:  # noqa: ANN401
    """Return a fleet of a sealed run with statistics."""
    return nodes_of(make_world(name, secagg=True, **{**RUN, **own}), parts, Time())


def sums_of(fleet: Fleet) -> dict[str, bytes]:
    """Return the bytes of the released sums."""
    return {n: a.tobytes() for n, a in StatisticFiles(fleet.world.folder).released().items()}


def before_the_rounds(cohort: Cohort, nth: int, *steps: Step) -> Cohort:
    """Return nodes whose server's machine stops in the nth session before the first round."""
    sessions: list[int] = []

    def cut(work: Work) -> list[Message | None]:
        context = read_context(envelope_of_down(work[0][0]))
        if context.round == 0 and context.step in steps:
            if context.session not in sessions:
                sessions.append(context.session)
            if sessions.index(context.session) == nth - 1:
                raise PowerCutError
        return cohort(work)

    return cut


@pytest.mark.parametrize("parts", [4, pytest.param(DEVICES, marks=pytest.mark.slow)])
def test_sealed_statistics_are_the_plain_ones_bit_by_bit(make_world: Builder, parts: int) -> None:
    clear, sealed = make_world("plain", **RUN), fleet(make_world, "sealed", parts)
    expected = clear.run()
    asked: Sent = []
    assert same_end(sealed.run(sent_envelopes(sealed.honest, asked)), expected)
    plain = StatisticFiles(clear.folder).released()
    assert sums_of(sealed) == {name: array.tobytes() for name, array in plain.items()}
    assert entries(sealed.world)[1:] == entries(clear)[1:]
    lengths = {
        message.metadata.group_id: message.metadata.message_type
        for message, _ in asked
        if step_of(message) is Step.UPDATE
    }
    assert lengths == {"0/popularity": "train", "0/gram": "train", "1": "train"}


@pytest.mark.slow
def test_many_devices_are_summed_in_sessions_of_all_shards_under_one_draw_of_noise(
    make_world: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    clear = make_world("plain", **ALONE)
    expected = clear.run()
    monkeypatch.setattr(Lattice, "max_devices", 5)
    sealed = fleet(make_world, "s", 6, **ALONE, cohort_size=4, cohort_cap=5)
    asked: Sent = []
    assert same_end(sealed.run(sent_envelopes(sealed.honest, asked)), expected)
    sessions: dict[int, set[int]] = {}
    for message, _ in asked:
        context = read_context(envelope_of_down(message))
        if context.step is Step.UPDATE:
            nodes = sessions.setdefault(context.session, set())
            nodes.add(message.metadata.dst_node_id)
    # Three groups of four devices a statistic; the two shards without one add zeros to it.
    assert list(sessions.values()) == [{1, 2, 3, 4, 5, 6}] * 6


@pytest.mark.slow
def test_a_killed_simulation_asks_again_in_new_sessions(make_world: Builder) -> None:
    undisturbed = fleet(make_world, "undisturbed", 4)
    expected = undisturbed.run()
    killed = fleet(make_world, "killed", 4)
    for nth in (1, 2):
        with pytest.raises(PowerCutError):
            killed.run(before_the_rounds(killed.honest, nth, Step.CONFIRM))
    assert same_end(killed.run(), expected)
    assert entries(killed.world)[1:] == entries(undisturbed.world)[1:]


@pytest.mark.parametrize("name", [pytest.param("popularity", marks=pytest.mark.slow), "gram"])
def test_where_devices_are_real_an_interrupted_statistic_is_charged_and_never_asked_again(
    make_world: Builder, name: str
) -> None:
    real = fleet(make_world, "real", 4, runtime="deploy")
    nth = [*STATISTICS].index(name) + 1  # type: ignore[arg-type]
    with pytest.raises(PowerCutError):
        real.run(before_the_rounds(real.honest, nth, Step.CONFIRM))
    asked: Sent = []
    for _ in range(2):
        with pytest.raises(TooFewDevicesError, match=f"statistics/{name} was not summed") as error:
            real.run(sent_envelopes(real.honest, asked))
        assert error.value.exit_code == 15
        assert "interrupted" in str(error.value)
    assert {step_of(message) for message, _ in asked} == {Step.ENROL}
    ledger = ledger_of(real.world)
    assert ledger.unanswered == {f"statistics/{name}": "interrupted"}
    assert [charge.part for charge in ledger.charges()] == ["statistics"] * nth
    assert list(sums_of(real)) == list(STATISTICS[: nth - 1])
    assert real.world.folder.load_state().next_round == 1
    assert not real.world.folder.start_file.exists()


@pytest.mark.parametrize("runtime", ["deploy", pytest.param("cohort", marks=pytest.mark.slow)])
def test_a_sum_that_too_few_stay_in_ends_the_run_and_releases_nothing(
    make_world: Builder, runtime: str
) -> None:
    real = fleet(make_world, "real", 4, runtime=runtime)
    for _ in range(2):
        with pytest.raises(TooFewDevicesError, match="nobody is asked for it again"):
            real.run(real.without(Step.UPDATE, 1, 2, 3, number=0))
    assert ledger_of(real.world).unanswered == {"statistics/popularity": "too-few-vectors"}
    assert sums_of(real) == {}


def test_a_device_that_vanishes_is_a_zero_and_nobody_is_asked_again(make_world: Builder) -> None:
    whole, real = (fleet(make_world, name, 4, **ALONE) for name in ("whole", "real"))
    whole.run()
    asked: Sent = []
    real.run(sent_envelopes(real.without(Step.UPDATE, 3, number=0), asked))
    assert list(ledger_of(real.world).statistics) == [f"statistics/{n}" for n in STATISTICS]
    assert sums_of(real)["popularity"] != sums_of(whole)["popularity"]
    assert len({read_context(envelope_of_down(m)).session for m, _ in asked}) == 3  # with enrolment


@pytest.mark.slow
def test_a_group_that_is_void_is_a_zero_as_long_as_another_is_not(
    make_world: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Lattice, "max_devices", 6)
    own = {**ALONE, "cohort_size": 4, "cohort_cap": 5}
    real = fleet(make_world, "real", **own)
    real.run(real.without(Step.UPDATE, *range(1, 6), number=0))
    assert list(ledger_of(real.world).statistics) == [f"statistics/{n}" for n in STATISTICS]
    gone = fleet(make_world, "gone", **own)
    with pytest.raises(TooFewDevicesError):
        gone.run(gone.without(Step.UPDATE, *range(1, 12), number=0))


@pytest.mark.parametrize("lie", [1 << 20, pytest.param(-(1 << 20), marks=pytest.mark.slow)])
def test_pf_05_a_sum_beyond_what_all_devices_can_add_counts_as_zeros(
    make_world: Builder, lie: int
) -> None:
    silent, lying = (fleet(make_world, name, 4, **ALONE) for name in ("silent", "lying"))
    for node in silent.nodes.values():
        node.lie = 0
    silent.run()
    lying.nodes[1].lie = lie
    lying.run()
    assert sums_of(lying)["popularity"] == sums_of(silent)["popularity"]
