"""The sentence a claim is made in: unit, epsilon, delta, adjacency, and what is not covered."""

import math
from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homebody_privacy.config import PrivacyConfig
from homebody_privacy.statement import statement

Load = Callable[..., PrivacyConfig]


def test_the_statement_names_unit_loss_adjacency_and_limits(load: Load) -> None:
    said = statement(load(), epsilon=7.99901, rounds=100)
    assert said == (
        "User level, (ε = 8, δ = 1e-05), zero-out adjacency, central noise added by the server, "
        "over 100 rounds; covers every model and figure released by all runs on the same devices, "
        "toward recipients who cannot see which devices take part; does not cover who takes part "
        "and when, facts about groups, or a second device of the same person."
    )
    run = statement(load('"lifetime"', '"run"'), epsilon=1.23401, rounds=1)
    assert "ε = 1.235" in run
    assert "this run" in run


def test_without_amplification_the_statement_holds_toward_those_who_see_participation(
    load_blt: Load,
) -> None:
    said = statement(load_blt(), epsilon=4.0, rounds=100)
    assert (
        "also toward those who see which devices take part, if each joins at most 4 rounds, "
        "25 apart, as devices see to; does not cover" in said
    )
    assert "cannot see" not in said
    fewer = load_blt("max_rounds_per_device = 4", "max_rounds_per_device = 3")
    assert "at most 3 rounds" in statement(fewer, epsilon=4.0, rounds=100)


def test_statistics_are_named_beside_the_rounds_or_alone(load: Load, load_blt: Load) -> None:
    both = statement(load_blt(), epsilon=4.0, rounds=100, statistics=2)
    assert "server, over 2 one-shot statistics and 100 rounds; covers" in both
    assert "if each joins each statistic once and at most 4 rounds, 25 apart, as" in both
    alone = statement(load_blt(), epsilon=4.0, rounds=0, statistics=2)
    assert "server, over 2 one-shot statistics; covers" in alone
    assert "if each joins each statistic once, as devices see to" in alone
    sampled = statement(load(), epsilon=4.0, rounds=9, statistics=2)
    assert "over 2 one-shot statistics and 9 rounds" in sampled
    with pytest.raises(ValueError, match="statistics"):
        statement(load(), epsilon=4.0, rounds=9, statistics=-1)


def test_a_figure_without_the_credit_of_secret_coins_says_toward_whom_it_holds(
    load: Load, load_blt: Load
) -> None:
    said = statement(load(), epsilon=4.0, rounds=9, amplified=False)
    assert "all runs on the same devices, also toward those who see which devices take part;" in (
        said
    )
    assert "cannot see" not in said
    usual = statement(load_blt(), epsilon=4.0, rounds=9)
    assert statement(load_blt(), epsilon=4.0, rounds=9, amplified=False) == usual


def test_the_statement_shows_large_losses_in_full(load: Load) -> None:
    assert "ε = 1234567.891," in statement(load(), epsilon=1234567.8905, rounds=1)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(epsilon=st.floats(0.0, 1e6))
def test_the_epsilon_shown_is_never_below_the_bound(load: Load, epsilon: float) -> None:
    said = statement(load(), epsilon=epsilon, rounds=1)
    shown = Fraction(said.split("ε = ")[1].split(",")[0])
    # A figure that was rounded to three decimals before is shown as it is.
    assert float(shown) >= epsilon
    assert shown - Fraction(epsilon) < Fraction(1, 1000)


@pytest.mark.parametrize("epsilon", [1.235, 0.1, 7.3])
def test_a_figure_that_was_rounded_up_before_stays_what_it_is(load: Load, epsilon: float) -> None:
    assert f"(ε = {epsilon}, " in statement(load(), epsilon=epsilon, rounds=1)


def test_without_noise_the_statement_claims_nothing(load: Load) -> None:
    said = statement(load(), epsilon=math.inf, rounds=100)
    assert "nothing is claimed" in said
    assert "ε" not in said


@pytest.mark.parametrize(("epsilon", "rounds"), [(-1.0, 1), (math.nan, 1), (1.0, -1)])
def test_a_statement_without_meaning_is_refused(load: Load, epsilon: float, rounds: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        statement(load(), epsilon=epsilon, rounds=rounds)
