"""What choosing among runs on private data costs: the choice is a release too.

Two ways to pay. All runs are charged, and then any may be looked at and any chosen. Or the number
of runs is drawn from a geometric distribution, and of all of them the best alone is ever seen:
Papernot and Steinke, "Hyperparameter Tuning with Renyi Differential Privacy"
(https://arxiv.org/abs/2110.03620, theorem 2 with shape 1). The second costs about two to three
times one run and grows with the logarithm of the mean.

Renyi DP is used here alone: it is the one accountant that knows selection. It is 5 to 25 % loose
for one run, and more where sampling is sparse.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from dp_accounting import dp_event
from dp_accounting.privacy_accountant import NeighboringRelation
from dp_accounting.rdp import RdpAccountant
from scipy.stats import binom

from .accounting import epsilon_pld
from .charges import LEAST_MULTIPLIER, Charge, PoissonRounds, merged
from .errors import InfeasibleError

_FOR_CAPS: Final = 0.1  # of delta: what cohorts above their cap may take


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningPlan:
    """How the best of several runs is chosen; all fields public, and fixed before the first run.

    Attributes:
        kind: ``best-of``: the number of runs is drawn, and nothing of the others is ever seen.
            ``all``: that many runs, each of which may be seen.
        mean: Mean of the geometric number of runs, finite and at least 1; ``best-of`` alone.
        runs: Number of runs, at least 1; ``all`` alone.
    """

    kind: Literal["best-of", "all"]
    mean: float | None = None
    runs: int | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be charged."""
        if self.kind == "best-of":
            if self.mean is None or self.runs is not None:
                raise ValueError("best-of has a mean and no runs: their number is drawn")
            _check_mean(self.mean)
        elif self.kind == "all":
            if self.runs is None or self.mean is not None:
                raise ValueError("all has runs and no mean: their number is fixed")
            _check_runs(self.runs)
        else:
            raise ValueError(f'kind must be "best-of" or "all", got {self.kind!r}')

    def epsilon(self, run: Sequence[Charge], delta: float) -> float:
        """Return an upper bound of what the choice costs, the chosen run included.

        Args:
            run: Charges of one run, the score it is chosen by among them.
            delta: Failure chance, above 0 and below 1.

        Raises:
            ValueError: If ``delta`` is out of range.
            InfeasibleError: See ``epsilon_best_of``.
        """
        if self.mean is not None:
            return epsilon_best_of(run, delta, mean=self.mean)
        return epsilon_composed(run, delta, runs=self.runs or 0)


def epsilon_best_of(run: Sequence[Charge], delta: float, *, mean: float) -> float:
    """Account the best of a geometric number of runs, of which nothing else is seen.

    The number of runs must be drawn anew, secretly, and never cut or repeated for what came out;
    runs may differ in settings that are drawn at random before each. The score a run is chosen by
    must be among what it releases and charges.

    Args:
        run: Charges of one run; of runs that differ, those of the costliest.
        delta: Failure chance, above 0 and below 1.
        mean: Mean number of runs, finite and at least 1.

    Returns:
        An upper bound of epsilon at user level; 0 if a run releases nothing, infinity if it has
        no noise. Renyi accounting knows no cap on the cohort: where a cap may bind, a tenth of
        ``delta`` is kept for the rounds in which it does.

    Raises:
        ValueError: If an argument is out of range.
        InfeasibleError: If caps bind more often than that tenth allows.

    Examples:
        >>> rounds = PoissonRounds(
        ...     population=6040, cohort_size=100, cohort_cap=6040, noise_multiplier=1.0, rounds=500
        ... )
        >>> round(epsilon_best_of([rounds], 1e-5, mean=10.0), 2)
        4.93
    """
    _check_mean(mean)
    if not 0.0 < delta < 1.0:
        raise ValueError(f"delta must be above 0 and below 1, got {delta}")
    sampled = merged(charge for charge in run if isinstance(charge, PoissonRounds))
    mu = math.sqrt(sum(c.squared_loss for c in run if not isinstance(c, PoissonRounds)))
    bare = any(kind.effective_multiplier < LEAST_MULTIPLIER for kind in sampled)
    if bare or mu * LEAST_MULTIPLIER > 1.0:
        return math.inf
    if not sampled and mu == 0.0:
        return 0.0
    overfull = mean * math.fsum(_overfull_rounds(kind) for kind in sampled)
    accountant = RdpAccountant(neighboring_relation=NeighboringRelation.ADD_OR_REMOVE_ONE)
    accountant.compose(dp_event.RepeatAndSelectDpEvent(_event(sampled, mu), mean, shape=1.0))
    if overfull == 0.0:
        return float(accountant.get_epsilon(delta))
    epsilon = float(accountant.get_epsilon((1.0 - _FOR_CAPS) * delta))
    # Runs with and without caps differ with probability ``overfull`` at most, in either world; so
    # the capped ones lose epsilon at a delta that is larger by (1 + exp(epsilon)) * overfull.
    factor = math.log1p(math.exp(-epsilon)) + epsilon  # log(1 + exp(epsilon)), no overflow
    if math.log(overfull) + factor > math.log(_FOR_CAPS * delta):
        raise InfeasibleError(
            "the cap on the cohort binds too often for the best of several runs to be accounted",
            fix="raise cohort_cap, up to the population, or charge all tuning runs",
        )
    return epsilon


def epsilon_composed(run: Sequence[Charge], delta: float, *, runs: int) -> float:
    """Account a fixed number of equal runs, all of which may be seen, by PLD.

    Args:
        run: Charges of one run.
        delta: Failure chance, above 0 and below 1.
        runs: How many, at least 1.

    Returns:
        An upper bound of epsilon at user level; 0 if a run releases nothing, infinity if it has
        no noise. Caps on the cohort are charged.

    Raises:
        ValueError: If an argument is out of range.
    """
    _check_runs(runs)
    return epsilon_pld([*run] * runs, delta)


def _event(sampled: Sequence[PoissonRounds], mu: float) -> dp_event.DpEvent:
    """Describe one run, in dp-accounting's words."""
    events = [
        dp_event.SelfComposedDpEvent(
            dp_event.PoissonSampledDpEvent(
                kind.sampling_rate, dp_event.GaussianDpEvent(kind.effective_multiplier)
            ),
            kind.rounds,
        )
        for kind in sampled
    ]
    if mu > 0.0:
        events.append(dp_event.GaussianDpEvent(1.0 / mu))
    return dp_event.ComposedDpEvent(events)


def _overfull_rounds(kind: PoissonRounds) -> float:
    """Return the expected number of rounds that draw more than the cap."""
    above = float(binom.sf(kind.cohort_cap, kind.population, kind.sampling_rate))
    return kind.rounds * above


def _check_mean(mean: float) -> None:
    if not 1.0 <= mean < math.inf:
        raise ValueError(f"mean must be finite and at least 1, got {mean}")


def _check_runs(runs: int) -> None:
    if runs < 1:
        raise ValueError(f"runs must be at least 1, got {runs}")
