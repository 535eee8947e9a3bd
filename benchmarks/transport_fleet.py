"""Nodes and a server in one secure sum, timed leg by leg, for the benchmark of transport.

One node is measured as it would run: every leg restores it from bytes, checks every certificate and
signature, and writes it back; its messages are sealed and opened. The other nodes are here to make
its work and the server's real; they skip checking each other's signatures, which the server and the
measured node do not.
"""

import os
import time
from collections.abc import Callable, Collection
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, Final
from unittest.mock import patch

import numpy as np
import numpy.typing as npt

from homebody_privacy.certificate import Certificate
from homebody_privacy.envelope import SealContext
from homebody_privacy.identity import NodeIdentity, RecipientKey
from homebody_privacy.legs import Step
from homebody_privacy.sealing import open_sealed, seal
from homebody_privacy.secagg import device
from homebody_privacy.secagg.device import SecAggDevice
from homebody_privacy.secagg.device_state import DeviceSettings
from homebody_privacy.secagg.server import SecAggServer
from homebody_privacy.signing import SigningKey

_FLEET: Final = "bench"
_CONFIG, _MODEL = "c0" * 32, "d2" * 32
_LATER: Final = 2**40
LEGS: Final = (Step.ADVERTISE, Step.SHARE, Step.UPDATE, Step.CONFIRM, Step.UNMASK)


@dataclass
class Leg:
    """What one node's leg cost.

    Attributes:
        cpu_s: Time of the CPU in the leg itself, its state read and written.
        sealing_s: Time of the CPU to open what came and seal what goes.
        down: Bytes of the envelope that came, without the model.
        up: Bytes of the envelope that goes.
    """

    cpu_s: float = 0.0
    sealing_s: float = 0.0
    down: int = 0
    up: int = 0


