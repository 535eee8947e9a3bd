"""The rounded Gaussian on the integers: rint(X) with X from N(0, tau**2), from a keystream.

The sum of lattice integers S is itself an integer, so S + rint(X) = rint(S + X): the release is
the Gaussian mechanism and then rounding, and is accounted as the Gaussian mechanism with nothing
added. This is why the Gaussian is rounded here rather than made discrete (weights
exp(-i**2 / 2 tau**2), https://arxiv.org/abs/2004.00010), whose loss differs from the Gaussian's.
Floating-point Gaussians on real values are what https://arxiv.org/abs/2107.10138 and
https://arxiv.org/abs/2112.05307 attack.

Method: rejection from a staircase. With W the power of two in (tau/64, tau/32], the envelope of
exp(-y**2 / 2 tau**2), y = |X|, is constant on the blocks [bW, (b+1)W), b < blocks, out to 13 tau.
A 64-bit word picks the block, 53 bits the place in it, 1 bit the sign, and a 64-bit word accepts
with probability exp(-(y**2 - (bW)**2) / 2 tau**2); what is rejected is drawn again. The place is
a fixed-point number and the edges of the lattice cells, the halves, are points of its grid, so
rounding it to the lattice is an exact shift. Sign and size are independent: the mean is exactly 0.

Two tables save time and change no draw: where among the blocks a word's first bits lead, which
leaves at most one comparison but in the far tail; and a word from which on a block accepts for
certain, as 1 - exp(-x) <= x, which leaves the exponential to one draw in twenty or thirty.
"""

import math
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from .stream import NoiseStream

CUT: Final = 13.0
"""The staircase ends at this many tau."""

LEAST_TAU: Final = 0.25
MOST_TAU: Final = 2.0**45

_AT_ONCE: Final = 8192  # draws: what a pass over them leaves is near when the next one reads it
_LEAD_BITS: Final = 13  # of a word, looked up to find its block
_PLACE_BITS: Final = 53  # bits of the place in a block, so that it is exact as a float64
_TAIL: Final = 1.3e-38  # P[|X| > 13 tau] = erfc(13 / sqrt 2) = 1.22e-38
_REJECTION_ERROR: Final = 2.0**-49  # relative, of a rejection probability: 6 roundings, expm1 4 ulp


@dataclass(frozen=True, slots=True)
class Staircase:
    """The envelope for one ``(W / tau)**2 / 2``; depends on the mantissa of tau alone."""

    halved: float  # c = (W / tau)**2 / 2
    edges: npt.NDArray[np.uint64] = field(repr=False)  # block = how many edges are <= word
    lead: npt.NDArray[np.intp] = field(repr=False)  # first block of a word by its leading bits
    far: np.uint64  # from here on leading bits may leave more than two blocks
    certain: npt.NDArray[np.uint64] = field(repr=False)  # a block accepts from this word on
    table_error: float  # L1 distance of the 64-bit weights from the exact ones
    rejection_error: float  # mean error of the rejection probability over the blocks
    acceptance: float  # lower bound of the share of draws that is kept


