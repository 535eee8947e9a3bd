"""Letters of a session: each sealed to one node, each reply opened only if it is the one expected.

Every field of a reply's header is compared with what the server knows by itself; then its
signature, its time, its seal; then the replay cache, which is on disk before the body is used. A
reply is the node's only one for its leg: what comes after it is not opened.
"""

import os
from contextlib import suppress
from dataclasses import dataclass, field, replace

import numpy as np
from flwr.app import Array, ArrayRecord, Message, RecordDict

from homebody_privacy import legs, messages
from homebody_privacy.certificate import Certificate
from homebody_privacy.envelope import MSG_ID_BYTES, Expected, Refusal, SealContext
from homebody_privacy.errors import SealRefusedError
from homebody_privacy.identity import RecipientKey
from homebody_privacy.legs import Decline, Step
from homebody_privacy.replay import ReplayCache
from homebody_privacy.sealing import open_sealed, read_context, seal
from homebody_privacy.signing import SigningKey, key_id
from homebody_server.secure.copies import ConsentCopies


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A node that is enrolled in the run.

    Attributes:
        flower_node: Flower's number of it.
        certificate: What the authority says of it.
        pinned: Entries of the run's ledger it had seen when it enrolled.
    """

    flower_node: int = field(repr=False)
    certificate: Certificate = field(repr=False)
    pinned: int = 0

    @property
    def node_id(self) -> bytes:
        """The node's id."""
        return self.certificate.node_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """What all messages of a session have in common. Public.

    Attributes:
        run: Identity of the run.
        number: Round the session is for; 0 for an enrolment.
        session: Its serial.
        model_sha256: Digest of the model it is about; empty for an enrolment.
        config_sha256: Digest of the privacy config in force.
        not_after: End of the life of its messages, Unix seconds.
    """

    run: str
    number: int
    session: int
    model_sha256: str
    config_sha256: str
    not_after: int

    def down(self, step: Step, node_id: bytes, recipient_key_id: str) -> SealContext:
        """Return the header of a new message to a node, with an id of its own."""
        return SealContext(
            run=self.run,
            round=self.number,
            session=self.session,
            step=step,
            direction="down",
            node_id=node_id,
            msg_id=os.urandom(MSG_ID_BYTES),
            recipient_key_id=recipient_key_id,
            model_sha256=self.model_sha256,
            config_sha256=self.config_sha256,
            consent_tag="",
            consent_receipt_sha256="",
            not_after=self.not_after,
        )

    def up(self, step: Step, node_id: bytes, msg_id: bytes) -> Expected:
        """Return what the header of the reply to a message must say; consent is left open."""
        return Expected(
            run=self.run,
            round=self.number,
            session=self.session,
            step=step,
            direction="up",
            node_id=node_id,
            model_sha256=self.model_sha256,
            config_sha256=self.config_sha256,
            msg_id=msg_id,
        )


@dataclass(slots=True, kw_only=True)
class PostBox:
    """Sends and opens the messages of one session. Its key is gone with it.

    Attributes:
        topic: What all of them are about.
        key: What replies are sealed to; made for this session. Secret.
        signing: The server app's identity. Secret.
        replays: Which replies were taken.
        copies: Proofs of consent that the server keeps; None where it keeps none.
        declined: Codes that nodes declined with.
    """

    topic: Topic
    key: RecipientKey
    signing: SigningKey = field(repr=False)
    replays: ReplayCache = field(repr=False)
    copies: ConsentCopies | None = field(repr=False, default=None)
    declined: set[str] = field(init=False, default_factory=set)
    _consent: dict[bytes, tuple[str, str]] = field(init=False, repr=False, default_factory=dict)

    def envelope(self, step: Step, member: Member, body: bytes) -> tuple[bytes, bytes]:
        """Seal a message to a node; return its id and the envelope."""
        recipient = member.certificate.recipient
        context = self.topic.down(step, member.node_id, key_id(recipient))
        return context.msg_id, seal(context, body, recipient=recipient, signer=self.signing)

    def opened(
        self, reply: Message, step: Step, member: Member, msg_id: bytes, now: float
    ) -> bytes | None:
        """Return the body of a node's reply; None if the node declines.

        Args:
            reply: What came.
            step: The leg.
            member: Whom it should come from.
            msg_id: Id of the message it answers.
            now: Unix seconds.

        Raises:
            SealRefusedError: If it is no reply of that node to that message, or comes again, or
                the node's consent is not what it was at the first leg.
        """
        envelope = envelope_of(reply)
        declined = read_context(envelope).step is Step.DECLINE
        expected = self.topic.up(Step.DECLINE if declined else step, member.node_id, msg_id)
        if not declined and member.node_id in self._consent:
            tag, receipt = self._consent[member.node_id]
            expected = replace(expected, consent_tag=tag, consent_receipt_sha256=receipt)
        sender = member.certificate.signing
        body = open_sealed(envelope, expected=expected, key=self.key, sender=sender, now=now)
        topic = self.topic
        if not self.replays.accept(topic.run, topic.session, step, member.node_id, "up"):
            raise SealRefusedError(Refusal.REPLAYED)
        if declined:
            with suppress(ValueError):
                self.declined.add(Decline.from_bytes(body).code)
            return None
        said = read_context(envelope)
        told = (said.consent_tag, said.consent_receipt_sha256)
        if self.copies is not None and all(told) and member.node_id not in self._consent:
            self.copies.keep(*told, now=now)
        self._consent[member.node_id] = told
        return body


def letter_of(envelope: bytes, broadcast: ArrayRecord | None = None) -> RecordDict:
    """Return the records of a message that carries an envelope, and the model beside it."""
    records = RecordDict({legs.SEALED: bytes_record(legs.ENVELOPE, envelope)})
    if broadcast is not None:
        records[legs.BROADCAST] = broadcast
    return records


def bytes_record(name: str, content: bytes) -> ArrayRecord:
    """Return a record of one array of bytes."""
    return ArrayRecord({name: Array(np.frombuffer(content, np.uint8))})


def envelope_of(reply: Message) -> bytes:
    """Return the envelope a reply carries.

    Raises:
        SealRefusedError: If it carries anything else.
    """
    records = reply.content.array_records
    if list(reply.content) != [legs.SEALED] or list(records.get(legs.SEALED, ())) != [
        legs.ENVELOPE
    ]:
        raise SealRefusedError(Refusal.MALFORMED)
    try:
        array = records[legs.SEALED][legs.ENVELOPE].numpy()
    except (EOFError, OSError, TypeError, ValueError):
        raise SealRefusedError(Refusal.MALFORMED) from None
    if array.dtype != np.uint8 or array.ndim != 1:
        raise SealRefusedError(Refusal.MALFORMED)
    return array.tobytes()


def is_plain_decline(reply: Message) -> bool:
    """Tell whether a node says that it could not even open the message."""
    return messages.DECLINED in reply.content.config_records and not reply.content.array_records
