"""Nodes that speak the sealed protocol, built of the privacy parts, and a fleet of them.

What a node adds is what the plain ClientApp would have sent in clear: the same devices, the same
records of what they joined. Time is a clock that only sleeping moves.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from homebody_client.flower_app import build_client_app
from homebody_client.host import Host, shard
from homebody_models.recommender import model_digest
from homebody_privacy import legs, messages
from homebody_privacy.broadcast import decrypt_model
from homebody_privacy.certificate import Certificate
from homebody_privacy.envelope import EVERY_NODE, Expected, SealContext
from homebody_privacy.errors import ConsentMissingError, HomebodyError, IntegrityError
from homebody_privacy.identity import NodeIdentity
from homebody_privacy.legs import Announcement, Decline, Enrolment, Opening, Step, Work
from homebody_privacy.messages import Question
from homebody_privacy.sealing import open_sealed, open_signed, read_context, seal
from homebody_privacy.secagg.device import SecAggDevice
from homebody_privacy.secagg.device_state import DeviceSettings
from homebody_privacy.signing import SigningKey, key_id
from homebody_server.flower_app import run_rounds
from homebody_server.replies import integers_of
from homebody_server.run_folder import TrainState
from homebody_server.run_spec import RunSpec
from homebody_server.secure.home import AggregatorHome
from homebody_server.secure.post import letter_of
from homebody_server.strategy import parameters_record
from homebody_simulation.flower_internals import make_message
from homebody_simulation.grid import Cohort, CohortGrid

from .secure_time import Time
from .world import DEVICES, World
from .world import Work as Push

Sent = list[tuple[Message, Message | None]]
YEAR_S = 366 * 86_400


@dataclass(slots=True, kw_only=True)
class Node:
    """One honest node: what it remembers between messages is what a real one keeps on disk."""

    identity: NodeIdentity
    certificate: Certificate
    aggregator: bytes
    authority: bytes
    spec: RunSpec
    app: ClientApp
    devices: list[int]
    now: Callable[[], float]
    consent_tag: str = ""
    consent_proof: str = ""
    shut: bool = False
    lie: int | None = None
    run: Announcement | None = None
    last: int = -1
    open: Opening | None = None
    machine: SecAggDevice | None = None
    answered: dict[bytes, bytes] = field(default_factory=dict)
    added: list[npt.NDArray[np.int64]] = field(default_factory=list)
    context: Context = field(default_factory=lambda: Context(1, 1, {}, RecordDict(), {}))

    def answer(self, asked: Message) -> Message | None:
        """Return the reply to a message; None if it is none of the server's."""
        try:
            return Message(letter_of(self.envelope(asked)), reply_to=asked)
        except HomebodyError:
            code = ConfigRecord({messages.CODE: "seal-refused"})
            return Message(RecordDict({messages.DECLINED: code}), reply_to=asked)

    def envelope(self, asked: Message) -> bytes:
        """Return the sealed reply; the same bytes to the same message."""
        down = envelope_of_down(asked)
        context = read_context(down)
        if context.msg_id not in self.answered:
            self.answered[context.msg_id] = self._reply(asked, down, context)
        return self.answered[context.msg_id]

    def _reply(self, asked: Message, down: bytes, context: SealContext) -> bytes:
        try:
            body = self._body(asked, down, context)
        except HomebodyError as error:
            if self.open is None or isinstance(error, IntegrityError):
                raise
            return self._sealed(context, Decline(code=error.code).to_bytes(), Step.DECLINE)
        return self._sealed(context, body, context.step)

    def _body(self, asked: Message, down: bytes, context: SealContext) -> bytes:
        known: dict[str, Any] = {
            "config_sha256": self.spec.config_digest,
            "direction": "down",
        }
        if context.step is Step.ENROL:
            expected = Expected(
                run=None, round=0, session=None, step=Step.ENROL, node_id=EVERY_NODE,
                model_sha256="", **known,
            )  # fmt: skip
            content = open_signed(down, expected=expected, sender=self.aggregator, now=self.now())
            return self._enrol(Announcement.from_bytes(content), context)
        assert self.run is not None
        open_expected = Expected(
            run=self.run.run, round=None, session=None, step=context.step,
            node_id=self.identity.node_id, model_sha256=None, **known,
        )  # fmt: skip
        content = open_sealed(
            down, expected=open_expected, key=self.identity.recipient, sender=self.aggregator,
            now=self.now(),
        )  # fmt: skip
        if context.step is Step.ADVERTISE:
            return self._advertise(Opening.from_bytes(content), context)
        if context.session != self.last or self.machine is None:
            raise IntegrityError("another session")
        match context.step:
            case Step.SHARE:
                return self.machine.share(content, self._verify)
            case Step.UPDATE | Step.FIGURES:
                return self._work(Work.from_bytes(content), asked, context)
            case Step.CONFIRM:
                return self.machine.confirm(content)
            case _:
                return self.machine.unmask(content)

    def _enrol(self, announcement: Announcement, context: SealContext) -> bytes:
        self._rise(context)
        self.run = announcement
        return Enrolment(
            certificate=self.certificate.to_bytes().hex(), devices=list(self.devices)
        ).to_bytes()

    def _advertise(self, opening: Opening, context: SealContext) -> bytes:
        self._rise(context)
        self.open = opening
        settings = DeviceSettings(
            run=context.run,
            session=context.session,
            round=context.round,
            node_id=self.identity.node_id,
            length=opening.length,
            word_bits=opening.word_bits,
            max_corrupt=self.spec.max_corrupt,
            max_dropout=self.spec.max_dropout,
            least=self.spec.min_nodes,
            config_sha256=context.config_sha256,
            model_sha256=context.model_sha256,
        )
        self.machine, advert = SecAggDevice.begin(settings, signer=self.identity.signing)
        return advert

    def _rise(self, context: SealContext) -> None:
        if context.session <= self.last:
            raise IntegrityError("an older session")
        self.last = context.session

    def _verify(self, content: bytes) -> tuple[bytes, bytes]:
        certificate = Certificate.from_bytes(content)
        certificate.check(self.authority, self.certificate.fleet, self.now())
        return certificate.node_id, certificate.signing

    def _work(self, work: Work, asked: Message, context: SealContext) -> bytes:
        assert self.machine is not None
        assert self.open is not None
        self.machine.check_forwarded(work.forwarded)
        ciphertext = asked.content.array_records[legs.BROADCAST][legs.CIPHERTEXT].numpy().tobytes()
        model = decrypt_model(ciphertext, work.content_key, model_sha256=context.model_sha256)
        assert model_digest(model) == context.model_sha256
        total = self._computed(dict(work.asked), model, asked)
        self.added.append(total)
        return self.machine.mask(total)

    def _computed(
        self, asked: dict[str, Any], model: npt.NDArray[np.float32], sealed: Message
    ) -> npt.NDArray[np.int64]:
        """Return what the plain ClientApp sends where it is asked the same in clear."""
        assert self.open is not None
        if self.shut:
            raise ConsentMissingError("training is shut")
        if self.lie is not None:
            return np.full(self.open.length, self.lie, np.int64)
        if not asked[messages.DEVICES]:
            return np.zeros(self.open.length, np.int64)
        if "clip-norm" in asked:
            asked["clip-norm"] = float(asked["clip-norm"])
        name = messages.QUESTION if self.open.metric else messages.INVITATION
        if self.open.metric:
            assert Question.from_record(asked).metric == self.open.metric
        content = RecordDict({messages.MODEL: parameters_record(model), name: ConfigRecord(asked)})
        reply = self.app(make_message(metadata=sealed.metadata, content=content), self.context)
        integers = integers_of(reply)
        if integers is None:
            raise DeclinedError(reply)
        return integers

    def _sealed(self, context: SealContext, body: bytes, step: Step) -> bytes:
        assert self.run is not None
        hexed = self.run.recipient if context.step is Step.ENROL else self._session_key()
        recipient = bytes.fromhex(hexed)
        up = replace(
            context,
            step=step,
            direction="up",
            node_id=self.identity.node_id,
            recipient_key_id=key_id(recipient),
            consent_tag=self.consent_tag,
            consent_receipt_sha256=self.consent_proof,
        )
        return seal(up, body, recipient=recipient, signer=self.identity.signing)

    def _session_key(self) -> str:
        assert self.open is not None
        return self.open.recipient


