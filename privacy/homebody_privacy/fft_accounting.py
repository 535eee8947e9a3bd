"""A third opinion on epsilon: numpy alone, and no code of the accountant that spends the budget.

The privacy loss of sampled Gaussian rounds is put on a grid and composed by FFT, as in Koskela et
al., "Computing Tight Differential Privacy Guarantees Using FFT" (https://arxiv.org/abs/1906.03049).
What is put on the grid keeps the mass of both worlds ("connect the dots", Doroshenko et al.,
https://arxiv.org/abs/2207.04380, section 4): that can only add loss, and adds little. Each round
is tilted by exp(tilt * loss) before the FFT and the sum is tilted back, so that rounding errors
are small beside delta, not beside 1. Tails, what lies outside the window (a Chernoff bound) and
rounding are all charged.

Sources of the error bounds: Higham, "Accuracy and Stability of Numerical Algorithms" (2002),
theorem 24.2, for the FFT; Phi(-x) <= exp(-x**2/2) / 2 for the tails.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from .charges import LEAST_MULTIPLIER

Array: TypeAlias = npt.NDArray[np.float64]
Kind: TypeAlias = tuple[float, float, int]
"""Noise multiplier, sampling rate and how many such rounds."""

_TAIL: Final = 1e-9  # of delta: what the tails of all rounds may hold; also of the window's mass
_LOOSE: Final = 5e-5  # of epsilon: what the grid may add
_LEAST_DELTA: Final = 1e-200  # erfc underflows not far beyond
_ROUNDING: Final = 2.0**-20  # of delta: more than all sums and products round off
_GUARD: Final = 2.0**-34  # of a cell's mass: more than it and the cell's ends round off
_FFT_ROUNDING: Final = 16 * 2.0**-52  # of an FFT of 2**k points, for each of the k steps
# The reference's grid. On a finer one this opinion lies below the reference, by up to 0.0024 where
# 2000 weak rounds cost 0.01, and "not below the reference" could not be checked.
_LEAST_STEP: Final = 1e-4
_MOST_CELLS: Final = 2**18
_SKETCHED: Final = 1000  # points; 20 to 40 noise widths, so a sum over them is an integral
_LEAST_TILT, _MOST_TILT = 1e-9, 1e4  # beyond, epsilon is above 1e9 or below 1e-3

_erfc = np.vectorize(math.erfc, otypes=[np.float64])


@dataclass(frozen=True, slots=True, eq=False)
class _Loss:
    """Privacy loss of one kind of round, as points.

    Attributes:
        loss: Points, shape ``(points,)``, in nats.
        log_mass: Log of the mass at each, shape ``(points,)``; the mass may sum to less than 1.
        rounds: How many such rounds.
        infinite: Mass at an infinite loss.
    """

    loss: Array
    log_mass: Array
    rounds: int
    infinite: float = 0.0

    def tilted(self, tilt: float) -> tuple[float, Array]:
        """Return log E[exp(tilt * loss)] and the mass tilted by it, which sums to 1."""
        exponent = self.log_mass + tilt * self.loss
        peak = float(exponent.max())
        mass = np.exp(exponent - peak)
        total = float(mass.sum())
        return peak + math.log(total), mass / total


def epsilon_fft(kinds: Iterable[Kind], delta: float) -> float:
    """Compose sampled Gaussian rounds by FFT: an upper bound.

    Args:
        kinds: ``(noise_multiplier, sampling_rate, rounds)`` of each kind of round, in any order:
            noise / clip norm, finite and at least 0; the chance of each device's own coin, above
            0 and at most 1, where 1 is a plain Gaussian; a count of at least 0. All public.
        delta: Failure chance, in [1e-200, 1).

    Returns:
        Epsilon under zero-out adjacency, never below the truth; 0 without rounds, infinity if a
        round has less noise than 0.05. Caps on the cohort are not charged. Above the truth by
        some 0.005 % and 1e-3, or by as much as the reference, whose grid is as coarse. 2 to 300
        ms.

    Raises:
        ValueError: If an argument is out of range.

    Examples:
        >>> round(epsilon_fft([(2.0, 100 / 6040, 100)], 1e-5), 3)
        0.329
    """
    return max(epsilon_each_way(kinds, delta))


def epsilon_each_way(kinds: Iterable[Kind], delta: float) -> tuple[float, float]:
    """Return the two losses whose maximum is ``epsilon_fft``: a device taken out, and put in.

    Raises:
        ValueError: If an argument is out of range.
    """
    known = _checked(kinds, delta)
    if not known:
        return 0.0, 0.0
    if any(multiplier < LEAST_MULTIPLIER for multiplier, _, _ in known):
        return math.inf, math.inf
    return _one_way(known, delta, put_in=False), _one_way(known, delta, put_in=True)


def _checked(kinds: Iterable[Kind], delta: float) -> list[Kind]:
    """Refuse what has no meaning, and merge what differs in rounds alone."""
    if not _LEAST_DELTA <= delta < 1.0:  # false for NaN too
        raise ValueError(f"delta must be at least {_LEAST_DELTA} and below 1, got {delta}")
    rounds: dict[tuple[float, float], int] = {}
    for multiplier, rate, count in kinds:
        if not 0.0 <= multiplier < math.inf:
            raise ValueError(f"noise_multiplier must be finite, >= 0, got {multiplier}")
        if not 0.0 < rate <= 1.0:
            raise ValueError(f"sampling_rate must be above 0 and at most 1, got {rate}")
        if count < 0:
            raise ValueError(f"rounds must be at least 0, got {count}")
        rounds[multiplier, rate] = rounds.get((multiplier, rate), 0) + count
    return [(multiplier, rate, count) for (multiplier, rate), count in rounds.items() if count]


def _one_way(kinds: Sequence[Kind], delta: float, *, put_in: bool) -> float:
    rounds = sum(count for _, _, count in kinds)
    reach = math.sqrt(2.0 * (math.log(rounds / _TAIL) - math.log(delta)))  # in noise widths
    sketch = [_sketch(kind, reach, put_in=put_in) for kind in kinds]
    tilt = _best_tilt(sketch, delta)
    # First for Renyi DP's epsilon; that is far above the truth where a drawn device loses much and
    # is seldom drawn, and then once more on the grid that the better figure asks for.
    epsilon, step = math.inf, math.inf
    renyi = (_log_moment(sketch, tilt) - math.log(delta)) / tilt
    while (finer := _step(sketch, tilt, min(renyi, epsilon))) < step / 1.5:
        step = finer
        losses = [_gridded(kind, step, reach, put_in=put_in) for kind in kinds]
        epsilon = min(epsilon, _on_grid(losses, tilt, step, delta))
    return epsilon


def _on_grid(losses: Sequence[_Loss], tilt: float, step: float, delta: float) -> float:
    epsilon, bottom = _solve(losses, tilt, step, delta)
    # Where epsilon lies below the window, the tilt was too strong: most of a loss's mass is at its
    # maximum. A loss of which no part is below 0 does not exist, so a weak tilt finds epsilon.
    while 0.0 < epsilon <= bottom and tilt > _LEAST_TILT:
        tilt /= 4.0
        epsilon, bottom = _solve(losses, tilt, step, delta)
    return epsilon


def _sketch(kind: Kind, reach: float, *, put_in: bool) -> _Loss:
    """Return one round's loss at evenly spaced outputs: exact enough to choose a grid by."""
    width, rate, count = kind
    x = np.linspace(-width * reach, 1.0 + width * reach, _SKETCHED)
    loss = (2.0 * x - 1.0) / (2.0 * width**2) + math.log(rate)  # of a device that is drawn
    if rate < 1.0:
        loss = np.logaddexp(math.log1p(-rate), loss)
    without = -0.5 * (x / width) ** 2 + math.log((x[1] - x[0]) / (width * math.sqrt(math.tau)))
    if put_in:
        return _Loss(-loss, without, count)
    return _Loss(loss, without + loss, count)


