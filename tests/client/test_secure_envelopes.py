"""Messages a node refuses as they stand: forged, for another place, or of another time."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homebody_privacy.errors import (
    HomebodyError,
    IntegrityError,
    PolicyViolationError,
    SealRefusedError,
)
from homebody_privacy.identity import RecipientKey
from homebody_privacy.legs import Step
from homebody_privacy.signing import SigningKey

from .secure_town import HOSTED, Sum, Town, is_sum, refused, state_of
from .secure_vectors import NOW, RUN, STEPS


@pytest.fixture
def town() -> Town:
    """Return a town of four nodes that know the run."""
    town = Town.of(HOSTED)
    town.enrol()
    return town


@pytest.mark.parametrize(
    "change",
    [
        {"run": "winter"},
        {"node_id": bytes(32)},
        {"config_sha256": "d" * 64},
        {"session": 1},
        {"session": 99},
        {"not_after": NOW - 1},
        {"not_after": NOW + 40 * 86_400},
        {"direction": "up"},
    ],
    ids=str,
)
@pytest.mark.parametrize("step", [Step.SHARE, Step.UPDATE])
def test_a_message_for_another_place_is_refused_and_the_session_goes_on(
    town: Town, step: Step, change: dict[str, Any]
) -> None:
    asked = town.sum()
    asked.legs(until=step)
    before = state_of(town.members[0])
    refused(town.members[0].node, step, asked.message(step, 0, **change), asked.ciphertext)
    assert state_of(town.members[0]) == before
    for one in STEPS[STEPS.index(step) :]:
        asked.leg(one)
    assert is_sum(asked.result().total, range(6))


@pytest.mark.parametrize("change", [{"round": 2}, {"model_sha256": "e" * 64}], ids=str)
@pytest.mark.parametrize("step", STEPS[1:])
def test_a_message_of_another_round_or_model_ends_the_session(
    town: Town, step: Step, change: dict[str, Any]
) -> None:
    asked = town.sum()
    asked.legs(until=step)
    message = asked.message(step, 0, **change)
    reply = town.members[0].node.answer(step, message, asked.ciphertext)
    assert asked.take(step, reply) == "policy-violation"
    assert asked.ask(step, 0) == reply  # the right one comes too late
    assert town.members[0].store.get(RUN, "session") is None


@pytest.mark.parametrize("step", STEPS)
def test_a_message_that_comes_as_another_leg_is_refused_and_the_session_goes_on(
    town: Town, step: Step
) -> None:
    asked = town.sum()
    asked.legs(until=step)
    message = asked.message(step, 0)
    for other in {*Step} - {step}:
        assert isinstance(refused(town.members[0].node, other, message), IntegrityError)
    for one in STEPS[STEPS.index(step) :]:
        asked.leg(one)
    assert is_sum(asked.result().total, range(6))


@pytest.mark.parametrize("step", STEPS)
def test_a_message_of_another_signer_or_for_another_key_is_refused_unopened(
    town: Town, step: Step
) -> None:
    asked = town.sum()
    asked.legs(until=step)
    member = town.members[0]
    before = state_of(member)
    for message in (
        asked.message(step, 0, signer=SigningKey.generate()),
        asked.message(step, 0, signer=town.authority),
        asked.message(step, 0, signer=town.members[1].identity.signing),
        asked.message(step, 0, recipient=RecipientKey.generate()),
    ):
        assert isinstance(refused(member.node, step, message, asked.ciphertext), SealRefusedError)
    assert state_of(member) == before


@settings(max_examples=60)
@given(data=st.data())
def test_whatever_is_changed_in_an_envelope_it_is_refused_and_nothing_moves(
    data: st.DataObject,
) -> None:
    town, asked = ENVELOPES
    message = asked.message(Step.SHARE, 0)
    how = data.draw(st.sampled_from(["flip", "cut", "append"]))
    at = data.draw(st.integers(0, len(message) - 1))
    if how == "flip":
        bit = 1 << data.draw(st.integers(0, 7))
        changed = message[:at] + bytes([message[at] ^ bit]) + message[at + 1 :]
    else:
        changed = message[:at] if how == "cut" else message + data.draw(st.binary(min_size=1))
    before = state_of(town.members[0])
    refused(town.members[0].node, Step.SHARE, changed)
    assert state_of(town.members[0]) == before


def _begun() -> tuple[Town, Sum]:
    town = Town.of(HOSTED)
    town.enrol()
    asked = town.sum()
    asked.legs(until=Step.SHARE)
    return town, asked


ENVELOPES = _begun()


@given(content=st.binary(max_size=400), step=st.sampled_from(list(Step)))
def test_bytes_that_are_no_envelope_are_refused(content: bytes, step: Step) -> None:
    town, _ = ENVELOPES
    assert isinstance(refused(town.members[0].node, step, content), IntegrityError)


@given(body=st.binary(max_size=300))
@settings(max_examples=40)
@pytest.mark.parametrize("step", STEPS)
def test_whatever_the_aggregator_signs_ends_at_most_in_a_decline(step: Step, body: bytes) -> None:
    town = Town.of(HOSTED)
    town.enrol()
    asked = town.sum()
    if step is not Step.ADVERTISE:
        asked.ask(Step.ADVERTISE, 0)
    message = asked.message(step, 0, body)
    try:
        reply = town.members[0].node.answer(step, message, asked.ciphertext)
    except IntegrityError:
        assert step is Step.ADVERTISE  # it says to whom the answer would be sealed
        return
    assert asked.take(step, reply) in ("integrity-failure", "secagg-abort")


def test_a_session_no_later_than_the_last_one_is_refused(town: Town) -> None:
    old, new = town.sum(), town.sum()
    new.legs(until=Step.UPDATE)
    for member, number in ((town.members[0], 0), (town.members[3], 3)):
        error = refused(member.node, Step.ADVERTISE, old.message(Step.ADVERTISE, number))
        assert isinstance(error, PolicyViolationError)
    for step in STEPS[2:]:
        new.leg(step)
    assert is_sum(new.result().total, range(6))


def test_an_enrolment_no_later_than_the_last_message_of_its_run_is_refused(town: Town) -> None:
    town.sum().legs()
    early = town.announce(town.announcement(session=town.serial))
    for member in town.members:
        assert isinstance(refused(member.node, Step.ENROL, early), PolicyViolationError)
    assert len(town.enrol()) == 4


def test_an_enrolment_ends_the_session_that_was_open(town: Town) -> None:
    asked = town.sum()
    asked.legs(until=Step.UPDATE)
    town.enrol()
    refused(town.members[0].node, Step.UPDATE, asked.message(Step.UPDATE, 0), asked.ciphertext)
    after = town.sum()
    after.legs()
    assert is_sum(after.result().total, range(6))


def test_a_run_past_its_time_opens_no_session(town: Town) -> None:
    said = town.announcement(session=town.serial + 1, not_after=NOW + 5)
    town.serial += 1
    for member in town.members:
        member.node.answer(Step.ENROL, town.announce(said))
    asked = town.sum()
    asked.legs(until=Step.UPDATE)
    town.members[0].clock = lambda: NOW + 6
    message = asked.message(Step.UPDATE, 0)
    error = refused(town.members[0].node, Step.UPDATE, message, asked.ciphertext)
    assert isinstance(error, PolicyViolationError)


def test_two_runs_do_not_see_each_other(town: Town) -> None:
    said = town.announcement(run="winter", session=1)
    town.members[0].node.answer(Step.ENROL, town.announce(said))
    asked = town.sum()
    asked.legs()
    assert is_sum(asked.result().total, range(6))


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"config_sha256": "d" * 64}, SealRefusedError),
        ({"clip_norm": 0.75}, PolicyViolationError),
        ({"lattice_bits": 15}, PolicyViolationError),
        ({"not_after": NOW - 1}, SealRefusedError),
    ],
    ids=str,
)
def test_a_run_the_nodes_config_does_not_allow_is_not_joined(
    town: Town, change: dict[str, Any], kind: type[HomebodyError]
) -> None:
    message = town.announce(town.announcement(**change))
    assert isinstance(refused(town.members[0].node, Step.ENROL, message), kind)


@pytest.mark.parametrize("field", ["run", "session"])
def test_an_announcement_in_another_runs_envelope_is_refused(town: Town, field: str) -> None:
    other: dict[str, Any] = {field: {"run": "winter", "session": 77}[field]}
    message = town.announce(**other)
    assert isinstance(refused(town.members[0].node, Step.ENROL, message), IntegrityError)


def test_an_announcement_of_another_aggregator_is_refused(town: Town) -> None:
    message = town.announce(signer=SigningKey.generate())
    assert isinstance(refused(town.members[0].node, Step.ENROL, message), SealRefusedError)


def test_a_node_that_knows_no_run_takes_part_in_none() -> None:
    town = Town.of(HOSTED)
    asked = town.sum()
    message = asked.message(Step.ADVERTISE, 0)
    assert isinstance(refused(town.members[0].node, Step.ADVERTISE, message), PolicyViolationError)