class DeclinedError(HomebodyError):
    """What the plain ClientApp declined with."""

    exit_code = 1
    code = "error"
    fix = ""

    def __init__(self, reply: Message) -> None:
        """Take the code over."""
        super().__init__("declined")
        self.code = str(reply.content.config_records[messages.DECLINED][messages.CODE])  # type: ignore[misc]


def envelope_of_down(asked: Message) -> bytes:
    """Return the envelope of a message from the server."""
    record = asked.content.array_records[legs.SEALED][legs.ENVELOPE]
    return record.numpy().tobytes()


def step_of(message: Message) -> Step:
    """Return the leg a message, or a reply, is of."""
    return read_context(envelope_of_down(message)).step


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """The nodes of a world and the server's identity toward them."""

    world: World
    home: AggregatorHome
    authority: SigningKey
    nodes: Mapping[int, Node]
    time: Time

    @property
    def honest(self) -> Cohort:
        """The nodes as they are."""

        def cohort(work: Push) -> list[Message | None]:
            return [self.nodes[message.metadata.dst_node_id].answer(message) for message, _ in work]

        return cohort

    def grid(self, cohort: Cohort | None = None) -> CohortGrid:
        """Return the grid the server reaches the nodes by."""
        return CohortGrid(cohort or self.honest, {node: {} for node in self.nodes}, {})

    def run(self, cohort: Cohort | None = None, **pace: Any) -> TrainState:  # noqa: ANN401
        """Run what is left of the run and return its last state."""
        return run_rounds(
            self.grid(cohort),
            self.world.folder,
            lambda _number, _parameters: None,
            pace=self.time.pace(**pace),
        )

    def answering(self, answer: Callable[[Message, Message], Message | None]) -> Cohort:
        """Return the nodes with another answer for each good reply; None is silence."""

        def cohort(work: Push) -> list[Message | None]:
            replies = self.honest(work)
            pairs = zip(work, replies, strict=True)
            return [good and answer(message, good) for (message, _), good in pairs]

        return cohort

    def without(self, step: Step, *gone: int, number: int = 1) -> Cohort:
        """Return nodes of which some hear nothing from a leg of a round on, in that round."""
        order = [*Step]

        def hears(message: Message) -> bool:
            context = read_context(envelope_of_down(message))
            late = order.index(context.step) >= order.index(step)
            away = message.metadata.dst_node_id in gone and context.round == number
            return not (away and late)

        def cohort(work: Push) -> list[Message | None]:
            return [
                self.nodes[message.metadata.dst_node_id].answer(message) if hears(message) else None
                for message, _ in work
            ]

        return cohort


