"""The least noise that keeps to a budget: enough, and not more than enough."""

import math
from collections.abc import Callable, Sequence

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from homebody_privacy import solving
from homebody_privacy.accounting import epsilon_pld, spent_epsilon
from homebody_privacy.blt import MOST_MULTIPLIER
from homebody_privacy.charges import Charge, CorrelatedRun, GaussianReleases, PoissonRounds
from homebody_privacy.closed_form import gaussian_epsilon
from homebody_privacy.errors import InfeasibleError
from homebody_privacy.solving import solve_correlated_multiplier, solve_noise_multiplier

Build = Callable[..., PoissonRounds]
BuildRun = Callable[..., CorrelatedRun]
FIGURES = GaussianReleases(noise_multiplier=10.0, releases=4)


@pytest.mark.parametrize(("epsilon", "rounds"), [(0.3, 100), (1.5, 100)])
def test_the_solved_noise_keeps_to_the_budget_and_little_less_would_not(
    charge: Build, epsilon: float, rounds: int
) -> None:
    multiplier = solve_noise_multiplier(
        epsilon, 1e-5, population=6040, cohort_size=100, cohort_cap=6040, rounds=rounds
    )
    assert epsilon_pld([charge(noise_multiplier=multiplier, rounds=rounds)], 1e-5) <= epsilon
    less = charge(noise_multiplier=multiplier * (1 - 5e-4), rounds=rounds)
    assert epsilon_pld([less], 1e-5) > epsilon


def test_noise_above_one_clip_norm_is_found_too(charge: Build) -> None:
    multiplier = solve_noise_multiplier(
        0.1, 1e-5, population=6040, cohort_size=600, cohort_cap=6040, rounds=10
    )
    run = charge(cohort_size=600, noise_multiplier=multiplier, rounds=10)
    assert multiplier > 2.0
    assert 0.098 < epsilon_pld([run], 1e-5) <= 0.1


