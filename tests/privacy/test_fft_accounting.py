"""The third opinion against exact values, dp-accounting and itself."""

import math
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.special import ndtr

from homebody_privacy.accounting import epsilon_pld
from homebody_privacy.charges import GaussianReleases, PoissonRounds
from homebody_privacy.closed_form import gaussian_epsilon
from homebody_privacy.fft_accounting import epsilon_each_way, epsilon_fft


def exact_delta(multiplier: float, rate: float, epsilon: float, *, put_in: bool) -> float:
    """Delta of one sampled Gaussian round, from normal tails beyond the output of loss epsilon."""
    odds = math.exp(-epsilon if put_in else epsilon) - (1.0 - rate)
    if odds <= 0.0:
        return 0.0  # no output loses that much
    x = multiplier**2 * math.log(odds / rate) + 0.5
    sign = 1.0 if put_in else -1.0
    plain = float(ndtr(sign * x / multiplier))
    drawn = float(ndtr(sign * (x - 1.0) / multiplier))
    mixed = (1.0 - rate) * plain + rate * drawn
    first, second = (plain, mixed) if put_in else (mixed, plain)
    return first - math.exp(epsilon) * second


@settings(max_examples=40)
@example(0.5, 1e-4, 1e-5)  # seldom drawn, and then nearly everything is lost
@example(0.35507513263837, 1.6244474206e-4, 9.478020800369e-5)
@example(0.5, 0.5, 0.1)  # put in, most of the loss is at its maximum
@given(
    st.floats(0.1, 10.0),
    st.one_of(st.floats(1e-4, 1.0), st.just(1.0)),
    st.floats(-9.0, -1.0).map(lambda power: 10.0**power),
)
def test_one_round_is_never_below_the_exact_loss_and_hardly_above(
    multiplier: float, rate: float, delta: float
) -> None:
    both = epsilon_each_way([(multiplier, rate, 1)], delta)
    for epsilon, put_in in zip(both, (False, True), strict=True):
        assert exact_delta(multiplier, rate, epsilon, put_in=put_in) <= delta
        less = epsilon - 5e-4 * (1.0 + epsilon)
        assert less < 0.0 or exact_delta(multiplier, rate, less, put_in=put_in) > delta


@settings(max_examples=40)
@given(
    st.floats(0.2, 20.0),
    st.integers(1, 3000),
    st.floats(-12.0, -2.0).map(lambda power: 10.0**power),
)
def test_unsampled_rounds_agree_with_the_closed_form(
    multiplier: float, rounds: int, delta: float
) -> None:
    exact = gaussian_epsilon(math.sqrt(rounds) / multiplier, delta)
    epsilon = epsilon_fft([(multiplier, 1.0, rounds)], delta)
    assert exact <= epsilon <= 1.001 * exact + 1e-3


@pytest.mark.parametrize("delta", [1e-30, 1e-100])
def test_rounding_does_not_drown_a_tiny_delta(delta: float) -> None:
    exact = gaussian_epsilon(math.sqrt(50) / 4.0, delta)
    assert exact <= epsilon_fft([(4.0, 1.0, 50)], delta) <= 1.001 * exact


def test_what_is_cut_off_does_not_drown_a_tiny_delta() -> None:
    exact = gaussian_epsilon(2.0**-14, 1e-30)
    assert exact <= epsilon_fft([(2.0**14, 1.0, 1)], 1e-30) <= exact + 5e-3


@pytest.mark.parametrize("wrong", [2 / 3, 3 / 2])
def test_another_noise_is_told_apart(wrong: float) -> None:
    rounds = PoissonRounds(
        population=6040, cohort_size=100, cohort_cap=6040, noise_multiplier=1.0, rounds=100
    )
    reference = epsilon_pld([rounds], 1e-5)
    assert epsilon_fft([(1.0, 100 / 6040, 100)], 1e-5) == pytest.approx(reference, abs=1e-3)
    assert epsilon_fft([(wrong, 100 / 6040, 100)], 1e-5) != pytest.approx(reference, rel=0.3)


