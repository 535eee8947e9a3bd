"""The mechanisms keep what their protocol promises."""

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg, stats

from homebody_privacy.blt import BltParameters, Participation, charged_sensitivity, sensitivity
from homebody_privacy.closed_form import gaussian_epsilon
from homebody_privacy.lattice import Lattice
from homebody_privacy.mechanisms import BltMechanism, GaussianMechanism, Mechanism, NoNoise, State
from homebody_privacy.noise import rounded_gaussian
from homebody_privacy.stream import NoiseStream

LATTICE = Lattice(0.5, 17)
GAUSSIAN = GaussianMechanism(LATTICE, 1.5)
TWO = BltParameters(theta=(0.9637, 0.34897), omega=(0.34366, 0.17547))
PART = Participation(rounds=40, min_separation=8, max_rounds=3)


def correlated(
    dim: int = 7,
    noise_multiplier: float = 3.0,
    parameters: BltParameters = TWO,
    participation: Participation = PART,
) -> BltMechanism:
    """Return a mechanism before its first round."""
    return BltMechanism(
        LATTICE,
        noise_multiplier=noise_multiplier,
        parameters=parameters,
        participation=participation,
        dim=dim,
    )


def stream(number: int) -> NoiseStream:
    """Return the keystream of a round."""
    return NoiseStream(number.to_bytes(32, "big"))


@pytest.mark.parametrize("mechanism", [GAUSSIAN, NoNoise(LATTICE), correlated()])
def test_every_mechanism_draws_integers_of_the_asked_shape_from_its_stream_alone(
    mechanism: Mechanism,
) -> None:
    before = mechanism.state()
    noises = []
    for number in (0, 0, 1):
        noise = mechanism.noise(7, stream(number))
        assert noise.shape == (7,)
        assert noise.dtype.name == "int64"
        noises.append(noise.tolist())
        mechanism.restore(before)
    assert noises[0] == noises[1]
    assert (noises[0] == noises[2]) == isinstance(mechanism, NoNoise)
    assert mechanism.sensitivity >= 1.0


@pytest.mark.parametrize("mechanism", [GAUSSIAN, NoNoise(LATTICE)])
def test_independent_releases_share_no_state_and_lie_on_the_lattice_of_the_sums(
    mechanism: Mechanism,
) -> None:
    assert mechanism.sensitivity == 1.0
    assert mechanism.fine_bits == 0
    assert mechanism.state() == {}
    mechanism.restore({})
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
    assert (reference.sampler_delta(10**6, 500), reference.sampler_epsilon(10**6, 500)) == (0, 0)


def test_pf_03_correlated_noise_goes_on_bit_by_bit_from_its_stored_state() -> None:
    whole, first = correlated(), correlated()
    expected = [whole.noise(7, stream(t)).tolist() for t in range(20)]
    found = [first.noise(7, stream(t)).tolist() for t in range(9)]
    stored: State = {name: array.copy() for name, array in first.state().items()}
    first.noise(7, stream(99))  # what happens after the state was stored is forgotten
    again = correlated()
    again.restore(stored)
    assert again.steps == 9
    found += [again.noise(7, stream(t)).tolist() for t in range(9, 20)]
    assert found == expected
    assert again.steps == whole.steps == 20


def test_pf_03_a_state_that_does_not_fit_is_refused() -> None:
    mechanism = correlated()
    mechanism.noise(7, stream(1))
    state = mechanism.state()
    for steps in (-1, 41):
        with pytest.raises(ValueError, match="steps must be from 0"):
            mechanism.restore({**state, "steps": np.array([steps])})
    with pytest.raises(ValueError, match="buffers must be int64"):
        correlated(dim=8).restore(state)
    with pytest.raises(ValueError, match="buffers must be int64"):
        mechanism.restore({**state, "buffers": state["buffers"].astype(np.float64)})
    assert mechanism.steps == 1
    assert mechanism.state()["buffers"].tolist() == state["buffers"].tolist()


def test_a_run_has_no_more_steps_than_it_was_charged_for() -> None:
    mechanism = correlated()
    for number in range(40):
        mechanism.noise(7, stream(number))
    before = mechanism.state()["buffers"].tolist()
    with pytest.raises(ValueError, match="charged for 40 rounds only"):
        mechanism.noise(7, stream(40))
    assert (mechanism.steps, mechanism.state()["buffers"].tolist()) == (40, before)