def _log_moment(losses: Sequence[_Loss], tilt: float) -> float:
    """Return log E[exp(tilt * sum of all losses)]."""
    return math.fsum(loss.rounds * loss.tilted(tilt)[0] for loss in losses)


def _moments(losses: Sequence[_Loss], tilt: float) -> tuple[float, float]:
    """Return mean and standard deviation of the tilted sum of all losses."""
    mean = variance = 0.0
    for loss in losses:
        mass = loss.tilted(tilt)[1]
        middle = float(mass @ loss.loss)
        mean += loss.rounds * middle
        variance += loss.rounds * float(mass @ (loss.loss - middle) ** 2)
    return mean, math.sqrt(variance)


def _best_tilt(losses: Sequence[_Loss], delta: float) -> float:
    """Return the tilt whose Chernoff bound (log moment - log delta) / tilt is the least."""
    low, high = math.log(_LEAST_TILT), math.log(_MOST_TILT)
    for _ in range(15):  # to a thousandth; any tilt is valid, this one keeps rounding smallest
        tilt = math.exp(0.5 * (low + high))
        rises = tilt * _moments(losses, tilt)[0] > _log_moment(losses, tilt) - math.log(delta)
        low, high = (low, math.log(tilt)) if rises else (math.log(tilt), high)
    return math.exp(high)