def rounded_gaussian(n: int, tau: float, stream: NoiseStream) -> npt.NDArray[np.int64]:
    """Draw independent rounded Gaussians.

    Args:
        n: How many, at least 0.
        tau: Standard deviation before rounding, in lattice units, from 1/4 to 2**45. Public.
        stream: Keystream of this use alone; its words are used up. Secret.

    Returns:
        int64 of shape ``(n,)``: rint(X), X from N(0, tau**2), within ``total_variation`` of it;
        no entry beyond 13 tau + 1. Secret until released as part of a sum.

    Raises:
        ValueError: If ``n`` is negative or ``tau`` is out of range.

    Examples:
        >>> rounded_gaussian(4, 100.0, NoiseStream(bytes(32))).tolist()
        [-78, 20, -14, -124]
    """
    scale, stairs = _prepared(tau)
    out = np.empty(n, dtype=np.int64)
    done = 0
    while done < n:
        missing = n - done
        drawn = _kept(missing + missing // 32 + 16, scale, stairs, stream)[:missing]
        out[done : done + drawn.size] = drawn
        done += drawn.size
    return out


def total_variation(n: int, tau: float) -> float:
    """Bound the distance of ``rounded_gaussian(n, tau)`` from the exact law; add it to delta.

    Let f and f' be proposal times acceptance, exact and as computed, Z and Z' their sums. The
    normalised laws differ by at most |f - f'|_1 / Z in total variation. |f - f'|_1 is at most the
    L1 error of the 64-bit weights (found exactly when the table is made) plus the mean error of
    the acceptance: 2**-49 of the rejection probability (6 roundings of 2**-53 and 4 units in the
    last place of expm1), 2**-64 for the word it is compared with, and 2**-100 for taking a
    place's midpoint for the place. The tail beyond 13 tau, below 1.3e-38, is added. Coordinates
    and rounds are independent: the bound is linear. The keystream is taken to be random.

    Why adding to delta is enough, and not (1 + e**epsilon) times as much: each weight is rounded
    up, so a neighbouring world's probability never falls below (1 - ``epsilon_excess``) of the
    exact one, tail apart. Hence exact (epsilon, delta) becomes
    (epsilon + epsilon_excess, delta + total_variation), for epsilon up to 40.

    Args:
        n: Coordinates over all rounds.
        tau: As for ``rounded_gaussian``.

    Returns:
        The bound; about 9e-17 n: 1e-8 for 500 rounds of 250,000 coordinates.

    Raises:
        ValueError: If ``n`` is negative or ``tau`` is out of range.
    """
    stairs = _prepared(tau)[1]
    differ = stairs.table_error + stairs.rejection_error + 2.0**-64 + 2.0**-100
    # the tail once as mass that is missing, once times e**40 for the other world
    return _count(n) * (differ / stairs.acceptance + _TAIL * (1.0 + math.exp(40.0)))


def epsilon_excess(n: int, tau: float) -> float:
    """Bound what the sampler adds to epsilon itself: -log of the least probability ratio.

    Each weight is at least (1 - blocks / 2**64) of the exact one and each acceptance, 0.6 or more,
    at least (1 - 2**-49); the common factor Z / Z' is within the bound of ``total_variation``.

    Args:
        n: Coordinates over all rounds.
        tau: As for ``rounded_gaussian``.

    Returns:
        The bound; about 2e-15 n: 2.4e-7 for 500 rounds of 250,000 coordinates.

    Raises:
        ValueError: If ``n`` is negative or ``tau`` is out of range.
    """
    stairs = _prepared(tau)[1]
    least = (stairs.edges.size + 1) * 2.0**-64 + _REJECTION_ERROR
    return 1.01 * (_count(n) * least + total_variation(n, tau))


def rejection(
    stairs: Staircase, block: npt.NDArray[np.int64], inside: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return 1 - exp(-(y**2 - (bW)**2) / 2 tau**2) for y = (block + inside) W, accurately."""
    chance: npt.NDArray[np.float64] = -np.expm1(-stairs.halved * inside * (2.0 * block + inside))
    return chance


def blocks(stairs: Staircase, pick: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """Return the block each word picks: how many edges are at most the word."""
    block = stairs.lead.take((pick >> np.uint64(64 - _LEAD_BITS)).view(np.int64))
    block += pick >= stairs.edges.take(block, mode="clip")
    beyond = np.flatnonzero(pick >= stairs.far)
    block[beyond] = np.searchsorted(stairs.edges, pick[beyond], side="right")
    return block


def _kept(draws: int, scale: int, stairs: Staircase, stream: NoiseStream) -> npt.NDArray[np.int64]:
    words = stream.words(3 * draws).reshape(3, draws)
    starts = range(0, draws, _AT_ONCE)
    parts = [_chosen(words[:, s : s + _AT_ONCE], scale, stairs) for s in starts]
    kept: npt.NDArray[np.int64] = np.concatenate(parts)
    return kept


def _chosen(words: npt.NDArray[np.uint64], scale: int, stairs: Staircase) -> npt.NDArray[np.int64]:
    """Return what is accepted of some draws, three words each, in their order."""
    pick, where, accept = words[0], words[1], words[2]
    block = blocks(stairs, pick)
    place = (where >> np.uint64(64 - _PLACE_BITS)).view(np.int64)
    keep = accept >= stairs.certain.take(block)
    open_ = np.flatnonzero(~keep)
    inside = (place[open_] + np.float64(0.5)) * np.float64(2.0**-_PLACE_BITS)
    least = (rejection(stairs, block[open_], inside) * 2.0**64).astype(np.uint64)
    keep[open_] = accept[open_] >= least
    shift = _PLACE_BITS - scale
    size = block  # block * W + place, rounded: in place, as every pass over memory counts
    size <<= _PLACE_BITS
    size += place
    size += 1 << (shift - 1)
    size >>= shift
    sign = -(where & np.uint64(1)).view(np.int64)
    size ^= sign  # with the next line: negated where the sign is -1
    size -= sign
    chosen: npt.NDArray[np.int64] = size[keep]
    return chosen


def _prepared(tau: float) -> tuple[int, Staircase]:
    """Return log2 of the block width W, and the envelope."""
    if not LEAST_TAU <= tau <= MOST_TAU:  # false for NaN too
        raise ValueError(f"tau must be from {LEAST_TAU} to {MOST_TAU:.0f}, got {tau!r}")
    mantissa, exponent = math.frexp(tau)  # tau = mantissa * 2**exponent, mantissa in [1/2, 1)
    return exponent - 6, staircase(mantissa)


@lru_cache(maxsize=8)
def staircase(mantissa: float) -> Staircase:
    """Build the envelope for a tau of this mantissa, from 1/2 to 1, with 50-digit decimals."""
    with localcontext(prec=50):
        halved = 1 / (2 * (64 * Decimal(mantissa)) ** 2)  # W / tau = 2**-6 / mantissa
        blocks = math.ceil(CUT * 64 * mantissa)
        heights = [(-halved * b * b).exp() for b in range(blocks)]
        total = sum(heights)
        exact = [height / total * 2**64 for height in heights]
        # rounded up, so that no block is rarer than it should be; block 0 takes what is left
        weights = [int(mass * (1 - Decimal(blocks) / 2**64)) + 1 for mass in exact]
        weights[0] += 2**64 - sum(weights)
        error = sum(abs(w - e) for w, e in zip(weights, exact, strict=True)) / 2**64
        # acceptance is least at the far edge of a block; its mean is weighted by the block
        far = [float((-halved * (2 * b + 1)).exp()) for b in range(blocks)]
        shares = [float(height / total) for height in heights]
        kept = math.fsum(s * a for s, a in zip(shares, far, strict=True))
        edges = np.cumsum(np.array(weights[:-1], dtype=np.uint64), dtype=np.uint64)
        lead, first_far = _leads(edges)
        return Staircase(
            halved=float(halved),
            edges=edges,
            lead=lead,
            far=first_far,
            certain=_certain(float(halved), blocks),
            table_error=float(error) * (1.0 + 2.0**-50),
            rejection_error=(1.0 - kept) * _REJECTION_ERROR,
            acceptance=kept,
        )


def _leads(edges: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.intp], np.uint64]:
    """Return the first block of each range of words, and where a range of three may begin."""
    first_words = np.arange(1 << _LEAD_BITS, dtype=np.uint64) << np.uint64(64 - _LEAD_BITS)
    lead = np.searchsorted(edges, first_words, side="right")
    last = np.append(lead[1:], edges.size)
    many = np.append(np.flatnonzero(last - lead > 1), lead.size - 1)  # the last range at least
    return lead, first_words[many[0]]


def _certain(halved: float, blocks: int) -> npt.NDArray[np.uint64]:
    """Return the word from which on each block accepts whatever the place; below 0.5 * 2**64."""
    farthest = halved * (2.0 * np.arange(blocks) + 1.0)
    certain: npt.NDArray[np.uint64] = (farthest * (1.0 + 1e-9) * 2.0**64).astype(np.uint64)
    return certain


def _count(n: int) -> int:
    if n < 0:
        raise ValueError(f"n must be at least 0, got {n}")
    return n