def test_a_release_of_another_size_is_refused_before_noise_is_drawn() -> None:
    mechanism, source = correlated(), stream(1)
    with pytest.raises(ValueError, match="a release has 7 coordinates, got 8"):
        mechanism.noise(8, source)
    assert mechanism.steps == 0
    assert repr(source) == repr(stream(1))  # no word was used


@pytest.mark.parametrize("multiplier", [0.0, -1.0, math.nan, math.inf, 512.1])
def test_correlated_noise_that_is_none_or_could_overflow_is_refused(multiplier: float) -> None:
    with pytest.raises(ValueError, match="noise_multiplier must be > 0 and at most 512"):
        correlated(noise_multiplier=multiplier)
    assert correlated(noise_multiplier=512.0).tau <= 2.0**45


def test_correlated_noise_below_what_the_sampler_serves_is_refused() -> None:
    with pytest.raises(ValueError, match="tau must be from"):
        correlated(noise_multiplier=1e-12)


@settings(max_examples=60)
@given(
    theta=st.floats(0.01, 0.995),
    omega=st.floats(1e-3, 1.0),
    rounds=st.integers(1, 300),
    separation=st.integers(1, 300),
    joins=st.integers(1, 20),
    dim=st.integers(1, 10**6),
)
def test_the_charged_sensitivity_is_above_the_plain_one_by_little(
    theta: float, omega: float, rounds: int, separation: int, joins: int, dim: int
) -> None:
    parameters = BltParameters(theta=(theta,), omega=(omega,))
    part = Participation(rounds=rounds, min_separation=min(separation, rounds), max_rounds=joins)
    mechanism = BltMechanism(
        LATTICE, noise_multiplier=1.0, parameters=parameters, participation=part, dim=dim
    )
    plain = sensitivity(parameters, part)
    assert plain < mechanism.sensitivity <= plain * (1 + 2e-4)
    assert mechanism.sensitivity == charged_sensitivity(
        parameters, part, dim=dim, lattice_bits=17, fine_bits=mechanism.fine_bits
    )


def test_correlated_epsilon_is_the_exact_one_of_the_whole_run() -> None:
    mechanism = correlated(noise_multiplier=2.5)
    assert mechanism.epsilon(1e-5) == gaussian_epsilon(mechanism.sensitivity / 2.5, 1e-5)
    assert mechanism.epsilon(1e-5) > GaussianMechanism(LATTICE, 2.5).epsilon(1e-5)


def test_correlated_sampler_errors_are_those_of_its_draws() -> None:
    mechanism = correlated()
    assert mechanism.sampler_delta(1000, 10) == pytest.approx(10 * mechanism.sampler_delta(1000, 1))
    assert 0.0 < mechanism.sampler_delta(250_000, 500) < 2e-8
    assert 0.0 < mechanism.sampler_epsilon(250_000, 500) < 5e-7


def whitened(mechanism: BltMechanism, dim: int, rounds: int) -> npt.NDArray[np.float64]:
    """Return L times the noise of all rounds over the deviation it should have."""
    noise = np.array([mechanism.noise(dim, stream(t)) for t in range(rounds)], np.float64)
    return np.asarray(linalg.toeplitz(TWO.coefficients(rounds), np.zeros(rounds)) @ noise)


def test_whitened_noise_has_the_scale_of_the_multiplier_and_no_other() -> None:
    dim, rounds = 500, 40
    white = whitened(correlated(dim=dim), dim, rounds)
    scale = 3.0 * 2.0 ** (17 + correlated(dim=dim).fine_bits)
    assert stats.kstest(white.ravel() / scale, "norm").pvalue > 1e-3
    for wrong in (2 / 3, 3 / 2):
        assert stats.kstest(white.ravel() / (wrong * scale), "norm").pvalue < 1e-9


def test_pf_02_whitened_noise_of_neighbouring_rounds_is_uncorrelated() -> None:
    dim, rounds = 500, 40
    mechanism = correlated(dim=dim)
    white = whitened(mechanism, dim, rounds) / mechanism.tau
    bound = 4 / math.sqrt(dim * (rounds - 1))
    assert abs(float((white[1:] * white[:-1]).mean())) < bound
    # The same test sees the correlation of what is released: it is there.
    again = correlated(dim=dim)
    raw = np.array([again.noise(dim, stream(t)) for t in range(rounds)]) / again.tau
    assert float((raw[1:] * raw[:-1]).mean()) < -bound
