"""Privacy loss at user level: what rounds on Poisson cohorts cost, composed.

The reference is dp-accounting's privacy loss distributions (PLD), which only err upward; Opacus'
PRV accountant is the cross-check. Opacus' "gdp" accountant, a limit theorem, reports less than
the truth (5.48 for 8.63 at 100 rounds of 100 among 6040, noise 0.5, delta 1e-5), and RDP is 5 to
25 % loose: neither is offered.

Unit: all data of one device. Adjacency: its contribution becomes zero (for Poisson cohorts the
same figures as add-or-remove). Cohorts are cut at ``cohort_cap`` and charged for it
(https://arxiv.org/abs/2508.15089).
"""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, Final, TypeAlias

from dp_accounting import dp_event
from dp_accounting.pld import PLDAccountant, privacy_loss_distribution
from dp_accounting.privacy_accountant import NeighboringRelation
from scipy.optimize import brentq

from .charges import LEAST_MULTIPLIER, PoissonRounds, merged, round_up
from .closed_form import epsilon_unamplified
from .errors import InfeasibleError
from .record import CrossCheckError, RecordRounds, epsilon_record, participations_at_most, prv

__all__ = [
    "CrossCheckError",
    "PoissonRounds",
    "RecordRounds",
    "SpendForecast",
    "epsilon_pld",
    "epsilon_prv",
    "epsilon_record",
    "epsilon_unamplified",
    "participations_at_most",
    "round_up",
    "solve_noise_multiplier",
    "spent_epsilon",
]

_LEAST_SOLVED: Final = 0.25  # less is no plan, and its loss distribution fills the memory
_MOST_SOLVED: Final = 2.0**14

_GRIDS: Final = (1e-4, 2e-4, 5e-4, 1e-3)
_MOST_POINTS: Final = 30_000  # of one round's loss distribution; more only cost time

Loss: TypeAlias = Any  # dp-accounting ships no types


def epsilon_pld(charges: Iterable[PoissonRounds], delta: float) -> float:
    """Compose charges with dp-accounting's PLD accountant, on its standard grid: the reference.

    Args:
        charges: What was released, in any order; equal ones are merged first.
        delta: Failure chance, above 0 and below 1.

    Returns:
        An upper bound of epsilon, 0 without charges, infinity if a charge has no noise.

    Raises:
        ValueError: If ``delta`` is out of range.

    Examples:
        >>> rounds = PoissonRounds(
        ...     population=6040, cohort_size=100, cohort_cap=6040, noise_multiplier=2.0, rounds=100
        ... )
        >>> round_up(epsilon_pld([rounds], 1e-5), 3)
        0.33
    """
    kinds = _checked(charges, delta)
    if any(kind.noise_multiplier < LEAST_MULTIPLIER for kind in kinds):
        return math.inf
    accountant = PLDAccountant(NeighboringRelation.ADD_OR_REMOVE_ONE)
    for kind in kinds:
        event = dp_event.TruncatedSubsampledGaussianDpEvent(
            dataset_size=kind.population,
            sampling_probability=kind.sampling_rate,
            truncated_batch_size=kind.cohort_cap,
            noise_multiplier=kind.noise_multiplier,
        )
        accountant.compose(event, kind.rounds)
    return float(accountant.get_epsilon(delta))


def epsilon_prv(charges: Iterable[PoissonRounds], delta: float) -> float:
    """Compose charges with Opacus' PRV accountant: the cross-check.

    The cap on the cohort is ignored. For caps that never bind the value exceeds ``epsilon_pld``
    by 0 to 0.02.

    Args:
        charges: What was released.
        delta: Failure chance, above 0 and below 1.

    Returns:
        An upper bound of epsilon, 0 without charges, infinity if a charge has no noise.

    Raises:
        ValueError: If ``delta`` is out of range.
        CrossCheckError: If Opacus fails, or its value is no epsilon.
    """
    kinds = _checked(charges, delta)
    return prv([(k.noise_multiplier, k.sampling_rate, k.rounds) for k in kinds], delta)


