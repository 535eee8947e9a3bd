"""The sampler: its law, its bounds, its table."""

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2, kstest, norm

from homebody_privacy.noise import (
    LEAST_TAU,
    MOST_TAU,
    blocks,
    epsilon_excess,
    rejection,
    rounded_gaussian,
    staircase,
    total_variation,
)
from homebody_privacy.stream import NoiseStream, derive_key

TAU = 65536.0


def draws(n: int, tau: float, label: str = "test") -> npt.NDArray[np.int64]:
    return rounded_gaussian(n, tau, NoiseStream(derive_key(bytes(32), label)))


def variance_fits(sample: npt.NDArray[np.int64], tau: float) -> bool:
    """Two-sided chi-square test of the variance at level 1e-6, rounding included."""
    statistic = float((sample.astype(np.float64) ** 2).sum()) / (tau**2 + 1 / 12)
    return bool(chi2.ppf(5e-7, sample.size) < statistic < chi2.isf(5e-7, sample.size))


def pmf(tau: float, values: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Exact mass of rint(X), from the accurate tail on both sides."""
    size = np.abs(values).astype(np.float64)
    return np.asarray(norm.sf((size - 0.5) / tau) - norm.sf((size + 0.5) / tau))


@pytest.mark.parametrize("tau", [TAU, 0.6 * TAU, 3.0, 100.0, 2.0**30 * 1.7])
def test_variance_is_accepted_at_its_scale_and_rejected_at_two_thirds_and_three_halves(
    tau: float,
) -> None:
    sample = draws(50_000, tau)
    assert variance_fits(sample, tau)
    assert not variance_fits(sample, tau * 2 / 3)
    assert not variance_fits(sample, tau * 3 / 2)


@pytest.mark.parametrize("tau", [0.25, 0.7, 1.0, 3.0, 17.3])
def test_frequencies_follow_the_exact_rounded_gaussian(tau: float) -> None:
    n = 100_000
    sample = draws(n, tau)
    edge = int(2.5 * tau) + 1
    values = np.arange(-edge, edge + 1)
    observed = np.array([(sample == v).sum() for v in values])
    expected = n * pmf(tau, values)
    observed = np.append(observed, n - observed.sum())
    expected = np.append(expected, n - expected.sum())
    statistic = float(((observed - expected) ** 2 / expected).sum())
    assert statistic < chi2.isf(1e-6, values.size)
    wrong = n * pmf(tau * 1.05, values)
    wrong = np.append(wrong, n - wrong.sum())
    assert float(((observed - wrong) ** 2 / wrong).sum()) > chi2.isf(1e-6, values.size)


def test_large_noise_is_normal_in_shape() -> None:
    sample = draws(100_000, TAU) / TAU
    assert kstest(sample, "norm").pvalue > 1e-6
    assert kstest(sample * 1.05, "norm").pvalue < 1e-6
    assert abs(float((sample**4).mean()) - 3.0) < 6 * math.sqrt(96 / sample.size)


def test_the_tail_is_as_heavy_as_it_should_be() -> None:
    beyond = int((np.abs(draws(400_000, TAU)) > 4 * TAU).sum())
    expected = 400_000 * 2 * float(norm.sf(4))  # 25.3
    assert abs(beyond - expected) < 6 * math.sqrt(expected)


def test_sign_and_mean_have_no_bias() -> None:
    sample = draws(200_000, TAU)
    assert abs(float(sample.mean())) < 5 * TAU / math.sqrt(sample.size)
    assert abs(int(np.sign(sample).sum())) < 5 * math.sqrt(sample.size)


def test_low_bits_are_uniform() -> None:
    counts = np.bincount(draws(160_000, TAU) % 16, minlength=16)
    assert float(((counts - 10_000) ** 2 / 10_000).sum()) < chi2.isf(1e-6, 15)


def test_neighbouring_draws_are_uncorrelated() -> None:
    sample = draws(200_000, TAU) / TAU
    assert abs(float((sample[1:] * sample[:-1]).mean())) < 5 / math.sqrt(sample.size)


def test_the_same_key_gives_the_same_noise_and_another_key_other_noise() -> None:
    assert draws(100, TAU, "a").tolist() == draws(100, TAU, "a").tolist()
    assert draws(100, TAU, "a").tolist() != draws(100, TAU, "b").tolist()


@settings(max_examples=50)
@given(st.integers(0, 300), st.floats(LEAST_TAU, MOST_TAU))
def test_every_tau_is_served_within_thirteen_of_it(n: int, tau: float) -> None:
    sample = rounded_gaussian(n, tau, NoiseStream(bytes(32)))
    assert sample.shape == (n,)
    assert sample.dtype == np.int64
    assert (np.abs(sample) <= 13.02 * tau + 1).all()


class Stingy(NoiseStream):
    """Makes nearly every draw of the first three trials be rejected."""

    calls = 0

    def words(self, n: int) -> npt.NDArray[np.uint64]:
        """Zero the words that accept, three times."""
        self.calls += 1
        words = super().words(n).copy()
        if self.calls <= 3:
            words[2 * n // 3 :] = 0
        return words


def test_rejected_draws_are_drawn_again_until_there_are_enough() -> None:
    stream = Stingy(bytes(32))
    sample = rounded_gaussian(500, TAU, stream)
    assert stream.calls == 4
    assert np.unique(sample).size > 490


@pytest.mark.parametrize("tau", [0.0, -1.0, 0.2, 2.0**46, math.nan, math.inf])
def test_a_tau_the_table_cannot_serve_is_refused(tau: float) -> None:
    with pytest.raises(ValueError, match="tau"):
        rounded_gaussian(1, tau, NoiseStream(bytes(32)))


@pytest.mark.parametrize("bound", [total_variation, epsilon_excess])
def test_a_negative_count_is_refused(bound: Callable[[int, float], float]) -> None:
    with pytest.raises(ValueError, match="n must be"):
        bound(-1, TAU)


@settings(max_examples=20)
@given(st.floats(0.5, 0.999))
def test_table_weights_are_within_the_stated_error_of_exact_ones_and_never_too_small(
    mantissa: float,
) -> None:
    stairs = staircase(mantissa)
    weights = np.diff([0, *map(int, stairs.edges), 2**64])
    blocks = len(weights)
    halved = 1 / (2 * (64 * mantissa) ** 2)
    heights = np.exp(-halved * np.arange(blocks) ** 2)
    exact = heights / heights.sum()
    assert np.allclose([int(w) / 2**64 for w in weights], exact, rtol=1e-12, atol=2.0**-63)
    assert all(int(w) >= 1 for w in weights)
    assert blocks >= 13 * 64 * mantissa
    assert 0 < stairs.table_error < blocks * 2.0**-63
    # block 0 holds what rounding left over, so nothing is missing
    assert sum(Fraction(int(w)) for w in weights) == 2**64


@pytest.mark.parametrize("mantissa", [0.5, 0.7, 0.999])
def test_proposal_times_acceptance_is_the_gaussian_density_everywhere(mantissa: float) -> None:
    stairs = staircase(mantissa)
    block = np.repeat(np.arange(stairs.edges.size + 1), 5)
    inside = np.tile([2.0**-54, 0.1, 0.5, 0.9, 1 - 2.0**-53], stairs.edges.size + 1)
    width = 1 / (64 * mantissa)  # of a block, in tau
    log_height = -((block * width) ** 2) / 2
    log_density = -(((block + inside) * width) ** 2) / 2
    accepted = 1.0 - rejection(stairs, block, inside)
    assert np.allclose(accepted, np.exp(log_density - log_height), rtol=0, atol=1e-13)


@pytest.mark.parametrize("mantissa", [0.5, 0.6, 0.75, 0.999])
def test_the_tables_that_save_time_change_no_draw(mantissa: float) -> None:
    stairs = staircase(mantissa)
    around = np.concatenate(
        [stairs.edges - np.uint64(1), stairs.edges, stairs.edges + np.uint64(1)]
    )
    ends = np.array([0, 1, 2**64 - 2, 2**64 - 1, int(stairs.far) - 1, int(stairs.far)], np.uint64)
    ranges = np.arange(1 << 13, dtype=np.uint64) << np.uint64(51)
    words = np.concatenate([around, ends, ranges, ranges - np.uint64(1)])
    assert (blocks(stairs, words) == np.searchsorted(stairs.edges, words, side="right")).all()
    every = np.arange(stairs.edges.size + 1)
    last_place = np.full(every.size, 1 - 2.0**-54)
    least = (rejection(stairs, every, last_place) * 2.0**64).astype(np.uint64)
    assert (stairs.certain >= least).all()  # no draw is kept that the exponential would reject
    assert (stairs.certain < least + least // np.uint64(2) + np.uint64(2**50)).all()


@settings(max_examples=20)
@given(st.floats(LEAST_TAU, MOST_TAU))
def test_the_error_bound_is_small_and_linear(tau: float) -> None:
    assert 1e-17 < total_variation(1, tau) < 1.2e-16
    assert total_variation(1000, tau) == pytest.approx(1000 * total_variation(1, tau))
    assert total_variation(0, tau) == 0.0
    assert 0 < epsilon_excess(250_000 * 500, tau) < 5e-7


def test_the_error_bound_of_a_whole_run_is_far_below_delta() -> None:
    assert total_variation(250_000 * 500, TAU) < 2e-8
