"""What a server that lies can make a node do in sealed sessions: nothing but decline."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from homebody_client.secure.worker import Consent
from homebody_privacy.certificate import Certificate
from homebody_privacy.errors import (
    ConsentMissingError,
    PolicyViolationError,
)
from homebody_privacy.identity import NodeIdentity
from homebody_privacy.legs import Opening, Step, Work
from homebody_privacy.messages import Invitation
from homebody_privacy.sealing import read_context
from homebody_privacy.signing import SigningKey

from .secure_town import HOSTED, Town, is_sum, refused
from .secure_vectors import CONFIG, FLEET, MODEL_SHA, NOW, RUN, STEPS


@pytest.fixture
def town() -> Town:
    """Return a town of four nodes that know the run."""
    town = Town.of(HOSTED)
    town.enrol()
    return town


@pytest.mark.parametrize("metric", ["", "quality"])
def test_the_sum_of_a_session_is_exact_and_every_leg_is_logged_before_it_leaves(
    town: Town, metric: str
) -> None:
    asked = town.sum(metric=metric)
    asked.legs()
    assert is_sum(asked.result().total, range(6))
    for member in town.members:
        assert len(member.worker.out) == 6  # the enrolment and five legs
        assert all(len(payload) > 1_000 for _, payload in member.worker.out)


def test_a_node_of_whom_nobody_is_asked_adds_zeros_that_look_like_any_other(town: Town) -> None:
    asked = town.sum(asked={0: (1,), 1: (), 2: (3,), 3: ()})
    asked.legs()
    assert is_sum(asked.result().total, [1, 3])
    sizes = {len(m.worker.out[3][1]) for m in town.members}
    assert len(sizes) == 1


def test_the_vote_of_an_adaptive_clip_norm_is_one_more_word(town: Town) -> None:
    asked = town.sum(clip_norm=1.0)
    asked.legs()
    assert is_sum(asked.result().total, range(6))


@pytest.mark.parametrize("step", STEPS[2:])
def test_a_session_survives_a_node_that_vanishes(town: Town, step: Step) -> None:
    asked = town.sum()
    asked.legs(skip={step: 1})
    survivors = [0, 1, 3, 4, 5] if step is Step.UPDATE else range(6)
    assert is_sum(asked.result().total, survivors)


@pytest.mark.parametrize("step", [Step.ENROL, *STEPS])
def test_a_message_that_comes_twice_is_answered_with_the_same_bytes_and_works_once(
    town: Town, step: Step
) -> None:
    member = town.members[0]
    if step is Step.ENROL:
        message = town.announce()
        replies = [member.node.answer(step, message) for _ in range(3)]
    else:
        asked = town.sum()
        asked.legs(until=step)
        message = asked.message(step, 0)
        replies = [member.node.answer(step, message, asked.ciphertext) for _ in range(3)]
        asked.take(step, replies[0])
    assert len(set(replies)) == 1
    assert len(member.worker.trained) == (step in STEPS[2:])
    assert len([1 for _, payload in member.worker.out if payload == replies[0]]) == 1


@pytest.mark.parametrize("step", STEPS)
def test_another_message_for_an_answered_step_is_refused_and_ends_the_session(
    town: Town, step: Step
) -> None:
    asked, member = town.sum(), town.members[0]
    asked.legs(until=step)
    asked.ask(step, 0)
    other = asked.message(step, 0, msg_id=bytes(16))
    assert isinstance(refused(member.node, step, other, asked.ciphertext), PolicyViolationError)
    # The first message still has its reply, and no later one has any.
    assert asked.take(step, asked.ask(step, 0)) == ""
    for after in STEPS[STEPS.index(step) + 1 :]:
        refused(member.node, after, asked.message(after, 0, b""), asked.ciphertext)


@pytest.mark.parametrize("due", STEPS[1:])
@pytest.mark.parametrize("came", STEPS[1:])
def test_a_step_out_of_its_order_ends_the_session(town: Town, due: Step, came: Step) -> None:
    if came is due or STEPS.index(came) < STEPS.index(due):
        return  # an earlier step was answered: another test
    asked = town.sum()
    asked.legs(until=due)
    message = asked.message(came, 0)
    member = town.members[0]
    assert asked.take(came, member.node.answer(came, message, asked.ciphertext)) == "secagg-abort"
    assert isinstance(
        refused(member.node, due, asked.message(due, 0), asked.ciphertext), PolicyViolationError
    )
    assert not member.worker.trained or came in (Step.CONFIRM, Step.UNMASK)


@pytest.mark.parametrize("devices", [[2], [0, 2], [7]])
def test_an_invitation_of_another_nodes_devices_trains_nobody(
    town: Town, devices: list[int]
) -> None:
    asked = town.sum(asked={0: tuple(devices), 1: (2,), 2: (3,), 3: (4,)})
    asked.legs(until=Step.UPDATE)
    assert asked.take(Step.UPDATE, asked.ask(Step.UPDATE, 0)) == "policy-violation"
    assert town.members[0].worker.trained == []


@pytest.mark.parametrize(
    "change", [{"run": "winter"}, {"round": 2}, {"config-digest": "d" * 64}, {"devices": [0, 0]}]
)
def test_an_invitation_that_is_not_what_its_envelope_says_trains_nobody(
    town: Town, change: dict[str, Any]
) -> None:
    asked = town.sum()
    asked.legs(until=Step.UPDATE)
    work = Work(
        asked={**asked.asked(0), **change},
        forwarded=asked.bodies[0],
        content_key=asked.content_key,
    )
    message = asked.message(Step.UPDATE, 0, work.to_bytes())
    reply = town.members[0].node.answer(Step.UPDATE, message, asked.ciphertext)
    assert asked.take(Step.UPDATE, reply) in ("policy-violation", "integrity-failure")
    assert town.members[0].worker.trained == []


def test_a_sum_of_another_length_is_not_answered(town: Town) -> None:
    asked = town.sum()
    asked.length += 1
    for number in range(4):
        body = asked.opening().to_bytes()
        message = asked.message(Step.ADVERTISE, number, body)
        asked.take(Step.ADVERTISE, town.members[number].node.answer(Step.ADVERTISE, message))
    # The server's own machine says seven words: the nodes' signatures are over eight.
    assert not asked.server._adverts  # noqa: SLF001 - none was accepted


@pytest.mark.parametrize("metric", ["unknown", "quality"])
def test_a_question_the_config_does_not_list_is_not_answered(town: Town, metric: str) -> None:
    asked = town.sum(metric="quality")
    opening = asked.opening(metric=metric).to_bytes()
    reply = town.members[0].node.answer(Step.ADVERTISE, asked.message(Step.ADVERTISE, 0, opening))
    assert asked.take(Step.ADVERTISE, reply) == ("" if metric == "quality" else "policy-violation")


@pytest.mark.parametrize("listed", [False, True])
def test_a_session_before_the_first_round_is_for_statistics_that_the_config_lists(
    town: Town, *, listed: bool
) -> None:
    member = town.members[0]
    member.policy = replace(member.policy, statistics=listed)
    asked = town.sum(round_number=0)
    assert asked.take(Step.ADVERTISE, asked.ask(Step.ADVERTISE, 0)) == (
        "" if listed else "policy-violation"
    )


def test_a_session_for_an_update_answers_no_figures(town: Town) -> None:
    asked, figures = town.sum(), town.sum(metric="quality")
    town.serial -= 1
    asked.legs(until=Step.UPDATE)
    figures.serial, figures.bodies = asked.serial, asked.bodies
    message = figures.message(Step.FIGURES, 0)
    reply = town.members[0].node.answer(Step.FIGURES, message, figures.ciphertext)
    assert asked.take(Step.FIGURES, reply) == "policy-violation"
    assert town.members[0].worker.trained == []


@pytest.mark.parametrize("spoil", ["key", "bytes", "none"])
def test_a_broadcast_that_is_not_the_signed_model_trains_nobody(town: Town, spoil: str) -> None:
    asked = town.sum()
    asked.legs(until=Step.UPDATE)
    ciphertext = {"key": asked.ciphertext, "bytes": b"x" + asked.ciphertext[1:], "none": b""}[spoil]
    key = bytes(32) if spoil == "key" else asked.content_key
    work = Work(asked=asked.asked(0), forwarded=asked.bodies[0], content_key=key)
    message = asked.message(Step.UPDATE, 0, work.to_bytes())
    reply = town.members[0].node.answer(Step.UPDATE, message, ciphertext)
    assert asked.take(Step.UPDATE, reply) == "seal-refused"
    assert town.members[0].worker.trained == []


@pytest.mark.parametrize("nodes", [1, 2])
def test_a_sum_of_fewer_nodes_than_the_nodes_own_least_is_left(nodes: int) -> None:
    town = Town.of(HOSTED[:nodes] + ((9,), (10,))[: 3 - nodes])
    for member in town.members:
        member.policy = replace(member.policy, least=4)
    town.enrol()
    asked = town.sum()
    asked.leg(Step.ADVERTISE)
    assert asked.take(Step.SHARE, asked.ask(Step.SHARE, 0)) == "secagg-abort"


@pytest.mark.parametrize("fault", ["authority", "fleet", "expired"])
def test_a_roster_with_a_node_the_authority_does_not_vouch_for_is_left(
    town: Town, fault: str
) -> None:
    stranger = town.members[3]
    stranger.certificate = Certificate.issue(
        SigningKey.generate() if fault == "authority" else town.authority,
        fleet="another" if fault == "fleet" else FLEET,
        signing=stranger.identity.signing.public,
        recipient=stranger.identity.recipient.public,
        not_after=NOW - 1 if fault == "expired" else NOW + 100,
    )
    asked = town.sum()
    asked.leg(Step.ADVERTISE)
    for number in range(3):
        assert asked.take(Step.SHARE, asked.ask(Step.SHARE, number)) == "secagg-abort"


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("how", ["shut", "changed"])
def test_consent_withdrawn_between_two_legs_ends_the_session_and_nothing_more_is_sent(
    town: Town, step: Step, how: str
) -> None:
    asked, member = town.sum(), town.members[0]
    asked.legs(until=step)
    sent = len(member.worker.out)
    if how == "shut":
        member.worker.shut = ConsentMissingError("withdrawn: the person said no")
    else:
        member.worker.tag = "b" * 32
    if step is Step.ADVERTISE and how == "changed":
        return  # nothing was joined under the old tag
    reply = asked.ask(step, 0)
    assert asked.take(step, reply) == "consent-missing"
    assert read_context(reply).consent_tag == ""
    assert len(member.worker.out) == sent
    member.worker.shut, member.worker.tag = None, "a" * 32  # said yes again: another decision
    assert asked.take(step, asked.ask(step, 0)) == "consent-missing"
    refused(member.node, step, asked.message(step, 0, msg_id=bytes(16)), asked.ciphertext)
    assert member.store.get(RUN, "session") is None


def test_a_device_that_is_not_ready_joins_no_session(town: Town) -> None:
    town.members[0].worker.busy = PolicyViolationError("the device is not ready")
    asked = town.sum()
    codes = asked.leg(Step.ADVERTISE)
    assert codes == {0: "policy-violation", 1: "", 2: "", 3: ""}


def test_a_defect_is_answered_with_a_code_and_says_nothing_of_a_person(town: Town) -> None:
    asked, member = town.sum(), town.members[0]
    asked.legs(until=Step.UPDATE)
    member.worker.parts = {0: np.zeros(0, np.int64), 1: np.zeros(0, np.int64)}
    reply = asked.ask(Step.UPDATE, 0)
    assert asked.take(Step.UPDATE, reply) == "defect"
    following = town.sum()
    following.legs(until=Step.UPDATE)
    node, message = replace(member.node, shielded=False), following.message(Step.UPDATE, 0)
    with pytest.raises(ValueError, match="broadcast"):
        node.answer(Step.UPDATE, message, following.ciphertext)


def test_the_consent_of_a_device_stands_in_every_reply(town: Town) -> None:
    asked = town.sum()
    for step in STEPS:
        replies = {n: asked.ask(step, n) for n in range(4)}
        tags = {read_context(reply).consent_tag for reply in replies.values()}
        assert tags == {"a" * 32}
        for reply in replies.values():
            assert asked.take(step, reply) == ""
        asked.close(step)


def test_a_decline_says_a_code_and_neither_consent_nor_step(town: Town) -> None:
    town.members[0].worker.shut = ConsentMissingError("withdrawn: the person said no")
    asked = town.sum()
    head = read_context(asked.ask(Step.ADVERTISE, 0))
    assert head.step is Step.DECLINE
    assert (head.consent_tag, head.consent_receipt_sha256) == ("", "")


def test_an_opening_whose_round_is_not_its_envelopes_is_declined(town: Town) -> None:
    asked = town.sum()
    body = Opening(
        round=2, recipient=asked.key.public.hex(), length=7, word_bits=32, metric=""
    ).to_bytes()
    reply = town.members[0].node.answer(Step.ADVERTISE, asked.message(Step.ADVERTISE, 0, body))
    assert asked.take(Step.ADVERTISE, reply) == "policy-violation"


def test_no_part_of_a_node_is_shown_by_repr(town: Town) -> None:
    asked, member = town.sum(), town.members[0]
    asked.legs(until=Step.UPDATE)
    shown = repr(member.node) + repr(Consent()) + repr(member.store)
    for secret in (member.identity.signing.secret, member.identity.recipient.to_bytes()):
        assert secret.hex() not in shown
        assert repr(secret) not in shown
    assert repr(NodeIdentity.generate()) == "NodeIdentity()"


def test_the_model_digest_and_the_config_are_in_every_reply(town: Town) -> None:
    asked = town.sum()
    for step in STEPS:
        for number in range(4):
            reply = asked.ask(step, number)
            head = read_context(reply)
            assert (head.model_sha256, head.config_sha256) == (MODEL_SHA, CONFIG)
            assert (head.run, head.round, head.session) == (RUN, 1, asked.serial)
            asked.take(step, reply)
        asked.close(step)
    assert Invitation.from_record(asked.asked(0)).devices == (0, 1)
