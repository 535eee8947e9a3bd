"""One-shot statistics before the first round: charge, ask everybody, one noise draw, keep, record.

Each statistic is one sum about everybody, released through Opacus like a round: the sum is a
parameter that starts at zero, each contribution its negative gradient, and one step of SGD at
learning rate 1 leaves sum plus noise (Gaussian mechanism, sensitivity 1; Dwork and Roth 2014,
appendix A). The second statistic may depend on the first release; what follows is post-processing.

The order is the guarantee, as in the rounds: the charge is on disk before a device is asked, the
released sum is on disk before the ledger says so. Killed in between, a simulation asks the same
again and draws the same noise; where devices are real nobody is asked twice, and the run is over.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, RecordDict

from homebody_models.core_matrix import with_core
from homebody_models.recommender import model_digest
from homebody_models.statistics.settings import StatisticsSettings
from homebody_models.statistics.start import gram_broadcast, space_of, start_parameters
from homebody_privacy import messages
from homebody_privacy.errors import IntegrityError, RoundVoidError, TooFewDevicesError
from homebody_privacy.ledger_record import INTERRUPTED
from homebody_privacy.messages import Invitation, StatisticName
from homebody_privacy.stream import NoiseStream, derive_key
from homebody_server.gathering import Gatherer
from homebody_server.hosts import Hosts
from homebody_server.release import Contribution, Releaser
from homebody_server.run_folder import RunFolder, TrainState
from homebody_server.run_spec import RunSpec
from homebody_server.statistic_files import Array, StatisticFiles
from homebody_server.statistic_plan import StatisticPass
from homebody_server.strategy import parameters_record

_WORDS_AT_ONCE: Final = 1 << 25  # of replies that wait in memory: 128 MiB
_DEVICES_AT_ONCE: Final = 1 << 17  # of a push in the clear: whoever watches sees how far it is
_NOTHING: Final = np.zeros(1, np.float32)


class StatisticSpending(Protocol):
    """Charges statistics before they are asked for; ``spending`` has the two that there are."""

    def buy(self, plan: StatisticPass) -> None:
        """Charge a statistic ahead of asking for it, or raise; a second time is free."""

    def is_bought(self, plan: StatisticPass) -> bool:
        """Tell whether a statistic was charged and neither released nor given up."""
        ...

    def why_not(self, plan: StatisticPass) -> str | None:
        """Return why a statistic was given up, as a code; None if it was not."""

    def summed(self, plan: StatisticPass, released: Array) -> None:
        """Record the released sum of a statistic."""

    def give_up(self, plan: StatisticPass, reason: str) -> None:
        """Record that a statistic was charged and will not be released, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsStage:
    """What comes before the first round of a run with statistics.

    Attributes:
        spec: The run's constants.
        settings: What its statistics are.
        folder: The run's files.
        run: Identity of the run, as devices count by it.
        key: Key of the run. Secret.
        gatherer: How contributions come together.
        hosts: Flower node of each enrolled device.
        spending: Charges; raises to stop the run before a statistic.
    """

    spec: RunSpec
    settings: StatisticsSettings
    folder: RunFolder
    run: str
    key: bytes = field(repr=False)
    gatherer: Gatherer
    hosts: Hosts = field(repr=False)
    spending: StatisticSpending

    @classmethod
    def of(
        cls,
        spec: RunSpec,
        folder: RunFolder,
        *,
        gatherer: Gatherer,
        hosts: Hosts,
        spending: StatisticSpending,
    ) -> "StatisticsStage":
        """Return the stage of a run in its folder.

        Raises:
            ValueError: If the run has no statistics.
            IntegrityError: If the run's key is gone: it has ended.
        """
        if spec.statistics_settings is None:
            raise ValueError("the run has no statistics")
        return cls(
            spec=spec,
            settings=spec.statistics_settings,
            folder=folder,
            run=spec.run_id or folder.name,
            key=folder.read_key(),
            gatherer=gatherer,
            hosts=hosts,
            spending=spending,
        )

    def finish(self) -> TrainState:
        """Do what is left of the stage and return the state of the run: its start, or later.

        Raises:
            BudgetExhaustedError: Before a statistic that would pass the ceiling.
            TooFewDevicesError: If a statistic was interrupted, or too few stayed in its sum: it
                is not asked for again, its charge stands, nothing of it is released.
            InvalidFileError: If the public content of the items is missing.
            IntegrityError: If a file of the stage cannot be read.
        """
        state, files = self.folder.load_state(), StatisticFiles(self.folder)
        if state.next_round > 1:
            return state
        start = files.start()
        if start is None:
            features = files.features()
            for plan in self.spec.statistics:
                self._release(plan, files, features)
            start = self._start(files.released(), features)
            files.keep_start(start)
        if model_digest(start) != state.digest():
            state = TrainState(1, start, {})
            self.folder.save_state(state)
        return state

    def _release(self, plan: StatisticPass, files: StatisticFiles, features: Array) -> None:
        """Charge, gather, release, keep and record one statistic, unless that was done."""
        if plan.name in files.released():
            return
        reason = self.spending.why_not(plan)
        if reason is None and self.spec.runtime == "deploy" and self.spending.is_bought(plan):
            reason = INTERRUPTED
            self.spending.give_up(plan, reason)
        if reason is not None:
            raise _over(plan, reason)
        sent = self._sent(plan.name, files)
        length = self._length(plan.name, features, sent)
        self.spending.buy(plan)
        try:
            contributions = self._gathered(plan, sent, length)
        except RoundVoidError as error:
            self.spending.give_up(plan, str(error.reason))
            raise _over(plan, str(error.reason)) from error
        released = self._noised(plan, contributions, length)
        self._keep(plan, files, features, released)
        self.spending.summed(plan, released)

    def _sent(self, name: StatisticName, files: StatisticFiles) -> Array:
        """Return what devices need to compute a statistic; the first one needs nothing."""
        if name == "popularity":
            return _NOTHING
        sent = files.sent(name)
        if sent is None:
            raise IntegrityError(f"{self.folder.statistics_file} lacks what {name} is made with")
        return sent

    def _length(self, name: StatisticName, features: Array, sent: Array) -> int:
        if name == "popularity":
            return len(features)
        return space_of(self.settings, features, sent).length

    def _keep(
        self, plan: StatisticPass, files: StatisticFiles, features: Array, released: Array
    ) -> None:
        """Keep a released sum, and with the first what the second is computed with."""
        sent = {}
        if plan.name == "popularity":
            sent["gram"] = gram_broadcast(
                self.settings, features, released.astype(np.float64), plan.noise_multiplier
            )
        files.keep(released={plan.name: released}, sent=sent)

    def _start(self, released: Mapping[str, Array], features: Array) -> Array:
        sigma = {plan.name: plan.noise_multiplier for plan in self.spec.statistics}
        start = start_parameters(
            self.settings,
            features,
            released["popularity"].astype(np.float64),
            released["gram"].astype(np.float64),
            popularity_sigma=sigma["popularity"],
            gram_sigma=sigma["gram"],
        )
        # Frozen, the statistics' model is what a core is trained on.
        return with_core(start, self.settings.rank) if self.spec.frozen else start

    # One sum about everybody.

    def _gathered(self, plan: StatisticPass, sent: Array, length: int) -> list[Contribution]:
        """Return the sum over each group of devices. Secret.

        Who does not answer is a zero, and so is a group whose secure sum cannot be opened.

        Raises:
            RoundVoidError: If no group's can.
        """
        sums: list[Contribution] = []
        void: RoundVoidError | None = None
        for asked in self._asked(plan, sent, length):
            try:
                gathered = self.gatherer.gather(asked, length)
            except RoundVoidError as error:
                void = error
                continue
            total, devices = np.zeros(length, np.int64), 0
            for one in gathered:
                if plan.lattice.is_within_bound(one.integers, devices=one.devices):
                    total += one.integers
                devices += one.devices
            sums.append(Contribution(total, max(devices, 1)))
        if void is not None and not sums:
            raise void
        return sums

    def _asked(self, plan: StatisticPass, sent: Array, length: int) -> Iterator[list[Message]]:
        """Give the messages of each group, some at a time where they are in the clear.

        Of a secure sum a group is as many devices as the sum of fits a word.
        """
        everyone = self.hosts.devices
        groups = -(-len(everyone) // plan.lattice.max_devices) if self.spec.secagg else 1
        nodes = self.hosts.nodes
        shards = len(nodes) < len(everyone)
        arrays = parameters_record(sent)
        for group, devices in enumerate(np.array_split(everyone, groups)):
            parts = self.hosts.by_node(devices)
            invited = {node: part.tolist() for node, part in parts.items()}
            if self.spec.secagg and shards:  # whose devices are in a group is not for all to see
                invited = {node: invited.get(node, []) for node in nodes}
            asked = [
                self._message(plan, arrays, node, tuple(some), group)
                for node, some in invited.items()
            ]
            most = len(asked)
            if not self.spec.secagg:
                most = min(_WORDS_AT_ONCE // length, _DEVICES_AT_ONCE * most // len(devices))
            most = max(1, most)
            yield from (asked[start : start + most] for start in range(0, len(asked), most))

    def _message(
        self,
        plan: StatisticPass,
        arrays: ArrayRecord,
        node: int,
        devices: tuple[int, ...],
        group: int,
    ) -> Message:
        invitation = Invitation(
            run=self.run,
            round=0,
            devices=devices,
            config_digest=self.spec.config_digest,
            statistic=plan.name,
        )
        content = RecordDict(
            {
                messages.MODEL: arrays,
                messages.INVITATION: ConfigRecord(invitation.to_record()),
            }
        )
        return Message(
            content,
            dst_node_id=node,
            message_type=MessageType.TRAIN,
            ttl=self.spec.deadline_s,
            group_id=f"0/{plan.name}/{group}",
        )

    def _noised(self, plan: StatisticPass, contributions: list[Contribution], length: int) -> Array:
        """Return the sum with its one draw of noise, float32. Public."""
        releaser = Releaser(
            [(length,)],
            np.zeros(length, np.float32),
            learning_rate=1.0,
            lattice=plan.lattice,
            noise_multiplier=plan.noise_multiplier,
            expected_cohort=1,
            server_optimizer="sgd",
        )
        return releaser.release(contributions, _Noise(plan, self.key))


@dataclass(frozen=True, slots=True)
class _Noise:
    """Noise of one statistic, keyed for it alone."""

    plan: StatisticPass
    key: bytes = field(repr=False)

    def noise(self, dim: int) -> npt.NDArray[np.int64]:
        stream = NoiseStream(derive_key(self.key, "statistics", self.plan.name))
        return self.plan.mechanism().noise(dim, stream)


def _over(plan: StatisticPass, reason: str) -> TooFewDevicesError:
    return TooFewDevicesError(
        f"{plan.purchase} was not summed ({reason}), and nobody is asked for it again",
        fix="start a new run; what this one charged stays charged",
    )