@pytest.mark.parametrize("delta", [1e-5, 1e-8])
def test_kinds_of_round_compose_as_the_reference_composes_them(delta: float) -> None:
    first = PoissonRounds(
        population=6040, cohort_size=100, cohort_cap=6040, noise_multiplier=1.0, rounds=200
    )
    second = PoissonRounds(
        population=1000, cohort_size=200, cohort_cap=1000, noise_multiplier=3.0, rounds=30
    )
    metrics = GaussianReleases(noise_multiplier=20.0, releases=5)
    reference = epsilon_pld([first, second, metrics], delta)
    kinds = [(1.0, 100 / 6040, 200), (3.0, 0.2, 30), (20.0, 1.0, 5)]
    epsilon = epsilon_fft(kinds, delta)
    assert reference - 1e-3 <= epsilon <= 1.001 * reference + 1e-3
    assert epsilon_fft(kinds[::-1], delta) == pytest.approx(epsilon, rel=1e-9)
    assert all(epsilon_fft([kind], delta) < epsilon for kind in kinds)


def test_rounds_in_portions_cost_what_they_cost_at_once() -> None:
    portions = [(1.0, 0.01, 30), (1.0, 0.01, 70), (2.0, 0.5, 0)]
    assert epsilon_fft(portions, 1e-5) == epsilon_fft([(1.0, 0.01, 100)], 1e-5)


def test_taking_a_sampled_device_out_loses_more_than_putting_it_in() -> None:
    taken_out, put_in = epsilon_each_way([(0.5, 100 / 6040, 100)], 1e-5)
    assert taken_out > 2 * put_in > 0.0
    same = epsilon_each_way([(1.0, 1.0, 10)], 1e-5)
    assert same[0] == pytest.approx(same[1], rel=1e-9)


def test_nothing_costs_nothing_and_too_little_noise_costs_everything() -> None:
    assert epsilon_fft([], 1e-5) == 0.0
    assert epsilon_fft([(0.0, 0.5, 0)], 1e-5) == 0.0
    assert epsilon_fft([(0.0, 0.5, 1)], 1e-5) == math.inf
    assert epsilon_fft([(1.0, 0.5, 1), (0.049, 0.5, 1)], 1e-5) == math.inf
    assert epsilon_fft([(1.0, 1e-7, 1)], 1e-5) == 0.0  # drawn less often than delta


@pytest.mark.parametrize(
    ("kind", "delta", "named"),
    [
        ((-1.0, 0.1, 1), 1e-5, "noise_multiplier"),
        ((math.nan, 0.1, 1), 1e-5, "noise_multiplier"),
        ((math.inf, 0.1, 1), 1e-5, "noise_multiplier"),
        ((1.0, 0.0, 1), 1e-5, "sampling_rate"),
        ((1.0, 1.1, 1), 1e-5, "sampling_rate"),
        ((1.0, 0.1, -1), 1e-5, "rounds"),
        ((1.0, 0.1, 1), 0.0, "delta"),
        ((1.0, 0.1, 1), 1.0, "delta"),
        ((1.0, 0.1, 1), math.nan, "delta"),
    ],
)
def test_arguments_without_meaning_are_refused(
    kind: tuple[float, float, int], delta: float, named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        epsilon_fft([kind], delta)


@pytest.mark.parametrize("multiplier", [0.05, 1.0, 2.0**14])
@pytest.mark.parametrize("rate", [1e-6, 0.5, 1.0 - 1e-9, 1.0])
@pytest.mark.parametrize("rounds", [1, 10**6])
def test_the_far_corners_give_an_epsilon_below_that_without_sampling(
    multiplier: float, rate: float, rounds: int
) -> None:
    with np.errstate(over="raise", invalid="raise"):
        epsilon = epsilon_fft([(multiplier, rate, rounds)], 1e-7)
    unsampled = gaussian_epsilon(math.sqrt(rounds) / multiplier, 1e-7)
    assert 0.0 <= epsilon <= 1.25 * unsampled + 2e-3  # a million tiny losses feel the grid
    assert epsilon >= unsampled * (rate == 1.0)


def test_the_slowest_stored_setting_is_quick() -> None:
    start = time.process_time()
    epsilon_fft([(0.5, 1e-4, 2000)], 1e-7)
    assert time.process_time() - start < 2.0  # 0.12 s alone on one core


def test_the_third_opinion_loads_no_code_of_the_others() -> None:
    code = (
        "import sys, homebody_privacy.fft_accounting\n"
        "known = {name.split('.')[0] for name in sys.modules}\n"
        "assert not known & {'dp_accounting', 'scipy', 'opacus', 'torch'}, known\n"
        "assert 'homebody_privacy.accounting' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
