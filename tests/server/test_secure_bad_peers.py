"""Replies no honest node gives count as none; who is not of the fleet does not enrol."""

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, RecordDict

from homebody_privacy import legs
from homebody_privacy.errors import IntegrityError, TooFewDevicesError
from homebody_privacy.identity import NodeIdentity
from homebody_privacy.legs import Enrolment, Step
from homebody_privacy.sealing import read_context, seal
from homebody_privacy.signing import SigningKey, key_id
from homebody_server.run_folder import TrainState
from homebody_server.secure.post import letter_of

from .secure_time import Time
from .secure_world import Fleet, Node, certificate_of, envelope_of_down, nodes_of, step_of
from .world import Builder, Work, ledger_of, same_end

PARTS = 6
BAD = 4
HOSTED = (4, 10)  # the same devices, where each is a node of its own
Tamper = Callable[[Fleet, Message, Message], Message | None]


@pytest.fixture(scope="module")
def plain_ends() -> dict[str, TrainState]:
    """Where plain runs end, once known: every world of one key is the same."""
    return {}


@pytest.fixture
def expected(make_world: Builder, plain_ends: dict[str, TrainState]) -> dict[str, TrainState]:
    """Return where a plain run ends without the bad node, and with it."""
    if not plain_ends:
        clear, silent = make_world("clear", rounds=1), make_world("silent", rounds=1)

        def without(asked: Message, good: Message) -> Message | None:
            training = asked.metadata.group_id == "1"
            return None if training and asked.metadata.dst_node_id in HOSTED else good

        plain_ends["without"] = silent.run(silent.answering(without))
        plain_ends["with"] = clear.run()
    return plain_ends


def small(make_world: Builder, **own: Any) -> Fleet:  # noqa: ANN401 - fields of the spec
    """Return a fleet of six shards."""
    return nodes_of(make_world("sealed", secagg=True, **({"rounds": 1} | own)), PARTS, Time())


def right(_fleet: Fleet, _asked: Message, good: Message) -> Message:
    """Return the reply as it is."""
    return good


def again(asked: Message, envelope: bytes) -> Message:
    """Return a reply that carries an envelope."""
    return Message(letter_of(envelope), reply_to=asked)


def resealed(fleet: Fleet, asked: Message, good: Message, body: bytes, **other: Any) -> Message:  # noqa: ANN401
    """Return the bad node's reply with another body or header, rightly sealed and signed."""
    node = fleet.nodes[BAD]
    assert node.open is not None
    recipient = bytes.fromhex(node.open.recipient)
    context = read_context(envelope_of_down(good))
    signer = other.pop("signer", node.identity.signing)
    to = other.pop("recipient", recipient)
    changed = replace(context, **({"recipient_key_id": key_id(to)} | other))
    return again(asked, seal(changed, body, recipient=to, signer=signer))


def flipped(at: int) -> Tamper:
    """Return a reply with one bit turned."""

    def tamper(_fleet: Fleet, asked: Message, good: Message) -> Message:
        envelope = bytearray(envelope_of_down(good))
        envelope[at] ^= 1
        return again(asked, bytes(envelope))

    return tamper


def header(**other: Any) -> Tamper:  # noqa: ANN401 - fields of a context
    """Return a vector of zeros, right in all but the header."""

    def tamper(fleet: Fleet, asked: Message, good: Message) -> Message:
        return resealed(fleet, asked, good, bytes(9), **other)

    return tamper


def of_another_node(fleet: Fleet, asked: Message, _good: Message) -> Message:
    """Return the envelope another node answered the same leg with."""
    other = fleet.nodes[BAD + 1]
    return again(asked, list(other.answered.values())[-1])


def of_another_leg(fleet: Fleet, asked: Message, _good: Message) -> Message:
    """Return the node's own envelope of the leg before."""
    return again(asked, list(fleet.nodes[BAD].answered.values())[-2])


def beside(_fleet: Fleet, asked: Message, good: Message) -> Message:
    """Return the right envelope and something beside it."""
    content = letter_of(envelope_of_down(good))
    content["metrics"] = ConfigRecord({"num-examples": 10**9})
    return Message(content, reply_to=asked)


def two_arrays(_fleet: Fleet, asked: Message, good: Message) -> Message:
    """Return the right envelope and another array in its record."""
    array = good.content.array_records[legs.SEALED][legs.ENVELOPE]
    record = ArrayRecord({legs.ENVELOPE: array, "more": array})
    return Message(RecordDict({legs.SEALED: record}), reply_to=asked)


def of_words(_fleet: Fleet, asked: Message, good: Message) -> Message:
    """Return the envelope as an array of another type."""
    content = np.frombuffer(envelope_of_down(good), np.uint8).astype(np.int32)
    record = ArrayRecord({legs.ENVELOPE: Array(content)})
    return Message(RecordDict({legs.SEALED: record}), reply_to=asked)


def unreadable(_fleet: Fleet, asked: Message, _good: Message) -> Message:
    """Return an array that is none."""
    array = Array(dtype="uint8", shape=(9,), stype="numpy.ndarray", data=b"?")
    return Message(RecordDict({legs.SEALED: ArrayRecord({legs.ENVELOPE: array})}), reply_to=asked)


