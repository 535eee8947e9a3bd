"""What choosing among runs costs, against stored values, the theorem and the exact loss."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import ndtr

from homebody_privacy.accounting import epsilon_pld
from homebody_privacy.charges import Charge, CorrelatedRun, GaussianReleases, PoissonRounds
from homebody_privacy.closed_form import gaussian_epsilon
from homebody_privacy.errors import InfeasibleError
from homebody_privacy.tuning import TuningPlan, epsilon_best_of, epsilon_composed

Build = Callable[..., PoissonRounds]
Array = npt.NDArray[np.float64]


@pytest.mark.parametrize(
    ("multiplier", "mean", "epsilon"),
    [(1.0, 10.0, 4.93), (1.0, 50.0, 5.94), (2.0, 10.0, 1.77), (2.0, 50.0, 2.12)],
)
def test_the_best_of_several_runs_costs_what_the_literature_says(
    charge: Build, multiplier: float, mean: float, epsilon: float
) -> None:
    run = [charge(noise_multiplier=multiplier, rounds=500)]
    assert epsilon_best_of(run, 1e-5, mean=mean) == pytest.approx(epsilon, abs=0.01)


def best_density(y: Array, shift: float, mean: float) -> Array:
    """Density of the highest of a geometric number of N(shift, 1) scores.

    Their number is j with chance p (1 - p)**(j - 1), p = 1 / mean; so P[highest <= y] is
    p F / (1 - (1 - p) F), and its derivative is taken.
    """
    p = 1.0 / mean
    below: Array = ndtr(y - shift)
    density: Array = np.exp(-0.5 * (y - shift) ** 2) / math.sqrt(math.tau)
    best: Array = p * density / (1.0 - (1.0 - p) * below) ** 2
    return best


def best_delta(mu: float, mean: float, epsilon: float) -> float:
    """Exact delta of publishing that highest score, the larger of both directions."""
    y = np.linspace(-12.0, 14.0, 260_001)
    one, other = best_density(y, mu, mean), best_density(y, 0.0, mean)
    gaps = (one - math.exp(epsilon) * other, other - math.exp(epsilon) * one)
    return max(float(np.maximum(gap, 0.0).sum()) for gap in gaps) * float(y[1] - y[0])


@pytest.mark.parametrize("mean", [2.0, 10.0, 50.0])
@pytest.mark.parametrize(("mu", "delta"), [(0.5, 1e-5), (1.0, 1e-3)])
def test_pf_20_the_choice_loses_more_than_one_run_and_no_more_than_is_charged(
    mu: float, mean: float, delta: float
) -> None:
    run = [GaussianReleases(noise_multiplier=1.0 / mu)]
    assert best_delta(mu, mean, epsilon_best_of(run, delta, mean=mean)) <= delta
    assert best_delta(mu, mean, gaussian_epsilon(mu, delta)) > 1.2 * delta


def theorem(mu: float, mean: float, delta: float) -> float:
    """Theorem 2 of https://arxiv.org/abs/2110.03620 for a Gaussian run, all orders allowed."""
    order = np.geomspace(1.001, 2000.0, 200_000)
    shared = 2.0 * np.min((1.0 - 1.0 / order) * order * mu**2 / 2.0 + math.log(mean) / order)
    renyi = order * mu**2 / 2.0 + math.log(mean) / (order - 1.0) + shared
    to_delta = np.log1p(-1.0 / order) - (math.log(delta) + np.log(order)) / (order - 1.0)
    return float(np.min(renyi + to_delta))


@pytest.mark.parametrize("mean", [2.0, 10.0, 100.0])
@pytest.mark.parametrize("mu", [0.2, 0.5, 1.0])
def test_unsampled_runs_follow_the_theorem(mu: float, mean: float) -> None:
    run: list[Charge] = [
        CorrelatedRun(
            noise_multiplier=4.0 / mu,
            sensitivity=3.2,  # 0.8 of mu, and 0.6 by the metrics: together 1
            rounds=10,
            min_separation=5,
            max_rounds=2,
            theta=(0.9,),
            omega=(0.4,),
        ),
        GaussianReleases(noise_multiplier=10.0 / mu, releases=36),
    ]
    expected = theorem(mu, mean, 1e-5)
    # never below the best order, and the library's orders come close to it
    assert expected - 1e-9 <= epsilon_best_of(run, 1e-5, mean=mean) <= 1.005 * expected


def test_sampled_rounds_and_metrics_of_one_run_are_chosen_together(charge: Build) -> None:
    rounds, metrics = charge(rounds=100), GaussianReleases(noise_multiplier=10.0)
    both = epsilon_best_of([rounds, metrics], 1e-5, mean=10.0)
    alone = [epsilon_best_of([part], 1e-5, mean=10.0) for part in (rounds, metrics)]
    assert max(alone) < both < sum(alone)


