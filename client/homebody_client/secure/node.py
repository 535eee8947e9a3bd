"""One node in sealed sessions: it checks every message itself, and never answers one twice.

Flower starts one process a message, so nothing lives in memory between two legs: what a session
needs is in the ``LegStore``, on disk before the reply is handed over. What a server may and may not
make a node do:

==========================================  ====================================================
what it sends                               what comes of it
==========================================  ====================================================
an envelope that is not the aggregator's,   refused unopened; an open session goes on
or for another node, run or config
a message that was answered                 the same reply, byte for byte
another message for an answered step        refused, and the session is over for this node
a step out of its order, another model      the same
a session no later than the last one        refused; the open one goes on
other parameters of the sum, other keys,    ``SecAggDevice`` aborts: the session is over
lists that contradict each other
a run that is not approved, a config below  declined with a code, before anything is opened
the floor or rolled back, a ledger that     (``guard``; of a deployed node)
was forked, a round without a charge
an invitation of another node's devices     refused, and the session is over
==========================================  ====================================================

A session that is over leaves no key: it is wiped from the store in the step that keeps the decline.
"""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from homebody_client.check_in import Integers
from homebody_privacy.broadcast import decrypt_model
from homebody_privacy.certificate import Certificate
from homebody_privacy.envelope import SealContext
from homebody_privacy.errors import (
    ConsentMissingError,
    HomebodyError,
    IntegrityError,
    PolicyViolationError,
)
from homebody_privacy.identity import NodeIdentity
from homebody_privacy.legs import (
    Announcement,
    Decline,
    Enrolment,
    Opening,
    Step,
    Work,
)
from homebody_privacy.messages import Question
from homebody_privacy.node_folder import Pins
from homebody_privacy.sealing import open_sealed, open_signed, read_context, seal
from homebody_privacy.secagg.device import SecAggDevice
from homebody_privacy.secagg.device_state import DeviceSettings
from homebody_privacy.signing import key_id

from .guard import RoundGuard, charge_of
from .incoming import asked_of, certified, understood
from .leg_store import LegStore
from .memory import NodeMemory
from .policy import TRAINING, Policy
from .session import OpenSession, RunNotes
from .worker import Consent, Worker

DEFECT: Final = "defect"
"""Code of a decline for a reason the node did not foresee."""

