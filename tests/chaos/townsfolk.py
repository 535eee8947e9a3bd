"""The nodes of a scenario: the product's own, opened from their folder for each message.

What is added is a look at what a node must keep to itself, for the oracle, and ways to die.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt
from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from homebody_client.check_in import Integers, Parameters, Protect
from homebody_client.flower_app import build_client_app
from homebody_client.host import Host, shard
from homebody_client.secure.leg_store import Labels, LegStore
from homebody_client.secure.node import SecureNode
from homebody_client.secure.opening import opened_node
from homebody_client.secure.policy import Policy
from homebody_client.secure.shard import ShardWorker
from homebody_client.secure.worker import Consent
from homebody_privacy.certificate import Certificate
from homebody_privacy.errors import ConsentMissingError, SealRefusedError, UsageError
from homebody_privacy.identity import NodeIdentity
from homebody_privacy.messages import Invitation, Question
from homebody_privacy.node_folder import NodeFolder, Pins
from homebody_privacy.sealing import read_context
from homebody_privacy.signing import SigningKey
from homebody_server.secure.home import AggregatorHome
from tests.server.secure_time import Time
from tests.server.secure_world import certificate_of, envelope_of_down
from tests.server.world import DEVICES, World
from tests.system.fleet_wire import vector_pieces

if TYPE_CHECKING:
    from homebody_client.secure.worker import Worker

_FLEET = "chaos"


class NodeDiedError(BaseException):
    """The process of a node ends here; nothing of the product may catch that."""


@dataclass(slots=True, kw_only=True)
class Townsman:
    """One node: its folder, and what the oracle knows of it.

    Attributes:
        folder: Identity, certificate, pins and state, as the product keeps them.
        host: What it hosts.
        time: The clock.
        skew_s: How far its own clock is off.
        ill: What its machine does at the next message: a word, see the methods.
        tag: Stands for the person's consent.
        vectors: What it gave to be masked, by session.
        secrets: What it drew for its sums.
        leaked: What of its own stood in its state in clear.
    """

    folder: NodeFolder
    identity: NodeIdentity = field(repr=False)
    host: Host = field(repr=False)
    time: Time
    skew_s: float = 0.0
    ill: str = ""
    tag: str = "a" * 32
    session: int = 0
    vectors: dict[int, Integers] = field(default_factory=dict, repr=False)
    secrets: list[bytes] = field(default_factory=list, repr=False)
    leaked: list[str] = field(default_factory=list)
    _app: ClientApp | None = field(default=None, repr=False)

    def handle(self, message: Message, context: Context) -> Message | None:
        """Answer in a process of its own; None if it died."""
        head = read_context_or_none(envelope_of_down(message))
        self.session = -1 if head is None else head
        if self._app is None:
            self._app = build_client_app(_nothing_plain, node=self._opened, shielded=False)
        try:
            return self._app(message, context)
        except NodeDiedError:
            return None
        finally:
            self.ill = ""
            self._look()

    @contextmanager
    def _opened(self, _: Context) -> Iterator[SecureNode]:
        policy = Policy.of(self.host.config)
        with opened_node(self.folder, policy, self._worker, shielded=False) as node:
            store = cast("LegStore", MortalStore(node.store, self))
            yield replace(node, clock=self.clock, entropy=self.entropy, store=store)

    def _worker(self, _: object) -> "Worker":
        return WatchedWorker(ShardWorker(lambda: self.host), self)

    def clock(self) -> float:
        """Return its own idea of Unix seconds."""
        return self.time.now() + self.skew_s

    def entropy(self, size: int) -> bytes:
        """Draw a secret and remember it."""
        secret = os.urandom(size)
        self.secrets.append(secret)
        return secret

    def _look(self) -> None:
        """Look for what may not stand in its state."""
        state = self.state()
        if state is None:
            return
        own = [*self.secrets, self.identity.signing.secret, self.identity.recipient.to_bytes()]
        if any(secret[:16] in state for secret in own):
            self.leaked.append("a key")
        if any(piece in state for v in self.vectors.values() for piece in vector_pieces(v)):
            self.leaked.append("a vector")

    def state(self) -> bytes | None:
        """Return its state's file; None if there is none."""
        try:
            return self.folder.state_file.read_bytes()
        except FileNotFoundError:
            return None

    def put_back(self, state: bytes | None) -> None:
        """Replace its state's file: the machine was restored, or lost it."""
        for file in self.folder.path.glob("state.db*"):
            file.unlink()
        if state is not None:
            self.folder.state_file.write_bytes(state)
            self.folder.state_file.chmod(0o600)


