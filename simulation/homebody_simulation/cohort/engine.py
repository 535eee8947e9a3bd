"""The interface every cohort engine keeps, and what it promises.

An engine returns integers on the lattice, before noise, so that engines can be compared exactly:
for the same round, rows and key, ``sum`` is the sum of what each device would have sent on its own.
Integers add up the same in any order: one engine gives the same bits for any number of threads, any
grouping of devices and any order of rows.
"""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

import numpy as np
import numpy.typing as npt


class Status(IntEnum):
    """What became of one device of the cohort."""

    OK = 0
    EMPTY = 1
    """Too little history: a zero contribution, like any other."""
    NOT_FINITE = 2
    """An update that is no number: a zero contribution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CohortResult:
    """What a cohort's devices computed. Secret: it never leaves the engine's caller un-noised.

    Attributes:
        sum: int64 of shape ``(length,)``, sum of all contributions, in lattice steps; where the
            clip norm adapts, the sum of votes is its last entry.
        status: uint8 of shape ``(rows,)``, a ``Status`` for each device.
        each: int64 of shape ``(rows, length)`` with each device's contribution, or None unless
            ``per_device`` was asked.
    """

    sum: npt.NDArray[np.int64] = field(repr=False)
    status: npt.NDArray[np.uint8] = field(repr=False)
    each: npt.NDArray[np.int64] | None = field(repr=False, default=None)


class Engine(Protocol):
    """Trains a cohort."""

    def run(
        self,
        parameters: npt.NDArray[np.float32],
        rows: npt.NDArray[np.int64],
        number: int,
        *,
        clip_norm: float | None = None,
        per_device: bool = False,
    ) -> CohortResult:
        """Return what the devices in ``rows`` contribute to round ``number``.

        Args:
            parameters: Broadcast model, flat, of shape ``(size,)``.
            rows: Device numbers, without repeats. Their order does not change the result.
            number: Round, from 1; keys the devices' choices.
            clip_norm: The round's clip norm, where it adapts; None for the config's.
            per_device: Keep each device's contribution too.
        """
        ...
