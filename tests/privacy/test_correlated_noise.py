"""The integer recursion: exact to its bound, white once whitened, safe to stop and go on."""

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from homebody_privacy.blt import (
    BUFFER_LIMIT,
    MOST_MULTIPLIER,
    BltParameters,
    Participation,
    charged_sensitivity,
    fine_bits,
    prefix_error,
    rounding_gain,
    sensitivity,
)
from homebody_privacy.correlated_noise import CorrelatedNoise
from homebody_privacy.noise import rounded_gaussian
from homebody_privacy.stream import NoiseStream, derive_key

Integers = npt.NDArray[np.int64]
Exact = list[list[Fraction]]

ONE = BltParameters(theta=(0.9075,), omega=(0.46736,))
TWO = BltParameters(theta=(0.9637, 0.34897), omega=(0.34366, 0.17547))
FOUR = BltParameters(theta=(0.99, 0.8, 0.5, 0.1), omega=(0.1, 0.2, 0.3, 0.2))
STRATEGIES = st.sampled_from([ONE, TWO, FOUR])
ROUNDS, DIM, BITS = 8, 3, 16
TAU = 2.0**20


def draws(rounds: int, dim: int, tau: float, label: str = "test") -> Integers:
    """Independent noise of all rounds, shape ``(rounds, dim)``."""
    stream = NoiseStream(derive_key(bytes(32), label))
    return rounded_gaussian(rounds * dim, tau, stream).reshape(rounds, dim)


def released(p: BltParameters, z: Integers) -> Integers:
    """What all rounds add, shape of ``z``."""
    noise = CorrelatedNoise(p, z.shape[1])
    return np.array([noise.step(row) for row in z])


def drawn_for(p: BltParameters, y: Integers) -> Integers:
    """The only z whose release is ``y``, found with the recursion itself."""
    noise = CorrelatedNoise(p, y.shape[1])
    z = np.empty_like(y)
    for t, row in enumerate(y):
        probe = CorrelatedNoise(p, y.shape[1], buffers=noise.buffers, steps=noise.steps)
        z[t] = row - probe.step(np.zeros_like(row))
        assert (noise.step(z[t]) == row).all()
    return z


def whitened(p: BltParameters, y: Integers) -> npt.NDArray[np.float64]:
    """Multiply by L in float64: an observer's way to undo the correlation."""
    c = p.coefficients(len(y))
    return np.array([c[t::-1] @ y[: t + 1] for t in range(len(y))])


def exactly_whitened(p: BltParameters, y: Integers) -> Exact:
    """Multiply by L without rounding."""
    pairs = [(Fraction(t), Fraction(w)) for t, w in zip(p.theta, p.omega, strict=True)]
    later = [sum((w * t**i for t, w in pairs), Fraction(0)) for i in range(len(y) - 1)]
    c = [Fraction(1), *later]
    return [
        [sum((c[t - i] * int(y[i, j]) for i in range(t + 1)), Fraction(0)) for j in range(len(row))]
        for t, row in enumerate(y)
    ]


def furthest(found: Exact, expected: Integers) -> Fraction:
    pairs = zip(found, expected, strict=True)
    return max(abs(f - int(e)) for row, ints in pairs for f, e in zip(row, ints, strict=True))


@settings(max_examples=60)
@given(STRATEGIES, st.integers(0, 10**9), st.integers(2, 44))
def test_rounding_moves_no_coordinate_by_more_than_half_the_gain(
    p: BltParameters, seed: int, log_tau: int
) -> None:
    z = draws(2 * ROUNDS, DIM, 2.0**log_tau, f"exact {seed}")
    moved = furthest(exactly_whitened(p, released(p, z)), z)
    assert 0 < moved <= Fraction(rounding_gain(p)) / 2


def test_rounding_comes_near_its_bound_and_has_no_drift() -> None:
    z = draws(60, 40, TAU)
    moved = whitened(ONE, released(ONE, z)) - z
    assert float(np.abs(moved).max()) > rounding_gain(ONE) / 8  # errors of both signs cancel
    # rounding down instead of to the nearest would move the mean by 0.5 or 2.5
    assert abs(float(moved[30:].mean())) < 0.15


def test_steps_by_hand_halves_to_even() -> None:
    noise = CorrelatedNoise(BltParameters(theta=(0.5, 0.25), omega=(0.5, 0.25)), 1)
    by_hand = [  # z, then y = z - rint(s_1 / 2 + s_2 / 4), s_1 and s_2
        (7, 7, 7, 7),
        (0, -5, -1, -3),  # 5.25; 4 - 5, 2 - 5
        (-10, -9, -9, -10),  # -1.25; -0 - 9, -1 - 9
        (3, 10, 6, 8),  # -7; -4 + 10, -2 + 10
    ]
    for z, y, *buffers in by_hand:
        assert noise.step(np.array([z])).tolist() == [y]
        assert noise.buffers[:, 0].tolist() == buffers


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Participation, Integers]:
    """Rules, and what one device added: int64 of shape ``(rounds, dim)``, each norm <= 2**16."""
    separation = draw(st.integers(1, ROUNDS))
    most = draw(st.integers(1, ROUNDS))
    part = Participation(rounds=ROUNDS, min_separation=separation, max_rounds=most)
    added = np.zeros((ROUNDS, DIM), dtype=np.int64)
    t = draw(st.integers(0, 1))
    for _ in range(part.joins):
        if t >= ROUNDS:
            break
        direction = np.array(draw(st.tuples(*[st.integers(-9, 9)] * DIM)))
        length = max(1.0, float(np.linalg.norm(direction)))
        added[t] = np.trunc(2**BITS * direction / length)
        t += separation + draw(st.integers(0, 1))
    return part, added


