"""A few nodes with keys of a fleet, and the aggregator that asks them; all of it in one process."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import pytest

from homebody_client.secure.guard import RoundGuard
from homebody_client.secure.leg_store import LegStore
from homebody_client.secure.node import SecureNode
from homebody_client.secure.opening import store_key
from homebody_client.secure.policy import Policy
from homebody_privacy.broadcast import encrypt_model
from homebody_privacy.certificate import Certificate
from homebody_privacy.envelope import EVERY_NODE, Expected, SealContext
from homebody_privacy.errors import HomebodyError
from homebody_privacy.identity import NodeIdentity, RecipientKey
from homebody_privacy.legs import Announcement, Decline, Enrolment, Opening, Step, Work
from homebody_privacy.messages import Invitation, Question
from homebody_privacy.node_folder import Pins
from homebody_privacy.sealing import open_sealed, read_context, seal, sign_plain
from homebody_privacy.secagg.server import SecAggServer, Summed
from homebody_privacy.signing import SigningKey

from .secure_vectors import (
    CONFIG,
    FLEET,
    LATTICE,
    MODEL,
    MODEL_SHA,
    NOW,
    POLICY,
    RUN,
    Integers,
    Vectors,
    part_of,
)

HOSTED: Final = ((0, 1), (2,), (3,), (4, 5))


@dataclass
class Member:
    """One node of the town; ``node`` opens it as a process would, from its store alone."""

    identity: NodeIdentity
    certificate: Certificate
    pins: Pins
    worker: Vectors
    store: LegStore
    file: Path | None = None
    policy: Policy = POLICY
    clock: Callable[[], float] = lambda: NOW
    guard: RoundGuard | None = None

    @property
    def node(self) -> SecureNode:
        """The node as it is after a start."""
        return SecureNode(
            identity=self.identity,
            certificate=self.certificate,
            pins=self.pins,
            policy=self.policy,
            store=self.store,
            worker=lambda _: self.worker,
            clock=self.clock,
            guard=self.guard,
        )


@dataclass
class Town:
    """Nodes, their authority and their aggregator."""

    members: list[Member]
    aggregator: SigningKey
    authority: SigningKey
    key: RecipientKey = field(default_factory=RecipientKey.generate)
    serial: int = 0
    now: int = NOW
    config: str = CONFIG

    @classmethod
    def of(cls, hosted: Iterable[Iterable[int]], folder: Path | None = None) -> "Town":
        """Return a town whose nodes host these devices; with files, if there is a folder."""
        authority, aggregator = SigningKey.generate(), SigningKey.generate()
        pins = Pins(fleet=FLEET, authority=authority.public, aggregator=aggregator.public)
        members = []
        for number, devices in enumerate(hosted):
            identity = NodeIdentity.generate()
            certificate = Certificate.issue(
                authority,
                fleet=FLEET,
                signing=identity.signing.public,
                recipient=identity.recipient.public,
                not_after=NOW + 10_000,
            )
            file = None if folder is None else folder / f"{number}.db"
            key = store_key(identity)
            members.append(
                Member(
                    identity=identity,
                    certificate=certificate,
                    pins=pins,
                    worker=Vectors({device: part_of(device) for device in devices}),
                    store=LegStore.in_memory(key) if file is None else LegStore.open(file, key),
                    file=file,
                )
            )
        return cls(members, aggregator, authority)

    def announcement(self, **changed: Any) -> Announcement:  # noqa: ANN401 - fields of it
        """Return what the server says of the run, under the next serial unless one is given."""
        if "session" not in changed:
            self.serial += 1
        told: dict[str, Any] = {
            "run": RUN,
            "session": self.serial,
            "recipient": self.key.public.hex(),
            "config_sha256": self.config,
            "devices": 12,
            "model": {"name": "two-tower", "options": {"dim": 4}},
            "clip_norm": LATTICE.clip_norm,
            "lattice_bits": LATTICE.bits,
            "example_key": "00" * 32,
            "not_after": self.now + 5_000,
        }
        return Announcement(**{**told, **changed})

    def announce(
        self,
        announcement: Announcement | None = None,
        *,
        signer: SigningKey | None = None,
        **changed: Any,  # noqa: ANN401 - fields of the header
    ) -> bytes:
        """Return the signed message that announces the run."""
        said = announcement or self.announcement()
        head = SealContext(
            run=said.run,
            round=0,
            session=said.session,
            step=Step.ENROL,
            direction="down",
            node_id=EVERY_NODE,
            msg_id=bytes([said.session]) * 16,
            recipient_key_id="",
            model_sha256="",
            config_sha256=said.config_sha256,
            consent_tag="",
            consent_receipt_sha256="",
            not_after=said.not_after,
        )
        return sign_plain(
            replace(head, **changed), said.to_bytes(), signer=signer or self.aggregator
        )

    def enrol(self) -> list[Enrolment]:
        """Announce the run to all and return their answers."""
        message = self.announce()
        replies = [one.node.answer(Step.ENROL, message) for one in self.members]
        return [Enrolment.from_bytes(self.opened(one, self.key)) for one in replies]

    def opened(self, reply: bytes, key: RecipientKey) -> bytes:
        """Return the body of a reply, by whichever node signed it."""
        head = read_context(reply)
        (sender,) = [m for m in self.members if m.identity.node_id == head.node_id]
        expected = Expected(
            run=head.run,
            round=head.round,
            session=head.session,
            step=head.step,
            direction="up",
            node_id=head.node_id,
            model_sha256=head.model_sha256,
            config_sha256=self.config,
        )
        public = sender.identity.signing.public
        return open_sealed(reply, expected=expected, key=key, sender=public, now=self.now)

    def sum(self, **own: Any) -> "Sum":  # noqa: ANN401 - fields of a sum
        """Return the next secure sum over all nodes."""
        self.serial += 1
        return Sum(self, self.serial, **own)


def refused(node: SecureNode, step: Step, message: bytes, ciphertext: bytes = b"") -> HomebodyError:
    """Return why a node refuses a message as it stands."""
    with pytest.raises(HomebodyError) as caught:
        node.answer(step, message, ciphertext)
    return caught.value


def state_of(member: Member) -> list[tuple[bytes, ...]]:
    """Return all that a node has stored."""
    return sorted(member.store._db.execute("SELECT * FROM legs"))  # noqa: SLF001 - the file itself


def is_sum(total: Integers, devices: Iterable[int]) -> bool:
    """Tell whether a sum is that of these devices."""
    parts = sum(part_of(device)[: len(total)] for device in devices)
    return bool((total == parts).all())


class Sum:
    """One secure sum as its server sees it; every leg can be looked at and changed."""

    def __init__(
        self,
        town: Town,
        serial: int,
        *,
        metric: str = "",
        asked: Mapping[int, tuple[int, ...]] | None = None,
        clip_norm: float | None = None,
        round_number: int = 1,
    ) -> None:
        """Make a key of its own and ask nobody yet."""
        self.town, self.serial, self.metric, self.round = town, serial, metric, round_number
        self.clip_norm, self._asked = clip_norm, asked
        self.length = 2 if metric else len(MODEL) + (clip_norm is not None)
        self.word_bits = 64 if metric else 32
        self.key = RecipientKey.generate()
        self.ciphertext, self.content_key = encrypt_model(MODEL, MODEL_SHA)
        self.ids = {one.identity.node_id: i for i, one in enumerate(town.members)}
        self.server = SecAggServer(
            run=RUN,
            session=serial,
            round=round_number,
            length=self.length,
            word_bits=self.word_bits,
            max_corrupt=POLICY.max_corrupt,
            max_dropout=POLICY.max_dropout,
            least=POLICY.least,
            config_sha256=town.config,
            model_sha256=MODEL_SHA,
            certificates={m.identity.node_id: m.certificate.to_bytes() for m in town.members},
            publics={m.identity.node_id: m.identity.signing.public for m in town.members},
        )
        self.bodies = {i: self.opening().to_bytes() for i in range(len(town.members))}
        self.forwarded: dict[int, bytes] = {}

    def opening(self, **changed: Any) -> Opening:  # noqa: ANN401 - fields of it
        """Return what opens the sum."""
        usual: dict[str, Any] = {
            "round": self.round,
            "recipient": self.key.public.hex(),
            "length": self.length,
            "word_bits": self.word_bits,
            "metric": self.metric,
        }
        return Opening(**{**usual, **changed})

    def asked(self, number: int) -> Mapping[str, Any]:
        """Return what a node is asked to compute; by default all it hosts."""
        hosted = tuple(self.town.members[number].worker.devices())
        devices = hosted if self._asked is None else self._asked[number]
        facts: dict[str, Any] = {
            "run": RUN,
            "round": self.round,
            "devices": devices,
            "config_digest": self.town.config,
        }
        if self.metric:
            return Question(metric=self.metric, **facts).to_record()
        return Invitation(clip_norm=self.clip_norm, **facts).to_record()

    def body(self, step: Step, number: int) -> bytes:
        """Return what a node gets in a leg."""
        if step not in (Step.UPDATE, Step.FIGURES):
            return self.bodies[number]
        return Work(
            asked=self.asked(number),
            forwarded=self.bodies[number],
            content_key=self.content_key,
        ).to_bytes()

    def message(
        self,
        step: Step,
        number: int,
        body: bytes | None = None,
        *,
        signer: SigningKey | None = None,
        recipient: RecipientKey | None = None,
        **changed: Any,  # noqa: ANN401 - fields of the header
    ) -> bytes:
        """Return the sealed message of a leg to a node."""
        member = self.town.members[number]
        key = recipient or member.identity.recipient
        head = SealContext(
            run=RUN,
            round=self.round,
            session=self.serial,
            step=step,
            direction="down",
            node_id=member.identity.node_id,
            msg_id=sha256(f"{self.serial}|{step}|{number}".encode()).digest()[:16],
            recipient_key_id=key.key_id,
            model_sha256=MODEL_SHA,
            config_sha256=self.town.config,
            consent_tag="",
            consent_receipt_sha256="",
            not_after=self.town.now + 600,
        )
        content = self.body(step, number) if body is None else body
        return seal(
            replace(head, **changed),
            content,
            recipient=key.public,
            signer=signer or self.town.aggregator,
        )

    def ask(self, step: Step, number: int) -> bytes:
        """Send a node the message of a leg and return its reply."""
        work = step in (Step.UPDATE, Step.FIGURES)
        message = self.message(step, number)
        return self.town.members[number].node.answer(
            step, message, self.ciphertext if work else b""
        )

    def take(self, step: Step, reply: bytes) -> str:
        """Hand a reply to the server; return the code of a decline, else nothing."""
        head, body = read_context(reply), self.town.opened(reply, self.key)
        if head.step is Step.DECLINE:
            return Decline.from_bytes(body).code
        assert head.step is step
        add = {
            Step.ADVERTISE: self.server.add_advert,
            Step.SHARE: self.server.add_shares,
            Step.UPDATE: self.server.add_masked,
            Step.FIGURES: self.server.add_masked,
            Step.CONFIRM: self.server.add_signature,
            Step.UNMASK: self.server.add_unmasking,
        }[step]
        return "" if add(head.node_id, body) else "not-accepted"

    def close(self, step: Step) -> None:
        """Close a leg and keep what each node gets next."""
        if step is Step.ADVERTISE:
            self.bodies = {self.ids[one]: body for one, body in self.server.close_adverts().items()}
        elif step is Step.SHARE:
            self.bodies = {self.ids[one]: body for one, body in self.server.close_shares().items()}
        elif step in (Step.UPDATE, Step.FIGURES):
            self.bodies = dict.fromkeys(self.bodies, self.server.close_masked())
        elif step is Step.CONFIRM:
            self.bodies = dict.fromkeys(self.bodies, self.server.close_signatures())

    def leg(self, step: Step, only: Iterable[int] | None = None) -> dict[int, str]:
        """Do a leg with all nodes that are still in it; return what each declined with."""
        numbers = sorted(self.bodies) if only is None else sorted(only)
        codes = {number: self.take(step, self.ask(step, number)) for number in numbers}
        self.bodies = {n: body for n, body in self.bodies.items() if codes.get(n) == ""}
        self.close(step)
        return codes

    def legs(self, *, until: Step | None = None, skip: Mapping[Step, int] | None = None) -> None:
        """Do the legs in their order, up to and without ``until``; ``skip`` loses a node then."""
        work = Step.FIGURES if self.metric else Step.UPDATE
        for step in (Step.ADVERTISE, Step.SHARE, work, Step.CONFIRM, Step.UNMASK):
            if step is until:
                return
            gone = (skip or {}).get(step)
            codes = self.leg(step, [n for n in self.bodies if n != gone])
            assert set(codes.values()) == {""}

    def result(self) -> Summed:
        """Return what the server gets."""
        return self.server.result()
