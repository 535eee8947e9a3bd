"""Rounds of ``blt`` over real devices: paid once for all, never a step of the noise twice."""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from flwr.app import Message

from homebody_client.participation_store import ParticipationStore
from homebody_privacy.accounting import spent_epsilon
from homebody_privacy.errors import BudgetExhaustedError, IntegrityError
from homebody_privacy.ledger import Ledger
from homebody_server.cohorts import SeparatedCohorts
from homebody_server.noise_state import NoiseVault
from homebody_server.run_folder import RunFolder, TrainState
from homebody_simulation.grid import Cohort

from .world import (
    DEVICES,
    Builder,
    PowerCutError,
    Work,
    World,
    cut_in_round,
    entries,
    is_training,
    ledger_of,
    noises,
    power_cut,
    same_end,
    sent_by,
    watched,
    zeros,
)

ROUNDS = 4


def blt(make_world: Builder, name: str = "run", **fields: Any) -> World:  # noqa: ANN401 - the spec's
    """Return a world of four rounds, three devices each, two rounds apart, two joins at most."""
    return make_world(name, mechanism="blt", **fields)


def spent(world: World) -> float:
    """Return what the world's ledger comes to."""
    return spent_epsilon(ledger_of(world).charges(), world.spec.accounted_delta)


def test_the_whole_run_is_charged_before_a_device_is_asked_and_no_round_again(
    make_world: Builder,
) -> None:
    world = blt(make_world)
    seen: list[tuple[int, int, int]] = []

    def see(work: Work, _: object) -> None:
        if is_training(work):
            now = ledger_of(world)
            seen.append((now.opened, now.closed, len(now.charges())))

    world.run(watched(world.honest, see))
    assert seen == [(1, 0, 1), (2, 1, 1), (3, 2, 1), (4, 3, 1)]
    kinds = [entry["kind"] for entry in entries(world)]
    assert kinds == ["header", "purchase", *["intent", "release"] * ROUNDS]
    assert [e["charge"] for e in entries(world) if e["kind"] == "intent"] == [None] * ROUNDS
    assert ledger_of(world).charges() == [world.spec.run_charge()]


def test_a_run_that_would_pass_the_ceiling_asks_nobody(make_world: Builder) -> None:
    world = blt(make_world, noise_multiplier=1.0, ceiling=2.0)

    def see(work: Work, _: object) -> None:
        assert not is_training(work)

    with pytest.raises(BudgetExhaustedError, match="run would bring"):
        world.run(watched(world.honest, see))
    assert [entry["kind"] for entry in entries(world)] == ["header", "budget_stop"]


@pytest.fixture
def whole(make_world: Builder) -> tuple[World, TrainState]:
    """Return a run that nothing interrupted, and how it ended."""
    world = blt(make_world, "whole")
    return world, world.run()


def assert_as_if_nothing_had_happened(
    cut: World, state: TrainState, whole: tuple[World, TrainState]
) -> None:
    """Check a resumed run: same model, same entries, same epsilon, every step taken once."""
    world, expected = whole
    assert same_end(state, expected)
    assert entries(cut)[1:] == entries(world)[1:]
    assert spent(cut) == spent(world)
    assert ledger_of(cut).charges() == [cut.spec.run_charge()]


@pytest.mark.parametrize("after", [False, True], ids=["before devices train", "after they did"])
@pytest.mark.parametrize("number", [1, ROUNDS])
def test_pf_14_a_round_cut_short_is_repeated_with_the_same_noise(
    make_world: Builder, whole: tuple[World, TrainState], number: int, *, after: bool
) -> None:
    cut = blt(make_world, "cut")
    with pytest.raises(PowerCutError):
        cut.run(cut_in_round(number, cut.honest, after=after))
    between = ledger_of(cut)
    assert (between.opened, between.closed) == (number, number - 1)
    assert_as_if_nothing_had_happened(cut, cut.run(), whole)


