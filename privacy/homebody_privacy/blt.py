"""Buffered linear Toeplitz (BLT) strategies: noise over rounds that cancels in running sums.

DP-FTRL (https://arxiv.org/abs/2103.00039) with the strategy of https://arxiv.org/abs/2404.16706,
section 5, in federated learning as in https://arxiv.org/abs/2408.08868. L is the lower triangular
Toeplitz matrix of c_0 = 1, c_i = sum_j omega_j theta_j**(i - 1). Round t releases the sum of the
contributions plus y_t, where y = L**-1 Z and Z is independent Gaussian noise. No secret sampling
of devices is assumed.

Why ``charged_sensitivity`` is enough. All is integer, on a fine lattice of step h:
y_t = z_t - rint(sum_j omega_j s_j), s_j <- rint(theta_j s_j) + y_t (``correlated_noise``). Fix
what was released. Two worlds whose sums differ by D then have y that differ by -D, and buffers
that are functions of y alone; so their z differ by -L D, and by what rounding did in each of them.
A buffer forgets by theta_j per step: its error is at most (1/2) / (1 - theta_j), the weighted
sum adds 1/2, both once per world. So |z' - z + L D| <= kappa = 1 + sum_j omega_j / (1 - theta_j)
in every coordinate of every round, and norm(z' - z) <= S C + kappa sqrt(dim * rounds) h on every
path. z is a rounded Gaussian and the shift is an integer: rounding is post-processing. The shift
may depend on earlier releases, as devices train on them: the bound holds on every path, which is
what the Gaussian mechanism needs (https://arxiv.org/abs/2202.08312, theorem 2.1;
https://arxiv.org/abs/2210.17520).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from .lattice import BITS

Array = npt.NDArray[np.float64]

MOST_BUFFERS: Final = 4
BUFFER_LIMIT: Final = 2**50
"""Largest size of a buffer's integers: products with float64 decays are then within 1/8."""

MOST_MULTIPLIER: Final = 512
"""Noise multiplier up to which ``fine_bits`` rules an overflow out."""

_ROUNDING_SHARE: Final = 1e-4  # of the sensitivity: what the fine lattice may add
_MOST_TAU: Final = 2.0**45  # that ``noise`` can draw
_DRAW: Final = 14.0  # tau: no draw is larger (13 and a little), with room for rounding
_UP: Final = 1.0 + 2.0**-40  # dwarfs a handful of float64 roundings


