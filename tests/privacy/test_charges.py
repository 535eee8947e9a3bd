"""Charges: validation, merging, their JSON form, and rounding up."""

import json
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homebody_privacy.charges import PoissonRounds, merged, round_up

Build = Callable[..., PoissonRounds]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("population", 99),
        ("cohort_size", 0),
        ("cohort_size", 6041),
        ("cohort_cap", 99),
        ("noise_multiplier", -0.1),
        ("noise_multiplier", math.nan),
        ("noise_multiplier", math.inf),
        ("rounds", -1),
    ],
)
def test_a_charge_without_meaning_is_refused(charge: Build, field: str, value: float) -> None:
    with pytest.raises(ValueError, match="must be"):
        charge(**{field: value})


def test_the_sampling_rate_is_cohort_over_population(charge: Build) -> None:
    assert charge(population=400, cohort_size=100).sampling_rate == 0.25


@given(st.floats(0, 1e6), st.integers(0, 10**6))
def test_a_charge_survives_json(multiplier: float, rounds: int) -> None:
    charge = PoissonRounds(
        population=10, cohort_size=5, cohort_cap=6, noise_multiplier=multiplier, rounds=rounds
    )
    assert PoissonRounds.from_dict(json.loads(json.dumps(charge.to_dict()))) == charge


@pytest.mark.parametrize(
    "change",
    [
        {"rounds": "1"},
        {"rounds": 1.0},
        {"population": True},
        {"noise_multiplier": None},
        {"extra": 1},
        {"rounds": -1},
    ],
)
def test_a_damaged_charge_is_refused(charge: Build, change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"charge|rounds"):
        PoissonRounds.from_dict(charge().to_dict() | change)


def test_a_whole_multiplier_is_a_number_too(charge: Build) -> None:
    values = charge().to_dict() | {"noise_multiplier": 2}
    assert PoissonRounds.from_dict(values) == charge(noise_multiplier=2.0)


def test_merging_adds_rounds_of_equal_charges_and_drops_empty_ones(charge: Build) -> None:
    charges = [charge(rounds=3), charge(noise_multiplier=1.0), charge(rounds=4), charge(rounds=0)]
    assert merged(charges) == [charge(rounds=7), charge(noise_multiplier=1.0)]
    assert merged([charge(rounds=0)]) == []


@given(st.floats(0, 1e9), st.integers(0, 6))
def test_rounding_never_goes_down(x: float, digits: int) -> None:
    printed = Fraction(repr(round_up(x, digits)))  # the decimal that is shown
    assert 0 <= printed - Fraction(x) < Fraction(1, 10**digits)


def test_infinity_stays_infinite() -> None:
    assert round_up(math.inf, 2) == math.inf


def test_numbers_too_large_for_decimals_stay_themselves() -> None:
    assert round_up(2.0**200, 6) == 2.0**200
