"""The reference engine: one device at a time, by the code a device runs; the others' oracle."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from homebody_client.host import Host
from homebody_client.training import contribution
from homebody_simulation.cohort.engine import CohortResult, Status


@dataclass(frozen=True, slots=True)
class ReferenceEngine:
    """Trains the devices of ``host`` in turn.

    Attributes:
        host: Node that hosts every device of the population.
    """

    host: Host

    def run(
        self,
        parameters: npt.NDArray[np.float32],
        rows: npt.NDArray[np.int64],
        number: int,
        *,
        clip_norm: float | None = None,
        per_device: bool = False,
    ) -> CohortResult:
        """Return what the devices in ``rows`` contribute; see ``Engine.run``."""
        length = self.host.model.layout.trained_size + (clip_norm is not None)
        total = np.zeros(length, np.int64)
        status = np.full(len(rows), Status.OK, np.uint8)
        each = np.zeros((len(rows), length), np.int64) if per_device else None
        for index, device in enumerate(rows):
            own = contribution(self.host, int(device), parameters, number, clip_norm)
            total += own
            if not own[: self.host.model.layout.trained_size].any():
                status[index] = Status.EMPTY
            if each is not None:
                each[index] = own
        return CohortResult(sum=total, status=status, each=each)
