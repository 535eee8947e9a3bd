"""The secure way to gather: one sealed session a sum, a fresh key for each, nothing kept of it.

It takes what the strategy would send in clear, and sends each node its part sealed. Where a node
hosts many devices, all nodes are asked each time, so that a session's messages do not show whose
devices were drawn.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

from flwr.app import Message, MessageType
from flwr.serverapp import Grid

from homebody_models.recommender import model_digest
from homebody_privacy import messages
from homebody_privacy.checkpoint import ledger_key
from homebody_privacy.errors import PolicyViolationError
from homebody_privacy.identity import RecipientKey
from homebody_privacy.legs import Announcement, Step
from homebody_privacy.replay import ReplayCache
from homebody_server.hosts import Hosts
from homebody_server.release import Contribution
from homebody_server.replies import asking_record
from homebody_server.secure.copies import ConsentCopies
from homebody_server.secure.enrolment import Enroller, Roll
from homebody_server.secure.home import AggregatorHome
from homebody_server.secure.pace import Pace
from homebody_server.secure.permit import Permit, pinned_reviewers, witness_keys
from homebody_server.secure.post import PostBox, Topic
from homebody_server.secure.serials import Serials
from homebody_server.secure.session import Bounds, Session, Task
from homebody_server.secure.shown import LedgerWindow

_RUN_LIFE_S: Final = 30 * 86_400
_UPDATE_BITS: Final = 32
_FIGURE_BITS: Final = 64
_LOOK_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What every node is told of a run.

    Attributes:
        run: Identity of the run.
        config_digest: SHA-256 of the privacy config in force.
        model: Name and options of the model.
        clip_norm: L2 bound of one device's contribution.
        lattice_bits: The lattice step is clip_norm / 2**lattice_bits.
        example_key: Key of the devices' choice of examples; no privacy rests on it.
        app: Digest of the app that runs, hex; of a fleet alone.
        approvals: DSSE envelopes of the reviewers; of a fleet alone.
        ledger: Key line of the run's ledger; of a fleet alone.
    """

    run: str
    config_digest: str
    model: Mapping[str, Any]
    clip_norm: float
    lattice_bits: int
    example_key: bytes = field(repr=False)
    app: str = ""
    approvals: Sequence[Mapping[str, Any]] = field(repr=False, default=())
    ledger: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """What a run on a fleet has besides: leave to go on, and a ledger that nodes look at.

    Attributes:
        permit: Refuses to go on.
        window: Looks at the ledger.
    """

    permit: Permit
    window: LedgerWindow

    @classmethod
    def of(cls, permit: Permit) -> Self:
        """Return what the run of a permit has besides.

        Raises:
            InvalidFileError: If the key of the ledgers cannot be read.
        """
        folder = permit.folder
        window = LedgerWindow(
            folder=folder,
            signer=ledger_key(folder.path.parent),
            witnesses=witness_keys(permit.config(), pinned_reviewers(permit.fleet)),
        )
        return cls(permit=permit, window=window)

    def await_witness(self, pace: Pace, deadline_s: float) -> None:
        """Return once a witness has cosigned the opening of the run.

        Raises:
            PolicyViolationError: If none did before the deadline.
        """
        end = pace.clock() + deadline_s
        while not self.window.opening_is_witnessed():
            if pace.clock() >= end:
                raise PolicyViolationError(
                    "no witness has cosigned the opening of the run, so no device takes part",
                    fix=f"homebody cosign {self.window.folder.path}, then resume the run",
                )
            pace.sleep(_LOOK_S)