def masked_of_length(words: int) -> Tamper:
    """Return a masked vector of another length."""

    def tamper(fleet: Fleet, asked: Message, good: Message) -> Message:
        return resealed(fleet, asked, good, os.urandom(32) + os.urandom(4 * words))

    return tamper


TAMPERED: dict[str, Tamper] = {
    "silence": lambda _fleet, _asked, _good: None,
    "an error": lambda _fleet, asked, _good: Message(Error(8), reply_to=asked),
    "nothing": lambda _fleet, asked, _good: Message(RecordDict(), reply_to=asked),
    "no envelope": lambda _fleet, asked, _good: again(asked, b"?" * 99),
    "cut short": lambda _fleet, asked, good: again(asked, envelope_of_down(good)[:-1]),
    "a byte more": lambda _fleet, asked, good: again(asked, envelope_of_down(good) + b"\0"),
    "a bit of the header": flipped(30),
    "a bit of the body": flipped(-200),
    "a bit of the signature": flipped(-1),
    "another signer": header(signer=SigningKey(bytes(32))),
    "sealed to nobody here": header(recipient=NodeIdentity.generate().recipient.public),
    "another run": header(run="other"),
    "another round": header(round=2),
    "another session": header(session=1),
    "another step": header(step=Step.CONFIRM),
    "downwards": header(direction="down"),
    "under another name": header(node_id=bytes(31) + b"1"),
    "another message": header(msg_id=bytes(16)),
    "another model": header(model_sha256="0" * 64),
    "another config": header(config_sha256="0" * 64),
    "changed consent": header(consent_tag="ab" * 16),
    "another receipt": header(consent_receipt_sha256="ab" * 32),
    "out of date": header(not_after=1),
    "far ahead": header(not_after=2**40),
    "another node's envelope": of_another_node,
    "its envelope of another leg": of_another_leg,
    "something beside": beside,
    "two arrays": two_arrays,
    "words": of_words,
    "unreadable": unreadable,
}
"""Replies that are refused before their body is looked at."""

BODIES: dict[str, Tamper] = {
    "no vector": header(),
    "a short vector": masked_of_length(3),
    "a long vector": masked_of_length(10_000),
}


def test_replies_no_honest_node_sends_count_as_none_and_the_right_one_once(
    make_world: Builder, expected: dict[str, TrainState]
) -> None:
    fleet = small(make_world, deadline_s=5000.0)
    kinds = iter(TAMPERED)
    told: list[str] = []

    def answer(asked: Message, good: Message) -> Message | None:
        if asked.metadata.dst_node_id != BAD or step_of(asked) is not Step.UPDATE:
            return good
        told.append(next(kinds, "the right one"))
        return TAMPERED.get(told[-1], right)(fleet, asked, good)

    state = fleet.run(fleet.answering(answer), attempts=99)
    assert told == [*TAMPERED, "the right one"]  # each was refused, and asked for again
    assert same_end(state, expected["with"])
    assert [len(node.added) for node in fleet.nodes.values()] == [1] * 6


def test_a_node_that_sends_nothing_but_lies_is_left_out(
    make_world: Builder, expected: dict[str, TrainState]
) -> None:
    fleet = small(make_world)

    def answer(asked: Message, good: Message) -> Message | None:
        bad = asked.metadata.dst_node_id == BAD and step_of(asked) is Step.UPDATE
        return of_another_node(fleet, asked, good) if bad else good

    state = fleet.run(fleet.answering(answer))
    assert same_end(state, expected["without"])
    assert state.digest() != expected["with"].digest()


@pytest.mark.parametrize("kind", BODIES)
def test_a_signed_body_that_is_no_vector_counts_as_none_and_is_the_only_one(
    make_world: Builder, kind: str, expected: dict[str, TrainState]
) -> None:
    fleet = small(make_world)
    copies = []

    def answer(asked: Message, good: Message) -> Message | None:
        if asked.metadata.dst_node_id != BAD or step_of(asked) is not Step.UPDATE:
            return good
        copies.append(kind)
        return BODIES[kind](fleet, asked, good)

    assert same_end(fleet.run(fleet.answering(answer)), expected["without"])
    assert len(copies) == 1


@pytest.mark.parametrize("step", [Step.ADVERTISE, Step.SHARE, Step.CONFIRM, Step.UNMASK])
def test_a_lie_in_any_leg_is_as_if_the_node_had_gone(
    make_world: Builder, step: Step, expected: dict[str, TrainState]
) -> None:
    fleet = small(make_world)

    def answer(asked: Message, good: Message) -> Message | None:
        bad = asked.metadata.dst_node_id == BAD and step_of(asked) is step
        return BODIES["no vector"](fleet, asked, good) if bad else good

    early = step in (Step.ADVERTISE, Step.SHARE)
    assert same_end(fleet.run(fleet.answering(answer)), expected["without" if early else "with"])