MOMENTS = {
    "before the noise is kept": (NoiseVault, "keep", True),
    "between noise and model": (RunFolder, "save_state", True),
    "after the model, while it is saved": (RunFolder, "save_state", False),
    "between model and ledger": (Ledger, "release", True),
    "after the ledger": (Ledger, "release", False),
}


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("number", [1, 3])
def test_pf_03_no_step_of_the_noise_is_lost_or_drawn_twice_whenever_the_machine_stops(
    make_world: Builder,
    whole: tuple[World, TrainState],
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
    number: int,
) -> None:
    kind, name, instead = MOMENTS[moment]
    cut = blt(make_world, "cut")  # its first state was saved before the patch
    real, calls = getattr(kind, name), []

    def stopping(*arguments: Any) -> Any:  # noqa: ANN401 - the real one's
        calls.append(name)
        if len(calls) == number and instead:
            power_cut()
        done = real(*arguments)
        if len(calls) == number:
            power_cut()
        return done

    with monkeypatch.context() as patch:
        patch.setattr(kind, name, stopping)
        with pytest.raises(PowerCutError):
            cut.run()
    assert cut.folder.load_state().next_round in (number, number + 1)
    assert_as_if_nothing_had_happened(cut, cut.run(), whole)


def stopped_in_round_3(make_world: Builder) -> World:
    """Return a run of which two rounds were released."""
    world = blt(make_world, "stopped")
    with pytest.raises(PowerCutError):
        world.run(cut_in_round(3, world.honest))
    return world


def damage(world: World, how: str) -> None:
    """Do something to the sealed noise of a run that stopped in round 3."""
    one, two = (world.folder.noise_folder / f"{number}.sealed" for number in (1, 2))
    match how:
        case "missing":
            two.unlink()
        case "damaged":
            content = bytearray(two.read_bytes())
            content[-1] ^= 1
            two.write_bytes(content)
        case "another round's":
            two.write_bytes(one.read_bytes())
        case "forged without the key":
            empty = world.spec.mechanism_for(world.host.model.layout.size).state()
            NoiseVault(world.folder.noise_folder, world.folder.name, bytes(32)).keep(2, empty)


@pytest.mark.parametrize("how", ["missing", "damaged", "another round's", "forged without the key"])
def test_pf_03_a_run_whose_noise_was_lost_or_touched_ends(make_world: Builder, how: str) -> None:
    world = stopped_in_round_3(make_world)
    damage(world, how)
    before = world.folder.load_state().digest()

    def see(work: Work, _: object) -> None:
        assert not is_training(work)

    with pytest.raises(IntegrityError, match="noise of round 2") as refusal:
        world.run(watched(world.honest, see))
    assert refusal.value.exit_code == 14
    assert world.folder.load_state().digest() == before
    assert ledger_of(world).released == 2


def test_pf_10_a_void_round_releases_nothing_and_is_entered_as_void(make_world: Builder) -> None:
    world = blt(make_world, report_goal=3)
    models: list[str] = []

    def see(work: Work, _: object) -> None:
        if is_training(work):
            models.append(world.folder.load_state().digest())

    state = world.run(watched(world.mute(2), see))
    assert models[1] == models[2]  # round 3 starts from what round 1 released
    assert len({models[0], models[1], models[3], state.digest()}) == 4
    record = ledger_of(world)
    assert (record.closed, record.released, record.voids) == (ROUNDS, ROUNDS, 1)
    kinds = [entry["kind"] for entry in entries(world)][2:]
    assert kinds == ["intent", "release", "intent", "void", *["intent", "release"] * 2]
    assert record.charges() == [world.spec.run_charge()]  # nothing is refunded


def one_missing(world: World, number: int) -> Cohort:
    """Return devices of which the first invited of a round keeps silent."""

    def cohort(work: Work) -> list[Message | None]:
        replies = world.honest(work)
        if is_training(work) and work[0][0].metadata.group_id == str(number):
            replies[0] = None
        return replies

    return cohort


@pytest.mark.parametrize(("goal", "voids"), [(2, 0), (3, 1)])
def test_pf_10_a_round_is_void_with_fewer_replies_than_the_goal(
    make_world: Builder, goal: int, voids: int
) -> None:
    world = blt(make_world, report_goal=goal)
    world.run(one_missing(world, 2))
    assert ledger_of(world).voids == voids


