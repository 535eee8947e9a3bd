"""Shares of a secret, any ``threshold`` of which give it back and fewer say nothing.

Shamir, "How to share a secret" (1979), over the integers modulo the prime 2**256 + 297, so that
every 32-byte secret is an element. A holder's point is its number in the roster plus one, never 0.
Not in constant time: Python integers.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Final

PRIME: Final = 2**256 + 297
SECRET_BYTES: Final = 32
SHARE_BYTES: Final = 33
_DRAW_BYTES: Final = 48  # modulo PRIME, off from uniform by less than 2**-127


def split(
    secret: bytes, points: Sequence[int], threshold: int, draw: Callable[[int], bytes]
) -> list[bytes]:
    """Split a secret.

    Args:
        secret: 32 bytes. Secret.
        points: Distinct points of the holders, from 1. Public.
        threshold: Shares that give it back, from 1 to the number of points.
        draw: Returns so many unpredictable bytes, new ones at each call. Secret.

    Returns:
        A share of 33 bytes, big-endian, for each point, in order. Each is secret.

    Raises:
        ValueError: If an argument is out of range.
    """
    if len(secret) != SECRET_BYTES:
        raise ValueError(f"a secret has {SECRET_BYTES} bytes, got {len(secret)}")
    if not 1 <= threshold <= len(points):
        raise ValueError("threshold must be from 1 to the number of points")
    _check(points)
    drawn = draw(_DRAW_BYTES * (threshold - 1))
    if len(drawn) != _DRAW_BYTES * (threshold - 1):
        raise ValueError("the source of randomness gave another number of bytes")
    higher = [
        int.from_bytes(drawn[at : at + _DRAW_BYTES], "big") % PRIME
        for at in range(0, len(drawn), _DRAW_BYTES)
    ]
    constant = int.from_bytes(secret, "big")
    shares = []
    for point in points:
        value = 0
        for coefficient in higher:
            value = (value + coefficient) * point % PRIME
        shares.append(((value + constant) % PRIME).to_bytes(SHARE_BYTES, "big"))
    return shares


def combine(shares: Mapping[int, bytes]) -> bytes | None:
    """Give back a secret from exactly as many shares as its threshold.

    Args:
        shares: Share by point. Secret.

    Returns:
        32 bytes, secret; None if the shares are not of one secret of 32 bytes. Wrong shares may
        also give a wrong secret: only a commitment tells.

    Raises:
        ValueError: If a point is not from 1 or a share is no element of the field.
    """
    points = tuple(sorted(shares))
    weights = coefficients(points)
    total = sum(
        weight * element(shares[point]) for weight, point in zip(weights, points, strict=True)
    )
    value = total % PRIME
    return value.to_bytes(SECRET_BYTES, "big") if value < 1 << (8 * SECRET_BYTES) else None


def element(share: bytes) -> int:
    """Return a share as a number.

    Raises:
        ValueError: If it is not 33 bytes of a number below the prime.
    """
    value = int.from_bytes(share, "big")
    if len(share) != SHARE_BYTES or value >= PRIME:
        raise ValueError("a share is 33 bytes of a number below the prime")
    return value


@lru_cache(maxsize=8)
def coefficients(points: tuple[int, ...]) -> tuple[int, ...]:
    """Return Lagrange's weights at 0: ``f(0) = sum(weight * f(point))`` modulo the prime.

    Args:
        points: Distinct, increasing, from 1. Public.

    Raises:
        ValueError: If they are not.
    """
    _check(points)
    if any(left >= right for left, right in pairwise(points)):
        raise ValueError("points must increase")
    below = [
        math.prod(other - point for other in points if other != point) * point for point in points
    ]
    above = math.prod(points)
    return tuple(above * inverse % PRIME for inverse in _inverses(below))


def _inverses(values: Sequence[int]) -> list[int]:
    """Invert all with one inversion (Montgomery's trick)."""
    running, products = 1, []
    for value in values:
        products.append(running)
        running = running * value % PRIME
    inverse = pow(running, -1, PRIME)
    found = []
    for value, before in zip(reversed(values), reversed(products), strict=True):
        found.append(inverse * before % PRIME)
        inverse = inverse * value % PRIME
    return found[::-1]


def _check(points: Sequence[int]) -> None:
    if not points or min(points) < 1 or len(set(points)) != len(points):
        raise ValueError("points must be distinct and from 1")
