"""Find the least noise with which a run keeps to a budget, other charges included."""

import math
from collections.abc import Callable, Sequence
from typing import Final

from scipy.optimize import brentq

from .accounting import GRIDS, composed_epsilon, epsilon_pld, spent_epsilon
from .blt import MOST_MULTIPLIER
from .charges import Charge, PoissonRounds, round_up
from .closed_form import gaussian_mu
from .errors import InfeasibleError

_LEAST_SOLVED: Final = 0.25  # less is no plan, and its loss distribution fills the memory
_MOST_SOLVED: Final = 2.0**14
_FIX: Final = "plan fewer rounds, a smaller cohort or a larger epsilon"


def solve_noise_multiplier(
    epsilon: float,
    delta: float,
    *,
    population: int,
    cohort_size: int,
    cohort_cap: int,
    rounds: int,
    others: Sequence[Charge] = (),
) -> float:
    """Find the least noise with which rounds on Poisson cohorts keep to a budget.

    Args:
        epsilon: Budget at user level, above 0.
        delta: Failure chance, above 0 and below 1.
        population: Registered, eligible and consenting devices.
        cohort_size: Expected cohort.
        cohort_cap: Most devices of one round.
        rounds: Rounds of the run, at least 1.
        others: What the same budget pays for besides, such as metrics.

    Returns:
        Noise multiplier, at least 0.25, at most a relative 2e-4 above the least that suffices:
        ``epsilon_pld`` and ``spent_epsilon`` of the run are at most ``epsilon``, always.

    Raises:
        ValueError: If an argument is out of range.
        InfeasibleError: If noise of 2**14 clip norms is not enough.
    """
    _check(epsilon, rounds)

    def planned(noise_multiplier: float) -> list[Charge]:
        run = PoissonRounds(
            population=population,
            cohort_size=cohort_size,
            cohort_cap=cohort_cap,
            noise_multiplier=noise_multiplier,
            rounds=rounds,
        )
        return [run, *others]

    def excess(noise_multiplier: float) -> float:
        # The coarsest grid errs upward too and takes a tenth of the time of the finest.
        return composed_epsilon(planned(noise_multiplier), delta, GRIDS[-1]) - epsilon

    _check_others(others, epsilon, delta)
    low, high = _bracket(excess, epsilon)
    if low is not None:
        high = brentq(lambda log: excess(math.exp(log)), math.log(low), math.log(high), xtol=5e-5)
        high = math.exp(high + 5e-5)
        # One step of the secant takes back what the coarse grid erred by.
        slope = (excess(high * (1.0 - 1e-3)) - excess(high)) / 1e-3
        slack = epsilon - spent_epsilon(planned(high), delta)
        high *= 1.0 - max(0.0, slack) / slope
    high, raised = round_up(high, 5), 5e-5
    while max(f(planned(high), delta) for f in (spent_epsilon, epsilon_pld)) > epsilon:
        high, raised = round_up(high * (1.0 + raised), 5), 2.0 * raised
    return high


def solve_correlated_multiplier(
    epsilon: float, delta: float, *, sensitivity: float, others: Sequence[Charge] = ()
) -> float:
    """Find the least noise with which a correlated run keeps to a budget, in closed form.

    Args:
        epsilon: Budget at user level, above 0.
        delta: Failure chance, above 0 and below 1.
        sensitivity: Charged sensitivity of the whole run, in clip norms, above 0.
        others: What the same budget pays for besides; nothing sampled.

    Returns:
        Noise multiplier, rounded up to five decimals: the exact epsilon of the run with ``others``
        is at most ``epsilon``.

    Raises:
        ValueError: If an argument is out of range, or ``others`` holds sampled rounds.
        InfeasibleError: If the others alone take the budget, or noise of 512 is not enough.
    """
    _check(epsilon, 1)
    if not 0.0 < sensitivity < math.inf:
        raise ValueError(f"sensitivity must be finite, above 0, got {sensitivity}")
    if any(isinstance(charge, PoissonRounds) for charge in others):
        raise ValueError("a correlated run shares its budget with unsampled releases alone")
    _check_others(others, epsilon, delta)
    room = gaussian_mu(epsilon, delta) ** 2 - math.fsum(c.squared_loss for c in others)
    multiplier = sensitivity / math.sqrt(room)
    if multiplier > MOST_MULTIPLIER:
        raise InfeasibleError(f"no noise brings the run down to epsilon {epsilon}", fix=_FIX)
    return round_up(multiplier * (1.0 + 1e-12), 5)


def _check(epsilon: float, rounds: int) -> None:
    if not 0.0 < epsilon < math.inf:
        raise ValueError(f"epsilon must be finite and above 0, got {epsilon}")
    if rounds < 1:
        raise ValueError(f"rounds must be at least 1, got {rounds}")


def _check_others(others: Sequence[Charge], epsilon: float, delta: float) -> None:
    if others and spent_epsilon(others, delta) >= epsilon * (1.0 - 1e-6):
        raise InfeasibleError(
            f"what is charged beside training takes the whole epsilon {epsilon:g}",
            fix="give metrics and the clip norm's count more noise, or ask for a larger epsilon",
        )


def _bracket(excess: Callable[[float], float], epsilon: float) -> tuple[float | None, float]:
    """Return multipliers that are too small (None at the floor) and enough."""
    low, high = None, 1.0
    while excess(high) > 0.0:
        low, high = high, 2.0 * high
        if high > _MOST_SOLVED:
            raise InfeasibleError(f"no noise brings the run down to epsilon {epsilon}", fix=_FIX)
    while low is None:
        smaller = high / 2.0
        if smaller < _LEAST_SOLVED:
            return None, high
        if excess(smaller) > 0.0:
            low = smaller
        else:
            high = smaller
    return low, high
