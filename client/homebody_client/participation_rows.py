"""A join as a row of the record: its columns, and the hash of all rows up to it."""

import struct
from hashlib import sha256
from typing import Final

from .participation import Join

ROOT: Final = bytes(32)
"""Stands before the first join."""

StructError = struct.error
"""What ``chained`` raises for numbers that no join has."""

_LABEL: Final = b"homebody/participation/v1\0"


def join_of(  # one argument a column
    device: int, run: str, number: int, model: bytes, terms: bytes, square: float
) -> Join:
    """Return the join that a row holds.

    Raises:
        AttributeError: If a digest is not bytes.
        TypeError: If a number is none.
        ValueError: If no device could have done it.
    """
    return Join(
        device=device, run=run, round=number, model=model.hex(), terms=terms.hex(), square=square
    )


def chained(head: bytes, join: Join) -> bytes:
    """Return the hash of a row and of all before it.

    Args:
        head: Hash of the row before, or ``ROOT``.
        join: What the row holds.
    """
    run = join.run.encode()
    numbers = struct.pack(">QQdI", join.device, join.round, join.square, len(run))
    digests = bytes.fromhex(join.model + join.terms)
    return sha256(_LABEL + head + numbers + run + digests).digest()
