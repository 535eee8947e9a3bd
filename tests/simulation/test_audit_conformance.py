"""Tier 1: its intervals, what they see, and how seldom they err."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from homebody_privacy.blt import BltParameters, Participation
from homebody_privacy.lattice import Lattice
from homebody_privacy.mechanisms import BltMechanism
from homebody_privacy.noise import rounded_gaussian
from homebody_privacy.stream import NoiseStream, derive_key
from homebody_simulation.audit.amplitudes import fit_rows
from homebody_simulation.audit.claim import Claim, independent
from homebody_simulation.audit.conformance import Conformance, conformance
from homebody_simulation.audit.estimates import (
    Interval,
    deviation_interval,
    mean_interval,
    share_interval,
)
from homebody_simulation.audit.freshness import by_distance, correlation, worst_pair
from homebody_simulation.audit.joins import Joins
from homebody_simulation.audit.projections import Projections, whitened

ROUNDS = 20
SIGMA = 1.5
RATE = 0.1
_TAU = 65536.0

Matrix = npt.NDArray[np.float64]


def claim_of(rounds: int = ROUNDS, **fields: Any) -> Claim:  # noqa: ANN401 fields of a dataclass
    usual: dict[str, Any] = {
        "mechanism": "gaussian",
        "epsilon": 4.0,
        "delta": 1e-5,
        "noise_multiplier": SIGMA,
        "coefficients": independent(rounds),
        "sampling_rate": RATE,
        "mu": None,
        "min_separation": 1,
        "max_rounds": rounds,
    }
    return Claim(**(usual | fields))


def normals(shape: tuple[int, int], *labels: str | int) -> Matrix:
    """Draw standard normals with the production sampler."""
    stream = NoiseStream(derive_key(bytes(32), *labels))
    return (rounded_gaussian(math.prod(shape), _TAU, stream) / _TAU).reshape(shape)


def run(seed: int, canaries: int = 1000, rounds: int = ROUNDS, rate: float = RATE) -> Projections:
    """Return a correct run: amplitude 1, independent noise of the claimed scale."""
    words = NoiseStream(derive_key(bytes(32), "coins", seed)).words(canaries * (rounds + 1))
    joined = (words[canaries:] / 2.0**64 < rate).reshape(canaries, rounds)
    inside = words[:canaries] & np.uint64(1) == 1
    noise = SIGMA * normals((canaries, rounds), "noise", seed)
    return Projections(released=noise + (joined & inside[:, None]), inside=inside, joined=joined)


def with_noise(seen: Projections, factor: float) -> Projections:
    signal = seen.joined & seen.inside[:, None]
    return replace(seen, released=signal + factor * (seen.released - signal))


def findings(seen: Projections, **fields: Any) -> tuple[str, ...]:  # noqa: ANN401 fields of a claim
    return conformance(seen, claim_of(seen.rounds, **fields)).findings


def test_a_noise_deficit_of_five_per_cent_is_caught_in_99_of_100_audits() -> None:
    caught = sum(bool(findings(with_noise(run(seed), 0.95))) for seed in range(300))
    assert caught >= 297


def test_at_most_one_correct_audit_in_a_hundred_raises_an_alarm() -> None:
    assert sum(bool(findings(run(seed))) for seed in range(1000)) <= 10


def test_noise_at_two_thirds_is_refuted_and_at_three_halves_reported_only() -> None:
    less, more = (conformance(with_noise(run(1), factor), claim_of()) for factor in (2 / 3, 3 / 2))
    assert "of it is missing" in less.findings[0]
    assert less.noise.estimate == pytest.approx(2 / 3, rel=0.02)
    assert more.findings == ()
    assert more.is_noise_larger
    assert more.noise.lower_bound > 1.4


def test_cr_44_no_noise_at_all_is_refuted_by_all_that_is_missing() -> None:
    assert findings(with_noise(run(1), 0.0)) == (
        "Noise std is at most 0.0000 of the stated value: at least 100.0% of it is missing.",
    )


@pytest.mark.parametrize("rate", [RATE, 1.0])
def test_the_noise_interval_does_not_depend_on_what_canaries_add(rate: float) -> None:
    seen = run(2, canaries=300, rate=rate)
    signal = (seen.joined & seen.inside[:, None]).astype(float)
    heavy = replace(seen, released=seen.released + 7.0 * signal)
    claim = claim_of(sampling_rate=rate)
    small, large = conformance(seen, claim).noise, conformance(heavy, claim).noise
    assert large.estimate == pytest.approx(small.estimate, rel=1e-9)
    assert large.upper_bound == pytest.approx(small.upper_bound, rel=1e-9)


def test_amplitude_is_measured_and_refuted_only_above_one() -> None:
    seen = run(3)
    signal = (seen.joined & seen.inside[:, None]).astype(float)
    half, double = (
        conformance(replace(seen, released=seen.released + more * signal), claim_of())
        for more in (-0.5, 1.0)
    )
    assert half.amplitude.lower_bound < 0.5 < half.amplitude.upper_bound < 1.0
    assert half.findings == ()
    assert double.amplitude.lower_bound < 2.0 < double.amplitude.upper_bound
    assert double.findings[0].startswith("A device adds at least 1.")


def test_one_loud_canary_among_a_thousand_is_found() -> None:
    seen = run(4, rate=0.5)
    canary = int(np.flatnonzero(seen.inside)[3])
    released = seen.released.copy()
    released[canary] += 4.0 * seen.joined[canary]
    found = conformance(replace(seen, released=released), claim_of(sampling_rate=0.5))
    assert found.amplitude.lower_bound < 1.0
    assert found.loudest.estimate == pytest.approx(5.0, abs=1.5)
    assert found.findings[0].startswith("One device adds at least")


def test_what_arrives_in_rounds_nobody_joined_is_found() -> None:
    seen = run(5, rate=0.3)
    late = np.roll(seen.joined, 1, axis=1) & ~seen.joined & seen.inside[:, None]
    late[:, 0] = False
    found = conformance(replace(seen, released=seen.released + late), claim_of(sampling_rate=0.3))
    assert "rounds it did not join" in found.findings[0]
    assert found.amplitude.lower_bound < 1.0


@pytest.mark.parametrize("lag", [1, 7])
def test_pf_02_noise_used_again_is_found_at_any_distance(lag: int) -> None:
    seen = run(6, canaries=200)
    signal = seen.joined & seen.inside[:, None]
    noise = seen.released - signal
    noise[:, lag] = noise[:, 0]
    (said,) = findings(replace(seen, released=signal + noise))
    assert said.startswith(f"Noise of rounds 1 and {1 + lag} is correlated: 1.000")


def test_pf_02_noise_shared_by_all_rounds_is_found_where_its_scale_is_right() -> None:
    seen = run(7)
    signal = seen.joined & seen.inside[:, None]
    noise = np.repeat((seen.released - signal)[:, :1], ROUNDS, axis=1)
    said = findings(replace(seen, released=signal + noise))
    assert any(words.startswith("Noise of next rounds is correlated") for words in said)


def test_noise_shared_by_neighbouring_rows_is_found() -> None:
    seen = run(8)
    signal = seen.joined & seen.inside[:, None]
    noise = np.repeat((seen.released - signal)[::2], 2, axis=0)
    said = findings(replace(seen, released=signal + noise))
    assert said[-1].startswith("Noise of neighbouring rows is correlated")


def test_devices_drawn_more_often_than_claimed_are_found() -> None:
    seen = run(9, rate=0.12)
    (said,) = findings(seen)
    assert said.startswith("A device is drawn at least 1.1")
    assert findings(seen, sampling_rate=None) == ()


def test_joins_too_close_or_too_many_are_found() -> None:
    joined = np.zeros((3, 6), np.bool_)
    joined[0, [0, 3]] = joined[1, [1, 5]] = joined[2, [2]] = True
    kept = Joins.of(joined, claim_of(6, min_separation=3, max_rounds=2))
    assert (kept.closest, kept.most, tuple(kept.findings)) == (3, 2, ())
    broken = Joins.of(joined, claim_of(6, min_separation=4, max_rounds=1))
    assert tuple(broken.findings) == (
        "A device joined again after 3 rounds; the claim says 4 at least.",
        "A device joined 2 rounds; the claim says 1 at most.",
    )
    assert Joins.of(joined[2:], claim_of(6)).closest is None


BLT = BltParameters(theta=(0.9,), omega=(0.4,))


def correlated(seen: Projections, strategy: BltParameters) -> Projections:
    """Return the run with its noise correlated: y = L^-1 z, by the exact recursion in floats."""
    signal = (seen.joined & seen.inside[:, None]).astype(float)
    z, buffer = seen.released - signal, np.zeros(seen.canaries)
    y = np.empty_like(z)
    for t in range(seen.rounds):
        y[:, t] = z[:, t] - strategy.omega[0] * buffer
        buffer = strategy.theta[0] * buffer + y[:, t]
    return replace(seen, released=signal + y)


def test_correlated_noise_is_whitened_before_it_is_judged() -> None:
    coefficients = BLT.coefficients(ROUNDS)
    alarms = 0
    for seed in range(300):
        seen = correlated(run(seed, canaries=400), BLT)
        found = conformance(seen, claim_of(coefficients=coefficients, sampling_rate=None))
        alarms += bool(found.findings)
    assert alarms <= 4  # 1 expected
    raw = conformance(seen, claim_of(sampling_rate=None))
    assert raw.lags[0].estimate < -0.2
    assert any("next rounds" in said for said in raw.findings)
    less = with_noise(correlated(run(0), BLT), 0.95)
    assert "is missing" in findings(less, coefficients=coefficients, sampling_rate=None)[0]


def test_the_noise_of_the_blt_mechanism_is_whitened_by_its_coefficients() -> None:
    canaries, lattice = 600, Lattice(clip_norm=1.0)
    mechanism = BltMechanism(
        lattice,
        noise_multiplier=SIGMA,
        parameters=BLT,
        participation=Participation(rounds=ROUNDS, min_separation=5, max_rounds=4),
        dim=canaries,
    )
    unit = 2.0 ** (lattice.bits + mechanism.fine_bits)
    noise = np.stack(
        [
            mechanism.noise(canaries, NoiseStream(derive_key(bytes(32), "blt", t))) / unit
            for t in range(ROUNDS)
        ],
        axis=1,
    )
    seen = run(0, canaries=canaries)
    seen = replace(seen, released=noise + (seen.joined & seen.inside[:, None]))
    fields = {"coefficients": BLT.coefficients(ROUNDS), "sampling_rate": None}
    assert findings(seen, **fields) == ()
    assert "is missing" in findings(with_noise(seen, 0.93), **fields)[0]


@settings(max_examples=50)
@given(st.integers(1, 500), st.floats(0.01, 100.0), st.floats(1e-4, 0.5))
def test_the_deviation_interval_is_scipys(freedom: int, squares: float, alpha: float) -> None:
    found = deviation_interval(squares, freedom, alpha)
    low, high = stats.chi2.interval(1.0 - alpha, freedom)
    assert found.lower_bound == pytest.approx(math.sqrt(squares / high), rel=1e-6)
    assert found.upper_bound == pytest.approx(math.sqrt(squares / low), rel=1e-6)


@settings(max_examples=50)
@given(st.floats(-5, 5), st.floats(0.01, 5), st.integers(2, 10_000), st.floats(1e-4, 0.5))
def test_the_mean_interval_is_scipys(
    estimate: float, error: float, freedom: int, alpha: float
) -> None:
    found = mean_interval(estimate, error, freedom, alpha)
    low, high = stats.t.interval(1.0 - alpha, freedom, loc=estimate, scale=error)
    assert (found.lower_bound, found.upper_bound) == pytest.approx((low, high), rel=1e-6, abs=1e-9)


@settings(max_examples=50)
@given(st.integers(0, 200), st.integers(1, 200), st.floats(1e-4, 0.5))
def test_the_share_interval_is_scipys(hits: int, more: int, alpha: float) -> None:
    found = share_interval(hits, hits + more, alpha)
    exact = stats.binomtest(hits, hits + more).proportion_ci(1.0 - alpha, method="exact")
    expected = (exact.low, exact.high)
    assert (found.lower_bound, found.upper_bound) == pytest.approx(expected, abs=1e-6)


def test_nine_of_ten_intervals_at_ninety_per_cent_hold_the_truth() -> None:
    held = 0
    for seed in range(500):
        squares = float((normals((1, 30), "cover", seed) ** 2).sum())
        found = deviation_interval(squares, 30, 0.1)
        held += found.lower_bound <= 1.0 <= found.upper_bound
    assert abs(held - 450) < 5 * math.sqrt(500 * 0.1 * 0.9)


@settings(max_examples=25)
@given(st.integers(3, 12), st.integers(0, 10**6))
def test_rows_are_fitted_as_least_squares_fits_them(rounds: int, seed: int) -> None:
    words = NoiseStream(derive_key(bytes(32), "rows", seed)).words(6 * rounds)
    joined = (words & np.uint64(1) == 1).reshape(6, rounds)
    joined[0], joined[1] = True, False
    coefficients = BLT.coefficients(rounds)
    own, rest = whitened(joined, coefficients), whitened(~joined, coefficients)
    seen = normals((6, rounds), "seen", seed)
    found = fit_rows(seen, own, rest)
    squares, freedom = 0.0, 0
    for row in range(6):
        design = np.stack([own[row], rest[row]], axis=1)
        best, _, rank, _ = np.linalg.lstsq(design, seen[row], rcond=None)
        squares += float(((seen[row] - design @ best) ** 2).sum())
        freedom += rounds - int(rank)
        if own[row].any():
            assert found.joined.fitted[row] == pytest.approx(best[0], abs=1e-9)
        if rest[row].any():
            assert found.others.fitted[row] == pytest.approx(best[1], abs=1e-9)
    assert found.squares == pytest.approx(squares, abs=1e-9)
    assert found.freedom == freedom


def test_the_limit_of_the_worst_pair_is_passed_as_often_as_it_says() -> None:
    beyond = 0
    for seed in range(1000):
        pair = worst_pair(normals((8, 4), "pair", seed), 0.05)
        assert pair is not None
        beyond += pair.correlation.is_beyond
    assert 15 <= beyond <= 80  # at most 50 expected: the six pairs share rounds


def test_correlations_by_distance_are_those_of_the_rounds_so_far_apart() -> None:
    noise = normals((50, 9), "lags")
    for lag, found in enumerate(by_distance(noise), start=1):
        expected = correlation(noise[:, :-lag], noise[:, lag:])
        assert found.estimate == pytest.approx(expected.estimate, abs=1e-12)
        assert found.limit == pytest.approx(expected.limit)


def test_a_correlation_of_nothing_is_zero() -> None:
    assert correlation(np.zeros((2, 2)), np.ones((2, 2))).estimate == 0.0


@settings(max_examples=25)
@given(st.integers(1, 20), st.floats(0.1, 0.95), st.floats(0.05, 0.9))
def test_whitening_undoes_the_correlation(rounds: int, theta: float, omega: float) -> None:
    strategy = BltParameters(theta=(theta,), omega=(omega,))
    seen = run(1, canaries=32, rounds=rounds)
    silent = replace(seen, joined=np.zeros_like(seen.joined))
    noise = correlated(silent, strategy).released
    assert np.allclose(whitened(noise, strategy.coefficients(rounds)), silent.released, atol=1e-9)


def test_what_cannot_be_measured_is_refused() -> None:
    seen = run(1, canaries=40, rounds=3)
    with pytest.raises(ValueError, match="rounds, not 3"):
        conformance(seen, claim_of(4))
    with pytest.raises(ValueError, match="no canary joined"):
        conformance(replace(seen, joined=np.zeros_like(seen.joined)), claim_of(3))
    with pytest.raises(ValueError, match="both sides"):
        replace(seen, inside=np.ones(40, np.bool_))
    with pytest.raises(ValueError, match="finite"):
        replace(seen, released=np.full((40, 3), np.nan))
    with pytest.raises(ValueError, match="same shape"):
        replace(seen, joined=seen.joined[:, 1:])
    with pytest.raises(ValueError, match="one coin"):
        replace(seen, inside=seen.inside[1:])


@pytest.mark.parametrize(
    "fields",
    [
        {"epsilon": math.inf},
        {"delta": 0.0},
        {"noise_multiplier": 0.0},
        {"coefficients": np.array([0.5, 0.0])},
        {"sampling_rate": 1.5},
        {"mu": 0.0},
        {"min_separation": 0},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_a_claim_nobody_can_test_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(fields))):
        claim_of(**fields)


def test_bounds_that_cross_are_refused() -> None:
    with pytest.raises(ValueError, match="lower_bound"):
        Interval(estimate=0.0, lower_bound=1.0, upper_bound=0.0)


def test_a_run_of_one_round_has_no_rounds_to_compare() -> None:
    found: Conformance = conformance(run(1, rounds=1, rate=0.5), claim_of(1, sampling_rate=0.5))
    assert found.lags == ()
    assert found.pair is None
    assert found.findings == ()
