"""The round loop over real devices: charged first, released once, resumed as if nothing was."""

from typing import Any

import numpy as np
import pytest
from flwr.app import Context, Message, RecordDict
from scipy import stats

from homebody_privacy.errors import (
    BudgetExhaustedError,
    IntegrityError,
    UsageError,
)
from homebody_privacy.ledger import Ledger
from homebody_privacy.stream import NoiseStream, derive_key
from homebody_server.flower_app import RUN_FOLDER, build_server_app, run_rounds
from homebody_server.selection import poisson_cohort

from .world import (
    DEVICES,
    MakeWorld,
    PowerCutError,
    Work,
    cut_back,
    cut_in_round,
    entries,
    is_training,
    ledger_of,
    noises,
    power_cut,
    same_end,
)


def test_each_round_is_charged_on_disk_before_a_device_is_asked(make_world: MakeWorld) -> None:
    world = make_world()
    honest, seen = world.honest, []

    def watching(work: Work) -> list[Message | None]:
        if is_training(work):
            now = ledger_of(world)
            seen.append((work[0][0].metadata.group_id, now.opened, now.released))
        return honest(work)

    state = world.run(watching)
    assert seen == [("1", 1, 0), ("2", 2, 1), ("3", 3, 2)]
    assert state.next_round == 4
    end = ledger_of(world)
    assert (end.opened, end.released, len(end.charges())) == (3, 3, 3)


@pytest.mark.parametrize("after", [False, True], ids=["before devices train", "after they did"])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_pf_14_a_round_cut_short_is_repeated_with_the_same_noise_and_charged_once(
    make_world: MakeWorld, number: int, *, after: bool
) -> None:
    whole, cut = make_world("whole"), make_world("cut")
    expected = whole.run()
    with pytest.raises(PowerCutError):
        cut.run(cut_in_round(number, cut.honest, after=after))
    between = ledger_of(cut)
    assert (between.opened, between.released) == (number, number - 1)
    assert same_end(cut.run(), expected)
    assert ledger_of(cut).charges() == ledger_of(whole).charges()
    assert entries(cut)[1:] == entries(whole)[1:]


def test_pf_14_a_crash_between_the_saved_model_and_the_ledger_is_made_good(
    make_world: MakeWorld,
) -> None:
    world = make_world(rounds=2)
    state = world.run()
    file = world.folder.ledger_file
    whole = file.read_bytes()
    cut_back(world, 4)
    assert world.run().digest() == state.digest()
    assert file.read_bytes() == whole


def test_the_model_is_on_disk_before_the_ledger_says_so(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, cut = make_world("whole", rounds=2), make_world("cut", rounds=2)
    expected = whole.run()

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "release", power_cut)
        with pytest.raises(PowerCutError):
            cut.run()
    assert cut.folder.load_state().next_round == 2
    assert (ledger_of(cut).opened, ledger_of(cut).released) == (1, 0)
    assert cut.run().digest() == expected.digest()
    assert entries(cut)[1:] == entries(whole)[1:]


def test_the_noise_of_a_run_has_the_scale_that_is_charged_and_no_other(
    make_world: MakeWorld,
) -> None:
    world = make_world(rounds=8, noise_multiplier=5.0)
    drawn = np.concatenate([*noises(world, world.mute()).values()])
    assert [charge.to_dict()["noise_multiplier"] for charge in ledger_of(world).charges()] == [
        5.0
    ] * 8
    assert stats.kstest(drawn / 5.0, "norm").pvalue > 1e-3
    for wrong in (2 / 3, 3 / 2):
        assert stats.kstest(drawn / (5.0 * wrong), "norm").pvalue < 1e-6


def test_pf_02_no_two_rounds_draw_the_same_noise(make_world: MakeWorld) -> None:
    world = make_world(rounds=4, noise_multiplier=5.0)
    rounds = np.array([*noises(world, world.mute()).values()])
    assert rounds.shape == (4, world.host.model.layout.size)
    together = np.asarray(np.corrcoef(rounds))[np.triu_indices(4, 1)]
    assert np.abs(together).max() < 5 / np.sqrt(rounds.shape[1])


def test_no_two_rounds_toss_the_same_coins(make_world: MakeWorld) -> None:
    world = make_world(cohort_size=6)
    invited: dict[str, list[int]] = {}
    honest = world.honest

    def watching(work: Work) -> list[Message | None]:
        if is_training(work):
            nodes = [message.metadata.dst_node_id for message, _ in work]
            invited[work[0][0].metadata.group_id] = nodes
        return honest(work)

    world.run(watching)
    assert len({tuple(nodes) for nodes in invited.values()}) == len(invited) == 3