def every(separation: int) -> tuple[Participation, Integers]:
    """The worst pattern: all joins at full length in one direction."""
    rules = Participation(rounds=ROUNDS, min_separation=separation, max_rounds=ROUNDS)
    added = np.zeros((ROUNDS, DIM), dtype=np.int64)
    added[::separation, 0] = 2**BITS
    return rules, added


def squared_shift(p: BltParameters, added: Integers, fine: int, seed: int) -> int:
    """Squared distance of the draws that give one release with the device and without it."""
    z = draws(ROUNDS, DIM, 2.0 ** (BITS + fine), f"world {seed}")
    without = released(p, z) + (added << fine)  # same release: the noise makes up for the device
    shift = drawn_for(p, without) - z
    return sum(int(x) ** 2 for x in shift.flat)


@settings(max_examples=150)
@given(STRATEGIES, worlds(), st.integers(0, 4), st.integers(0, 10**9))
@example(ONE, every(1), 0, 1)
@example(TWO, every(4), 0, 2)
@example(FOUR, every(2), 3, 3)
def test_two_worlds_with_one_release_have_draws_within_the_charged_sensitivity(
    p: BltParameters, world: tuple[Participation, Integers], fine: int, seed: int
) -> None:
    part, added = world
    charged = charged_sensitivity(p, part, dim=DIM, lattice_bits=BITS, fine_bits=fine)
    limit = Fraction(charged) * 2 ** (BITS + fine)
    assert squared_shift(p, added, fine, seed) <= limit**2


def test_the_sensitivity_without_its_charge_for_rounding_would_not_be_enough() -> None:
    part, added = every(2)
    limit = Fraction(sensitivity(TWO, part)) * 2**BITS
    squares = [squared_shift(TWO, added, 0, seed) for seed in range(20)]
    assert sum(square > limit**2 for square in squares) >= 5
    assert max(squares) < (limit * Fraction(101, 100)) ** 2  # and only by a little


def variance_fits(sample: npt.NDArray[np.float64], tau: float) -> bool:
    """Two-sided chi-square test of the variance at level 1e-6."""
    statistic = float((sample**2).sum()) / tau**2
    return bool(chi2.ppf(5e-7, sample.size) < statistic < chi2.isf(5e-7, sample.size))


def lag_one(sample: npt.NDArray[np.float64]) -> float:
    """Correlation of each round with the one before."""
    return float((sample[1:] * sample[:-1]).sum() / (sample**2).sum())


@pytest.mark.parametrize("p", [ONE, TWO, FOUR], ids=["one", "two", "four"])
def test_the_whitened_release_is_white_and_of_the_right_scale(p: BltParameters) -> None:
    y = released(p, draws(200, 200, TAU))
    white = whitened(p, y)
    least = 5 / math.sqrt(white.size)
    assert variance_fits(white, TAU)
    assert not variance_fits(white, TAU * 2 / 3)
    assert not variance_fits(white, TAU * 3 / 2)
    assert abs(lag_one(white)) < least
    assert lag_one(y.astype(np.float64)) < -0.2


def test_pf_02_noise_drawn_twice_is_seen_in_the_whitened_release() -> None:
    z = draws(200, 200, TAU)
    least = 5 / math.sqrt(z.size)
    assert abs(lag_one(whitened(TWO, released(TWO, z)))) < least
    for again in (np.repeat(z[:100], 2, axis=0), np.repeat(z[:1], 200, axis=0)):
        assert lag_one(whitened(TWO, released(TWO, again))) > 0.4


def test_running_sums_have_the_error_that_is_foretold() -> None:
    z = draws(200, 500, TAU)
    sums = np.cumsum(released(TWO, z), axis=0) / TAU
    mean, last = prefix_error(TWO, 200)
    assert float((sums[-1] ** 2).mean()) == pytest.approx(last**2, rel=0.35)  # 5 deviations
    assert float((sums**2).mean()) == pytest.approx(mean**2, rel=0.1)
    assert last < 0.4 * math.sqrt(200)  # of independent noise


