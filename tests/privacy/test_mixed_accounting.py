"""Sampled rounds, correlated runs and plain Gaussian releases under one epsilon."""

import math
from collections.abc import Callable

import pytest
from dp_accounting import dp_event
from dp_accounting.pld import PLDAccountant
from dp_accounting.privacy_accountant import NeighboringRelation
from hypothesis import given, settings
from hypothesis import strategies as st

from homebody_privacy.accounting import (
    SpendForecast,
    composed_epsilon,
    epsilon_by_part,
    epsilon_pld,
    epsilon_prv,
    spent_epsilon,
)
from homebody_privacy.charges import Charge, CorrelatedRun, GaussianReleases, PoissonRounds
from homebody_privacy.closed_form import epsilon_unamplified, gaussian_epsilon

Build = Callable[..., PoissonRounds]
BuildRun = Callable[..., CorrelatedRun]
DELTA = 1e-5
FIGURES = GaussianReleases(noise_multiplier=10.0, releases=4)  # mu = 0.2


def by_dp_accounting(sampled: list[tuple[float, float, int]], gaussians: list[float]) -> float:
    """Compose rounds (noise, rate, how many) and Gaussian releases with dp-accounting alone."""
    accountant = PLDAccountant(NeighboringRelation.ADD_OR_REMOVE_ONE)
    for noise, rate, rounds in sampled:
        release = dp_event.GaussianDpEvent(noise)
        accountant.compose(dp_event.PoissonSampledDpEvent(rate, release), rounds)
    for noise in gaussians:
        accountant.compose(dp_event.GaussianDpEvent(noise))
    return float(accountant.get_epsilon(DELTA))


