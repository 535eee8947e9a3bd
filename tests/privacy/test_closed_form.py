"""The exact Gaussian accountant against a 40-digit reference and dp-accounting."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from dp_accounting.pld import privacy_loss_distribution
from hypothesis import given
from hypothesis import strategies as st

from homebody_privacy.charges import PoissonRounds
from homebody_privacy.closed_form import (
    epsilon_unamplified,
    gaussian_delta,
    gaussian_epsilon,
    gaussian_mu,
)

ROWS = [  # mpmath, 40 digits: mu, delta, epsilon
    (0.25, 1e-5, 0.926341503998),
    (0.5, 1e-7, 2.49033852934),
    (1.0, 1e-5, 4.37717809568),
    (2.0, 1e-6, 10.9971512142),
    (3.5, 1e-7, 23.7118166757),
]


@pytest.mark.parametrize(("mu", "delta", "epsilon"), ROWS)
def test_epsilon_agrees_with_a_forty_digit_reference(
    mu: float, delta: float, epsilon: float
) -> None:
    assert gaussian_epsilon(mu, delta) == pytest.approx(epsilon, rel=1e-9)


def test_epsilon_agrees_with_every_stored_row(vectors: dict[str, list[dict[str, Any]]]) -> None:
    for row in vectors["closed_form_gaussian"]:
        epsilon = gaussian_epsilon(float(row["mu"]), float(row["delta"]))
        assert epsilon == pytest.approx(float(row["epsilon"]), rel=1e-9)


@given(st.floats(1e-3, 1e3), st.floats(1e-12, 0.5))
def test_delta_at_epsilon_is_the_delta_asked_for(mu: float, delta: float) -> None:
    epsilon = gaussian_epsilon(mu, delta)
    reached = gaussian_delta(mu, epsilon)
    assert reached <= delta * (1 + 1e-9)
    if epsilon > 0:
        assert reached == pytest.approx(delta, rel=1e-6)


@given(st.floats(1e-3, 100.0), st.floats(0.0, 50.0))
def test_delta_is_a_probability_that_falls_with_epsilon(mu: float, epsilon: float) -> None:
    assert 0.0 <= gaussian_delta(mu, epsilon + 1.0) <= gaussian_delta(mu, epsilon) <= 1.0


def test_delta_agrees_with_dp_accounting_far_in_the_tail() -> None:
    for mu, epsilon in [(0.1, 0.5), (1.0, 8.0), (3.0, 25.0)]:
        pld = privacy_loss_distribution.from_gaussian_mechanism(1.0 / mu)
        expected = float(pld.get_delta_for_epsilon(epsilon))
        assert gaussian_delta(mu, epsilon) == pytest.approx(expected, rel=1e-3)


def test_no_release_costs_nothing_and_no_noise_costs_everything(
    charge: Callable[..., PoissonRounds],
) -> None:
    assert gaussian_epsilon(0.0, 1e-5) == 0.0
    assert gaussian_epsilon(math.inf, 1e-5) == math.inf
    assert epsilon_unamplified([], 1e-5) == 0.0
    assert epsilon_unamplified([charge(rounds=0, noise_multiplier=0.0)], 1e-5) == 0.0
    assert epsilon_unamplified([charge(noise_multiplier=0.0)], 1e-5) == math.inf
    assert epsilon_unamplified([charge(noise_multiplier=1e-200)], 1e-5) == math.inf


def test_a_release_weaker_than_delta_costs_no_epsilon() -> None:
    assert gaussian_epsilon(0.01, 0.1) == 0.0


def test_rounds_add_squares(charge: Callable[..., PoissonRounds]) -> None:
    four = epsilon_unamplified([charge(noise_multiplier=2.0, rounds=4)], 1e-5)
    assert four == pytest.approx(4.37717809568, rel=1e-9)  # mu = 1
    mixed = [charge(noise_multiplier=2.0, rounds=2), charge(noise_multiplier=4.0, rounds=8)]
    assert epsilon_unamplified(mixed, 1e-5) == pytest.approx(four, rel=1e-12)


def test_pf_12_replace_one_is_twice_the_strength(vectors: dict[str, list[dict[str, Any]]]) -> None:
    for row in vectors["replace_one_trap"]:
        epsilon = gaussian_epsilon(2.0 / row["noise_multiplier"], row["delta"])
        assert epsilon == pytest.approx(row["epsilon_pld_replace_one"], abs=0.002)
        assert abs(epsilon - row["epsilon_rdp_replace_one_wrong"]) > 0.5


@pytest.mark.parametrize(("mu", "delta"), [(-1.0, 0.1), (math.nan, 0.1), (1.0, 0.0), (1.0, 1.0)])
def test_arguments_without_meaning_are_refused(mu: float, delta: float) -> None:
    with pytest.raises(ValueError, match="must be"):
        gaussian_epsilon(mu, delta)


@given(st.floats(1e-3, 300.0), st.floats(1e-12, 0.5))
def test_the_greatest_mu_is_the_inverse_of_epsilon_and_never_above_it(
    epsilon: float, delta: float
) -> None:
    mu = gaussian_mu(epsilon, delta)
    assert gaussian_epsilon(mu, delta) <= epsilon
    assert gaussian_delta(mu, epsilon) <= delta * (1 + 1e-9)
    more = mu * (1 + 1e-9)
    assert gaussian_epsilon(more, delta) > epsilon or gaussian_delta(more, epsilon) > delta


@given(st.floats(1e-2, 50.0), st.floats(1e-12, 1e-2))
def test_mu_survives_epsilon_and_back(mu: float, delta: float) -> None:
    epsilon = gaussian_epsilon(mu, delta)
    if epsilon > 1e-6:  # below, delta alone hides the release: many mu share an epsilon
        assert gaussian_mu(epsilon, delta) == pytest.approx(mu, rel=1e-6)


def test_the_greatest_mu_agrees_with_a_forty_digit_reference() -> None:
    for mu, delta, epsilon in ROWS:
        assert gaussian_mu(epsilon, delta) == pytest.approx(mu, rel=1e-9)


@pytest.mark.parametrize(
    ("epsilon", "delta"),
    [(0.0, 0.1), (-1.0, 0.1), (math.inf, 0.1), (math.nan, 0.1), (1.0, 0.0), (1.0, 1.0)],
)
def test_a_loss_without_meaning_has_no_mu(epsilon: float, delta: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        gaussian_mu(epsilon, delta)
