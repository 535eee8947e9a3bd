"""homebody's rounds on Flower's strategy hooks: whom to ask, and what to make of the answers."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Message,
    MessageType,
    MetricRecord,
    RecordDict,
)
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from homebody_privacy import messages
from homebody_privacy.messages import Invitation
from homebody_server.release import Contribution, Noise, Releaser
from homebody_server.selection import Words, poisson_cohort


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundStreams:
    """Where a round's secrets come from; each is keyed for one round and one use."""

    coins: Callable[[int], Words]
    noise: Callable[[int], Noise]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cohorts:
    """How devices are drawn. Public, but for who is drawn.

    Attributes:
        hosts: Flower node that hosts each enrolled device, by device number.
        sampling_rate: Probability q of each device and round.
        cohort_cap: Most devices of a round.
    """

    hosts: Mapping[int, int]
    sampling_rate: float
    cohort_cap: int

    def draw(self, coins: Words) -> dict[int, list[int]]:
        """Return the drawn devices of each node that hosts one. Secret."""
        registered = np.array(sorted(self.hosts), np.int64)
        invited: dict[int, list[int]] = {}
        for device in poisson_cohort(registered, self.sampling_rate, self.cohort_cap, coins):
            invited.setdefault(self.hosts[int(device)], []).append(int(device))
        return invited


class HomebodyStrategy(Strategy):
    """Poisson cohorts, uniform weights, constant denominator, noise on the sum.

    It draws who is asked, checks what came back and releases; rounds, deadlines, budget and
    resuming are the round loop's.

    Args:
        run: Name of the run.
        config_digest: SHA-256 of the privacy config in force.
        cohorts: Who is enrolled, and how they are drawn.
        releaser: Holds the model and makes the releases.
        streams: Coins and noise.
        deadline_s: Life of a message.
        learning_rate: Server learning rate by round; None keeps the releaser's.
    """

    def __init__(
        self,
        *,
        run: str,
        config_digest: str,
        cohorts: Cohorts,
        releaser: Releaser,
        streams: RoundStreams,
        deadline_s: float,
        learning_rate: Callable[[int], float] | None = None,
    ) -> None:
        """Keep the parts; nothing is drawn yet."""
        self._run = run
        self._config_digest = config_digest
        self._cohorts = cohorts
        self._releaser = releaser
        self._streams = streams
        self._deadline_s = deadline_s
        self._learning_rate = learning_rate
        self._asked: dict[int, int] = {}

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> list[Message]:
        """Draw the round's cohort and return one invitation for each node that hosts a part."""
        del config, grid
        invited = self._cohorts.draw(self._streams.coins(server_round))
        self._asked = {node: len(devices) for node, devices in invited.items()}
        return [
            Message(
                RecordDict(
                    {
                        messages.MODEL: arrays,
                        messages.INVITATION: ConfigRecord(
                            Invitation(
                                run=self._run,
                                round=server_round,
                                devices=tuple(devices),
                                config_digest=self._config_digest,
                            ).to_record()
                        ),
                    }
                ),
                dst_node_id=node,
                message_type=MessageType.TRAIN,
                ttl=self._deadline_s,
                group_id=str(server_round),
            )
            for node, devices in sorted(invited.items())
        ]

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord, None]:
        """Release the round: sum, noise, step. What is missing or malformed counts as zero."""
        noise = self._streams.noise(server_round)
        rate = None if self._learning_rate is None else self._learning_rate(server_round)
        model = self._releaser.release(self._contributions(replies), noise, rate)
        return parameters_record(model), None

    def _contributions(self, replies: Iterable[Message]) -> Iterator[Contribution]:
        size = self._releaser.parameters().shape
        for reply in replies:
            devices = self._asked.pop(reply.metadata.src_node_id, 0)
            integers = contribution_of(reply)
            if devices and integers is not None and integers.shape == size:
                yield Contribution(integers, devices)

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> list[Message]:
        """Ask nobody: a metric that leaves a device is a release, and none is charged yet."""
        del server_round, arrays, config, grid
        return []

    def aggregate_evaluate(
        self, server_round: int, replies: Iterable[Message]
    ) -> MetricRecord | None:
        """Return None: nobody was asked."""
        del server_round, replies
        return None

    def summary(self) -> None:
        """Log nothing: the run's report says it."""


def parameters_record(model: npt.NDArray[np.float32]) -> ArrayRecord:
    """Return the record that carries a model, one flat array."""
    return ArrayRecord({messages.PARAMETERS: Array(model)})


def contribution_of(reply: Message) -> npt.NDArray[np.int64] | None:
    """Return the integers of a reply, or None if it holds anything else."""
    if not reply.has_content():
        return None
    record = reply.content.array_records.get(messages.UPDATE)
    if record is None or list(record) != [messages.CONTRIBUTION]:
        return None
    try:
        integers = record[messages.CONTRIBUTION].numpy()
    except (EOFError, OSError, TypeError, ValueError):
        return None  # not a serialised array: as if the device had not answered
    if integers.dtype not in (np.int32, np.int64):
        return None
    return integers.astype(np.int64)
