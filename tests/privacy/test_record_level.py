"""Record level: bound on joined rounds, Opacus' accountant and its failures."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opacus.accountants import PRVAccountant

from homebody_privacy.closed_form import gaussian_epsilon
from homebody_privacy.record import (
    CrossCheckError,
    RecordRounds,
    epsilon_record,
    participations_at_most,
    prv,
)

RECORD = RecordRounds(sampling_rate=0.1, steps=10, noise_multiplier=2.0)


@settings(max_examples=50)
@given(st.integers(0, 300), st.floats(0, 1), st.floats(1e-9, 0.5))
def test_the_bound_on_joins_is_the_least_that_holds(rounds: int, rate: float, delta: float) -> None:
    def more_than(k: int) -> float:
        chances = (math.comb(rounds, j) * rate**j * (1 - rate) ** (rounds - j) for j in range(k))
        return 1.0 - math.fsum(chances)

    joins = participations_at_most(rounds, rate, delta)
    assert 0 <= joins <= rounds
    assert more_than(joins + 1) <= delta / 10 * (1 + 1e-6) + 1e-13
    if joins > 0:
        assert more_than(joins) > delta / 10 * (1 - 1e-6) - 1e-13


def test_a_device_that_is_always_drawn_joins_every_round() -> None:
    assert participations_at_most(50, 1.0, 1e-5) == 50


def test_record_level_epsilon_is_opacus_over_all_joins_with_a_tenth_of_delta_set_aside() -> None:
    joins = participations_at_most(100, 0.02, 1e-4)
    accountant = PRVAccountant()
    accountant.history = [(2.0, 0.1, 10 * joins)]
    expected = accountant.get_epsilon(0.9e-4)
    assert epsilon_record(RECORD, 1e-4, rounds=100, sampling_rate=0.02) == pytest.approx(expected)


def test_a_device_that_never_joins_loses_nothing() -> None:
    assert epsilon_record(RECORD, 1e-4, rounds=0, sampling_rate=0.5) == 0.0
    assert epsilon_record(RECORD, 1e-4, rounds=9, sampling_rate=0.0) == 0.0


@pytest.mark.parametrize(
    "change",
    [
        {"sampling_rate": 0.0},
        {"sampling_rate": 1.1},
        {"steps": 0},
        {"noise_multiplier": 0.0},
        {"noise_multiplier": math.inf},
    ],
)
def test_record_rounds_without_meaning_are_refused(change: dict[str, float]) -> None:
    usual = {"sampling_rate": 0.1, "steps": 10, "noise_multiplier": 1.0}
    with pytest.raises(ValueError, match=next(iter(change))):
        RecordRounds(**(usual | change))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rounds", "rate", "delta"),
    [(-1, 0.5, 0.1), (1, -0.1, 0.1), (1, 1.1, 0.1), (1, 0.5, 0.0), (1, 0.5, 1.0)],
)
def test_arguments_out_of_range_are_refused(rounds: int, rate: float, delta: float) -> None:
    with pytest.raises(ValueError, match="must be"):
        participations_at_most(rounds, rate, delta)


@pytest.mark.parametrize(("multiplier", "rate", "delta"), [(1.0, 0.1, 1e-300), (0.05, 0.5, 1e-5)])
def test_a_failure_inside_opacus_is_an_error_not_a_figure(
    multiplier: float, rate: float, delta: float
) -> None:
    with pytest.raises(CrossCheckError, match="PRV accountant failed"):
        prv([(multiplier, rate, 10)], delta)


def test_noise_too_small_to_account_counts_as_none() -> None:
    assert prv([(0.049, 0.5, 10)], 1e-5) == math.inf


def test_full_batches_are_the_unsampled_gaussian() -> None:
    assert 0.0 <= prv([(4.0, 1.0, 4)], 1e-5) - gaussian_epsilon(0.5, 1e-5) <= 0.02


@pytest.mark.parametrize("value", [-0.1, math.nan])
def test_a_value_that_is_no_epsilon_is_an_error(
    monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    def wrong(_self: PRVAccountant, _delta: float) -> float:
        return value  # opacus 585 and 601 report such values

    monkeypatch.setattr(PRVAccountant, "get_epsilon", wrong)
    with pytest.raises(CrossCheckError, match="no epsilon"):
        prv([(1.0, 0.1, 10)], 1e-5)


def test_a_cross_check_error_is_an_arithmetic_error() -> None:
    assert issubclass(CrossCheckError, ArithmeticError)
