"""What a run's one-shot statistics would come to, as the laboratory sees it: nothing is released.

A simulation holds every device's data, so it can sum what devices would add, draw noise as a run
would, and look at the model that comes out. The sums here are secret and have no noise; nobody but
the plan's reader sees what was made of them, and epsilon does not cover it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from homebody_client.statistic import statistic_of
from homebody_models.core_tower import CoreTower
from homebody_models.interactions import Interactions
from homebody_models.recommender import Recommender
from homebody_models.statistics.settings import StatisticsSettings
from homebody_models.statistics.start import gram_broadcast, start_parameters
from homebody_privacy.stream import NoiseStream, fresh_key
from homebody_server.statistic_plan import StatisticPass
from homebody_simulation.dry_round import laboratory_host
from homebody_simulation.planning import Planned

MOST: Final = 8_000
"""Devices that are summed: of a larger population an even sample, against as much less noise."""

Vector = npt.NDArray[np.float64]
Model = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class LaboratorySums:
    """The statistics of a run over the devices at hand. Secret: only the popularity has noise.

    Attributes:
        model: What is made of them.
        settings: What they are.
        features: Public content of the catalog.
        passes: Their noise in the run.
        share: Devices that were summed, of all.
        popularity: Noised sum of the first, of shape ``(items,)``: one draw, as the run makes.
        gram: Sum of the second, without noise.
        sent: Numbers each device is sent for the second.
        cpu_s: Processor seconds of a device for both, mean, on this machine.
    """

    model: Recommender = field(repr=False)
    settings: StatisticsSettings
    features: npt.NDArray[np.float32] = field(repr=False)
    passes: tuple[StatisticPass, ...]
    share: float
    popularity: Vector = field(repr=False)
    gram: Vector = field(repr=False)
    sent: int
    cpu_s: float

    @classmethod
    def of(
        cls,
        planned: Planned,
        histories: Interactions,
        clock: Callable[[], float] = time.process_time,
        most: int = MOST,
    ) -> Self:
        """Sum what the devices of a data set would add.

        Args:
            planned: A run with statistics.
            histories: What devices train on. Secret.
            clock: Processor seconds.
            most: Devices that are summed.

        Raises:
            ValueError: If the run has no statistics.
        """
        spec, settings = planned.spec, planned.spec.statistics_settings
        if settings is None:
            raise ValueError("the run has no statistics")
        first, second = spec.statistics
        asked = np.unique(np.linspace(0, histories.devices - 1, most).astype(np.int64))
        share = len(asked) / histories.devices
        host, features = laboratory_host(planned, histories), histories.catalog.features
        started = clock()
        statistic = statistic_of(host, first.name, np.zeros(1, np.float32))
        summed = first.lattice.decode(statistic.total(histories.history(int(i)) for i in asked))
        popularity = summed + share * _noise(first, len(summed))
        sent = gram_broadcast(settings, features, popularity, share * first.noise_multiplier)
        statistic = statistic_of(host, second.name, sent)
        gram = second.lattice.decode(statistic.total(histories.history(int(i)) for i in asked))
        return cls(
            model=planned.model,
            settings=settings,
            features=features,
            passes=spec.statistics,
            share=share,
            popularity=popularity,
            gram=gram,
            sent=len(sent),
            cpu_s=(clock() - started) / len(asked),
        )

    @property
    def strength(self) -> float:
        """Norm of the second sum / expected norm of its noise."""
        noise = self.share * self.passes[1].noise_multiplier * np.sqrt(self.gram.size)
        return float(np.linalg.norm(self.gram) / noise)

    def start(self, *, times: float = 1.0) -> Model:
        """Return the model of one draw of noise: flat parameters, as a run starts from.

        Args:
            times: As if there were so many times the devices, all alike: the sum is that much
                larger, the noise is the same. Infinity leaves the second sum's noise out.
        """
        scale = self.share / times
        noise = scale * _noise(self.passes[1], self.gram.size) if scale else 0.0
        made = start_parameters(
            self.settings,
            self.features,
            self.popularity,
            self.gram + noise,
            popularity_sigma=self.share * self.passes[0].noise_multiplier,
            gram_sigma=scale * self.passes[1].noise_multiplier,
        )
        return self.model.start(made) if isinstance(self.model, CoreTower) else made


def _noise(one: StatisticPass, size: int) -> Vector:
    """Draw the noise of a release as a run does: rounded to the lattice, from a fresh key."""
    return one.lattice.decode(one.mechanism().noise(size, NoiseStream(fresh_key())))
