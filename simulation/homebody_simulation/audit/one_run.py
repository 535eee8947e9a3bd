"""Tier 2: a lower bound on epsilon from one run.

Steinke, Nasr and Jagielski, "Privacy Auditing with One (1) Training Run" (2023),
https://arxiv.org/abs/2305.08846: m fair coins decide which canaries are in; from the releases one
guesses r of the coins and leaves the others open. If the run is (epsilon, delta)-DP, v or more
right guesses are as unlikely as their theorem says. Guess counts are set beforehand and share
the error chance (Bonferroni), so that trying several is no choice after looking.

Where the claimed trade-off curve is a Gaussian's, the recursion of Mahloujifar, Melis and
Chaudhuri, "Auditing f-Differential Privacy in One Run" (2024), https://arxiv.org/abs/2410.22235,
tests the whole curve and finds more; it takes its share of the error chance.

Both saturate: even m right guesses of m show no more than some epsilon = log(m / 5).
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from scipy.special import expit, ndtr, ndtri
from scipy.stats import binom

from homebody_privacy.closed_form import gaussian_epsilon
from homebody_simulation.audit.claim import Claim
from homebody_simulation.audit.estimates import finite
from homebody_simulation.audit.projections import Flags, Matrix, Projections, whitened

CONFIDENCE: Final = 0.95
SHARES: Final = (0.02, 0.05, 0.1, 0.25, 0.5, 1.0)
"""Shares of the canaries whose coins are guessed, set before any run."""

_MOST: Final = 64.0  # no number of canaries shows more
_DIGITS: Final = 1e3  # bounds are rounded down to three decimals


@dataclass(frozen=True, slots=True, kw_only=True)
class Guesses:
    """One preset number of guesses, and how many were right.

    Attributes:
        guessed: Coins guessed, at least 1.
        right: Guesses that were right.
    """

    guessed: int
    right: int

    def __post_init__(self) -> None:
        """Refuse more right guesses than guesses."""
        if not 0 <= self.right <= self.guessed or self.guessed < 1:
            raise ValueError("guessed must be at least 1, and right from 0 to guessed")


@dataclass(frozen=True, slots=True, kw_only=True)
class OneRun:
    """What tier 2 found, at user level.

    Attributes:
        lower_bound: Epsilon is at least this, at confidence 95 %; rounded down.
        lower_bound_pair: The part of it that assumes no more than (epsilon, delta).
        lower_bound_curve: The part of it that tests the claimed Gaussian curve; None where the
            claimed curve is another.
        estimate: Epsilon of Gaussians fitted to the scores: on either side of the truth, and
            nothing hangs on it. Infinity where the scores do not overlap.
        upper_bound: The accounted epsilon that is audited.
        delta: Failure chance of the claim.
        guesses: The preset numbers of guesses and their outcomes.
    """

    lower_bound: float
    lower_bound_pair: float
    lower_bound_curve: float | None
    estimate: float
    upper_bound: float
    delta: float
    guesses: tuple[Guesses, ...]

    @property
    def findings(self) -> tuple[str, ...]:
        """What refutes the claim, and by how much; empty if nothing does."""
        if self.lower_bound <= self.upper_bound:
            return ()
        found = f"User-level epsilon is at least {self.lower_bound:.3f} with 95 % confidence"
        return (f"{found}; the claim is {self.upper_bound:g} at delta {self.delta:g}.",)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        return {
            "confidence": CONFIDENCE,
            "unit": "user",
            "delta": self.delta,
            "epsilon": {
                "estimate": finite(self.estimate),
                "lower_bound": self.lower_bound,
                "upper_bound": self.upper_bound,
            },
            "lower_bound_by_test": {
                "pair": self.lower_bound_pair,
                "curve": self.lower_bound_curve,
            },
            "guesses": [asdict(guesses) for guesses in self.guesses],
        }


def one_run(projections: Projections, claim: Claim) -> OneRun:
    """Guess the coins from the releases and bound epsilon from below.

    Args:
        projections: What the releases show of the canaries.
        claim: What they are held to.

    Guarantees:
        If the run keeps the claim, ``lower_bound`` exceeds the claimed epsilon with probability
        5 % at most.
    """
    found = scores(projections, claim)
    inside, m = projections.inside, projections.canaries
    outcomes = tuple(guess(found, inside, count) for count in guess_counts(m))
    tests = len(outcomes) * (1 if claim.mu is None else 2)
    alpha = (1.0 - CONFIDENCE) / tests
    pair = _down(max(epsilon_at_least(m, g, claim.delta, alpha) for g in outcomes))
    curve = None
    if claim.mu is not None:
        mu = max(mu_at_least(m, g, alpha) for g in outcomes)
        curve = _down(gaussian_epsilon(mu, claim.delta))
    return OneRun(
        lower_bound=max(pair, curve or 0.0),
        lower_bound_pair=pair,
        lower_bound_curve=curve,
        estimate=_estimate(found, inside, claim.delta),
        upper_bound=claim.epsilon,
        delta=claim.delta,
        guesses=outcomes,
    )


def scores(projections: Projections, claim: Claim) -> Matrix:
    """Return how clearly each canary looks in: log likelihood ratios, of shape ``(canaries,)``.

    Where epsilon takes credit for secret sampling the score does not know who joined; else it
    does, as anyone may whom the claim is made against.
    """
    seen = whitened(projections.released, claim.coefficients)
    variance = claim.noise_multiplier**2
    if claim.sampling_rate is None or claim.sampling_rate == 1.0:
        joined = whitened(projections.joined, claim.coefficients)
        known: Matrix = ((seen - joined / 2.0) * joined).sum(axis=1) / variance
        return known
    present = math.log(claim.sampling_rate) + (seen - 0.5) / variance
    hidden: Matrix = np.logaddexp(math.log1p(-claim.sampling_rate), present).sum(axis=1)
    return hidden


def guess_counts(canaries: int) -> tuple[int, ...]:
    """Return the preset numbers of guesses, ascending.

    Examples:
        >>> guess_counts(1000)
        (20, 50, 100, 250, 500, 1000)
    """
    return tuple(sorted({max(1, int(share * canaries)) for share in SHARES}))


def guess(found: Matrix, inside: Flags, count: int) -> Guesses:
    """Guess the ``count`` clearest coins by the sign of their score, and count the right ones."""
    clearest = np.argsort(-np.abs(found), kind="stable")[:count]
    right = (found[clearest] > 0.0) == inside[clearest]
    return Guesses(guessed=count, right=int(right.sum()))


def p_value(canaries: int, guesses: Guesses, epsilon: float, delta: float) -> float:
    """Bound the chance of so many right guesses if the run were (epsilon, delta)-DP.

    Args:
        canaries: Coins flipped, m.
        guesses: How many were guessed, and rightly.
        epsilon: Loss, at least 0.
        delta: Failure chance, from 0 to below 1.

    Returns:
        P[B >= v] + 2 m delta max_i P[v > B >= v - i] / i, B binomial of r guesses at
        1 / (1 + exp(-epsilon)), at most 1.
    """
    v, rate = guesses.right, float(expit(epsilon))
    tail = float(binom.sf(v - 1, guesses.guessed, rate))
    if delta == 0.0 or v == 0:
        return min(1.0, tail)
    i = np.arange(1, v + 1)
    within = (binom.sf(v - i - 1, guesses.guessed, rate) - tail) / i
    return min(1.0, tail + 2.0 * canaries * delta * float(within.max()))


def epsilon_at_least(canaries: int, guesses: Guesses, delta: float, alpha: float) -> float:
    """Return an epsilon below which so many right guesses are rarer than ``alpha``."""
    return _largest(lambda epsilon: p_value(canaries, guesses, epsilon, delta) < alpha)


def mu_at_least(canaries: int, guesses: Guesses, alpha: float) -> float:
    """Return a mu below which a mu-Gaussian curve makes so many right guesses rarer than alpha."""
    return _largest(lambda mu: is_curve_rejected(canaries, guesses, mu, alpha))


def is_curve_rejected(canaries: int, guesses: Guesses, mu: float, alpha: float) -> bool:
    """Tell whether so many right guesses are rarer than ``alpha`` under a mu-Gaussian curve.

    Args:
        canaries: Coins flipped, m.
        guesses: How many were guessed, and rightly.
        mu: Distance of the two Gaussians, in standard deviations.
        alpha: Error chance.
    """
    m, n, v = canaries, guesses.guessed, guesses.right
    right, wrong = alpha * v / m, alpha * (n - v) / m
    for i in range(v - 1, -1, -1):
        more = max(wrong, float(ndtr(ndtri(right) - mu)))
        if more == wrong:
            break  # neither changes any more
        right = min(1.0, right + i / (n - i) * (more - wrong))
        wrong = more
    return right + wrong > n / m


def _largest(is_rejected: Callable[[float], bool]) -> float:
    """Return the end of the rejected values from 0 on, to 1e-4 and on their side."""
    if not is_rejected(0.0):
        return 0.0
    low, high = 0.0, 1.0
    while high < _MOST and is_rejected(high):
        low, high = high, 2.0 * high
    while high - low > 1e-4:  # noqa: PLR2004 finer than what is printed
        middle = 0.5 * (low + high)
        low, high = (middle, high) if is_rejected(middle) else (low, middle)
    return low


def _estimate(found: Matrix, inside: Flags, delta: float) -> float:
    """Return epsilon of the two Gaussians that fit the scores: an estimate, no bound."""
    members, others = found[inside], found[~inside]
    spread = math.sqrt((float(members.var()) + float(others.var())) / 2.0)
    apart = float(members.mean() - others.mean())
    if apart <= 0.0:
        return 0.0
    return gaussian_epsilon(apart / spread if spread > 0.0 else math.inf, delta)


def _down(bound: float) -> float:
    return math.floor(bound * _DIGITS) / _DIGITS
