"""Ask every device for one short vector, and release the sum with noise: a figure about people.

The charge is in the ledger before anybody is asked. Weights are uniform and the denominator is the
number of devices, a constant; who does not answer counts as zero. About fewer people than its plan
allows nothing is released, whatever it cost: of so few nobody is even asked, and where fewer answer
their sum is dropped before it has noise.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, RecordDict

from homebody_models.device_metrics import means
from homebody_privacy import messages
from homebody_privacy.lattice import FIGURES
from homebody_privacy.mechanisms import GaussianMechanism
from homebody_privacy.messages import Question
from homebody_privacy.stream import NoiseStream
from homebody_server.hosts import Hosts
from homebody_server.release import Contribution
from homebody_server.replies import Replies
from homebody_server.run_spec import MetricPlan

BELOW_MIN_K: Final = "below-min-k"
"""Why nothing was released: code of the ledger."""

_AT_ONCE: Final = 1 << 16  # devices of one message, so that none grows with the population


@dataclass(slots=True, kw_only=True)
class FigureRound:
    """One release of one figure.

    Attributes:
        run: Identity of the run, as devices count by it.
        number: Round after which it is asked.
        plan: Which figure, and its noise.
        config_digest: SHA-256 of the privacy config in force.
        hosts: Flower node of each enrolled device.
        deadline_s: Life of a message.
    """

    run: str
    number: int
    plan: MetricPlan
    config_digest: str
    hosts: Hosts = field(repr=False)
    deadline_s: float
    _asked: dict[tuple[int, str], int] = field(init=False, repr=False, default_factory=dict)

    def questions(self, arrays: ArrayRecord) -> list[Message]:
        """Return the messages that ask everybody; none where everybody is too few.

        Args:
            arrays: The model as released.
        """
        asks: list[Message] = []
        if len(self.hosts) < self.plan.min_k:
            return asks
        for node, devices in self.hosts.by_node(self.hosts.devices).items():
            for start in range(0, len(devices), _AT_ONCE):
                some = tuple(devices[start : start + _AT_ONCE].tolist())
                group = f"{self.number}/{self.plan.name}/{start}"
                self._asked[node, group] = len(some)
                asks.append(self._message(node, some, group, arrays))
        return asks

    def _message(
        self, node: int, devices: tuple[int, ...], group: str, arrays: ArrayRecord
    ) -> Message:
        question = Question(
            run=self.run,
            round=self.number,
            metric=self.plan.name,
            devices=devices,
            config_digest=self.config_digest,
        )
        content = RecordDict(
            {messages.MODEL: arrays, messages.QUESTION: ConfigRecord(question.to_record())}
        )
        return Message(
            content,
            dst_node_id=node,
            message_type=MessageType.EVALUATE,
            ttl=self.deadline_s,
            group_id=group,
        )

    def release(self, replies: Iterable[Message], stream: NoiseStream) -> dict[str, float] | None:
        """Return the figures with noise, by name; None where too few answered. Public.

        Args:
            replies: What came; malformed or larger than its devices can be, it counts as zero.
            stream: Keystream of this release alone. Secret.
        """
        return self.release_sum(self.received(replies), stream)

    def received(self, replies: Iterable[Message]) -> Replies:
        """Return the contributions of replies. Secret."""
        return Replies(self._asked, list(replies), self.plan.length)

    def release_sum(
        self, contributions: Iterable[Contribution], stream: NoiseStream
    ) -> dict[str, float] | None:
        """Return the figures with noise, by name; None where too few answered. Public.

        What a device answers does not change whether it counts: a figure is suppressed for how many
        answered, never for what. Without secure aggregation the operator sees that number anyway.

        Args:
            contributions: Integers of the plan's ``length`` each; larger than their devices can
                be, they count as zero.
            stream: Keystream of this release alone. Secret.
        """
        total, answered = np.zeros(self.plan.length, np.int64), 0
        for contribution in contributions:
            total += self._bounded(contribution)
            answered += contribution.devices
        if answered < self.plan.min_k:
            return None
        mechanism = GaussianMechanism(FIGURES, self.plan.noise_multiplier)
        noised = total + mechanism.noise(total.size, stream)
        return means(self.plan.name, FIGURES.decode(noised), len(self.hosts))

    @staticmethod
    def _bounded(contribution: Contribution) -> npt.NDArray[np.int64]:
        limit = contribution.devices * FIGURES.bound
        squares = sum(int(value) ** 2 for value in contribution.integers)  # exact, a few numbers
        if squares <= limit * limit:
            return contribution.integers
        return np.zeros_like(contribution.integers)