def _step(losses: Sequence[_Loss], tilt: float, epsilon: float) -> float:
    """Choose the grid: a step h adds at most (tilt + 1) h**2 / 8 to a Renyi epsilon a round.

    Between two points of the grid, the true delta falls faster than a chord of it does: hence a
    second limit, a share of epsilon itself.
    """
    rounds, goal = sum(loss.rounds for loss in losses), epsilon + 0.05
    fine = min(math.sqrt(8.0 * _LOOSE * goal / (rounds * (tilt + 1.0))), 0.01 * goal, 0.1)
    widest = max(float(np.ptp(loss.loss)) for loss in losses)
    spread = _moments(losses, tilt)[1]
    return max(fine, _LEAST_STEP, widest / _MOST_CELLS, spread * 20.0 / _MOST_CELLS)


def _gridded(kind: Kind, step: float, reach: float, *, put_in: bool) -> _Loss:
    """Put one round's loss on multiples of ``step``, at least as bad as it is.

    An output x has the density of N(0, width**2) without the device, and of the mixture of it
    with N(1, width**2) where it may be drawn. The loss log(mixture / plain) rises with x, so each
    cell of the grid is an interval of outputs, and its mass in both worlds is exact.
    """
    width, rate, count = kind
    never = math.log1p(-rate) if rate < 1.0 else -math.inf  # the loss of an output of -infinity
    ends = np.array([-width * reach, 1.0 + width * reach])
    ends = np.logaddexp(never, (2.0 * ends - 1.0) / (2.0 * width**2) + math.log(rate)) / step
    points = np.arange(math.floor(ends[0]), math.ceil(ends[1]) + 1) * step
    x = _outputs(points, width, rate, never)
    plain = _normal_mass(x / width)
    mixed = (1.0 - rate) * plain + rate * _normal_mass((x - 1.0) / width)
    if put_in:
        points, mass, other = -points[::-1], plain[::-1], mixed[::-1]
    else:
        mass, other = mixed, plain
    with np.errstate(divide="ignore"):
        log_mass = np.log(_connect_dots(points, mass, other, step))
    return _Loss(points, log_mass, count, infinite=float(mass[-1]))


def _outputs(loss: Array, width: float, rate: float, never: float) -> Array:
    """Return the output at which each loss is reached, -infinity where every output has more."""
    x = np.full(loss.shape, -math.inf)
    reached = loss > never
    drawn = loss[reached] - math.log(rate) + np.log(-np.expm1(never - loss[reached]))
    x[reached] = width**2 * drawn + 0.5
    return x


def _normal_mass(z: Array) -> Array:
    """Return the mass of N(0, 1) below, between and above ascending points: one more than them.

    Tails are subtracted from tails, so that small masses keep their digits.
    """
    z = np.concatenate(([-math.inf], z, [math.inf]))
    tail = 0.5 * _erfc(np.abs(z) / math.sqrt(2.0))
    low, high = tail[:-1], tail[1:]
    across = np.where(z[1:] <= 0.0, high - low, 1.0 - low - high)
    mass: Array = np.where(z[:-1] >= 0.0, low - high, across)
    return mass