class Secure:
    """Gathers by sealed sessions.

    Args:
        grid: How nodes are reached.
        home: The fleet.
        facts: What nodes are told of the run.
        bounds: What a sum must keep to.
        serials: Counts the run's sessions.
        replays: Which replies were taken.
        deadline_s: Seconds of a session, and of the enrolment.
        pace: Time and patience.
        deployed: Of a fleet; None in a simulation.
        copies: Proofs of consent that the server keeps; None where it keeps none.
    """

    def __init__(
        self,
        grid: Grid,
        home: AggregatorHome,
        facts: RunFacts,
        bounds: Bounds,
        *,
        serials: Serials,
        replays: ReplayCache,
        deadline_s: float,
        pace: Pace,
        deployed: Deployed | None = None,
        copies: ConsentCopies | None = None,
    ) -> None:
        """Ask nobody yet."""
        self.grid = grid
        """How nodes are reached."""
        self._home = home
        self._facts = facts
        self._bounds = bounds
        self._serials = serials
        self._replays = replays
        self._deadline_s = deadline_s
        self._pace = pace
        self._deployed = deployed
        self._copies = copies
        self._kept: dict[bytes, list[int]] = {}
        self._roll = Roll(members={}, hosts=Hosts.of({}))

    def enrol(self, devices: int) -> Hosts:
        """Return the node of each of ``devices`` devices, once all are there."""
        facts, box = self._facts, self._box(number=0, model_sha256="")
        announcement = Announcement(
            run=facts.run,
            session=box.topic.session,
            recipient=box.key.public.hex(),
            config_sha256=facts.config_digest,
            devices=devices,
            model=dict(facts.model),
            clip_norm=facts.clip_norm,
            lattice_bits=facts.lattice_bits,
            example_key=facts.example_key.hex(),
            not_after=math.ceil(self._pace.now()) + _RUN_LIFE_S,
            app=facts.app,
            approvals=list(facts.approvals),
            ledger=facts.ledger,
        )
        enroller = Enroller(self.grid, box, self._home, announcement, pace=self._pace)
        try:
            self._roll = enroller.run(self._deadline_s)
        finally:
            self._replays.close_session(facts.run, box.topic.session)
        self._kept = {m.node_id: [m.pinned] for m in self._roll.members.values()}
        return self._roll.hosts

    def gather(self, asked: Sequence[Message], length: int) -> list[Contribution]:
        """Return the sum over those who stayed; nothing where nobody is asked. Secret.

        Raises:
            RoundVoidError: If too few stayed.
            HomebodyError: If a run on a fleet may not go on (``permit``).
        """
        if not asked:
            return []
        task, number = self._task(asked, length)
        shown = None
        if self._deployed is not None:
            self._deployed.await_witness(self._pace, self._deadline_s)
            self._deployed.permit.demand()
            shown = self._deployed.window.show(task.charge)
            task = replace(task, shown={n: shown.to(self._kept.get(n, ())) for n in task.asked})
        box = self._box(number=number, model_sha256=model_digest(task.parameters))
        members = {m.node_id: m for m in self._roll.members.values() if m.node_id in task.asked}
        session = Session(
            self.grid,
            box,
            members,
            task,
            bounds=self._bounds,
            deadline_s=self._deadline_s,
            pace=self._pace,
        )
        try:
            return session.run()
        finally:
            if shown is not None:
                self._remember(task.asked, session.advertised, shown.size)
            self._replays.close_session(self._facts.run, box.topic.session)

    def _remember(self, asked: Iterable[bytes], answered: Collection[bytes], size: int) -> None:
        """Keep which checkpoints each node may have: what it answered to, and what came since."""
        for node in asked:
            before = [] if node in answered else self._kept.get(node, [])
            self._kept[node] = [*before, size]

    def _box(self, *, number: int, model_sha256: str) -> PostBox:
        topic = Topic(
            run=self._facts.run,
            number=number,
            session=self._serials.take(),
            model_sha256=model_sha256,
            config_sha256=self._facts.config_digest,
            not_after=math.ceil(self._pace.now() + self._deadline_s),
        )
        return PostBox(
            topic=topic,
            key=RecipientKey.generate(),
            signing=self._home.signing,
            replays=self._replays,
            copies=self._copies,
        )

    def _task(self, asked: Sequence[Message], length: int) -> tuple[Task, int]:
        """Return what the messages ask for, each node's parts put together, and the round."""
        by_node: dict[bytes, dict[str, Any]] = {}
        for message in asked:
            node_id = self._roll.members[message.metadata.dst_node_id].node_id
            part: dict[str, Any] = dict(asking_record(message))
            known = by_node.setdefault(node_id, {**part, messages.DEVICES: []})
            known[messages.DEVICES] += part[messages.DEVICES]
        first, record = asked[0], next(iter(by_node.values()))
        number, metric = int(record["round"]), str(record.get("metric", ""))
        array = first.content.array_records[messages.MODEL][messages.PARAMETERS]
        update = first.metadata.message_type == MessageType.TRAIN
        about = metric or str(record.get("statistic", ""))
        task = Task(
            step=Step.UPDATE if update else Step.FIGURES,
            group=f"{number}/{about}" if about else str(number),
            metric=metric,
            length=length,
            word_bits=_UPDATE_BITS if update else _FIGURE_BITS,
            parameters=array.numpy(),
            asked=by_node,
            charge=_charge(number, metric, str(record.get("statistic", ""))),
        )
        return task, number


def _charge(number: int, metric: str, statistic: str) -> str:
    """Return what a sum was charged as: a round, or the name of its purchase."""
    if metric:
        return f"metrics/{metric}/{number}"
    return f"statistics/{statistic}" if statistic else f"round/{number}"
