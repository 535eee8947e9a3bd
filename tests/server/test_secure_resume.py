"""The server dies in any leg: resumed, the run is what it would have been, and charged once."""

from collections.abc import Callable
from typing import Any

import pytest
from flwr.app import Message

from homebody_privacy.errors import IntegrityError
from homebody_privacy.ledger import Ledger
from homebody_privacy.legs import Step
from homebody_privacy.sealing import read_context
from homebody_server.run_folder import RunFolder
from homebody_server.run_spec import MetricPlan
from homebody_server.secure.serials import Serials

from .secure_time import Time
from .secure_world import Fleet, Sent, envelope_of_down, nodes_of, sent_envelopes
from .world import Builder, PowerCutError, Work, entries, ledger_of, power_cut, same_end

PLAN = MetricPlan(name="quality", noise_multiplier=4.0, releases=1)
LEGS = [step for step in Step if step not in (Step.DECLINE, Step.ENROL, Step.FIGURES)]
OWN: dict[str, Any] = {"mechanism": "blt", "rounds": 2, "min_separation": 2, "metrics": (PLAN,)}


def fleet(make_world: Builder, name: str, **own: Any) -> Fleet:  # noqa: ANN401 - the spec's
    """Return a fleet of four shards, whose devices count what they join."""
    return nodes_of(make_world(name, secagg=True, **(OWN | own)), 4, Time())


def cut(sealed: Fleet, step: Step, number: int, *, after: bool) -> Callable[[Work], list[Any]]:
    """Return the nodes of a server that dies in a leg, before or after they answered."""

    def cohort(work: Work) -> list[Message | None]:
        context = read_context(envelope_of_down(work[0][0]))
        here = (context.step, context.round) == (step, number)
        if here and not after:
            raise PowerCutError
        replies = sealed.honest(work)
        if here:
            raise PowerCutError
        return replies

    return cohort


@pytest.mark.parametrize(
    ("step", "after"),
    [*((step, True) for step in (Step.ENROL, *LEGS, Step.FIGURES)), (Step.UPDATE, False)],
)
def test_pf_14_a_session_cut_short_is_opened_anew_for_the_same_release_and_charge(
    make_world: Builder, step: Step, *, after: bool
) -> None:
    whole, dead = fleet(make_world, "whole"), fleet(make_world, "dead")
    expected = whole.run()
    number = {Step.ENROL: 0}.get(step, 2)
    with pytest.raises(PowerCutError):
        dead.run(cut(dead, step, number, after=after))
    assert same_end(dead.run(), expected)
    assert entries(dead.world)[1:] == entries(whole.world)[1:]
    assert ledger_of(dead.world).voids == 0


@pytest.mark.parametrize("call", ["release", "answer"])
def test_pf_14_a_crash_between_sum_and_ledger_is_made_good(
    make_world: Builder, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    whole, dead = fleet(make_world, "whole"), fleet(make_world, "dead")
    expected = whole.run()
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, call, power_cut)
        with pytest.raises(PowerCutError):
            dead.run()
    assert same_end(dead.run(), expected)
    assert entries(dead.world)[1:] == entries(whole.world)[1:]


def test_a_crash_while_the_model_is_saved_is_made_good(
    make_world: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, dead = fleet(make_world, "whole"), fleet(make_world, "dead")
    expected = whole.run()
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "save_state", power_cut)
        with pytest.raises(PowerCutError):
            dead.run()
    assert same_end(dead.run(), expected)
    assert entries(dead.world)[1:] == entries(whole.world)[1:]


@pytest.mark.parametrize(
    ("mechanism", "step"), [("blt", Step.UPDATE), ("gaussian", Step.UNMASK), ("blt", Step.SHARE)]
)
def test_a_deployed_round_that_was_cut_short_is_void_and_epsilon_the_same(
    make_world: Builder, step: Step, mechanism: str
) -> None:
    own: dict[str, Any] = {"rounds": 3, "metrics": (), "mechanism": mechanism, "runtime": "deploy"}
    own |= {"min_separation": 1} if mechanism == "gaussian" else {}
    whole, dead = fleet(make_world, "whole", **own), fleet(make_world, "dead", **own)
    whole.run()
    with pytest.raises(PowerCutError):
        dead.run(cut(dead, step, 2, after=True))
    seen: Sent = []
    dead.run(sent_envelopes(dead.honest, seen))
    record = ledger_of(dead.world)
    assert record.void_reasons == {2: "interrupted"}
    assert (record.closed, record.released, record.decided) == (3, 3, False)
    assert record.charges() == ledger_of(whole.world).charges()
    rounds = {read_context(envelope_of_down(message)).round for message, _ in seen}
    assert rounds == {0, 3}  # nobody is asked for round 2 again


def test_an_interrupted_deployed_round_takes_its_step_of_the_noise(make_world: Builder) -> None:
    own: dict[str, Any] = {"rounds": 3, "metrics": (), "cohort_size": 4, "min_separation": 1}
    clear = make_world("clear", **(OWN | own), report_goal=4)
    dead = fleet(make_world, "dead", **own, runtime="deploy")
    expected = clear.run(clear.mute(2))
    with pytest.raises(PowerCutError):
        dead.run(cut(dead, Step.UPDATE, 2, after=True))
    assert same_end(dead.run(), expected)


def test_serials_rise_over_restarts_and_stand_on_disk_before_they_are_used(
    make_world: Builder,
) -> None:
    dead, seen = fleet(make_world, "dead"), list[tuple[int, int]]()
    file = dead.world.folder.session_file

    def watching(inner: Callable[[Work], list[Any]]) -> Callable[[Work], list[Any]]:
        def cohort(work: Work) -> list[Message | None]:
            context = read_context(envelope_of_down(work[0][0]))
            seen.append((context.session, int(file.read_text())))
            return inner(work)

        return cohort

    for number in (1, 2):
        with pytest.raises(PowerCutError):
            dead.run(watching(cut(dead, Step.SHARE, number, after=True)))
    dead.run(watching(dead.honest))
    sessions = [session for session, _ in seen]
    assert sessions == sorted(sessions)
    assert all(session == stored for session, stored in seen)
    # Enrolled three times; round 1 twice, round 2 twice, one figure.
    assert sorted(set(sessions)) == list(range(1, 9))


@pytest.mark.parametrize("content", ["", "x\n", "-1\n", "7", "7\n7\n", "\xff\n"])
def test_a_serial_that_cannot_be_read_stops_the_run_rather_than_start_anew(
    make_world: Builder, content: str
) -> None:
    file = make_world().folder.session_file
    file.write_bytes(content.encode("latin-1"))
    with pytest.raises(IntegrityError, match="no serial"):
        Serials(file).take()
    assert file.read_bytes() == content.encode("latin-1")
