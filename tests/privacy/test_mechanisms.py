"""The mechanisms keep what their protocol promises."""

import math

import pytest

from homebody_privacy.closed_form import gaussian_epsilon
from homebody_privacy.lattice import Lattice
from homebody_privacy.mechanisms import GaussianMechanism, Mechanism, NoNoise
from homebody_privacy.noise import rounded_gaussian
from homebody_privacy.stream import NoiseStream

LATTICE = Lattice(0.5, 17)
GAUSSIAN = GaussianMechanism(LATTICE, 1.5)
ALL: list[Mechanism] = [GAUSSIAN, NoNoise(LATTICE)]


@pytest.mark.parametrize("mechanism", ALL)
def test_every_mechanism_draws_integers_of_the_asked_shape_and_keeps_no_state(
    mechanism: Mechanism,
) -> None:
    noise = mechanism.noise(7, NoiseStream(bytes(32)))
    assert noise.shape == (7,)
    assert noise.dtype.name == "int64"
    assert mechanism.sensitivity == 2**17
    assert mechanism.state() == {}


def test_gaussian_noise_is_the_rounded_gaussian_of_multiplier_times_bound() -> None:
    expected = rounded_gaussian(50, 1.5 * 2**17, NoiseStream(bytes(32)))
    assert GAUSSIAN.noise(50, NoiseStream(bytes(32))).tolist() == expected.tolist()


def test_gaussian_epsilon_is_the_exact_one_of_one_release() -> None:
    assert GAUSSIAN.epsilon(1e-5) == gaussian_epsilon(1 / 1.5, 1e-5)


def test_the_sampler_error_grows_with_dimension_and_rounds_and_stays_small() -> None:
    assert GAUSSIAN.sampler_delta(1000, 10) == pytest.approx(10 * GAUSSIAN.sampler_delta(1000, 1))
    assert 0.0 < GAUSSIAN.sampler_delta(250_000, 500) < 2e-8
    assert 0.0 < GAUSSIAN.sampler_epsilon(250_000, 500) < 5e-7


@pytest.mark.parametrize("multiplier", [0.0, -1.0, math.nan, math.inf, 1e300, 1e-9])
def test_noise_free_or_unusable_multipliers_are_refused(multiplier: float) -> None:
    with pytest.raises(ValueError, match=r"noise_multiplier|tau"):
        GaussianMechanism(LATTICE, multiplier)


def test_no_noise_says_so_in_its_epsilon() -> None:
    reference = NoNoise(LATTICE)
    assert reference.epsilon(1e-5) == math.inf
    assert not reference.noise(9, NoiseStream(bytes(32))).any()
