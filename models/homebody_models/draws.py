"""Which examples a device trains on: counters hashed by its key for the round, not a stream.

Any draw can be made on its own, in any order, so that a cohort trained at once makes the draws that
each device makes alone, whatever the number of threads or shards. No privacy rests on them: noise
comes from elsewhere. The mixing is the 32-bit finaliser of Wellons, "Prospecting for Hash
Functions" (2018), https://nullprogram.com/blog/2018/07/31/.
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

STEP: Final = 0x9E3779B1
FIRST: Final = 0x7FEB352D
SECOND: Final = 0x846CA68B
_WORD: Final = 0xFFFFFFFF

Words = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Draws:
    """The draws of one device in one round.

    Attributes:
        key: The device's key in the round, 32 bits. Secret.

    Examples:
        >>> Draws.of(3191964574, device=0).items(3706, 4).tolist()
        [2855, 2510, 626, 688]
        >>> Draws(0).subset(10, 3).tolist()
        [0, 3, 6]
    """

    key: int

    def __post_init__(self) -> None:
        """Refuse a key that is no 32-bit word."""
        if not 0 <= self.key <= _WORD:
            raise ValueError("key must be an unsigned 32-bit word")

    @classmethod
    def of(cls, round_key: int, device: int) -> Self:
        """Return the draws of a device.

        Args:
            round_key: Key of the round, 32 bits.
            device: Device number, from 0.
        """
        return cls(int(device_keys(round_key, np.array([device], np.int64))[0]))

    def words(self, indices: npt.NDArray[np.integer]) -> Words:
        """Return the uniform 32-bit word of each index."""
        with np.errstate(over="ignore"):
            h = np.uint32(self.key) + np.asarray(indices).astype(np.uint32) * np.uint32(STEP)
            h ^= h >> np.uint32(16)
            h *= np.uint32(FIRST)
            h ^= h >> np.uint32(15)
            h *= np.uint32(SECOND)
            h ^= h >> np.uint32(16)
        mixed: Words = h
        return mixed

    def items(self, n_items: int, count: int, start: int = 0) -> npt.NDArray[np.int64]:
        """Return ``count`` items of ``range(n_items)``, of the indices from ``start``."""
        words = self.words(np.arange(start, start + count)).astype(np.uint64)
        chosen: npt.NDArray[np.int64] = ((words * np.uint64(n_items)) >> np.uint64(32)).astype(
            np.int64
        )
        return chosen

    def subset(self, n: int, k: int) -> npt.NDArray[np.int64]:
        """Return ``min(k, n)`` numbers of ``range(n)``, ascending: those with the least words.

        Of two with the same word the smaller number comes first.
        """
        order = np.argsort(self.words(np.arange(n)), kind="stable")
        chosen: npt.NDArray[np.int64] = np.sort(order[:k]).astype(np.int64)
        return chosen


def device_keys(round_key: int, devices: npt.NDArray[np.integer]) -> Words:
    """Return each device's key in a round: what ``Draws`` takes.

    Args:
        round_key: Key of the round, 32 bits.
        devices: Device numbers, from 0; shape ``(n,)``.
    """
    with np.errstate(over="ignore"):
        h = np.uint32(round_key) ^ (np.asarray(devices).astype(np.uint32) * np.uint32(STEP))
        h ^= h >> np.uint32(16)
        h *= np.uint32(SECOND)
    keys: Words = h
    return keys
