"""What ranking a run's statistics would buy on the data at hand, noise included: a laboratory's.

The band is of noise alone: the same devices, the same validation items, several draws. It is no
promise for other people, and it is read from raw data: epsilon does not cover it.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from homebody_models.local_recency import LocalRecency
from homebody_models.popularity import Popularity, popularity_baseline
from homebody_models.split import Split, Task
from homebody_privacy.accounting import spent_epsilon
from homebody_privacy.charges import round_up
from homebody_privacy.closed_form import gaussian_epsilon, gaussian_mu
from homebody_server.run_spec import SAMPLER_EPSILON, RunSpec
from homebody_simulation.curve import look, sample
from homebody_simulation.laboratory_sums import LaboratorySums, Model

DRAWS: Final = 5
"""Draws of noise behind a band."""

_WIDTH: Final = 2.0  # standard deviations to each side
_MOST_TIMES: Final = 256.0  # as many devices: beyond, "more than" is said


@dataclass(frozen=True, slots=True, kw_only=True)
class UtilityForecast:
    """Expected ndcg@10 of the statistics' model on validation items. Laboratory figures.

    Attributes:
        task: ``again`` (what was chosen may be chosen again) or ``new``.
        devices: Devices that were looked at.
        summed: Devices whose statistics were summed.
        draws: Draws of noise.
        mean: Mean over draws.
        low: Two standard deviations of a draw below it.
        high: Two above.
        popularity: The same list for all, without noise.
        local_only: The device's own recent choices; None where only new items count.
        without_noise: The model without the noise of the second sum.
        strength: Norm of that sum / norm of its noise.
        least_devices: Devices like these from which on the band is above popularity, about; None
            where it is, or where more than 256 times as many would be needed.
        least_epsilon: Epsilon that does the same with these devices, about.
    """

    task: str
    devices: int
    summed: int
    draws: int
    mean: float
    low: float
    high: float
    popularity: float
    local_only: float | None
    without_noise: float
    strength: float
    least_devices: int | None
    least_epsilon: float | None

    @property
    def useful(self) -> bool:
        """Whether the whole band is above the same list for all."""
        return self.low > self.popularity

    def options(self) -> list[str]:
        """Return what would make it useful, in words; empty if it is."""
        if self.useful:
            return []
        if self.least_devices is None:
            return [f"more than {_MOST_TIMES:g} times as many devices, or other data"]
        words = [f"about {self.least_devices:,} devices at this epsilon"]
        if self.least_epsilon is not None:
            words.append(f"epsilon {self.least_epsilon:g} with these devices")
        return words

    def to_dict(self) -> dict[str, Any]:
        """Return the values as JSON."""
        return {**asdict(self), "useful": self.useful, "options": self.options()}


def utility_forecast(
    spec: RunSpec, split: Split, sums: LaboratorySums, start: Model
) -> UtilityForecast:
    """Look at the models of several draws of noise, and for how many devices would be enough.

    Args:
        spec: The run.
        split: What devices train on, and the validation items. Secret. The test stays sealed.
        sums: The statistics without noise.
        start: The model of the first draw.
    """
    task = sample(split.validation)

    def quality(times: float = 1.0, parameters: Model | None = None) -> float:
        made = sums.start(times=times) if parameters is None else parameters
        return look(sums.model, made, task)[1]

    items = len(split.train.catalog)
    floor = look(Popularity(items), popularity_baseline(split.train), task)[1]
    drawn = np.array([quality(parameters=start), *(quality() for _ in range(DRAWS - 1))])
    mean, spread = float(drawn.mean()), _WIDTH * float(drawn.std(ddof=1))
    times = None
    if mean - spread <= floor:
        # Where the noise falls, what it does to the model falls, too: the band is not wider.
        times = least_times(lambda much: quality(much) - spread > floor)
    return UtilityForecast(
        task=task.kind,
        devices=len(task),
        summed=round(sums.share * spec.devices),
        draws=DRAWS,
        mean=mean,
        low=mean - spread,
        high=mean + spread,
        popularity=floor,
        local_only=_local_only(task, items, sums.settings.history_decay),
        without_noise=quality(math.inf),
        strength=sums.strength,
        least_devices=None if times is None else math.ceil(times * spec.devices),
        least_epsilon=None if times is None else _epsilon_at(spec, times),
    )


def least_times(enough: Callable[[float], bool]) -> float | None:
    """Return how many times the devices are enough, to a factor of 1.2; None if too many."""
    low, high = 1.0, 2.0
    while not enough(high):
        low, high = high, 2.0 * high
        if high > _MOST_TIMES:
            return None
    for _ in range(2):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _epsilon_at(spec: RunSpec, times: float) -> float:
    """Return the epsilon at which the noise of a run is that much smaller."""
    delta = spec.accounted_delta
    mu = gaussian_mu(spent_epsilon(spec.whole_charge(), delta), delta)
    return round_up(gaussian_epsilon(times * mu, delta) + SAMPLER_EPSILON, 1)


def _local_only(task: Task, items: int, history_decay: float) -> float | None:
    if task.kind != "again":  # a new item is never a repetition
        return None
    local = LocalRecency(n_items=items, history_decay=history_decay)
    return look(local, local.init(np.random.default_rng(0)), task)[1]