@dataclass
class Fleet:
    """A fleet of ``count`` nodes with vectors of ``length`` words of 32 bits.

    Attributes:
        count: Nodes.
        length: Words.
        measured: Numbers of the nodes that are measured.
        max_corrupt: As in the config.
        max_dropout: As in the config.
    """

    count: int
    length: int
    measured: Collection[int]
    max_corrupt: float = 0.1
    max_dropout: float = 0.3
    cost: dict[int, dict[Step, Leg]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make identities and certificates."""
        authority, self.aggregator = SigningKey.generate(), SigningKey.generate()
        self.session_key = RecipientKey.generate()
        nodes = sorted((NodeIdentity.generate() for _ in range(self.count)), key=_id)
        self.nodes, self.ids = nodes, [node.node_id for node in nodes]
        self.authority = authority.public
        self.certificates = [
            Certificate.issue(
                authority,
                fleet=_FLEET,
                signing=node.signing.public,
                recipient=node.recipient.public,
                not_after=_LATER,
            ).to_bytes()
            for node in nodes
        ]
        self.known = {
            content: (node.node_id, node.signing.public)
            for content, node in zip(self.certificates, nodes, strict=True)
        }
        self.sum: dict[str, Any] = {
            "run": "bench",
            "session": 1,
            "round": 1,
            "length": self.length,
            "word_bits": 32,
            "max_corrupt": self.max_corrupt,
            "max_dropout": self.max_dropout,
            "least": 3,
            "config_sha256": _CONFIG,
            "model_sha256": _MODEL,
        }
        self.server = SecAggServer(
            **self.sum,
            certificates=dict(zip(self.ids, self.certificates, strict=True)),
            publics={node.node_id: node.signing.public for node in nodes},
        )
        self.states = [b""] * self.count
        self.expected = np.zeros(self.length, np.int64)
        self.cost = {number: {step: Leg() for step in LEGS} for number in self.measured}
        self.server_s: dict[str, float] = {}

    def run(self, gone: int) -> None:
        """Go through all legs but the last one's close; the first ``gone`` nodes send no vector."""
        order = range(self.count)
        for number in order:
            self._add("advert", number, self._begin(number))
        rosters = self._close("adverts")
        for number in order:
            work = self._checked if number in self.cost else self._unchecked
            reply = self._leg(number, Step.SHARE, rosters[self.ids[number]], work)
            self._add("shares", number, reply)
        forwarded = self._close("shares")
        order = range(gone, self.count)
        rng = np.random.default_rng(1)
        for number in order:
            vector = rng.integers(-(2**16), 2**16, self.length)
            self.expected += vector
            message = forwarded[self.ids[number]]
            self._add("masked", number, self._leg(number, Step.UPDATE, message, _mask(vector)))
        survivors = self._close("masked")
        for number in order:
            reply = self._leg(number, Step.CONFIRM, survivors, SecAggDevice.confirm)
            self._add("signature", number, reply)
        quorum = self._close("signatures")
        for number in order:
            reply = self._leg(number, Step.UNMASK, quorum, SecAggDevice.unmask)
            self._add("unmasking", number, reply)

    def _begin(self, number: int) -> bytes:
        node = self.nodes[number]
        settings = DeviceSettings(node_id=node.node_id, **self.sum)
        started = time.process_time()
        machine, advert = SecAggDevice.begin(settings, signer=node.signing)
        self.states[number] = machine.to_bytes()
        self._note(number, Step.ADVERTISE, time.process_time() - started, bytes(1500), advert)
        return advert

    def _leg(
        self, number: int, step: Step, message: bytes, work: Callable[[SecAggDevice, bytes], bytes]
    ) -> bytes:
        checks = number in self.cost
        skip = patch.object(device, "verified", lambda *_: True)
        device.verified.cache_clear()  # a node alone in its process has nothing to look up
        with nullcontext() if checks else skip:
            started = time.process_time()
            machine = SecAggDevice.from_bytes(self.states[number], self.nodes[number].signing)
            reply = work(machine, message)
            self.states[number] = machine.to_bytes()
            spent = time.process_time() - started
        self._note(number, step, spent, message, reply)
        return reply

    def _unchecked(self, machine: SecAggDevice, roster: bytes) -> bytes:
        return machine.share(roster, self.known.__getitem__)

    def _checked(self, machine: SecAggDevice, roster: bytes) -> bytes:
        return machine.share(roster, self._vouch)

    def _vouch(self, content: bytes) -> tuple[bytes, bytes]:
        certificate = Certificate.from_bytes(content)
        certificate.check(self.authority, _FLEET, 0.0)
        return certificate.node_id, certificate.signing

    def _note(self, number: int, step: Step, spent: float, down: bytes, up: bytes) -> None:
        """Keep what a leg cost, and what sealing its two messages costs."""
        if number not in self.cost:
            return
        node = self.nodes[number]
        came = _context(step, "down", node.node_id, node.recipient)
        goes = _context(step, "up", node.node_id, self.session_key)
        sealed = seal(came, down, recipient=node.recipient.public, signer=self.aggregator)
        started = time.process_time()
        open_sealed(
            sealed, expected=came, key=node.recipient, sender=self.aggregator.public, now=0.0
        )
        reply = seal(goes, up, recipient=self.session_key.public, signer=node.signing)
        sealing = time.process_time() - started
        self.cost[number][step] = Leg(spent, sealing, len(sealed), len(reply))

    def _add(self, what: str, number: int, reply: bytes) -> None:
        started = time.process_time()
        if not getattr(self.server, f"add_{what}")(self.ids[number], reply):
            raise RuntimeError(f"the server did not take {what}")
        self._spend(what, started)

    def _close(self, what: str) -> Any:  # noqa: ANN401 - the leg's own type
        started = time.process_time()
        messages = getattr(self.server, f"close_{what}")()
        self._spend(what, started)
        return messages

    def _spend(self, what: str, started: float) -> None:
        self.server_s[what] = self.server_s.get(what, 0.0) + time.process_time() - started


def _mask(vector: npt.NDArray[np.int64]) -> Callable[[SecAggDevice, bytes], bytes]:
    def work(machine: SecAggDevice, forwarded: bytes) -> bytes:
        machine.check_forwarded(forwarded)
        return machine.mask(vector)

    return work


def _id(node: NodeIdentity) -> bytes:
    return node.node_id


def _context(step: Step, direction: Any, node_id: bytes, key: RecipientKey) -> SealContext:  # noqa: ANN401
    return SealContext(
        run="bench",
        round=1,
        session=1,
        step=step,
        direction=direction,
        node_id=node_id,
        msg_id=os.urandom(16),
        recipient_key_id=key.key_id,
        model_sha256=_MODEL,
        config_sha256=_CONFIG,
        consent_tag="7a" * 16,
        consent_receipt_sha256="5e" * 32,
        not_after=60,
    )


def megabyte_envelope(size: int) -> tuple[Callable[[], bytes], Callable[[], bytes]]:
    """Return how to seal a body of ``size`` bytes, and how to open it."""
    key, signer, body = RecipientKey.generate(), SigningKey.generate(), os.urandom(size)
    context = _context(Step.UPDATE, "up", bytes(32), key)

    def sealed() -> bytes:
        return seal(context, body, recipient=key.public, signer=signer)

    envelope = sealed()

    def opened() -> bytes:
        return open_sealed(envelope, expected=context, key=key, sender=signer.public, now=0.0)

    return sealed, opened