def spent_epsilon(charges: Iterable[PoissonRounds], delta: float) -> float:
    """Compose charges faster than ``epsilon_pld``, at most 1e-3 above it and never below the truth.

    One round's loss distribution is cut to the mass that matters at ``delta``, on a grid that
    keeps it small, and remembered: some 20 to 200 ms a call.

    Args:
        charges: What was released, in any order.
        delta: Failure chance, above 0 and below 1.

    Returns:
        An upper bound of epsilon, 0 without charges, infinity if a charge has no noise.

    Raises:
        ValueError: If ``delta`` is out of range.
    """
    kinds = _checked(charges, delta)
    if not kinds:
        return 0.0
    if any(kind.noise_multiplier < LEAST_MULTIPLIER for kind in kinds):
        return math.inf
    grid = max(_grid(kind.with_rounds(1), delta * 1e-7) for kind in kinds)
    return _composed(kinds, delta, grid)


class SpendForecast:
    """Epsilon after each number of rounds of one charge, on top of what was spent before.

    Args:
        charge: One kind of round; its own ``rounds`` does not matter.
        delta: Failure chance, above 0 and below 1.
        earlier: Charges that come before the first round.

    Raises:
        ValueError: If ``delta`` is out of range or a charge has too little noise to forecast.

    Examples:
        >>> charge = PoissonRounds(
        ...     population=6040, cohort_size=100, cohort_cap=6040, noise_multiplier=2.0, rounds=1
        ... )
        >>> forecast = SpendForecast(charge, 1e-5)
        >>> forecast.after(0), round_up(forecast.after(100), 2)
        (0.0, 0.33)
    """

    __slots__ = ("_delta", "_one", "_spent", "_tail", "_total")

    def __init__(
        self, charge: PoissonRounds, delta: float, earlier: Sequence[PoissonRounds] = ()
    ) -> None:
        """Prepare one round's loss distribution and what came before."""
        kinds = [*_checked(earlier, delta), charge.with_rounds(1)]
        if any(kind.noise_multiplier < LEAST_MULTIPLIER for kind in kinds):
            raise ValueError(f"noise_multiplier must be at least {LEAST_MULTIPLIER} to forecast")
        self._delta, self._tail = delta, delta * 1e-7
        grid = max(_grid(kind.with_rounds(1), self._tail) for kind in kinds)
        self._one = _one_round(charge.with_rounds(1), grid, self._tail)
        self._total = privacy_loss_distribution.identity(value_discretization_interval=grid)
        for kind in kinds[:-1]:
            before = _one_round(kind.with_rounds(1), grid, self._tail)
            before = before.self_compose(kind.rounds, self._tail)
            self._total = self._total.compose(before, self._tail)
        start = float(self._total.get_epsilon_for_delta(delta)) if kinds[:-1] else 0.0
        self._spent = [start]

    def after(self, rounds: int) -> float:
        """Return an upper bound of epsilon after ``rounds`` rounds, at most 1e-3 loose.

        Raises:
            ValueError: If ``rounds`` is negative.
        """
        if rounds < 0:
            raise ValueError(f"rounds must be at least 0, got {rounds}")
        while len(self._spent) <= rounds:
            self._total = self._total.compose(self._one, self._tail)
            self._spent.append(float(self._total.get_epsilon_for_delta(self._delta)))
        return self._spent[rounds]