@given(STRATEGIES, st.integers(0, 12), st.integers(0, 10**9))
def test_pf_03_a_restart_from_stored_buffers_gives_the_same_integers(
    p: BltParameters, stop: int, seed: int
) -> None:
    z = draws(12, 5, TAU, f"restart {seed}")
    first = CorrelatedNoise(p, 5)
    before = [first.step(row) for row in z[:stop]]
    stored, steps = first.buffers, first.steps
    second = CorrelatedNoise(p, 5, buffers=stored.copy(), steps=steps)
    after = [second.step(row) for row in z[stop:]]
    assert np.array_equal(np.array(before + after), released(p, z))
    assert (second.steps, steps) == (12, stop)
    assert np.array_equal(first.buffers, stored)  # nothing is shared


def test_pf_03_a_restart_without_its_buffers_is_refused_and_would_not_be_white() -> None:
    with pytest.raises(ValueError, match="missing"):
        CorrelatedNoise(TWO, 200, steps=1)
    z = draws(200, 200, TAU)
    lost = [CorrelatedNoise(TWO, 200).step(row) for row in z]  # buffers of zeros in each round
    white = whitened(TWO, np.array(lost))
    assert not variance_fits(white, TAU)
    assert lag_one(white) > 0.2


def test_buffers_are_copies_both_ways() -> None:
    given_buffers = np.ones((2, 3), dtype=np.int64)
    noise = CorrelatedNoise(TWO, 3, buffers=given_buffers, steps=1)
    given_buffers[:] = 7
    noise.buffers[:] = 9
    assert (noise.buffers == 1).all()


def test_the_state_is_not_shown() -> None:
    noise = CorrelatedNoise(TWO, 2)
    noise.step(np.array([987654, 987655]))
    assert repr(noise) == "CorrelatedNoise(dim=2, steps=1)"


def largest_draws(p: BltParameters, rounds: int, size: int) -> Integers:
    """Draws of one size whose signs fill the slowest buffer most."""
    unit = CorrelatedNoise(p, 1)
    response = []
    for z in [2**40] + [0] * (rounds - 1):
        unit.step(np.array([z]))
        response.append(int(unit.buffers[0, 0]))
    signs: Integers = np.sign(np.array(response[::-1], dtype=np.int64))
    return size * signs[:, None]


@pytest.mark.parametrize("p", [ONE, TWO, FOUR], ids=["one", "two", "four"])
def test_at_the_chosen_fine_bits_not_even_the_largest_draws_overflow(p: BltParameters) -> None:
    part = Participation(rounds=100, min_separation=100, max_rounds=1)
    fine = fine_bits(p, part, dim=10**15, lattice_bits=16)  # so large that the cap binds
    assert 0 < fine < 30
    size = math.ceil(13.02 * MOST_MULTIPLIER * 2 ** (16 + fine)) + 1
    released(p, largest_draws(p, 100, size))
    with pytest.raises(OverflowError):
        released(p, largest_draws(p, 100, 8 * size))


@pytest.mark.parametrize("z", [BUFFER_LIMIT + 1, -BUFFER_LIMIT - 1, -(2**63), 2**63 - 1])
def test_a_draw_past_the_limit_is_refused_and_changes_nothing(z: int) -> None:
    noise = CorrelatedNoise(ONE, 1)
    noise.step(np.array([5]))
    before = noise.buffers
    with pytest.raises(OverflowError, match="z would pass"):
        noise.step(np.array([z]))
    assert np.array_equal(noise.buffers, before)
    assert noise.steps == 1


def test_a_buffer_past_the_limit_is_refused_and_changes_nothing() -> None:
    slow = BltParameters(theta=(0.999,), omega=(0.001,))
    noise = CorrelatedNoise(slow, 1)
    noise.step(np.array([BUFFER_LIMIT]))
    before = noise.buffers
    with pytest.raises(OverflowError, match="buffers would pass"):
        noise.step(np.array([BUFFER_LIMIT]))
    assert np.array_equal(noise.buffers, before)
    assert noise.steps == 1


@pytest.mark.parametrize(
    "z",
    [np.zeros(3), np.zeros(3, dtype=np.int32), np.zeros(2, dtype=np.int64)],
    ids=["float", "narrow", "short"],
)
def test_a_draw_of_another_type_or_shape_is_refused(z: Integers) -> None:
    with pytest.raises(ValueError, match="z must be"):
        CorrelatedNoise(TWO, 3).step(z)


@pytest.mark.parametrize(
    "build",
    [
        lambda: CorrelatedNoise(TWO, 0),
        lambda: CorrelatedNoise(TWO, 3, steps=-1),
        lambda: CorrelatedNoise(TWO, 3, buffers=np.zeros((1, 3), dtype=np.int64)),
        lambda: CorrelatedNoise(TWO, 3, buffers=np.zeros((2, 3)).astype(np.int32)),
    ],
    ids=["dim", "steps", "shape", "type"],
)
def test_a_state_that_cannot_be_is_refused(build: Callable[[], CorrelatedNoise]) -> None:
    with pytest.raises(ValueError, match="must be"):
        build()


def test_stored_buffers_past_the_limit_are_refused() -> None:
    stored = np.full((2, 3), BUFFER_LIMIT + 1)
    with pytest.raises(OverflowError, match="buffers"):
        CorrelatedNoise(TWO, 3, buffers=stored, steps=1)