@pytest.mark.parametrize("lines", [1, 3])
def test_a_ledger_that_lacks_a_release_the_model_holds_stops_the_run(
    make_world: MakeWorld, lines: int
) -> None:
    world = make_world(rounds=2)
    world.run()
    cut_back(world, lines)
    with pytest.raises(IntegrityError, match="disagree"):
        world.run()


def test_a_run_that_ended_is_not_run_again(make_world: MakeWorld) -> None:
    world = make_world()
    state = world.run()

    def nobody(_work: Work) -> list[Message | None]:
        pytest.fail("a device was asked")

    assert world.run(nobody).digest() == state.digest()


def test_a_run_without_its_key_does_not_go_on(make_world: MakeWorld) -> None:
    world = make_world()
    world.folder.destroy_key()
    with pytest.raises(IntegrityError, match="no key"):
        world.run()


def test_two_servers_cannot_spend_one_ledger(make_world: MakeWorld) -> None:
    world = make_world()
    world.run()
    with (
        Ledger.open(world.folder.ledger_file),
        pytest.raises(UsageError, match="another process"),
    ):
        world.run()


def test_keys_make_the_model_and_equal_keys_the_same(make_world: MakeWorld) -> None:
    first, again = make_world("a", rounds=1), make_world("b", rounds=1)
    other = make_world("c", rounds=1, key=bytes(31) + b"1")
    digests = [world.run().digest() for world in (first, again, other)]
    assert digests[0] == digests[1] != digests[2]


def empty_round_key(devices: int) -> bytes:
    """Return a run key whose first coins, one in ``devices`` each, draw nobody."""
    everyone = np.arange(devices)
    for i in range(1000):
        key = i.to_bytes(32, "big")
        coins = NoiseStream(derive_key(key, "coins", 1))
        if not len(poisson_cohort(everyone, 1 / devices, 40, coins)):
            return key
    raise AssertionError("no such key")


def test_pf_10_a_round_that_draws_nobody_is_charged_and_released(make_world: MakeWorld) -> None:
    world = make_world(rounds=1, cohort_size=1, key=empty_round_key(DEVICES))
    before = world.folder.load_state().parameters
    asked: list[Message] = []
    honest = world.honest

    def watching(work: Work) -> list[Message | None]:
        asked.extend(message for message, _ in work if is_training(work))
        return honest(work)

    state = world.run(watching)
    assert not asked
    assert ledger_of(world).released == 1
    assert (state.parameters != before).mean() > 0.9  # noise alone moved it


def test_pf_10_a_round_nobody_answers_is_charged_and_released(make_world: MakeWorld) -> None:
    world = make_world(rounds=1)
    assert world.run(world.mute()).next_round == 2
    assert ledger_of(world).released == 1


def test_the_budget_stops_a_run_before_the_round_that_would_pass_it(
    make_world: MakeWorld,
) -> None:
    world = make_world(noise_multiplier=2.0, ceiling=2.0)
    asked = []
    honest = world.honest

    def watching(work: Work) -> list[Message | None]:
        if is_training(work):
            asked.append(work[0][0].metadata.group_id)
        return honest(work)

    with pytest.raises(BudgetExhaustedError, match="past the ceiling"):
        world.run(watching)
    assert asked == ["1"]
    end = ledger_of(world)
    assert (end.opened, end.released) == (1, 1)
    assert world.folder.load_state().next_round == 2


def test_a_reference_without_noise_keeps_no_ledger(make_world: MakeWorld) -> None:
    world = make_world(noise_multiplier=0.0, ceiling=None)
    assert world.run().next_round == 4
    assert not world.folder.ledger_file.exists()


def test_the_observer_sees_each_release_and_changes_nothing(make_world: MakeWorld) -> None:
    watched, alone = make_world("watched"), make_world("alone")
    seen = []

    def observe(number: int, parameters: Any) -> None:  # noqa: ANN401 - an array
        seen.append((number, parameters.copy()))
        parameters[:] = 0.0

    run_rounds(watched.grid(), watched.folder, observe)
    assert [number for number, _ in seen] == [1, 2, 3]
    assert seen[-1][1].tobytes() == alone.run().parameters.tobytes()


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        ({"rounds": 1}, {"ended": "finished", "rounds": 1}),
        ({"noise_multiplier": 2.0, "ceiling": 1.0}, {"ended": "budget-exhausted", "exit_code": 11}),
    ],
    ids=["finished", "exhausted"],
)
def test_the_server_app_says_in_a_file_how_it_ended(
    make_world: MakeWorld, fields: dict[str, Any], outcome: dict[str, Any]
) -> None:
    world = make_world(**fields)
    context = Context(1, 0, {}, RecordDict(), {RUN_FOLDER: str(world.folder.path)})
    build_server_app()(grid=world.grid(), context=context)
    found = world.folder.read_json("outcome.json")
    assert {key: found[key] for key in outcome} == outcome
    assert set(found) <= {"ended", "rounds", "exit_code", "message", "fix"}