@dataclass(frozen=True, slots=True, kw_only=True)
class BltParameters:
    """A strategy of one to four buffers. Public.

    Attributes:
        theta: Share of each buffer that is kept per round, in (0, 1).
        omega: Weight of each buffer in the noise, above 0, sum at most 1; as many as ``theta``.

    Examples:
        >>> p = BltParameters(theta=(0.5,), omega=(0.25,))
        >>> p.coefficients(4)
        array([1.    , 0.25  , 0.125 , 0.0625])
    """

    theta: tuple[float, ...]
    omega: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse what the sensitivity theorem does not cover."""
        if not 1 <= len(self.theta) <= MOST_BUFFERS or len(self.omega) != len(self.theta):
            raise ValueError(
                f"theta and omega must have one length, from 1 to {MOST_BUFFERS}, "
                f"got {len(self.theta)} and {len(self.omega)}"
            )
        if not all(0.0 < theta < 1.0 for theta in self.theta):  # false for NaN too
            raise ValueError(f"theta must lie in (0, 1), got {self.theta}")
        if not all(omega > 0.0 for omega in self.omega) or not math.fsum(self.omega) <= 1.0:
            raise ValueError(f"omega must be above 0 with a sum of at most 1, got {self.omega}")

    def coefficients(self, rounds: int) -> Array:
        """Return the first column of L: c_0 = 1, c_i = sum_j omega_j theta_j**(i - 1).

        Args:
            rounds: How many, at least 1.

        Returns:
            float64 of shape ``(rounds,)``: non-negative and non-increasing, because the weights
            are positive with a sum of at most 1 and every theta is below 1.
        """
        lags = np.arange(rounds - 1, dtype=np.float64)
        later = np.array(self.omega) @ np.power(np.array(self.theta)[:, None], lags)
        return np.concatenate(([1.0], later))

    def to_dict(self) -> dict[str, list[float]]:
        """Return the fields as JSON values."""
        return {"theta": list(self.theta), "omega": list(self.omega)}

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> Self:
        """Build parameters from ``to_dict``'s values.

        Raises:
            ValueError: If a field is missing, unknown, not a list of numbers or out of range.
        """
        if set(values) != {"theta", "omega"}:
            raise ValueError(f"blt parameters have the fields omega, theta, got {sorted(values)}")
        return cls(**{name: _numbers(name, value) for name, value in values.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class Participation:
    """How often one device may join a run. Public; devices enforce it themselves.

    Attributes:
        rounds: Rounds of the run, at least 1.
        min_separation: Least distance between two joins, in rounds; 1 is every round. From 1 to
            ``rounds``.
        max_rounds: Most joins, at least 1.

    Examples:
        >>> Participation(rounds=100, min_separation=25, max_rounds=10).joins
        4
    """

    rounds: int
    min_separation: int
    max_rounds: int

    def __post_init__(self) -> None:
        """Refuse patterns nobody could keep."""
        if not 1 <= self.min_separation <= self.rounds:
            raise ValueError(
                f"min_separation must be from 1 to rounds ({self.rounds}), "
                f"got {self.min_separation}"
            )
        if self.max_rounds < 1:
            raise ValueError(f"max_rounds must be at least 1, got {self.max_rounds}")

    @property
    def joins(self) -> int:
        """Most joins that both rules allow."""
        return min(self.max_rounds, -(-self.rounds // self.min_separation))


def sensitivity(p: BltParameters, part: Participation) -> float:
    """Return the most one device can move L times the sums, in units of the clip norm.

    Norm of c added to itself, shifted by the separation, once per join: the worst pattern for
    non-negative, non-increasing c (https://arxiv.org/abs/2405.13763, theorem 2).

    Returns:
        S, at least sqrt(joins). Never below the exact value: (rounds + 64) 2**-52 is added,
        relative, more than a sum of ``rounds`` squares and the powers in it can lose.
    """
    column = _shifted_sum(p.coefficients(part.rounds), part.min_separation, part.joins)
    return float(np.linalg.norm(column)) * (1.0 + (part.rounds + 64) * 2.0**-52)


def inverse_column(p: BltParameters, rounds: int) -> Array:
    """Return the first column d of L**-1: what a unit impulse of Z adds to each release.

    With u = sqrt(omega) and A = diag(theta) - u u' the recursion of the module's docstring,
    unrounded, gives d_0 = 1, d_t = -u' A**(t - 1) u; A is symmetric, so its real eigenvalues,
    inside (-1, 1), give all rounds at once.

    Args:
        p: Strategy of J buffers.
        rounds: How many, at least 1.

    Returns:
        float64 of shape ``(rounds,)``.
    """
    values, vectors, start = _modes(p)
    lags = np.arange(rounds - 1, dtype=np.float64)
    later = -((start @ vectors) ** 2) @ np.power(values[:, None], lags)
    return np.concatenate(([1.0], later))


def prefix_error(p: BltParameters, rounds: int) -> tuple[float, float]:
    """Return the error of running sums of the release, per unit of the deviation of Z.

    Args:
        p: Strategy.
        rounds: Rounds of the run, at least 1.

    Returns:
        Standard deviation per coordinate of the noise in the sum of rounds 1 to t: the root of
        its mean square over t, and its value at the last round. For independent noise
        sqrt((rounds + 1) / 2) and sqrt(rounds).
    """
    variance = np.cumsum(np.cumsum(inverse_column(p, rounds)) ** 2)
    return math.sqrt(float(variance.mean())), math.sqrt(float(variance[-1]))


def rounding_gain(p: BltParameters) -> float:
    """Return kappa: how far rounding may move one coordinate of z between two worlds.

    1 + sum_j omega_j / (1 - theta_j) for rounding to integers. Computed in float64 on buffers of
    at most 2**50, omega_j s_j errs by omega_j / 8, each addition by 1/8, theta_j s_j by 1/8, in
    each world: so 1 grows to 1 + J / 4 for J buffers, and the sum by a quarter.
    """
    memory = math.fsum(w / (1.0 - t) for t, w in zip(p.theta, p.omega, strict=True))
    return (1.0 + len(p.theta) / 4.0 + 1.25 * memory) * _UP


def fine_bits(p: BltParameters, part: Participation, *, dim: int, lattice_bits: int) -> int:
    """Choose how much finer than the lattice of the sums the noise is.

    Args:
        p: Strategy.
        part: Participation.
        dim: Coordinates of one release, at least 1.
        lattice_bits: Binary digits of one clip norm on the lattice of the sums, 16 to 20.

    Returns:
        Least f >= 0 for which rounding adds at most 1e-4 to the sensitivity, relative; fewer if
        that many could overflow a buffer at a noise multiplier of 512. With fewer, what rounding
        adds is larger, and charged.

    Raises:
        ValueError: If ``dim`` or ``lattice_bits`` is out of range.
    """
    share = _rounding(p, part, dim, lattice_bits, 0) / (_ROUNDING_SHARE * sensitivity(p, part))
    tau = min(_MOST_TAU, BUFFER_LIMIT / (_DRAW * _buffer_gain(p, part.rounds)))
    room = math.floor(math.log2(tau / MOST_MULTIPLIER)) - lattice_bits
    return max(0, min(math.ceil(math.log2(share)), room))


def charged_sensitivity(
    p: BltParameters, part: Participation, *, dim: int, lattice_bits: int, fine_bits: int
) -> float:
    """Return S' = S + kappa sqrt(dim * rounds) h / C, the sensitivity that noise must match.

    Args:
        p: Strategy.
        part: Participation.
        dim: Coordinates of one release, at least 1.
        lattice_bits: Binary digits of one clip norm on the lattice of the sums, 16 to 20.
        fine_bits: How much finer the lattice of the noise is, at least 0.

    Returns:
        In units of the clip norm C, rounded up; h = C / 2**(lattice_bits + fine_bits). Noise of
        deviation sigma C costs what one Gaussian release of mu = S' / sigma costs.

    Raises:
        ValueError: If ``dim``, ``lattice_bits`` or ``fine_bits`` is out of range.
    """
    added = _rounding(p, part, dim, lattice_bits, fine_bits)
    return (sensitivity(p, part) + added) * _UP


def _rounding(
    p: BltParameters, part: Participation, dim: int, lattice_bits: int, fine_bits: int
) -> float:
    """Return kappa sqrt(dim * rounds) h / C."""
    if dim < 1:
        raise ValueError(f"dim must be at least 1, got {dim}")
    if lattice_bits not in BITS:
        raise ValueError(f"lattice_bits must be from {BITS[0]} to {BITS[-1]}, got {lattice_bits}")
    if fine_bits < 0:
        raise ValueError(f"fine_bits must be at least 0, got {fine_bits}")
    return rounding_gain(p) * math.sqrt(dim * part.rounds) * 2.0 ** -(lattice_bits + fine_bits)


def _shifted_sum(column: Array, shift: int, times: int) -> Array:
    """Add ``times`` copies of a column, each ``shift`` rows below the one before, by doubling."""
    if times == 1:
        return column.copy()
    half = times // 2
    total = _shifted_sum(column, shift, half)
    total[half * shift :] += total[: column.size - half * shift].copy()
    if times % 2:
        total[(times - 1) * shift :] += column[: column.size - (times - 1) * shift]
    return total


def _modes(p: BltParameters) -> tuple[Array, Array, Array]:
    """Return eigenvalues and eigenvectors of A = diag(theta) - u u', and u = sqrt(omega)."""
    start = np.sqrt(np.array(p.omega))
    values, vectors = np.linalg.eigh(np.diag(p.theta) - np.outer(start, start))
    return values, vectors, start


def _buffer_gain(p: BltParameters, rounds: int) -> float:
    """Return the largest buffer that draws of size at most 1 can fill within ``rounds``."""
    values, vectors, start = _modes(p)
    powers = np.power(values[:, None], np.arange(rounds, dtype=np.float64))
    response = (vectors * (start @ vectors)) @ powers / start[:, None]
    return float(np.abs(response).sum(axis=1).max())


def _numbers(name: str, value: object) -> tuple[float, ...]:
    """Return a JSON list of numbers as floats; canonical JSON writes 1.0 as 1."""
    if not isinstance(value, list) or not all(type(x) in {int, float} for x in value):
        raise ValueError(f"{name} of blt parameters must be a list of numbers")
    return tuple(float(x) for x in value)