def _connect_dots(points: Array, mass: Array, other: Array, step: float) -> Array:
    """Move the mass of each cell to its two ends, so that the other world's mass is kept as well.

    Args:
        points: Losses of the grid, ascending, shape ``(points,)``.
        mass: Mass below, between and above the points, shape ``(points + 1,)``.
        other: The same in the other world; loss is log(mass / other).
        step: Distance of two points.

    Returns:
        Mass at each point, shape ``(points,)``. What lies below goes up to the first point; what
        lies above is left out.
    """
    whole, kept = mass[1:-1], other[1:-1]
    # exp(points[1:]) * kept is what ``whole`` would be if the cell's loss were its upper end
    lower = np.exp(np.minimum(points[1:], 700.0)) * kept - whole * (1.0 + _GUARD)
    lower = np.clip(lower / math.expm1(step), 0.0, whole)
    at = np.zeros(points.shape)
    at[0] = mass[0]
    at[:-1] += lower
    at[1:] += whole - lower
    return at


def _solve(losses: Sequence[_Loss], tilt: float, step: float, delta: float) -> tuple[float, float]:
    """Compose losses on one grid, and find the least epsilon whose delta is small enough.

    Returns:
        That epsilon, and the least loss in the window: what epsilon is where it lies below.
    """
    log_moment = _log_moment(losses, tilt)
    bottom, top = _window(losses, tilt)
    # From the Chernoff bound of epsilon on, what is cut off is a share of delta too.
    top = max(top, (log_moment - math.log(delta)) / tilt)
    first = math.floor(bottom / step)
    mass = _composed(losses, tilt, step, first, math.ceil(top / step))
    loss = np.arange(first, first + mass.size, dtype=np.float64) * step
    # Above the window lies at most a share of _TAIL of the tilted mass.
    cut = _TAIL * math.exp(log_moment - tilt * top)
    cut += math.fsum(one.rounds * one.infinite for one in losses)
    mass *= np.exp(log_moment - tilt * loss)  # tilted back
    epsilon = _least_epsilon(loss, mass, delta * (1.0 - _ROUNDING) - cut)
    return max(0.0, epsilon), float(loss[0])


def _window(losses: Sequence[_Loss], tilt: float) -> tuple[float, float]:
    """Return bounds, each passed by at most ``_TAIL`` of the tilted mass (Chernoff)."""
    log_tail, log_moment = math.log(_TAIL), _log_moment(losses, tilt)

    def bound(further: float) -> float:
        return (_log_moment(losses, tilt + further) - log_moment - log_tail) / further

    usual = math.sqrt(-2.0 * log_tail) / max(_moments(losses, tilt)[1], 1e-9)
    steps = [usual * 2.0**power for power in range(-3, 2)]
    return max(bound(-s) for s in [*steps, tilt]), min(bound(s) for s in steps)


def _composed(losses: Sequence[_Loss], tilt: float, step: float, first: int, last: int) -> Array:
    """Return the tilted mass of the sum of losses at ``first * step`` and on, by FFT.

    What lies outside the window is wrapped into it, which only adds. Each point is raised by what
    the transforms round off.
    """
    size = 2 ** max(1, math.ceil(math.log2(last - first + 1)))
    spectrum = np.ones(size // 2 + 1, dtype=np.complex128)
    rounds = 0
    for loss in losses:
        index = np.rint(loss.loss / step).astype(np.int64) % size
        one = np.bincount(index, weights=loss.tilted(tilt)[1], minlength=size)
        spectrum *= np.fft.rfft(one) ** loss.rounds
        rounds += loss.rounds
    mass = np.roll(np.fft.irfft(spectrum, size), -(first % size))
    raised: Array = np.maximum(mass, 0.0) + _FFT_ROUNDING * math.log2(size) * (rounds + 2)
    return raised


def _least_epsilon(loss: Array, mass: Array, delta: float) -> float:
    """Return the least epsilon, from the first loss up, that keeps to delta.

    That is sum(mass * max(0, 1 - exp(epsilon - loss))) <= delta.
    """

    def excess(j: int) -> float:
        return float(mass[j:] @ -np.expm1(loss[j] - loss[j:])) - delta

    if excess(0) <= 0.0:
        return float(loss[0])
    low, high = 0, loss.size - 1  # delta is too large at low, and small enough at high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if excess(middle) > 0.0 else (low, middle)
    above, scaled = mass[high:], np.exp(loss[high] - loss[high:])
    return float(loss[high]) + math.log((float(above.sum()) - delta) / float(above @ scaled))