def nodes_of(world: World, parts: int, time: Time, fleet: str = "test") -> Fleet:
    """Return a fleet of ``parts`` nodes that host the devices of a world, and save its home.

    Args:
        world: A world whose run is sealed.
        parts: Nodes; device i lives on node ``i % parts + 1``.
        time: The clock.
        fleet: Its name.
    """
    authority, aggregator = SigningKey.generate(), SigningKey.generate()
    nodes = {}
    for part in range(parts):
        identity = NodeIdentity.generate()
        nodes[part + 1] = Node(
            identity=identity,
            certificate=certificate_of(identity, authority, time, fleet),
            aggregator=aggregator.public,
            authority=authority.public,
            spec=world.spec,
            app=app_of(replace(world.host, devices=shard(DEVICES, part, parts))),
            devices=sorted(shard(DEVICES, part, parts)),
            now=time.now,
        )
    home = AggregatorHome.of(
        aggregator,
        authority=authority.public,
        fleet=fleet,
        nodes=[node.certificate for node in nodes.values()],
    )
    home.save(world.folder.aggregator_folder)
    return Fleet(world=world, home=home, authority=authority, nodes=nodes, time=time)


def certificate_of(
    identity: NodeIdentity, authority: SigningKey, time: Time, fleet: str = "test"
) -> Certificate:
    """Return the authority's word on a node."""
    return Certificate.issue(
        authority,
        fleet=fleet,
        signing=identity.signing.public,
        recipient=identity.recipient.public,
        not_after=int(time.now()) + YEAR_S,
    )


def app_of(host: Host) -> ClientApp:
    """Return the plain ClientApp of a host."""
    return build_client_app(lambda _context: host)


def sent_envelopes(cohort: Cohort, seen: Sent) -> Cohort:
    """Return the nodes, with each message and its reply kept in ``seen``."""

    def watching(work: Push) -> list[Message | None]:
        replies = cohort(work)
        seen.extend(zip((message for message, _ in work), replies, strict=True))
        return replies

    return watching


def bytes_of(message: Message) -> Iterator[bytes]:
    """Give everything of a message that goes over the wire."""
    yield repr(message.metadata).encode()
    for name, record in message.content.items():
        yield name.encode()
        if isinstance(record, ArrayRecord):
            for array in record.values():
                yield array.data
                yield array.numpy().tobytes()
        else:
            yield repr(dict(record)).encode()