_NOBODY: Final = bytes(32)
_SAID: Final[Mapping[Step, str]] = {
    Step.ENROL: "its number in the fleet, so that it may be asked; nothing about the person",
    Step.ADVERTISE: "keys of one secure sum, made for it alone; nothing about the person",
    Step.SHARE: "shares of these keys, each sealed to another device; nothing about the person",
    Step.CONFIRM: "a signature over which devices a sum is made of; nothing about the person",
    Step.UNMASK: "shares that open the sum of many devices, and never the part of one",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SecureNode:
    """Answers the messages of sealed sessions.

    Attributes:
        identity: The node's keys. Secret.
        certificate: What the fleet's authority says of them.
        pins: Whom the node trusts.
        policy: What its own config says.
        store: What it keeps between messages.
        worker: Its devices, opened for a run when they are needed; a query opens nothing large.
        clock: Unix seconds.
        entropy: Gives that many unpredictable bytes.
        shielded: Answer a defect with a code, as every deployment must.
        guard: Refuses what is not approved or not charged; a simulated node has none.
    """

    identity: NodeIdentity = field(repr=False)
    certificate: Certificate = field(repr=False)
    pins: Pins
    policy: Policy
    store: LegStore = field(repr=False)
    worker: Callable[[Announcement], Worker] = field(repr=False)
    clock: Callable[[], float] = field(repr=False, default=time.time)
    entropy: Callable[[int], bytes] = field(repr=False, default=os.urandom)
    shielded: bool = True
    guard: RoundGuard | None = field(repr=False, default=None)

    def answer(self, step: Step, envelope: bytes, ciphertext: bytes = b"") -> bytes:
        """Return the sealed reply to a message; it is on disk before it is returned.

        Args:
            step: Which leg the message came as.
            envelope: Its envelope.
            ciphertext: The broadcast beside it, empty for none.

        Returns:
            A sealed reply; a sealed decline where the session is over for this node.

        Raises:
            HomebodyError: If the message is refused as it stands: nothing was opened or changed.
        """
        with self.store.alone():
            head = understood(read_context, envelope)
            if head.step is not step or head.direction != "down":
                raise IntegrityError("the envelope is not of the leg it came as")
            if step is Step.ENROL:
                return self._enrol(head, envelope)
            return self._leg(head, envelope, ciphertext)

    # Before any session.

    def _enrol(self, head: SealContext, envelope: bytes) -> bytes:
        expected = replace(head, node_id=_NOBODY, round=0, config_sha256=self.policy.config_sha256)
        body = open_signed(
            envelope, expected=expected, sender=self.pins.aggregator, now=self.clock()
        )
        announcement = understood(Announcement.from_bytes, body)
        told = (announcement.run, announcement.session, announcement.config_sha256)
        if told != (head.run, head.session, head.config_sha256):
            raise IntegrityError("the announcement is not what its envelope says")
        if not self.policy.bounds(announcement.clip_norm, announcement.lattice_bits):
            raise PolicyViolationError("the run's bound on a contribution is not the config's")
        recipient = understood(bytes.fromhex, announcement.recipient)
        known = self._memory.answered(head)
        if known is not None:
            return known
        notes = self._memory.notes(head.run)
        if notes is not None and head.session <= notes.last:
            raise PolicyViolationError("the enrolment is no later than the last message of its run")
        notes = RunNotes(announcement=announcement, last=head.session)

        def enrolment() -> tuple[bytes, None]:
            pinned = self._admitted(announcement)
            worker = self.worker(announcement)
            consent = worker.consent(TRAINING)
            hosted = Enrolment(
                certificate=self.certificate.to_bytes().hex(),
                devices=worker.devices(),
                pinned=pinned,
            )
            reply = self._seal(head, recipient, consent, hosted.to_bytes())
            worker.let_out(reply, _SAID[Step.ENROL], TRAINING, 0)
            return reply, None

        return self._kept(head, recipient, enrolment, notes)

    def _admitted(self, announcement: Announcement) -> int:
        """Refuse a run that is not approved; return how much of its ledger the node has seen."""
        if self.guard is None:
            return 0
        memory = self._memory
        self.guard.admit(announcement, now=self.clock(), revision=memory.revision())
        memory.keep_revision(self.guard.config.revision)
        pin = memory.pin(announcement.run)
        return 0 if pin is None else pin.size

    # Within a run.

    def _leg(self, head: SealContext, envelope: bytes, ciphertext: bytes) -> bytes:
        notes = self._memory.notes(head.run)
        if notes is None or not self.clock() <= notes.announcement.not_after:
            raise PolicyViolationError("the node is not enrolled in this run, or no longer")
        expected = replace(
            head,
            node_id=self.identity.node_id,
            recipient_key_id=self.identity.recipient.key_id,
            config_sha256=self.policy.config_sha256,
        )
        body = open_sealed(
            envelope,
            expected=expected,
            key=self.identity.recipient,
            sender=self.pins.aggregator,
            now=self.clock(),
        )
        known = self._memory.answered(head)
        if known is not None:
            return known
        if head.step is Step.ADVERTISE:
            return self._advertise(head, notes, body)
        session = self._memory.session(head.run)
        if session is None or session.session != head.session:
            raise PolicyViolationError("the node is in no session of this number")
        # From here on whatever goes wrong ends the session.
        return self._kept(
            head,
            session.recipient,
            lambda: self._continued(head, notes, session, body, ciphertext),
        )

    def _advertise(self, head: SealContext, notes: RunNotes, body: bytes) -> bytes:
        if head.session <= notes.last:
            raise PolicyViolationError("the session is no later than the last one of its run")
        opening = understood(Opening.from_bytes, body)
        recipient = understood(bytes.fromhex, opening.recipient)

        def advert() -> tuple[bytes, OpenSession]:
            purpose = self.policy.purpose(opening.metric, opening.round)
            if opening.round != head.round:
                raise PolicyViolationError("the opening is not what its envelope says")
            if self.guard is not None:  # kept at once: what was seen was seen
                pin = self._memory.pin(head.run)
                seen = self.guard.advance(notes.announcement, opening, pin, now=self.clock())
                self._memory.keep_pin(head.run, seen)
            worker = self.worker(notes.announcement)
            worker.ready()
            consent = worker.consent(purpose)
            device, message = SecAggDevice.begin(
                self._settings(head, opening), signer=self.identity.signing, entropy=self.entropy
            )
            opened = OpenSession(
                session=head.session,
                round=head.round,
                metric=opening.metric,
                length=opening.length,
                model_sha256=head.model_sha256,
                consent_tag=consent.tag,
                recipient=recipient,
                device=device.to_bytes(),
                charge=opening.charge,
            )
            reply = self._seal(head, recipient, consent, message)
            worker.let_out(reply, _SAID[Step.ADVERTISE], purpose, head.round)
            return reply, opened

        return self._kept(head, recipient, advert, replace(notes, last=head.session))

    def _settings(self, head: SealContext, opening: Opening) -> DeviceSettings:
        return DeviceSettings(
            run=head.run,
            session=head.session,
            round=head.round,
            node_id=self.identity.node_id,
            length=opening.length,
            word_bits=opening.word_bits,
            max_corrupt=self.policy.max_corrupt,
            max_dropout=self.policy.max_dropout,
            least=self.policy.least,
            config_sha256=self.policy.config_sha256,
            model_sha256=head.model_sha256,
        )

    def _continued(
        self,
        head: SealContext,
        notes: RunNotes,
        session: OpenSession,
        body: bytes,
        ciphertext: bytes,
    ) -> tuple[bytes, OpenSession | None]:
        """Return the reply to a leg of the open session, and the session as it is kept."""
        if (head.round, head.model_sha256) != (session.round, session.model_sha256):
            raise PolicyViolationError("the message is of another round or model than its session")
        purpose = self.policy.purpose(session.metric, session.round)
        worker = self.worker(notes.announcement)
        consent = worker.consent(purpose)
        if consent.tag != session.consent_tag:
            raise ConsentMissingError("consent changed since the session was joined")
        device = SecAggDevice.from_bytes(session.device, self.identity.signing)
        call = _Call(head, session, device, consent, body)
        if head.step in (Step.UPDATE, Step.FIGURES):
            reply = self._work(call, worker, ciphertext)
        else:
            message = {
                Step.SHARE: lambda: device.share(body, self._verified),
                Step.CONFIRM: lambda: device.confirm(body),
                Step.UNMASK: lambda: device.unmask(body),
            }[head.step]()
            reply = self._seal(head, session.recipient, consent, message)
            worker.let_out(reply, _SAID[head.step], purpose, head.round)
        over = head.step is Step.UNMASK
        return reply, None if over else replace(session, device=device.to_bytes())

    def _work(self, call: "_Call", worker: Worker, ciphertext: bytes) -> bytes:
        """Check what is asked, then let the worker compute, protect and let out."""
        head, session = call.head, call.session
        if (head.step is Step.FIGURES) != bool(session.metric):
            raise PolicyViolationError("the session is for something else")
        work = understood(Work.from_bytes, call.body)
        call.device.check_forwarded(work.forwarded)
        parameters = decrypt_model(ciphertext, work.content_key, model_sha256=head.model_sha256)
        asked = asked_of(work, session.metric)
        told = (asked.run, asked.round, asked.config_digest)
        if told != (head.run, head.round, self.policy.config_sha256):
            raise PolicyViolationError("what is asked is not what the envelope says")
        if self.guard is not None and charge_of(asked) != session.charge:
            raise PolicyViolationError("what is asked was charged as something else")
        if not set(asked.devices) <= set(worker.devices()):
            raise PolicyViolationError("a device is asked that this node does not host")

        def protect(vector: Integers) -> bytes:
            if vector.shape != (session.length,):
                raise PolicyViolationError("the sum is announced with another length")
            masked = call.device.mask(vector)
            return self._seal(head, session.recipient, call.consent, masked)

        if isinstance(asked, Question):
            return worker.figures(asked, parameters, protect)
        return worker.train(asked, parameters, protect)

    # What is kept.

    def _kept(
        self,
        head: SealContext,
        recipient: bytes,
        work: Callable[[], tuple[bytes, OpenSession | None]],
        notes: RunNotes | None = None,
    ) -> bytes:
        """Return the reply ``work`` makes, or a decline, after keeping it and what follows."""
        try:
            reply, session = work()
        except HomebodyError as error:
            reply, session = self._declined(head, recipient, error.code), None
        except Exception:  # its text may hold user data, and Flower would send it
            if not self.shielded:
                raise
            reply, session = self._declined(head, recipient, DEFECT), None
        self._memory.keep(head, reply, session, notes, self.clock())
        return reply

    @property
    def _memory(self) -> NodeMemory:
        return NodeMemory(self.store)

    # Envelopes.

    def _seal(
        self,
        head: SealContext,
        recipient: bytes,
        consent: Consent,
        body: bytes,
        step: Step | None = None,
    ) -> bytes:
        """Seal a reply to the message of ``head``, as the same step unless another is named."""
        context = replace(
            head,
            step=step or head.step,
            direction="up",
            node_id=self.identity.node_id,
            recipient_key_id=key_id(recipient),
            consent_tag=consent.tag,
            consent_receipt_sha256=consent.receipt_sha256,
        )
        return seal(context, body, recipient=recipient, signer=self.identity.signing)

    def _declined(self, head: SealContext, recipient: bytes, code: str) -> bytes:
        """Seal a code and nothing else: no consent, no charge, nothing of a device."""
        body = Decline(code=code).to_bytes()
        return self._seal(head, recipient, Consent(), body, Step.DECLINE)

    def _verified(self, content: bytes) -> tuple[bytes, bytes]:
        """Return id and signing key of another node, by a certificate of the fleet's authority."""
        return certified(content, self.pins.authority, self.pins.fleet, self.clock())


@dataclass(frozen=True, slots=True)
class _Call:
    """One message of the open session."""

    head: SealContext
    session: OpenSession
    device: SecAggDevice
    consent: Consent
    body: bytes
