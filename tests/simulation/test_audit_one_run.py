"""Tier 2: the bound holds, it is the papers', and it finds gross faults."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from homebody_privacy.closed_form import gaussian_epsilon
from homebody_privacy.noise import rounded_gaussian
from homebody_privacy.stream import NoiseStream, derive_key
from homebody_simulation.audit.claim import Claim, independent
from homebody_simulation.audit.one_run import (
    CONFIDENCE,
    Guesses,
    epsilon_at_least,
    guess,
    guess_counts,
    is_curve_rejected,
    mu_at_least,
    one_run,
    p_value,
    scores,
)
from homebody_simulation.audit.projections import Projections

DELTA = 1e-5
ROUNDS, SIGMA = 20, 8.0
MU = math.sqrt(ROUNDS) / SIGMA
_TAU = 65536.0

Vector = npt.NDArray[np.float64]


def claim_of(**fields: Any) -> Claim:  # noqa: ANN401 fields of a dataclass
    usual: dict[str, Any] = {
        "mechanism": "gaussian",
        "epsilon": round(gaussian_epsilon(MU, DELTA) + 5e-4, 3),
        "delta": DELTA,
        "noise_multiplier": SIGMA,
        "coefficients": independent(ROUNDS),
        "sampling_rate": None,
        "mu": MU,
        "min_separation": 1,
        "max_rounds": ROUNDS,
    }
    return Claim(**(usual | fields))


def normals(n: int, *labels: str | int) -> Vector:
    return rounded_gaussian(n, _TAU, NoiseStream(derive_key(bytes(32), *labels))) / _TAU


def flips(n: int, *labels: str | int) -> npt.NDArray[np.bool_]:
    words = NoiseStream(derive_key(bytes(32), "flips", *labels)).words(n)
    return (words & np.uint64(1)).astype(np.bool_)


def run(seed: int, *, weight: float = 1.0, canaries: int = 1000) -> Projections:
    """Return a run in which everybody joins every round."""
    inside = flips(canaries, seed)
    noise = SIGMA * normals(canaries * ROUNDS, "noise", seed).reshape(canaries, ROUNDS)
    return Projections(
        released=noise + weight * inside[:, None],
        inside=inside,
        joined=np.ones((canaries, ROUNDS), np.bool_),
    )


def by_the_paper(m: int, guesses: Guesses, epsilon: float, delta: float) -> float:
    """Sum the bound of arXiv 2305.08846 term by term."""
    rate = 1.0 / (1.0 + math.exp(-epsilon))
    masses = stats.binom.pmf(np.arange(guesses.guessed + 1), guesses.guessed, rate)
    v = guesses.right
    within = [float(masses[v - i : v].sum()) / i for i in range(1, v + 1)]
    tail = float(masses[v:].sum())
    return min(1.0, tail + 2.0 * m * delta * max(within, default=0.0))


@settings(max_examples=60)
@given(st.integers(1, 300), st.data(), st.floats(0.0, 6.0), st.sampled_from([0.0, 1e-6, 1e-3]))
def test_the_p_value_is_the_papers(
    m: int, data: st.DataObject, epsilon: float, delta: float
) -> None:
    guessed = data.draw(st.integers(1, m))
    guesses = Guesses(guessed=guessed, right=data.draw(st.integers(0, guessed)))
    expected = by_the_paper(m, guesses, epsilon, delta)
    assert p_value(m, guesses, epsilon, delta) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@settings(max_examples=60)
@given(st.integers(2, 300), st.data(), st.floats(0.0, 5.0), st.floats(0.01, 1.0))
def test_more_right_guesses_are_rarer_and_a_larger_epsilon_makes_them_common(
    guessed: int, data: st.DataObject, epsilon: float, more: float
) -> None:
    right = data.draw(st.integers(0, guessed - 1))
    here, better = (Guesses(guessed=guessed, right=right + i) for i in (0, 1))
    p = p_value(guessed, here, epsilon, DELTA)
    assert p_value(guessed, better, epsilon, 0.0) <= p_value(guessed, here, epsilon, 0.0)
    if p < 0.05:
        assert p <= p_value(guessed, here, epsilon + more, DELTA) + 1e-12


def test_the_bound_of_randomized_response_errs_in_five_per_cent_of_runs_and_not_never() -> None:
    epsilon, m = 1.0, 200
    rate = 1.0 / (1.0 + math.exp(-epsilon))
    beyond = 0
    for seed in range(1000):
        words = NoiseStream(derive_key(bytes(32), "response", seed)).words(m)
        right = int((words / 2.0**64 < rate).sum())
        beyond += p_value(m, Guesses(guessed=m, right=right), epsilon, 0.0) < 1.0 - CONFIDENCE
    assert 20 <= beyond <= 50 + 5 * math.sqrt(1000 * 0.05 * 0.95)


@pytest.mark.parametrize(
    "guesses", [Guesses(guessed=100, right=93), Guesses(guessed=500, right=320)]
)
def test_the_bound_is_where_the_p_value_crosses_alpha(guesses: Guesses) -> None:
    found = epsilon_at_least(1000, guesses, DELTA, 0.01)
    assert (
        p_value(1000, guesses, found, DELTA) < 0.01 <= p_value(1000, guesses, found + 2e-4, DELTA)
    )


def test_as_many_right_as_wrong_show_nothing() -> None:
    even = Guesses(guessed=1000, right=500)
    assert epsilon_at_least(1000, even, DELTA, 0.05) == 0.0
    assert mu_at_least(1000, even, 0.05) == 0.0


def test_the_bounds_saturate() -> None:
    all_right = Guesses(guessed=1000, right=1000)
    assert 5.0 < epsilon_at_least(1000, all_right, DELTA, 0.05 / 6) < 5.5
    assert 7.0 < gaussian_epsilon(mu_at_least(1000, all_right, 0.05 / 6), DELTA) < 11.0


@settings(max_examples=50)
@given(st.floats(0.01, 3.0), st.floats(0.5, 0.999))
def test_one_guess_is_judged_by_the_best_guess_a_gaussian_curve_allows(
    mu: float, alpha: float
) -> None:
    best = float(stats.norm.cdf(mu / 2.0))
    if abs(alpha - best) > 1e-9:
        assert is_curve_rejected(1, Guesses(guessed=1, right=1), mu, alpha) == (alpha > best)


@settings(max_examples=50)
@given(st.integers(1, 200), st.data(), st.floats(0.0, 2.0))
def test_a_curve_that_is_rejected_rejects_every_closer_one(
    guessed: int, data: st.DataObject, mu: float
) -> None:
    guesses = Guesses(guessed=guessed, right=data.draw(st.integers(0, guessed)))
    if is_curve_rejected(200, guesses, mu, 0.05):
        assert is_curve_rejected(200, guesses, mu * 0.7, 0.05)


def test_the_curve_bound_holds_for_the_gaussian_it_is_exact_for() -> None:
    m, mu, beyond = 200, 1.0, 0
    for seed in range(400):
        inside = flips(m, "curve", seed)
        found = mu * (normals(m, "curve", seed) + mu * (inside - 0.5))
        guesses = guess(found, inside, 100)
        beyond += is_curve_rejected(m, guesses, mu, 0.05)
        assert mu_at_least(m, guesses, 0.05) < 3 * mu
    assert beyond <= 20 + 5 * math.sqrt(400 * 0.05 * 0.95)
    assert is_curve_rejected(m, Guesses(guessed=100, right=98), mu, 0.05)


def test_cr_44_a_correct_run_is_never_refuted() -> None:
    claim = claim_of()
    found = [one_run(run(seed), claim) for seed in range(60)]
    assert [words for one in found for words in one.findings] == []
    assert max(one.lower_bound for one in found) < claim.epsilon
    assert 0.3 < np.mean([one.lower_bound for one in found]) < claim.epsilon  # not vacuous
    estimates = [one.estimate for one in found]
    # An estimate lies on either side: nothing may hang on it.
    assert min(estimates) < claim.epsilon < max(estimates)


def test_a_weight_of_three_is_refuted() -> None:
    claim = claim_of()
    for seed in range(20):
        found = one_run(run(seed, weight=3.0), claim)
        assert found.lower_bound > claim.epsilon
        (said,) = found.findings
        assert f"at least {found.lower_bound:.3f} with 95 % confidence" in said
        assert f"the claim is {claim.epsilon:g}" in said


def test_half_the_noise_is_refuted_without_the_curve() -> None:
    seen = run(1)
    signal = seen.inside[:, None].astype(float)
    loud = replace(seen, released=signal + (seen.released - signal) / 8.0)
    found = one_run(loud, claim_of(mu=None))
    assert found.lower_bound_curve is None
    assert found.findings


def test_scores_that_do_not_overlap_have_no_finite_estimate_and_no_json_infinity() -> None:
    seen = run(1)
    bare = replace(seen, released=np.repeat(seen.inside[:, None], ROUNDS, axis=1).astype(float))
    found = one_run(bare, claim_of())
    assert found.estimate == math.inf
    assert found.to_dict()["epsilon"]["estimate"] is None


@pytest.mark.parametrize("rate", [0.1, 0.7])
def test_hidden_participation_is_scored_by_the_likelihood_of_the_mixture(rate: float) -> None:
    seen = run(1, canaries=50)
    claim = claim_of(sampling_rate=rate, mu=None)
    absent = stats.norm.logpdf(seen.released, 0.0, SIGMA)
    present = stats.norm.logpdf(seen.released, 1.0, SIGMA)
    mixture = np.logaddexp(np.log(1.0 - rate) + absent, np.log(rate) + present)
    assert np.allclose(scores(seen, claim), (mixture - absent).sum(axis=1))
    blind = replace(seen, joined=np.zeros_like(seen.joined))
    assert (scores(blind, claim) == scores(seen, claim)).all()


def test_known_participation_is_scored_by_its_likelihood() -> None:
    seen = run(1, canaries=50)
    there = stats.norm.logpdf(seen.released, seen.joined, SIGMA)
    nothing = stats.norm.logpdf(seen.released, 0.0, SIGMA)
    assert np.allclose(scores(seen, claim_of()), (there - nothing).sum(axis=1))


def test_the_clearest_coins_are_guessed_by_their_sign() -> None:
    found = np.array([3.0, -2.0, 1.0, -0.5])
    inside = np.array([True, True, True, False])
    assert guess(found, inside, 2) == Guesses(guessed=2, right=1)
    assert guess(found, inside, 4) == Guesses(guessed=4, right=3)


def test_guess_counts_are_set_by_the_number_of_canaries_alone() -> None:
    assert guess_counts(1000) == (20, 50, 100, 250, 500, 1000)
    assert guess_counts(32) == (1, 3, 8, 16, 32)


@pytest.mark.parametrize(("guessed", "right"), [(0, 0), (3, 4), (3, -1)])
def test_impossible_guesses_are_refused(guessed: int, right: int) -> None:
    with pytest.raises(ValueError, match="guessed"):
        Guesses(guessed=guessed, right=right)
