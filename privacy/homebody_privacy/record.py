"""Record level: what DP-SGD on a device protects of one event, reported apart, never added.

Opacus' PRV accountant (https://arxiv.org/abs/2106.02848). The unit is one record of one device;
the user-level figures are in ``accounting``.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from warnings import catch_warnings, filterwarnings

import numpy as np
from scipy.stats import binom

from .charges import LEAST_MULTIPLIER


class CrossCheckError(ArithmeticError):
    """Opacus' accountant failed or returned no epsilon: the figure may not be printed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordRounds:
    """DP-SGD of one device in one round it joins; all fields public.

    Attributes:
        sampling_rate: Probability that a record is in a step's batch, above 0, at most 1.
        steps: Optimizer steps in one round, at least 1.
        noise_multiplier: Noise on the sum of gradients / max grad norm; finite, above 0.
    """

    sampling_rate: float
    steps: int
    noise_multiplier: float

    def __post_init__(self) -> None:
        """Refuse what cannot be accounted."""
        if not 0.0 < self.sampling_rate <= 1.0:
            raise ValueError(f"sampling_rate must be in (0, 1], got {self.sampling_rate}")
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")
        if not 0.0 < self.noise_multiplier < math.inf:
            raise ValueError(f"noise_multiplier must be finite, > 0, got {self.noise_multiplier}")


def participations_at_most(rounds: int, sampling_rate: float, delta: float) -> int:
    """Bound how many rounds a device joins, but for a chance of ``delta / 10``.

    Args:
        rounds: Rounds of the run, at least 0.
        sampling_rate: Probability to be drawn for a round, in [0, 1].
        delta: Failure chance of the whole claim, above 0 and below 1.

    Returns:
        The least k with P[Binomial(rounds, sampling_rate) > k] <= ``delta / 10``.

    Raises:
        ValueError: If an argument is out of range.

    Examples:
        >>> participations_at_most(100, 0.0166, 1e-5)
        10
    """
    if rounds < 0:
        raise ValueError(f"rounds must be at least 0, got {rounds}")
    if not 0.0 <= sampling_rate <= 1.0:
        raise ValueError(f"sampling_rate must be in [0, 1], got {sampling_rate}")
    if not 0.0 < delta < 1.0:
        raise ValueError(f"delta must be above 0 and below 1, got {delta}")
    return next(k for k in range(rounds + 1) if binom.sf(k, rounds, sampling_rate) <= delta / 10)


def epsilon_record(
    record: RecordRounds, delta: float, *, rounds: int, sampling_rate: float
) -> float:
    """Account DP-SGD on a device over all rounds it may join.

    The device is taken to join ``participations_at_most`` rounds; the chance of more, a tenth of
    ``delta``, comes out of ``delta``. Whoever decides who joins may know each record.

    Args:
        record: What one joined round does.
        delta: Failure chance, above 0 and below 1.
        rounds: Rounds of the run.
        sampling_rate: Probability that the device is drawn for a round.

    Returns:
        An upper bound of epsilon at record level.

    Raises:
        ValueError: If an argument is out of range.
        CrossCheckError: If Opacus fails.
    """
    joins = participations_at_most(rounds, sampling_rate, delta)
    if joins == 0:
        return 0.0
    history = [(record.noise_multiplier, record.sampling_rate, record.steps * joins)]
    return prv(history, 0.9 * delta)


def prv(history: Sequence[tuple[float, float, int]], delta: float) -> float:
    """Compose ``(noise_multiplier, sampling_rate, steps)`` entries with Opacus' PRV accountant.

    Raises:
        CrossCheckError: If Opacus fails or its value is no epsilon.
    """
    if not history:
        return 0.0
    if any(noise_multiplier < LEAST_MULTIPLIER for noise_multiplier, _, _ in history):
        return math.inf
    from opacus.accountants import PRVAccountant  # noqa: PLC0415 - loads torch; seldom asked for

    accountant = PRVAccountant()
    accountant.history = list(history)
    try:
        # log(0) is meant at sampling rate 1; any other floating-point trouble is a failure
        with np.errstate(divide="ignore", over="raise", invalid="raise"), catch_warnings():
            # RDP only sizes the grid here; a loose order makes it larger, not wrong
            filterwarnings("ignore", "Optimal order is the")
            epsilon = float(accountant.get_epsilon(delta))
    except (ArithmeticError, RuntimeError, ValueError) as error:
        raise CrossCheckError(f"Opacus' PRV accountant failed: {error}") from error
    if not epsilon >= 0.0:
        raise CrossCheckError(f"Opacus' PRV accountant returned {epsilon}, which is no epsilon")
    return epsilon