def test_rounds_that_adapt_their_clip_norm_pay_for_the_count_too(charge: Build) -> None:
    adaptive = charge(noise_multiplier=2.0, count_multiplier=3.0, rounds=100)
    plain = charge(noise_multiplier=(2.0**-2 + 3.0**-2) ** -0.5, rounds=100)
    cost = epsilon_best_of([adaptive], 1e-5, mean=10.0)
    assert cost == pytest.approx(epsilon_best_of([plain], 1e-5, mean=10.0), rel=1e-9)
    assert cost > epsilon_best_of([charge(noise_multiplier=2.0, rounds=100)], 1e-5, mean=10.0)


def test_more_runs_cost_more_and_less_than_each_on_its_own(charge: Build) -> None:
    run = [charge(noise_multiplier=1.0, rounds=100)]
    costs = [epsilon_best_of(run, 1e-5, mean=mean) for mean in (1.0, 2.0, 10.0, 100.0)]
    assert costs == sorted(set(costs))
    assert epsilon_pld(run, 1e-5) < costs[0]
    assert costs[-1] < epsilon_composed(run, 1e-5, runs=100)


def test_runs_that_are_all_seen_compose(charge: Build) -> None:
    rounds, metrics = charge(rounds=20), GaussianReleases(noise_multiplier=10.0)
    three = epsilon_composed([rounds, metrics], 1e-5, runs=3)
    merged: list[Charge] = [charge(rounds=60), GaussianReleases(noise_multiplier=10.0, releases=3)]
    assert three == pytest.approx(epsilon_pld(merged, 1e-5), rel=1e-9)
    assert epsilon_composed([rounds], 1e-5, runs=1) == epsilon_pld([rounds], 1e-5)


def test_a_cap_that_seldom_binds_takes_a_tenth_of_delta(charge: Build) -> None:
    free = charge(noise_multiplier=1.0, rounds=500)
    capped = charge(noise_multiplier=1.0, rounds=500, cohort_cap=200)
    tenth = epsilon_best_of([free], 0.9e-5, mean=10.0)
    assert epsilon_best_of([capped], 1e-5, mean=10.0) == pytest.approx(tenth, rel=1e-12)
    assert epsilon_best_of([free], 1e-5, mean=10.0) < tenth


def test_a_cap_that_often_binds_is_refused(charge: Build) -> None:
    capped = charge(noise_multiplier=1.0, rounds=500, cohort_cap=150)
    with pytest.raises(InfeasibleError, match="cap") as refusal:
        epsilon_best_of([capped], 1e-5, mean=10.0)
    assert refusal.value.exit_code == 12
    assert "cohort_cap" in refusal.value.fix


def test_nothing_costs_nothing_and_no_noise_costs_everything(charge: Build) -> None:
    assert epsilon_best_of([], 1e-5, mean=10.0) == 0.0
    assert epsilon_best_of([charge(rounds=0)], 1e-5, mean=10.0) == 0.0
    assert epsilon_composed([], 1e-5, runs=3) == 0.0
    bare: list[Charge] = [charge(noise_multiplier=0.0), GaussianReleases(noise_multiplier=0.0)]
    for one in bare:
        assert epsilon_best_of([one], 1e-5, mean=10.0) == math.inf
        assert epsilon_composed([one], 1e-5, runs=3) == math.inf


def test_a_plan_is_charged_as_its_kind_says(charge: Build) -> None:
    run = [charge(rounds=20)]
    best = TuningPlan(kind="best-of", mean=10.0).epsilon(run, 1e-5)
    assert best == epsilon_best_of(run, 1e-5, mean=10.0)
    every = TuningPlan(kind="all", runs=3).epsilon(run, 1e-5)
    assert every == epsilon_composed(run, 1e-5, runs=3)


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "best-of"},
        {"kind": "best-of", "mean": 0.5},
        {"kind": "best-of", "mean": math.nan},
        {"kind": "best-of", "mean": math.inf},
        {"kind": "best-of", "mean": 2.0, "runs": 2},
        {"kind": "all"},
        {"kind": "all", "runs": 0},
        {"kind": "all", "runs": 2, "mean": 2.0},
        {"kind": "first", "runs": 2},
    ],
)
def test_a_plan_without_meaning_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"mean|runs|kind"):
        TuningPlan(**fields)


@pytest.mark.parametrize("delta", [0.0, 1.0, math.nan])
def test_a_delta_without_meaning_is_refused(charge: Build, delta: float) -> None:
    with pytest.raises(ValueError, match="delta"):
        epsilon_best_of([charge()], delta, mean=10.0)
    with pytest.raises(ValueError, match="delta"):
        epsilon_composed([charge()], delta, runs=2)
