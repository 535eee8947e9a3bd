"""homebody's rounds on Flower's strategy hooks: whom to ask, and what to make of the answers."""

from collections.abc import Callable, Iterable, Mapping
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
from homebody_privacy.stream import NoiseStream
from homebody_server.clipping_state import Clipping
from homebody_server.cohorts import Cohorts, Coins
from homebody_server.figures import FigureRound
from homebody_server.release import Contribution, Noise, Releaser
from homebody_server.replies import Replies, devices_asked
from homebody_server.run_spec import MetricPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundStreams:
    """Where a round's secrets come from; each is keyed for one round and one use.

    Attributes:
        coins: Who is drawn in a round.
        noise: Noise of a round's sum.
        counts: Noise of the count that adapts the clip norm.
        figures: Noise of a figure about people, by the name of its purchase.
    """

    coins: Coins
    noise: Callable[[int], Noise]
    counts: Callable[[int], NoiseStream]
    figures: Callable[[str], NoiseStream]


class HomebodyStrategy(Strategy):
    """Uniform weights, constant denominator, noise on the sum.

    It draws who is asked, checks what came back and releases; rounds, deadlines, budget and
    resuming are the round loop's.

    Args:
        run: Identity of the run, as devices count by it.
        config_digest: SHA-256 of the privacy config in force.
        cohorts: Who is enrolled, and how they are drawn.
        releaser: Holds the model and makes the releases.
        streams: Coins and noise.
        deadline_s: Life of a message.
        learning_rate: Server learning rate by round; None keeps the releaser's.
        report_goal: Devices without whose replies a round is void; 0 for none.
        clipping: Where an adaptive clip norm stands; None if it is fixed.
        everybody: Ask every node each round, and those without a drawn device for nothing: where
            replies are only seen as a sum, so that nobody sees whose devices were drawn.
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
        report_goal: int = 0,
        clipping: Clipping | None = None,
        everybody: bool = False,
    ) -> None:
        """Keep the parts; nothing is drawn yet."""
        self._run = run
        self._config_digest = config_digest
        self._cohorts = cohorts
        self._releaser = releaser
        self._streams = streams
        self._deadline_s = deadline_s
        self._learning_rate = learning_rate
        self._report_goal = report_goal
        self._everybody = everybody
        self.clipping = clipping
        """Where an adaptive clip norm stands for the next round; None if it is fixed."""
        self._asked: Mapping[tuple[int, str], int] = {}
        self._figure: FigureRound | None = None
        if clipping is not None:
            releaser.use_lattice(clipping.lattice)

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> list[Message]:
        """Draw the round's cohort and return one invitation for each node that hosts a part."""
        del config, grid
        drawn = self._cohorts.draw(server_round, self._streams.coins)
        hosts = self._cohorts.hosts
        parts = hosts.by_node(drawn)
        invited = {node: part.tolist() for node, part in parts.items()}
        if self._everybody:
            invited = {node: invited.get(node, []) for node in hosts.nodes}
        asked = [
            Message(
                RecordDict(
                    {
                        messages.MODEL: arrays,
                        messages.INVITATION: ConfigRecord(
                            self._invitation(server_round, devices).to_record()
                        ),
                    }
                ),
                dst_node_id=node,
                message_type=MessageType.TRAIN,
                ttl=self._deadline_s,
                group_id=str(server_round),
            )
            for node, devices in invited.items()
        ]
        self._asked = devices_asked(asked)
        return asked

    def _invitation(self, number: int, devices: list[int]) -> Invitation:
        return Invitation(
            run=self._run,
            round=number,
            devices=tuple(devices),
            config_digest=self._config_digest,
            clip_norm=None if self.clipping is None else self.clipping.clip_norm,
        )

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, None]:
        """Release the round: sum, noise, step. What is missing or malformed counts as zero."""
        came = Replies(self._asked, list(replies), self.length)
        return self.release(server_round, came), None

    @property
    def length(self) -> int:
        """Integers of a contribution: what is trained, and a vote where the clip norm adapts."""
        return self._releaser.size + (self.clipping is not None)

    def release(self, number: int, contributions: Iterable[Contribution]) -> ArrayRecord | None:
        """Release a round: sum, noise, step.

        Args:
            number: The round.
            contributions: Integers of shape ``(length,)`` each, read more than once; one beyond
                its bound counts as zero.

        Returns:
            The new model; None where too few devices replied and the round is void.
        """
        # A node may host many devices, and a decline is no reply.
        if self._report_goal and sum(one.devices for one in contributions) < self._report_goal:
            self.pass_over(number)
            return None
        noise = self._streams.noise(number)
        rate = None if self._learning_rate is None else self._learning_rate(number)
        model = self._releaser.release(map(self._sum_of, contributions), noise, rate)
        if self.clipping is not None:
            self._adapt(self.clipping, number, contributions)
        return parameters_record(model)

    def pass_over(self, number: int) -> None:
        """Draw a void round's noise all the same, so that its steps stay rounds of the run."""
        self._streams.noise(number).noise(self._releaser.size)

    def _sum_of(self, contribution: Contribution) -> Contribution:
        return Contribution(contribution.integers[: self._releaser.size], contribution.devices)

    def _adapt(
        self, clipping: Clipping, number: int, contributions: Iterable[Contribution]
    ) -> None:
        """Move the clip norm by the released share of votes, at most one a device."""
        votes = sum(
            min(one.devices, max(-one.devices, int(one.integers[-1]))) for one in contributions
        )
        self.clipping = clipping.after(votes, self._streams.counts(number))
        self._releaser.use_lattice(self.clipping.lattice)

    def ask(self, number: int, plan: MetricPlan) -> None:
        """Choose the figure that the next ``configure_evaluate`` asks everybody for."""
        self._figure = FigureRound(
            run=self._run,
            number=number,
            plan=plan,
            config_digest=self._config_digest,
            hosts=self._cohorts.hosts,
            deadline_s=self._deadline_s,
        )

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> list[Message]:
        """Ask every device for the figure chosen by ``ask``; nobody if none was, or of too few."""
        del server_round, config, grid
        return [] if self._figure is None else self._figure.questions(arrays)

    def aggregate_evaluate(
        self, server_round: int, replies: Iterable[Message]
    ) -> MetricRecord | None:
        """Release the figure that was asked for, with noise; None if none was, or of too few."""
        if self._figure is None:
            return None
        released = self.release_figure(server_round, self._figure.received(replies))
        return None if released is None else MetricRecord(dict(released))

    def release_figure(
        self, number: int, contributions: Iterable[Contribution]
    ) -> dict[str, float] | None:
        """Release the figure chosen by ``ask``, with noise; it is not asked for again.

        None where it would be about fewer people than may be.

        Args:
            number: The round after which it was asked.
            contributions: Sums of devices' figures; one beyond its bound counts as zero.
        """
        if self._figure is None:
            raise RuntimeError("a figure is released once for each time it is asked")
        figure, self._figure = self._figure, None
        stream = self._streams.figures(figure.plan.purchase(number))
        return figure.release_sum(contributions, stream)

    def summary(self) -> None:
        """Log nothing: the run's report says it."""


def parameters_record(model: npt.NDArray[np.float32]) -> ArrayRecord:
    """Return the record that carries a model, one flat array."""
    return ArrayRecord({messages.PARAMETERS: Array(model)})
