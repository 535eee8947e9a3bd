"""CN-31: the text equals the mode, banned phrases are caught, a failed premise prints no number."""

import math
import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homebody_privacy.withdrawal_words import after_withdrawal, banned_words, odds_in_100


def test_cn_31_cr_26_the_text_of_the_example() -> None:
    assert after_withdrawal(
        "retrain_window", epsilon=0.962, delta=1e-7, retrain_every_days=180
    ) == (
        "When you switch this off, your device stops at once and deletes what it kept for it. "
        "Contributions already added into the shared model cannot be picked out again. They were "
        "limited in size and mixed with noise: someone who sees everything we publish from one "
        "training run and starts from an even guess whether you took part can be right at most 73 "
        "times in 100, but for a chance of 1 in 10 million. Every 180 days we start the model "
        "afresh from people who still agree."
    )


def test_cn_31_cr_26_a_fresh_start_is_told_only_where_there_is_one() -> None:
    stop = after_withdrawal("dp_only_stop_future", epsilon=1.0, delta=1e-7, retrain_every_days=180)
    never = after_withdrawal("retrain_window", epsilon=1.0, delta=1e-7, retrain_every_days=0)
    assert "afresh" not in stop
    assert "afresh" not in never
    with pytest.raises(ValueError, match="mode"):
        after_withdrawal("unlearn", epsilon=1.0, delta=1e-7)  # type: ignore[arg-type]


@pytest.mark.parametrize("epsilon", [None, math.inf, 8.0])
def test_cn_31_cr_26_with_a_failed_premise_no_number_is_printed(epsilon: float | None) -> None:
    text = after_withdrawal("dp_only_stop_future", epsilon=epsilon, delta=1e-7)
    assert re.search(r"\d", text) is None
    assert "No figure can be given" in text


@given(epsilon=st.floats(0.0, 4.0))
def test_odds_are_never_rounded_down(epsilon: float) -> None:
    exact = 100 * Fraction(math.exp(epsilon)) / (1 + Fraction(math.exp(epsilon)))
    assert odds_in_100(epsilon) >= exact - Fraction(1, 10**9)
    assert odds_in_100(epsilon) < exact + 1 + Fraction(1, 10**9)


@pytest.mark.parametrize(
    ("delta", "shown"), [(1e-5, "100,000"), (3e-7, "3,333,333"), (1e-6, "1 million")]
)
def test_a_chance_is_never_shown_smaller_than_it_is(delta: float, shown: str) -> None:
    assert f"1 in {shown}." in after_withdrawal("dp_only_stop_future", epsilon=1.0, delta=delta)


@pytest.mark.parametrize("bad", [math.nan, -0.1])
def test_an_epsilon_out_of_range_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="epsilon"):
        odds_in_100(bad)
    with pytest.raises(ValueError, match="delta"):
        after_withdrawal("dp_only_stop_future", epsilon=1.0, delta=0.0)


@pytest.mark.parametrize(
    "phrase",
    [
        "Your update is anonymous.",
        "This is FULLY PRIVATE",
        "We are GDPR compliant",
        "it cannot be\n traced to you",
        "and your data never leaves the phone",
        "On request we delete your data from the model.",
        "training is differentially private",
        "with differential privacy, epsilon 1 and delta 1e-7, user level, in all runs",
    ],
)
def test_cn_31_cr_26_each_banned_phrase_is_caught(phrase: str) -> None:
    assert len(banned_words(phrase)) == 1


def test_cn_31_cr_26_honest_words_pass() -> None:
    whole = (
        "Differentially private at user level, (ε = 1, δ = 1e-07), zero-out adjacency, over 20 "
        "rounds of one run."
    )
    assert banned_words(whole) == []
    text = after_withdrawal("retrain_window", epsilon=1.0, delta=1e-7, retrain_every_days=9)
    assert banned_words(text) == []
    assert banned_words("your data never leaves this device", anything_leaves=False) == []
