"""What a simulated node may use to answer for all its devices at once.

A deployed node hosts one device and has no engine. In a simulation a node may host a shard of a
population; an engine then does for the shard what ``training``, ``statistic`` and ``figures`` do
for one device, and returns the sum of the very integers that each would have sent.
"""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from homebody_privacy.messages import StatisticName

Devices = npt.NDArray[np.int64]
Integers = npt.NDArray[np.int64]
Parameters = npt.NDArray[np.float32]


class ShardEngine(Protocol):
    """Answers for many devices; each is bounded on its own before it enters a sum. Secret."""

    def train(
        self, devices: Devices, parameters: Parameters, number: int, clip_norm: float | None
    ) -> Integers:
        """Return the sum of what the devices add to round ``number``; see ``contribution``.

        Args:
            devices: Device numbers, without repeats, shape ``(n,)``; their order does not matter.
            parameters: Broadcast model, flat, of shape ``(size,)``.
            number: Round, from 1.
            clip_norm: The round's clip norm, where it adapts: then the sum of votes comes last.
        """
        ...

    def statistic(self, devices: Devices, name: StatisticName, broadcast: Parameters) -> Integers:
        """Return the sum of what the devices add to a statistic; see ``statistic_of``."""
        ...

    def figure(self, devices: Devices, parameters: Parameters, metric: str) -> Integers:
        """Return the sum of what the devices add to a figure; see ``figure_contribution``."""
        ...