def read_context_or_none(envelope: bytes) -> int | None:
    """Return the session an envelope says it is of; None if it cannot be read."""
    try:
        return read_context(envelope).session
    except SealRefusedError:
        return None


def _nothing_plain(_: Context) -> Host:
    raise AssertionError("a node with keys opened its devices for a plain message")


@dataclass(frozen=True, slots=True)
class MortalStore:
    """A node's store, during whose writes its machine may die."""

    store: LegStore
    owner: Townsman

    def alone(self) -> AbstractContextManager[None]:
        """Keep other processes out."""
        return self.store.alone()

    def get(self, *labels: str | int) -> bytes | None:
        """Return a value."""
        return self.store.get(*labels)

    def put(self, values: Mapping[Labels, bytes | None], *, forget: str | None = None) -> None:
        """Keep values, or die, or have no room."""
        if self.owner.ill == "dies-before":
            raise NodeDiedError
        if self.owner.ill == "disk-full":
            raise UsageError("it cannot be written", fix="make room on the disk of the node")
        self.store.put(values, forget=forget)
        if self.owner.ill == "dies-after":
            raise NodeDiedError


@dataclass(frozen=True, slots=True)
class WatchedWorker:
    """A shard's worker, whose vectors are seen before they are masked."""

    worker: ShardWorker
    owner: Townsman

    def devices(self) -> list[int]:
        """Return the numbers of the hosted devices."""
        return self.worker.devices()

    def consent(self, purpose: str) -> Consent:
        """Return the consent as it is now."""
        del purpose
        if not self.owner.tag:
            raise ConsentMissingError("the purpose is shut")
        return Consent(tag=self.owner.tag)

    def ready(self) -> None:
        """Be ready always."""

    def train(self, asked: Invitation, parameters: Parameters, protect: Protect) -> bytes:
        """Return the protected sum."""
        return self.worker.train(asked, parameters, self._watched(protect))

    def figures(self, asked: Question, parameters: Parameters, protect: Protect) -> bytes:
        """Return the protected sum."""
        return self.worker.figures(asked, parameters, self._watched(protect))

    def let_out(self, payload: bytes, what: str, purpose: str, number: int) -> None:
        """Let everything out."""

    def _watched(self, protect: Protect) -> Protect:
        def watched(vector: npt.NDArray[np.integer]) -> bytes:
            own = np.asarray(vector, np.int64)
            before = self.owner.vectors.setdefault(self.owner.session, own)
            assert (before == own).all(), "a node put two vectors into one session"
            if self.owner.ill == "dies-at-work":
                raise NodeDiedError
            return protect(own)

        return watched


@dataclass(frozen=True, slots=True, kw_only=True)
class Town:
    """All nodes by Flower's number, and the server's identity toward them."""

    nodes: Mapping[int, Townsman]
    home: AggregatorHome
    authority: SigningKey
    time: Time
    parts: int

    def heal(self) -> None:
        """Set all clocks right and bring consent back."""
        for node in self.nodes.values():
            node.skew_s, node.tag = 0.0, node.tag or "b" * 32

    def devices_of(self, node_ids: frozenset[bytes]) -> frozenset[int]:
        """Return the devices that these nodes host."""
        own = (one.host.devices for one in self.nodes.values() if one.identity.node_id in node_ids)
        return frozenset().union(*own)


def settle(world: World, parts: int, root: Path) -> Town:
    """Return the nodes that host the devices of a world, and save the server's home.

    Args:
        world: A world whose run is sealed.
        parts: Nodes; device i lives on node ``i % parts + 1``.
        root: Where the nodes' folders go.
    """
    authority, aggregator, time = SigningKey.generate(), SigningKey.generate(), Time()
    pins = Pins(fleet=_FLEET, authority=authority.public, aggregator=aggregator.public)
    nodes, certificates = {}, list[Certificate]()
    for part in range(parts):
        identity = NodeIdentity.generate()
        certificate = certificate_of(identity, authority, time, _FLEET)
        certificates.append(certificate)
        nodes[part + 1] = Townsman(
            folder=NodeFolder.create(
                root / f"n{part + 1}", identity=identity, certificate=certificate, pins=pins
            ),
            identity=identity,
            host=replace(world.host, devices=shard(DEVICES, part, parts)),
            time=time,
        )
    home = AggregatorHome.of(
        aggregator, authority=authority.public, fleet=_FLEET, nodes=certificates
    )
    home.save(world.folder.aggregator_folder)
    return Town(nodes=nodes, home=home, authority=authority, time=time, parts=parts)