def test_solved_noise_is_raised_until_the_reference_agrees(
    charge: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    # an approximation that is too low by 0.01 must not reach the caller
    monkeypatch.setattr(solving, "spent_epsilon", lambda c, d: spent_epsilon(c, d) - 0.01)
    multiplier = solve_noise_multiplier(
        0.3, 1e-5, population=6040, cohort_size=100, cohort_cap=6040, rounds=100
    )
    assert epsilon_pld([charge(noise_multiplier=multiplier, rounds=100)], 1e-5) <= 0.3


@pytest.mark.slow
def test_a_budget_beyond_need_gets_the_least_noise_offered() -> None:
    multiplier = solve_noise_multiplier(
        200.0, 1e-5, population=6040, cohort_size=100, cohort_cap=6040, rounds=1
    )
    assert multiplier == 0.25


def test_a_budget_no_noise_can_keep_is_infeasible() -> None:
    with pytest.raises(InfeasibleError, match="no noise") as refusal:
        solve_noise_multiplier(
            1e-9, 1e-7, population=6040, cohort_size=6000, cohort_cap=6040, rounds=1000
        )
    assert refusal.value.exit_code == 12


@pytest.mark.parametrize(("epsilon", "rounds"), [(0.0, 1), (math.inf, 1), (math.nan, 1), (1.0, 0)])
def test_a_plan_without_meaning_is_refused(epsilon: float, rounds: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        solve_noise_multiplier(
            epsilon, 1e-5, population=6040, cohort_size=100, cohort_cap=6040, rounds=rounds
        )


def test_noise_is_found_with_what_else_the_budget_pays_for(charge: Build) -> None:
    def found(others: Sequence[Charge]) -> float:
        return solve_noise_multiplier(
            0.5,
            1e-5,
            population=6040,
            cohort_size=100,
            cohort_cap=6040,
            rounds=20,
            others=others,
        )

    figures = GaussianReleases(noise_multiplier=24.0, releases=4)
    beside = found([figures])
    assert beside > found([])
    charged: list[Charge] = [charge(noise_multiplier=beside, rounds=20), figures]
    assert max(epsilon_pld(charged, 1e-5), spent_epsilon(charged, 1e-5)) <= 0.5
    less = charge(noise_multiplier=beside * (1 - 1e-3), rounds=20)
    assert spent_epsilon([less, figures], 1e-5) > 0.5


@given(
    epsilon=st.floats(0.01, 50.0),
    delta=st.floats(1e-12, 1e-2),
    sensitivity=st.floats(0.1, 20.0),
    releases=st.integers(0, 5),
)
def test_a_correlated_run_keeps_to_its_budget_and_has_no_noise_to_spare(
    epsilon: float, delta: float, sensitivity: float, releases: int
) -> None:
    others = [GaussianReleases(noise_multiplier=40.0, releases=releases)]
    assume(gaussian_epsilon(math.sqrt(others[0].squared_loss), delta) < 0.9 * epsilon)
    try:
        found = solve_correlated_multiplier(epsilon, delta, sensitivity=sensitivity, others=others)
    except InfeasibleError:
        assert run_and(others, MOST_MULTIPLIER, sensitivity, delta) > epsilon
        return
    assert run_and(others, found, sensitivity, delta) <= epsilon
    assert run_and(others, found - 2e-5, sensitivity, delta) > epsilon


def run_and(
    others: Sequence[Charge], noise_multiplier: float, sensitivity: float, delta: float
) -> float:
    """Return the exact epsilon of a run with others."""
    if noise_multiplier <= 0.0:
        return math.inf
    mu = sensitivity / noise_multiplier
    return gaussian_epsilon(math.sqrt(mu * mu + sum(c.squared_loss for c in others)), delta)


def test_the_accountant_agrees_on_a_solved_correlated_run(correlated: BuildRun) -> None:
    found = solve_correlated_multiplier(4.0, 1e-5, sensitivity=3.15022, others=[FIGURES])
    charged: list[Charge] = [correlated(noise_multiplier=found, sensitivity=3.15022), FIGURES]
    assert 3.9999 < spent_epsilon(charged, 1e-5) <= 4.0
    alone = solve_correlated_multiplier(4.0, 1e-5, sensitivity=3.15022)
    assert alone < found
    # A budget of several runs of the same noise is met by none of one run's.
    assert spent_epsilon([correlated(noise_multiplier=alone, runs=2)], 1e-5) > 4.0


def solved(epsilon: float, others: Sequence[Charge]) -> float:
    """Return the noise of one round."""
    return solve_noise_multiplier(
        epsilon,
        1e-5,
        population=6040,
        cohort_size=100,
        cohort_cap=6040,
        rounds=1,
        others=others,
    )


def solved_for_a_run(epsilon: float, others: Sequence[Charge]) -> float:
    """Return the noise of a correlated run."""
    return solve_correlated_multiplier(epsilon, 1e-5, sensitivity=1.0, others=others)


@pytest.mark.parametrize("solve", [solved, solved_for_a_run])
def test_metrics_that_take_the_whole_budget_leave_no_run(
    solve: Callable[[float, Sequence[Charge]], float],
) -> None:
    whole = gaussian_epsilon(1.0, 1e-5)
    with pytest.raises(InfeasibleError, match="beside training") as refusal:
        solve(whole, [GaussianReleases(noise_multiplier=1.0)])
    assert refusal.value.exit_code == 12
    assert "more noise" in refusal.value.fix


def test_a_correlated_run_beyond_the_most_noise_is_infeasible() -> None:
    with pytest.raises(InfeasibleError, match="no noise"):
        solve_correlated_multiplier(0.001, 1e-9, sensitivity=100.0)


@pytest.mark.parametrize(
    ("epsilon", "delta", "sensitivity"),
    [
        (0.0, 1e-5, 1.0),
        (math.inf, 1e-5, 1.0),
        (math.nan, 1e-5, 1.0),
        (1.0, 0.0, 1.0),
        (1.0, 1.0, 1.0),
        (1.0, 1e-5, 0.0),
        (1.0, 1e-5, math.inf),
        (1.0, 1e-5, math.nan),
    ],
)
def test_a_correlated_plan_without_meaning_is_refused(
    epsilon: float, delta: float, sensitivity: float
) -> None:
    with pytest.raises(ValueError, match=r"above 0"):
        solve_correlated_multiplier(epsilon, delta, sensitivity=sensitivity)


def test_a_correlated_run_beside_sampled_rounds_has_no_closed_form(charge: Build) -> None:
    with pytest.raises(ValueError, match="unsampled"):
        solve_correlated_multiplier(4.0, 1e-5, sensitivity=1.0, others=[charge()])