def solve_noise_multiplier(
    epsilon: float,
    delta: float,
    *,
    population: int,
    cohort_size: int,
    cohort_cap: int,
    rounds: int,
) -> float:
    """Find the least noise with which a run keeps to a budget.

    Args:
        epsilon: Budget at user level, above 0.
        delta: Failure chance, above 0 and below 1.
        population: Registered, eligible and consenting devices.
        cohort_size: Expected cohort.
        cohort_cap: Most devices of one round.
        rounds: Rounds of the run, at least 1.

    Returns:
        Noise multiplier, at least 0.25, at most a relative 2e-4 above the least that suffices:
        ``epsilon_pld`` and ``spent_epsilon`` of the run are at most ``epsilon``, always.

    Raises:
        ValueError: If an argument is out of range.
        InfeasibleError: If noise of 2**14 clip norms is not enough.
    """
    if not 0.0 < epsilon < math.inf:
        raise ValueError(f"epsilon must be finite and above 0, got {epsilon}")
    if rounds < 1:
        raise ValueError(f"rounds must be at least 1, got {rounds}")

    def planned(noise_multiplier: float) -> PoissonRounds:
        return PoissonRounds(
            population=population,
            cohort_size=cohort_size,
            cohort_cap=cohort_cap,
            noise_multiplier=noise_multiplier,
            rounds=rounds,
        )

    def excess(noise_multiplier: float) -> float:
        # The coarsest grid errs upward too and takes a tenth of the time of the finest.
        return _composed([planned(noise_multiplier)], delta, _GRIDS[-1]) - epsilon

    low, high = _bracket(excess, epsilon)
    if low is not None:
        high = brentq(lambda log: excess(math.exp(log)), math.log(low), math.log(high), xtol=5e-5)
        high = math.exp(high + 5e-5)
        # One step of the secant takes back what the coarse grid erred by.
        slope = (excess(high * (1.0 - 1e-3)) - excess(high)) / 1e-3
        slack = epsilon - spent_epsilon([planned(high)], delta)
        high *= 1.0 - max(0.0, slack) / slope
    high, raised = round_up(high, 5), 5e-5
    while max(f([planned(high)], delta) for f in (spent_epsilon, epsilon_pld)) > epsilon:
        high, raised = round_up(high * (1.0 + raised), 5), 2.0 * raised
    return high


def _bracket(excess: Callable[[float], float], epsilon: float) -> tuple[float | None, float]:
    """Return multipliers that are too small (None at the floor) and enough."""
    low, high = None, 1.0
    while excess(high) > 0.0:
        low, high = high, 2.0 * high
        if high > _MOST_SOLVED:
            raise InfeasibleError(
                f"no noise brings the run down to epsilon {epsilon}",
                fix="plan fewer rounds, a smaller cohort or a larger epsilon",
            )
    while low is None:
        smaller = high / 2.0
        if smaller < _LEAST_SOLVED:
            return None, high
        if excess(smaller) > 0.0:
            low = smaller
        else:
            high = smaller
    return low, high


def _checked(charges: Iterable[PoissonRounds], delta: float) -> list[PoissonRounds]:
    if not 0.0 < delta < 1.0:
        raise ValueError(f"delta must be above 0 and below 1, got {delta}")
    return merged(charges)


def _composed(kinds: Sequence[PoissonRounds], delta: float, grid: float) -> float:
    """Return an upper bound of epsilon from loss distributions on one grid."""
    tail = delta * 1e-7
    total = privacy_loss_distribution.identity(value_discretization_interval=grid)
    for kind in kinds:
        one = _one_round(kind.with_rounds(1), grid, tail)
        total = total.compose(one.self_compose(kind.rounds, tail), tail)
    return float(total.get_epsilon_for_delta(delta))


def _grid(kind: PoissonRounds, tail: float) -> float:
    """Choose the finest grid on which one round's loss has few points."""
    widest = float(_one_round(kind, _GRIDS[-1], tail).get_epsilon_for_delta(10 * tail))
    return next((grid for grid in _GRIDS if 2 * widest <= grid * _MOST_POINTS), _GRIDS[-1])


@lru_cache(maxsize=64)
def _one_round(kind: PoissonRounds, grid: float, tail: float) -> Loss:
    one = privacy_loss_distribution.from_truncated_subsampled_gaussian_mechanism(
        dataset_size=kind.population,
        sampling_probability=kind.sampling_rate,
        truncated_batch_size=kind.cohort_cap,
        noise_multiplier=kind.noise_multiplier,
        value_discretization_interval=grid,
        log_mass_truncation_bound=-40,
        neighboring_relation=NeighboringRelation.ADD_OR_REMOVE_ONE,
    )
    identity = privacy_loss_distribution.identity(value_discretization_interval=grid)
    return identity.compose(one, tail)  # composing is what cuts the tails