def test_pf_10_noise_after_a_void_round_is_what_it_would_have_been(make_world: Builder) -> None:
    through, void = blt(make_world, "through"), blt(make_world, "void", report_goal=1)
    expected = noises(through, through.mute())
    nothing = void.answering(zeros)  # they reply, so that other rounds are released

    def silent_in_2(work: Work) -> list[Message | None]:
        mute = is_training(work) and work[0][0].metadata.group_id == "2"
        return [None] * len(work) if mute else nothing(work)

    found = noises(void, silent_in_2)
    assert (sorted(expected), sorted(found)) == ([1, 2, 3, 4], [1, 3, 4])
    for number, noise in found.items():
        # Float32 moments lose digits; other noise differs by the noise multiplier.
        assert np.abs(noise - expected[number]).max() < 1e-3
    assert np.abs(found[3] - expected[2]).mean() > 1.0  # not the step that was left out


def test_pf_10_a_void_round_cut_short_before_the_ledger_is_void_once(
    make_world: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, cut = (blt(make_world, name, report_goal=3) for name in ("whole", "cut"))
    expected = whole.run(whole.mute(2))
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "void", power_cut)
        with pytest.raises(PowerCutError):
            cut.run(cut.mute(2))
    assert cut.folder.load_state().void
    assert same_end(cut.run(), expected)
    assert entries(cut)[1:] == entries(whole)[1:]


def invited_and_sent(
    world: World, devices: Cohort | None = None
) -> tuple[Cohort, dict[str, dict[int, npt.NDArray[np.int64]]]]:
    """Return the devices, and what each that was invited sent, by round."""
    seen: dict[str, dict[int, npt.NDArray[np.int64]]] = {}

    def see(work: Work, replies: list[Message | None]) -> None:
        if is_training(work):
            seen[work[0][0].metadata.group_id] = sent_by(replies)

    return watched(devices or world.honest, see), seen


def test_pf_17_the_server_invites_nobody_its_own_record_would_refuse(make_world: Builder) -> None:
    world = blt(make_world)
    devices, seen = invited_and_sent(world)
    world.run(devices)
    assert [len(sent) for sent in seen.values()] == [3] * ROUNDS
    assert all(array.any() for sent in seen.values() for array in sent.values())
    store = world.host.participation
    assert isinstance(store, ParticipationStore)
    for device in range(DEVICES):
        invited = [int(number) for number, sent in seen.items() if device in sent]
        assert store.joins(device, world.folder.name) == len(invited) <= 2
        assert min(np.diff(invited), default=2) >= 2


def obsessed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the server invite the same three devices to every round."""
    monkeypatch.setattr(SeparatedCohorts, "draw", lambda *_: np.arange(3))


def test_pf_17_a_device_asked_too_early_or_too_often_answers_zeros(
    make_world: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    obsessed(monkeypatch)
    world = blt(make_world, rounds=6)
    devices, seen = invited_and_sent(world)
    state = world.run(devices)
    added = {number: any(array.any() for array in sent.values()) for number, sent in seen.items()}
    # Two rounds apart, and two rounds at most.
    assert added == {"1": True, "2": False, "3": True, "4": False, "5": False, "6": False}
    assert all(sorted(sent) == [0, 1, 2] for sent in seen.values())
    silent = blt(make_world, "silent", rounds=6)
    assert same_end(silent.run(silent.mute(2, 4, 5, 6)), state)


def test_pf_17_a_restart_of_the_devices_forgets_nothing(
    make_world: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    obsessed(monkeypatch)
    world = blt(make_world)
    with pytest.raises(PowerCutError):
        world.run(cut_in_round(2, world.honest))
    assert isinstance(world.host.participation, ParticipationStore)
    world.host.participation.close()
    host = replace(world.host, participation=make_world.store(world.folder))
    restarted = replace(world, host=host)
    devices, seen = invited_and_sent(restarted)
    restarted.run(devices)
    added = {number: any(array.any() for array in sent.values()) for number, sent in seen.items()}
    assert added == {"2": False, "3": True, "4": False}