def test_pf_38_a_reply_of_round_one_is_none_in_round_two(make_world: Builder) -> None:
    silent = make_world("silent", rounds=2)

    def without(asked: Message, good: Message) -> Message | None:
        late = asked.metadata.group_id == "2"
        return None if late and asked.metadata.dst_node_id in HOSTED else good

    expected_end = silent.run(silent.answering(without))
    fleet = small(make_world, rounds=2)
    kept: dict[Step, Message] = {}

    def answer(asked: Message, good: Message) -> Message:
        if asked.metadata.dst_node_id != BAD or step_of(asked) is Step.ENROL:
            return good
        old = kept.setdefault(step_of(asked), good)
        return again(asked, envelope_of_down(old))

    assert same_end(fleet.run(fleet.answering(answer)), expected_end)


def test_pf_29_a_node_whose_consent_changed_in_the_session_is_let_go(
    make_world: Builder, expected: dict[str, TrainState]
) -> None:
    fleet = small(make_world)
    for number, node in fleet.nodes.items():
        node.consent_tag = f"{number:032x}"

    def cohort(work: Work) -> list[Message | None]:
        if step_of(work[0][0]) is Step.UPDATE:
            fleet.nodes[BAD].consent_tag = "ff" * 16
        return fleet.honest(work)

    assert same_end(fleet.run(cohort), expected["without"])


def asked_for_nothing_else(fleet: Fleet) -> bool:
    """Tell whether no session was opened."""
    return not fleet.world.folder.ledger_file.exists() or ledger_of(fleet.world).opened == 0


def renewed(node: Node, **own: Any) -> None:  # noqa: ANN401 - arguments of certificate_of
    """Give a node another certificate of its keys."""
    time, authority = Time(), SigningKey.generate()
    node.certificate = certificate_of(node.identity, own.pop("by", authority), time, **own)


def expired(fleet: Fleet, node: Node) -> Any:  # noqa: ANN401 - a certificate
    """Return a certificate that ended before now."""
    before = Time()
    before.passed = -2 * 366 * 86_400.0
    return certificate_of(node.identity, fleet.authority, before)


def unregistered(fleet: Fleet, node: Node) -> None:
    """Give a node new keys, vouched for, but in no registry."""
    node.identity = NodeIdentity.generate()
    node.certificate = certificate_of(node.identity, fleet.authority, fleet.time)


STRANGERS: dict[str, Callable[[Fleet, Node], None]] = {
    "vouched for by another authority": lambda _fleet, node: renewed(node),
    "of another fleet": lambda fleet, node: renewed(node, by=fleet.authority, fleet="other"),
    "out of date": lambda fleet, node: object.__setattr__(
        node, "certificate", expired(fleet, node)
    ),
    "another node's certificate": lambda fleet, node: object.__setattr__(
        node, "certificate", fleet.nodes[1].certificate
    ),
    "keys nobody registered": unregistered,
}


@pytest.mark.parametrize("kind", STRANGERS)
def test_who_is_not_of_the_fleet_does_not_enrol_and_nothing_is_asked(
    make_world: Builder, kind: str
) -> None:
    fleet = small(make_world)
    STRANGERS[kind](fleet, fleet.nodes[BAD])
    with pytest.raises(TooFewDevicesError, match="not complete"):
        fleet.run()
    assert asked_for_nothing_else(fleet)


def test_a_renewed_certificate_of_a_registered_node_enrols(make_world: Builder) -> None:
    fleet = small(make_world)
    node = fleet.nodes[BAD]
    before = node.certificate
    later = Time()
    later.passed = 3600.0
    node.certificate = certificate_of(node.identity, fleet.authority, later)
    assert node.certificate != before
    assert fleet.run().next_round == 2


@pytest.mark.parametrize("devices", [[0], [3, 9, 0], [99]], ids=["another's", "one more", "beyond"])
def test_pf_38_two_nodes_that_claim_one_device_stop_the_run(
    make_world: Builder, devices: list[int]
) -> None:
    fleet = small(make_world)
    fleet.nodes[BAD].devices = devices
    with pytest.raises(IntegrityError, match="enrolled twice or outside"):
        fleet.run()
    assert asked_for_nothing_else(fleet)


def test_pf_38_one_node_behind_two_flower_nodes_is_one_node(make_world: Builder) -> None:
    fleet = small(make_world)
    twin = dict(fleet.nodes) | {7: fleet.nodes[BAD]}
    world = replace(fleet, nodes=twin)
    assert world.run().next_round == 2
    assert [len(node.added) for node in fleet.nodes.values()] == [1] * 6


def test_an_enrolment_that_is_none_counts_for_nothing(make_world: Builder) -> None:
    fleet = small(make_world)
    node = fleet.nodes[BAD]

    def answer(asked: Message, good: Message) -> Message:
        if asked.metadata.dst_node_id != BAD or step_of(asked) is not Step.ENROL:
            return good
        assert node.run is not None
        recipient = bytes.fromhex(node.run.recipient)
        context = read_context(envelope_of_down(good))
        body = Enrolment(certificate="ab", devices=[3, 9]).to_bytes()
        envelope = seal(context, body, recipient=recipient, signer=node.identity.signing)
        return again(asked, envelope)

    with pytest.raises(TooFewDevicesError):
        fleet.run(fleet.answering(answer))
