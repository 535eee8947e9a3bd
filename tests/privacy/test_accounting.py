"""The user-level accountant against stored values, Opacus and itself."""

import math
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from homebody_privacy import accounting
from homebody_privacy.accounting import (
    PoissonRounds,
    SpendForecast,
    epsilon_pld,
    epsilon_prv,
    epsilon_unamplified,
    spent_epsilon,
)

Build = Callable[..., PoissonRounds]


def costly(row: int) -> bool:
    """60 rows: two populations x two cohorts x three lengths x five multipliers from 0.5 up."""
    return row > 0 and (row // 15 == 1 or row % 5 < 2)


ROWS = [pytest.param(i, marks=[pytest.mark.slow] if costly(i) else []) for i in range(60)]


@pytest.mark.parametrize("row", ROWS)
def test_pf_13_both_accountants_agree_with_the_stored_rows_and_each_other(
    vectors: dict[str, list[dict[str, Any]]], row: int
) -> None:
    values = vectors["poisson"][row]
    charge = PoissonRounds(
        population=values["population"],
        cohort_size=values["cohort"],
        cohort_cap=values["population"],  # never binds
        noise_multiplier=values["noise_multiplier"],
        rounds=values["rounds"],
    )
    pld = epsilon_pld([charge], values["delta"])
    prv = epsilon_prv([charge], values["delta"])
    assert pld == pytest.approx(values["epsilon_pld"], abs=0.002)
    assert prv == pytest.approx(values["epsilon_prv"], abs=0.002)
    assert 0.0 <= prv - pld <= 0.02
    assert pld - 1e-9 <= spent_epsilon([charge], values["delta"]) <= pld + 1e-3


@pytest.mark.parametrize(
    ("multiplier", "rounds", "pld", "prv"),
    [(2.0, 100, 0.329358, 0.339396), (1.5, 500, 1.113326, 1.123404)],
)
def test_both_accountants_agree_with_embedded_rows(
    charge: Build, multiplier: float, rounds: int, pld: float, prv: float
) -> None:
    charged = [charge(noise_multiplier=multiplier, rounds=rounds)]
    assert epsilon_pld(charged, 1e-5) == pytest.approx(pld, abs=0.002)
    assert epsilon_prv(charged, 1e-5) == pytest.approx(prv, abs=0.002)


@pytest.mark.parametrize(
    ("cap", "epsilon"),
    [
        pytest.param(110, 8.601, marks=pytest.mark.slow),
        pytest.param(120, 5.8686, marks=pytest.mark.slow),
        pytest.param(130, 4.1369, marks=pytest.mark.slow),
        (150, 2.2686),
        pytest.param(200, 2.2663, marks=pytest.mark.slow),
    ],
)
def test_a_cap_that_binds_is_charged(charge: Build, cap: int, epsilon: float) -> None:
    charged = [charge(cohort_cap=cap, noise_multiplier=1.0, rounds=500)]
    assert epsilon_pld(charged, 1e-5) == pytest.approx(epsilon, abs=0.002)


def test_stored_caps_are_the_embedded_ones(vectors: dict[str, list[dict[str, Any]]]) -> None:
    stored = {row["cap"]: row["epsilon_pld"] for row in vectors["truncated_poisson"]}
    assert stored == {110: 8.601, 120: 5.8686, 130: 4.1369, 150: 2.2686, 200: 2.2663}


def test_charges_in_portions_cost_what_they_cost_at_once(charge: Build) -> None:
    portions = [charge(rounds=30), charge(rounds=70)]
    assert epsilon_pld(portions, 1e-5) == epsilon_pld([charge(rounds=100)], 1e-5)
    assert spent_epsilon(portions, 1e-5) == spent_epsilon([charge(rounds=100)], 1e-5)


def test_different_charges_compose(charge: Build) -> None:
    a, b = charge(rounds=50), charge(rounds=50, noise_multiplier=3.0)
    both = epsilon_pld([a, b], 1e-5)
    assert max(epsilon_pld([a], 1e-5), epsilon_pld([b], 1e-5)) < both
    assert both < epsilon_pld([a.with_rounds(100)], 1e-5)
    assert both - 1e-9 <= spent_epsilon([b, a], 1e-5) <= both + 1e-3


@pytest.mark.parametrize("accountant", [epsilon_pld, epsilon_prv, spent_epsilon])
def test_nothing_costs_nothing_and_no_noise_costs_everything(
    accountant: Callable[[list[PoissonRounds], float], float], charge: Build
) -> None:
    assert accountant([], 1e-5) == 0.0
    assert accountant([charge(rounds=0)], 1e-5) == 0.0
    assert accountant([charge(noise_multiplier=0.0)], 1e-5) == math.inf


@pytest.mark.parametrize("accountant", [epsilon_pld, spent_epsilon])
def test_noise_too_small_to_account_counts_as_none(
    accountant: Callable[[list[PoissonRounds], float], float], charge: Build
) -> None:
    assert accountant([charge(noise_multiplier=0.049)], 1e-5) == math.inf


@pytest.mark.parametrize("accountant", [epsilon_pld, epsilon_prv, spent_epsilon])
@pytest.mark.parametrize("delta", [0.0, 1.0, -1.0, math.nan])
def test_a_delta_without_meaning_is_refused(
    accountant: Callable[[list[PoissonRounds], float], float], charge: Build, delta: float
) -> None:
    with pytest.raises(ValueError, match="delta"):
        accountant([charge()], delta)


def test_sampling_everyone_is_the_unsampled_gaussian(charge: Build) -> None:
    charged = [charge(population=100, cohort_cap=100, noise_multiplier=4.0, rounds=4)]
    exact = epsilon_unamplified(charged, 1e-5)
    assert epsilon_pld(charged, 1e-5) == pytest.approx(exact, abs=0.002)
    assert epsilon_pld([charge(rounds=4)], 1e-5) < exact


def test_a_forecast_of_every_round_is_quick_and_nowhere_below_the_truth() -> None:
    charge = PoissonRounds(
        population=6040, cohort_size=100, cohort_cap=6040, noise_multiplier=0.8, rounds=1
    )
    start = time.process_time()
    forecast = SpendForecast(charge, 1e-5)
    spent = [forecast.after(t) for t in range(101)]
    assert time.process_time() - start < 6.0  # 1 to 2 s alone on one core
    assert spent[0] == 0.0
    assert all(a < b for a, b in pairwise(spent))
    for rounds in (1, 100):
        reference = epsilon_pld([charge.with_rounds(rounds)], 1e-5)
        assert reference - 1e-9 <= spent[rounds] <= reference + 1e-3


def test_a_forecast_starts_from_what_was_spent_before(charge: Build) -> None:
    earlier = [charge(noise_multiplier=3.0, rounds=50)]
    forecast = SpendForecast(charge(), 1e-5, earlier)
    assert forecast.after(0) == pytest.approx(spent_epsilon(earlier, 1e-5), abs=1e-6)
    reference = epsilon_pld([*earlier, charge(rounds=3)], 1e-5)
    assert reference - 1e-9 <= forecast.after(3) <= reference + 1e-3


def test_a_forecast_without_noise_or_of_negative_rounds_is_refused(charge: Build) -> None:
    with pytest.raises(ValueError, match="noise_multiplier"):
        SpendForecast(charge(noise_multiplier=0.0), 1e-5)
    with pytest.raises(ValueError, match="rounds"):
        SpendForecast(charge(), 1e-5).after(-1)


def test_pf_13_no_limit_theorem_or_renyi_accountant_is_offered() -> None:
    offered = " ".join(accounting.__all__).lower()
    assert not any(name in offered for name in ("gdp", "clt", "rdp"))
