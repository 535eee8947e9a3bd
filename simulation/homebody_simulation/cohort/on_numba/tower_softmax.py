"""Softmax over the whole catalog less the target, in float32, as one loop over vectors.

The exponential is that of Cephes (Moshier, 1989, https://www.netlib.org/cephes/): the argument less
the nearest multiple of ln 2, a polynomial, and the exponent put into the bits. It is as close to
the true value as numpy's, and is compiled into the loop, which a call of the library is not.
"""

import numpy as np
import numpy.typing as npt

from homebody_simulation.cohort.compiled import inner, inner_fast
from homebody_simulation.cohort.on_numba.tower_tiles import LANES, WIDE

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]

_WIDE = WIDE  # a constant of compiled code
_PART = 512  # terms of a sum in float32; the parts are added in float64
_LEAST = np.float32(-87.0)  # exp of less is no normal number
_NOTHING = np.float32(1e-30)  # a smaller probability is 0: it would only slow products down
_ROUNDER = np.float32(1.5 * 2**23)  # adding it leaves the nearest integer in the last digits
_PER_LN2 = np.float32(1.4426950408889634)
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)  # ln 2 in two parts
_C7, _C6 = np.float32(1.9875691500e-4), np.float32(1.3981999507e-3)
_C5, _C4 = np.float32(8.3334519073e-3), np.float32(4.1665795894e-2)
_C3, _C2 = np.float32(1.6666665459e-1), np.float32(5.0000001201e-1)
_ZERO, _ONE = np.float32(0.0), np.float32(1.0)
_LOWEST, _NAN = np.float32(-np.inf), np.float32(np.nan)


def row_length(n_items: int) -> int:
    """Return the length of a row of scores: whole tiles, and 16 more.

    So no two rows lie a multiple of a cache's size apart.
    """
    return -(-n_items // WIDE) * WIDE + LANES


@inner
def to_residuals(
    scores: Floats, levels: Floats, target: int, space: Floats, integers: Ints
) -> bool:
    """Turn one row of scores into its softmax less the target; tell whether it is finite.

    Args:
        scores: The row, without the levels; its padding becomes 0.
        levels: What is added to the scores; very low in the padding.
        target: The item to predict. Secret.
        space: Room for 64 numbers.
        integers: Room for a row.
    """
    top = _largest(scores, levels, space, integers)
    if not abs(top) < np.inf:  # false for NaN too
        return False
    _to_powers(scores, top, integers)
    factor = _ONE / np.float32(_total(scores))
    for index in range(len(scores)):
        value = scores[index] * factor
        scores[index] = value if value > _NOTHING else _ZERO
    scores[target] -= _ONE
    return True


@inner
def _largest(scores: Floats, levels: Floats, space: Floats, integers: Ints) -> np.float32:
    """Add the levels to the scores; return the largest of them, or NaN if one is NaN."""
    for lane in range(_WIDE):
        space[lane], integers[lane] = _LOWEST, 0
    for start in range(0, len(levels), _WIDE):  # slices: their places are known to be in range
        part, own = scores[start : start + _WIDE], levels[start : start + _WIDE]
        for lane in range(_WIDE):
            value = part[lane] + own[lane]
            part[lane] = value
            space[lane] = max(space[lane], value)
            integers[lane] |= np.int32(value != value)  # noqa: PLR0124 - NaN, and it alone
    for index in range(len(levels), len(scores)):
        scores[index] = _LOWEST
    top = space[0]
    for lane in range(_WIDE):
        top = max(top, space[lane])
        if integers[lane]:
            return _NAN
    largest: np.float32 = top
    return largest


@inner
def _to_powers(scores: Floats, top: np.float32, integers: Ints) -> None:
    """Turn each score into the exponential of what it is below the largest."""
    for index in range(len(scores)):
        power = scores[index] - top
        power = max(_LEAST, power)
        whole = (power * _PER_LN2 + _ROUNDER) - _ROUNDER
        rest = power - whole * _LN2_HIGH
        rest = rest - whole * _LN2_LOW
        value = _C7 * rest + _C6
        value = value * rest + _C5
        value = value * rest + _C4
        value = value * rest + _C3
        value = value * rest + _C2
        scores[index] = value * rest * rest + rest + _ONE
        integers[index] = np.int32(whole) << np.int32(23)
    bits = scores.view(np.int32)
    for index in range(len(scores)):
        bits[index] += integers[index]  # times 2**whole


@inner_fast  # it calls nothing: numba would let what it calls reorder sums too
def _total(powers: Floats) -> float:
    """Return the sum of a row."""
    total = 0.0
    for start in range(0, len(powers), _PART):
        part, own = powers[start : start + _PART], _ZERO
        for index in range(len(part)):
            own += part[index]
        total += float(own)
    return total