@pytest.mark.parametrize("rounds", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_pf_13_a_mixture_costs_what_dp_accounting_says_and_prv_a_little_more(
    charge: Build, correlated: BuildRun, rounds: int
) -> None:
    run = correlated(noise_multiplier=9.0, sensitivity=3.0)
    known: list[Charge] = [charge(rounds=rounds), run, FIGURES]
    direct = by_dp_accounting([(2.0, 100 / 6040, rounds)], [3.0, *[10.0] * 4])
    pld, prv = epsilon_pld(known, DELTA), epsilon_prv(known, DELTA)
    # Four releases are one of half the noise; on dp-accounting's grid each of them errs upward.
    assert direct - 1e-3 <= pld <= direct * 1.01
    assert 0.0 <= prv - pld <= 0.02
    assert pld - 1e-9 <= spent_epsilon(known, DELTA) <= pld + 1e-3


def test_a_mixture_costs_more_than_its_parts_and_no_more_than_without_amplification(
    charge: Build, correlated: BuildRun
) -> None:
    known: list[Charge] = [charge(rounds=20), correlated(noise_multiplier=9.0), FIGURES]
    total = spent_epsilon(known, DELTA)
    for left_out in range(3):
        rest = [c for place, c in enumerate(known) if place != left_out]
        assert spent_epsilon(rest, DELTA) < total
    assert total <= epsilon_unamplified(known, DELTA)
    assert spent_epsilon(known[::-1], DELTA) == pytest.approx(total, abs=1e-9)


def test_an_adaptive_round_costs_what_its_two_releases_cost_as_one_vector(charge: Build) -> None:
    # Theorem 1 of arXiv 1905.03871: one Gaussian release of the effective multiplier.
    adaptive = charge(noise_multiplier=2.5, count_multiplier=10 / 3, rounds=20)
    as_one = by_dp_accounting([(2.0, 100 / 6040, 20)], [])
    assert epsilon_pld([adaptive], DELTA) == pytest.approx(as_one, abs=2e-3)
    assert epsilon_prv([adaptive], DELTA) == pytest.approx(
        epsilon_prv([charge(rounds=20)], DELTA), abs=1e-6
    )
    assert spent_epsilon([adaptive], DELTA) > spent_epsilon(
        [charge(noise_multiplier=2.5, rounds=20)], DELTA
    )


@settings(max_examples=8)
@given(st.floats(3.0, 30.0), st.integers(1, 4), st.floats(0.5, 4.0), st.floats(1e-9, 1e-3))
def test_without_sampling_the_closed_form_is_pld_and_never_above_it(
    noise: float, releases: int, sensitivity: float, delta: float
) -> None:
    known: list[Charge] = [
        GaussianReleases(noise_multiplier=noise, releases=releases),
        CorrelatedRun(
            noise_multiplier=4.0,
            sensitivity=sensitivity,
            rounds=10,
            min_separation=2,
            max_rounds=5,
            theta=(0.9,),
            omega=(0.3,),
        ),
    ]
    exact, pld = spent_epsilon(known, delta), epsilon_pld(known, delta)
    assert 0.0 <= pld - exact <= 2e-3
    assert exact == epsilon_unamplified(known, delta)


def test_runs_on_the_same_people_add_their_squares(correlated: BuildRun) -> None:
    mu = 3.15 / 3.5
    for count in (1, 2, 9):
        expected = gaussian_epsilon(math.sqrt(count) * mu, DELTA)
        assert spent_epsilon([correlated()] * count, DELTA) == pytest.approx(expected, rel=1e-12)
        together = spent_epsilon([correlated(runs=count)], DELTA)
        assert together == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("accountant", [epsilon_pld, epsilon_prv, spent_epsilon])
def test_too_little_noise_anywhere_makes_the_total_infinite(
    accountant: Callable[[list[Charge], float], float], charge: Build, correlated: BuildRun
) -> None:
    bare: list[Charge] = [
        GaussianReleases(noise_multiplier=0.0),
        GaussianReleases(noise_multiplier=0.049),
        GaussianReleases(noise_multiplier=0.5, releases=101),  # mu just past 20
        correlated(noise_multiplier=0.0),
        charge(noise_multiplier=3.0, count_multiplier=0.04),
    ]
    for one in bare:
        assert accountant([charge(), one], DELTA) == math.inf
        assert accountant([one], DELTA) == math.inf


def test_what_was_never_released_costs_nothing(charge: Build, correlated: BuildRun) -> None:
    nothing: list[Charge] = [
        GaussianReleases(noise_multiplier=0.0, releases=0),
        correlated(runs=0),
        charge(rounds=0),
    ]
    assert spent_epsilon(nothing, DELTA) == epsilon_pld(nothing, DELTA) == 0.0
    assert spent_epsilon([*nothing, FIGURES], DELTA) == spent_epsilon([FIGURES], DELTA)


def test_every_grid_errs_upward_and_no_noise_is_infinite_on_all(charge: Build) -> None:
    reference = epsilon_pld([charge(rounds=20), FIGURES], DELTA)
    for grid in (5e-4, 1e-3):
        coarse = composed_epsilon([charge(rounds=20), FIGURES], DELTA, grid)
        assert reference - 1e-9 <= coarse <= reference + 1e-2
        assert composed_epsilon([charge(noise_multiplier=0.0)], DELTA, grid) == math.inf


def test_epsilon_is_given_by_part_and_only_for_parts_that_were_charged(
    charge: Build, correlated: BuildRun
) -> None:
    adaptive = charge(count_multiplier=8.0, rounds=20)
    tuned = correlated(noise_multiplier=9.0).with_part("tuning")
    parts = epsilon_by_part([adaptive, FIGURES, tuned], DELTA)
    assert list(parts) == ["training", "clipping", "metrics", "tuning"]
    assert parts["training"] == spent_epsilon([charge(rounds=20)], DELTA)
    assert parts["clipping"] == spent_epsilon([charge(noise_multiplier=8.0, rounds=20)], DELTA)
    assert parts["metrics"] == gaussian_epsilon(0.2, DELTA)
    assert parts["tuning"] == gaussian_epsilon(3.15 / 9.0, DELTA)
    total = spent_epsilon([adaptive, FIGURES, tuned], DELTA)
    assert max(parts.values()) < total < sum(parts.values())
    assert list(epsilon_by_part([FIGURES], DELTA)) == ["metrics"]
    assert epsilon_by_part([], DELTA) == {}


def test_a_correlated_run_is_spent_whole_with_its_first_round(correlated: BuildRun) -> None:
    whole = spent_epsilon([correlated()], DELTA)
    forecast = SpendForecast(correlated(), DELTA)
    assert [forecast.after(t) for t in (0, 1, 2, 100)] == [0.0, whole, whole, whole]
    with pytest.raises(ValueError, match="rounds"):
        forecast.after(-1)


def test_a_forecast_of_a_correlated_run_starts_from_what_was_spent_before(
    charge: Build, correlated: BuildRun
) -> None:
    earlier: list[Charge] = [charge(rounds=20), FIGURES]
    forecast = SpendForecast(correlated(), DELTA, earlier)
    assert forecast.after(0) == spent_epsilon(earlier, DELTA)
    assert forecast.after(7) == spent_epsilon([*earlier, correlated()], DELTA)


def test_a_forecast_of_rounds_after_a_correlated_run_composes_both(
    charge: Build, correlated: BuildRun
) -> None:
    forecast = SpendForecast(charge(), DELTA, [correlated()])
    for rounds in (0, 20):
        reference = epsilon_pld([correlated(), charge(rounds=rounds)], DELTA)
        assert forecast.after(rounds) == pytest.approx(reference, abs=2e-3)


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.157])
def test_a_run_with_too_little_noise_has_no_forecast(correlated: BuildRun, noise: float) -> None:
    with pytest.raises(ValueError, match="noise_multiplier"):
        SpendForecast(correlated(noise_multiplier=noise), DELTA)  # mu past 20


@settings(max_examples=5)
@given(st.integers(0, 12), st.integers(0, 12), st.floats(2.0, 4.0), st.floats(0.0, 1.0))
def test_epsilon_grows_with_rounds_and_rate_and_falls_with_noise(
    rounds: int, more: int, noise: float, louder: float
) -> None:
    def spent(rounds: int, noise: float, cohort: int = 100) -> float:
        run = PoissonRounds(
            population=6040,
            cohort_size=cohort,
            cohort_cap=6040,
            noise_multiplier=noise,
            rounds=rounds,
        )
        return epsilon_pld([run, FIGURES], DELTA)

    here = spent(rounds, noise)
    assert here <= spent(rounds + more, noise) + 1e-9
    assert here >= spent(rounds, noise + louder) - 1e-4  # the grid of one may err by a step
    assert here <= spent(rounds, noise, 150) + 1e-4
