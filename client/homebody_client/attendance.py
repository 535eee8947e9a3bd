"""Which devices of a simulated node are there when they are asked, and which answers arrive.

A deployed node is one device, and is there or not. A node of a simulation stands for many: it is
told which of them to leave out, and why a server of single devices would not have heard of them.
"""

from typing import Protocol

import numpy as np
import numpy.typing as npt

Devices = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


class Attendance(Protocol):
    """Says who is there. A function of its arguments, so that a resumed run sees the same."""

    def online(self, devices: Devices, number: int, about: str = "") -> Flags:
        """Tell which devices hear the question; one that does not has joined nothing.

        Args:
            devices: Device numbers, shape ``(n,)``.
            number: Round, from 1; 0 for what is asked before the first.
            about: Which statistic or figure; empty for a round.
        """
        ...

    def delivering(self, devices: Devices, number: int, about: str = "") -> Flags:
        """Tell of which devices, if they are online, the answer comes, and in time."""
        ...
