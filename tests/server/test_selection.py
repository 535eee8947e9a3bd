"""Poisson coins: independent, each with its own device, cut at random above the cap."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from homebody_privacy.stream import NoiseStream, derive_key
from homebody_server.selection import least_lots, poisson_cohort

Sizes = npt.NDArray[np.int64]


def coins(number: int) -> NoiseStream:
    """Return the coins of a round."""
    return NoiseStream(derive_key(bytes(32), "coins", number))


def everyone(n: int) -> npt.NDArray[np.int64]:
    """Return the numbers of n devices."""
    return np.arange(n, dtype=np.int64)


def looks_binomial(sizes: Sizes, n: int, q: float) -> float:
    """Return the p-value of a chi-square test of counts against Binomial(n, q)."""
    edges = stats.binom.ppf([0.1, 0.25, 0.4, 0.6, 0.75, 0.9], n, q)
    expected = np.diff(stats.binom.cdf(np.concatenate([[-1], edges, [n]]), n, q)) * len(sizes)
    observed = np.bincount(np.searchsorted(edges, sizes), minlength=len(expected))
    return float(stats.chisquare(observed, expected).pvalue)


def test_cohort_sizes_are_binomial_and_a_fixed_size_is_not() -> None:
    n, q, rounds = 200, 0.2, 600
    sizes = np.array([len(poisson_cohort(everyone(n), q, n, coins(t))) for t in range(rounds)])
    assert looks_binomial(sizes, n, q) > 1e-3
    assert looks_binomial(np.full(rounds, int(n * q)), n, q) < 1e-12
    slightly_more = np.random.default_rng(0).binomial(n, 1.1 * q, rounds)
    assert looks_binomial(slightly_more, n, q) < 1e-6


def test_each_device_takes_part_as_often_as_any_other_and_on_its_own() -> None:
    n, q, rounds = 60, 0.3, 1500
    drawn = np.zeros((rounds, n))
    for t in range(rounds):
        drawn[t, poisson_cohort(everyone(n), q, n, coins(t))] = 1
    counts = drawn.sum(axis=0).astype(np.int64)
    assert looks_binomial(counts, rounds, q) > 1e-3
    together = np.asarray(np.corrcoef(drawn.T))[np.triu_indices(n, 1)]
    assert np.abs(together).max() < 5 / np.sqrt(rounds)


class OneWord:
    """Coins that all show the same word."""

    def __init__(self, word: int) -> None:
        """Show ``word``."""
        self.word = word

    def words(self, n: int) -> npt.NDArray[np.uint64]:
        """Return it n times."""
        return np.full(n, self.word, np.uint64)


def test_exactly_the_accounted_share_of_words_draws_a_device() -> None:
    assert len(poisson_cohort(everyone(3), 0.25, 3, OneWord(2**62 - 1))) == 3
    assert len(poisson_cohort(everyone(3), 0.25, 3, OneWord(2**62))) == 0


@settings(max_examples=60)
@given(st.sets(st.integers(0, 80), max_size=40), st.sets(st.integers(0, 80)), st.floats(0.01, 1.0))
def test_a_coin_does_not_depend_on_who_else_enrolled(
    some: set[int], others: set[int], q: float
) -> None:
    few = np.array(sorted(some), np.int64)
    many = np.array(sorted(some | others), np.int64)
    alone = set(poisson_cohort(few, q, 1000, coins(1)).tolist())
    assert alone == set(poisson_cohort(many, q, 1000, coins(1)).tolist()) & some


def test_a_rate_of_one_draws_everyone() -> None:
    assert poisson_cohort(everyone(50), 1.0, 50, coins(1)).tolist() == list(range(50))


def test_the_same_coins_draw_the_same_cohort_and_others_another() -> None:
    first, again, other = (poisson_cohort(everyone(99), 0.5, 99, coins(t)) for t in (1, 1, 2))
    assert first.tolist() == again.tolist() != other.tolist()


def test_nobody_enrolled_is_an_empty_cohort() -> None:
    assert poisson_cohort(everyone(0), 0.5, 5, coins(1)).size == 0


def test_the_cap_cuts_at_random_and_all_alike() -> None:
    n, cap, rounds = 20, 5, 2000
    cohorts = [poisson_cohort(everyone(n), 1.0, cap, coins(t)) for t in range(rounds)]
    assert {len(cohort) for cohort in cohorts} == {cap}
    assert all((np.diff(cohort) > 0).all() for cohort in cohorts)
    counts = np.bincount(np.concatenate(cohorts), minlength=n)
    assert stats.chisquare(counts).pvalue > 1e-3
    pairs = np.bincount([int(c[0]) * n + int(c[1]) for c in cohorts])
    assert (pairs > 0).sum() > 50  # not one block cut out of a circle


@pytest.mark.parametrize("rate", [0.0, -0.1, 1.1, float("nan")])
def test_a_rate_that_is_no_probability_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="sampling_rate"):
        poisson_cohort(everyone(3), rate, 3, coins(1))


def test_a_cap_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="cohort_cap"):
        poisson_cohort(everyone(3), 0.5, 0, coins(1))


@pytest.mark.parametrize("numbers", [[1, 1], [2, 1], [-1, 0]])
def test_numbers_that_are_not_ascending_are_refused(numbers: list[int]) -> None:
    with pytest.raises(ValueError, match="ascending"):
        poisson_cohort(np.array(numbers, np.int64), 0.5, 3, coins(1))


@settings(max_examples=200)
@given(
    st.lists(st.integers(0, 3) | st.integers(0, 2**64 - 1), max_size=60),
    st.integers(1, 70),
)
def test_the_least_lots_are_those_of_a_stable_sort(words: list[int], count: int) -> None:
    lots = np.array(words, np.uint64)
    by_sorting = np.sort(np.argsort(lots, kind="stable")[:count])
    assert least_lots(lots, count).tolist() == by_sorting.tolist()


@pytest.mark.parametrize("count", [1, 30, 1000, 19_999])
def test_the_least_of_many_lots_are_those_of_a_stable_sort(count: int) -> None:
    lots = coins(1).words(20_000)
    lots = np.where(lots % 7 == 0, lots & np.uint64(0xFF << 56), lots)  # some tie
    by_sorting = np.sort(np.argsort(lots, kind="stable")[:count])
    assert least_lots(lots, count).tolist() == by_sorting.tolist()
