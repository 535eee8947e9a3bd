"""One secure sum, leg by leg: the state machine of ``secagg`` between envelopes and messages.

==========  ===================  ===============================================================
leg         ends at the latest   who is asked
==========  ===================  ===============================================================
advertise   15 % of all          every invited node
share       30 %                 those whose keys are in the roster
update      75 %                 those that shared; ``figures`` in a session about a figure
confirm     85 %                 those whose masked vector came
unmask      100 %                those that confirmed
==========  ===================  ===============================================================

What a node does not send in time is as if it had vanished; a later reply is never read. The server
never sees a vector of one node: each is masked and added to a running sum at once. So it cannot
bound one node's part either: devices bound their own, and the sum of all is held against the bound
of all. A sum beyond it counts as zeros.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from flwr.app import ArrayRecord, Message, MessageType
from flwr.serverapp import Grid

from homebody_privacy import legs
from homebody_privacy.broadcast import encrypt_model
from homebody_privacy.errors import RoundVoidError, SealRefusedError
from homebody_privacy.legs import ACTIONS, Opening, Step, Work
from homebody_privacy.messages import DEVICES
from homebody_privacy.secagg.reasons import VoidReason
from homebody_privacy.secagg.server import SecAggServer
from homebody_server.release import Contribution
from homebody_server.secure.courier import Exchange, Letter
from homebody_server.secure.pace import Pace
from homebody_server.secure.post import (
    Member,
    PostBox,
    bytes_record,
    is_plain_decline,
    letter_of,
)

_UNTIL: Final[Mapping[Step, float]] = {
    Step.ADVERTISE: 0.15,
    Step.SHARE: 0.30,
    Step.UPDATE: 0.75,
    Step.FIGURES: 0.75,
    Step.CONFIRM: 0.85,
    Step.UNMASK: 1.0,
}
_TYPES: Final[Mapping[Step, str]] = {
    Step.UPDATE: MessageType.TRAIN,
    Step.FIGURES: MessageType.EVALUATE,
    **{step: f"{MessageType.QUERY}.{action}" for step, action in ACTIONS.items()},
}

Asked = Mapping[str, object]
Take = Callable[[bytes, bytes], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a secure sum must keep to. Public.

    Attributes:
        max_corrupt: Share of its nodes that may work against the others.
        max_dropout: Share of them that may vanish.
        least: Nodes it needs.
    """

    max_corrupt: float
    max_dropout: float
    least: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is summed.

    Attributes:
        step: ``update`` or ``figures``.
        group: Flower's group of its messages. Public.
        metric: Which figure; empty for an update. Public.
        length: Words of the sum. Public.
        word_bits: 32 or 64. Public.
        parameters: The model it is about, flat. Public.
        asked: Values of each node's invitation or question, by node id. Secret: participation.
        charge: What the sum was charged as. Public.
        shown: What each node is shown of the ledger, by node id; empty in a simulation. Public.
    """

    step: Step
    group: str
    metric: str
    length: int
    word_bits: int
    parameters: npt.NDArray[np.float32] = field(repr=False)
    asked: Mapping[bytes, Asked] = field(repr=False)
    charge: str = ""
    shown: Mapping[bytes, Mapping[str, Any]] = field(repr=False, default_factory=dict)

    def devices_of(self, node_id: bytes) -> int:
        """Return how many devices of a node are asked. Secret."""
        devices = self.asked[node_id][DEVICES]
        return len(devices) if isinstance(devices, list) else 0


class Session:
    """One session from its opening to the sum.

    Args:
        grid: How nodes are reached.
        box: Seals and opens; its topic names the session.
        members: The invited nodes.
        task: What is summed.
        bounds: What the sum must keep to.
        deadline_s: Seconds all legs may take.
        pace: Time and patience.
    """

    def __init__(
        self,
        grid: Grid,
        box: PostBox,
        members: Mapping[bytes, Member],
        task: Task,
        *,
        bounds: Bounds,
        deadline_s: float,
        pace: Pace,
    ) -> None:
        """Ask nobody yet."""
        self.advertised: list[bytes] = []
        """Nodes that answered the opening; empty before it."""
        self._grid = grid
        self._box = box
        self._members = members
        self._task = task
        self._deadline_s = deadline_s
        self._pace = pace
        self._least = bounds.least
        self._start = pace.clock()
        topic = box.topic
        self._server = SecAggServer(
            run=topic.run,
            session=topic.session,
            round=topic.number,
            length=task.length,
            word_bits=task.word_bits,
            max_corrupt=bounds.max_corrupt,
            max_dropout=bounds.max_dropout,
            least=bounds.least,
            config_sha256=topic.config_sha256,
            model_sha256=topic.model_sha256,
            certificates={i: m.certificate.to_bytes() for i, m in members.items()},
            publics={i: m.certificate.signing for i, m in members.items()},
        )

    def run(self) -> list[Contribution]:
        """Return the sum of those who stayed; nothing if none of their devices was asked. Secret.

        Raises:
            RoundVoidError: If too few stayed to open a sum, or to keep it secret.
        """
        if len(self._members) < self._least:
            raise RoundVoidError(VoidReason.TOO_FEW_ADVERTS)
        server, task = self._server, self._task
        openings = {node: self._opening(node) for node in self._members}
        self.advertised = self._leg(Step.ADVERTISE, openings, server.add_advert)
        self._leg(Step.SHARE, server.close_adverts(), server.add_shares)
        ciphertext, key = encrypt_model(task.parameters, self._box.topic.model_sha256)
        work = {
            node: Work(asked=task.asked[node], forwarded=shares, content_key=key).to_bytes()
            for node, shares in server.close_shares().items()
        }
        model = bytes_record(legs.CIPHERTEXT, ciphertext)
        came = self._leg(task.step, work, server.add_masked, model)
        survivors = dict.fromkeys(came, server.close_masked())
        came = self._leg(Step.CONFIRM, survivors, server.add_signature)
        quorum = dict.fromkeys(came, server.close_signatures())
        self._leg(Step.UNMASK, quorum, server.add_unmasking)
        summed = server.result(workers=os.cpu_count() or 1)
        devices = sum(task.devices_of(node) for node in summed.survivors)
        return [Contribution(summed.total, devices)] if devices else []

    def _opening(self, node: bytes) -> bytes:
        shown = self._task.shown.get(node, {})
        return Opening(
            round=self._box.topic.number,
            recipient=self._box.key.public.hex(),
            length=self._task.length,
            word_bits=self._task.word_bits,
            metric=self._task.metric,
            charge=self._task.charge if shown else "",
            ledger=shown,
        ).to_bytes()

    def _leg(
        self,
        step: Step,
        bodies: Mapping[bytes, bytes],
        take: Take,
        broadcast: ArrayRecord | None = None,
    ) -> list[bytes]:
        """Send each node its body; return those whose reply was taken."""
        members = {self._members[node].flower_node: self._members[node] for node in bodies}
        letters, ids, taken = {}, {}, []
        for flower_node, member in members.items():
            body = bodies[member.node_id]
            ids[flower_node], envelope = self._box.envelope(step, member, body)
            letters[flower_node] = Letter(
                content=letter_of(envelope, broadcast),
                message_type=_TYPES[step],
                group_id=self._task.group,
            )

        def accept(flower_node: int, reply: Message) -> bool:
            if is_plain_decline(reply):
                return True
            member = members[flower_node]
            try:
                body = self._box.opened(reply, step, member, ids[flower_node], self._pace.now())
            except SealRefusedError:
                return False  # as if nothing had come
            if body is not None and take(member.node_id, body):
                taken.append(member.node_id)
            return True

        deadline_s = self._start + self._deadline_s * _UNTIL[step] - self._pace.clock()
        Exchange(self._grid, letters, accept, deadline_s=deadline_s, pace=self._pace).run()
        return taken
