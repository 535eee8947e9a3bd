"""What a simulated node answers with: an engine for rounds, statistics and figures of its shard."""

from dataclasses import dataclass, field, replace

import numpy as np

from homebody_client.figures import figure_contribution
from homebody_client.host import Host
from homebody_client.shard_engine import Devices, Integers, Parameters
from homebody_client.statistic import statistic_of
from homebody_models.device_metrics import figure_names
from homebody_privacy.messages import StatisticName
from homebody_simulation.cohort.choice import engine_of
from homebody_simulation.cohort.engine import Engine
from homebody_simulation.cohort.figures import figure_total
from homebody_simulation.cohort.kernel_engine import KernelEngine
from homebody_simulation.cohort.reference import ReferenceEngine
from homebody_simulation.cohort.statistics import statistic_total
from homebody_simulation.request import EngineName


def with_engine(host: Host, name: EngineName, *, answers: int, threads: int | None) -> Host:
    """Give a host the engine of a run; none where its devices answer one after another.

    Args:
        host: What the devices hold, and the config in force.
        name: Which engine; ``auto`` chooses.
        answers: Answers of devices in the whole run.
        threads: Threads to use; None for one a processor.

    Raises:
        HomebodyError: As ``engine_of`` raises it.
    """
    engine = engine_of(host, name, answers=answers, threads=threads)
    if isinstance(engine, ReferenceEngine):
        return host
    return replace(host, engine=CohortShard(host, engine))


@dataclass(frozen=True, slots=True)
class CohortShard:
    """Answers for the devices of a host; see ``ShardEngine``.

    Attributes:
        host: What the devices hold, and the config in force.
        engine: Trains them.
    """

    host: Host = field(repr=False)
    engine: Engine

    def train(
        self, devices: Devices, parameters: Parameters, number: int, clip_norm: float | None
    ) -> Integers:
        """Return the sum of what the devices add to a round."""
        return self.engine.run(parameters, devices, number, clip_norm=clip_norm).sum

    def statistic(self, devices: Devices, name: StatisticName, broadcast: Parameters) -> Integers:
        """Return the sum of what the devices add to a statistic."""
        statistic = statistic_of(self.host, name, broadcast)
        if isinstance(self.engine, KernelEngine):
            engine = self.engine
            return statistic_total(self.host, statistic, devices, engine.threads, engine.counter)
        return statistic.total(map(self.host.history, devices.tolist()))

    def figure(self, devices: Devices, parameters: Parameters, metric: str) -> Integers:
        """Return the sum of what the devices add to a figure."""
        if isinstance(self.engine, KernelEngine):
            return figure_total(self.host, devices, parameters, metric, self.engine.threads)
        total = np.zeros(len(figure_names(metric)), np.int64)
        for device in devices.tolist():
            total += figure_contribution(self.host, device, parameters, metric)
        return total
