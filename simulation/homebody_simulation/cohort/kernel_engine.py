"""An engine made of a kernel: it keys the devices' draws and counts their votes."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from homebody_client.training import round_key
from homebody_models.draws import device_keys
from homebody_models.interactions import Interactions
from homebody_privacy.adaptive_clip import ABSTAINED, CLIPPED, WITHIN
from homebody_privacy.lattice import Lattice
from homebody_simulation.cohort.engine import CohortResult, Status
from homebody_simulation.cohort.kernel import Counter, Kernel, Sums, Work


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelEngine:
    """Trains devices of a population with a kernel; see ``Engine``.

    Attributes:
        kernel: Knows the model.
        histories: What the devices hold; may be memory-mapped. Secret.
        lattice: Bound and step of one device's contribution.
        example_key: Key of the devices' choices of examples.
        threads: Threads a kernel may use, at least 1.
        counter: Counts one-shot statistics where the kernel runs; None for the processor of the
            host.
    """

    kernel: Kernel
    histories: Interactions = field(repr=False)
    lattice: Lattice
    example_key: bytes = field(repr=False)
    threads: int = 1
    counter: Counter | None = None

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
        adapts = clip_norm is not None
        lattice = Lattice(clip_norm, self.lattice.bits) if clip_norm is not None else self.lattice
        work = Work(
            ptr=self.histories.ptr,
            items=self.histories.items,
            rows=rows,
            keys=device_keys(round_key(self.example_key, number), rows),
            lattice=lattice,
            threads=self.threads,
            per_device=per_device,
        )
        sums = self.kernel.run(parameters, work)
        return _with_votes(sums, lattice.clip_norm) if adapts else _result(sums)


def _result(sums: Sums) -> CohortResult:
    return CohortResult(sum=sums.sum, status=sums.status, each=sums.each)


def _with_votes(sums: Sums, clip_norm: float) -> CohortResult:
    """Append what the devices' votes add up to, and each of them."""
    votes = np.where(sums.norms <= clip_norm, WITHIN, CLIPPED).astype(np.int64)
    votes[sums.status == Status.NOT_FINITE] = ABSTAINED
    return CohortResult(
        sum=np.append(sums.sum, votes.sum()),
        status=sums.status,
        each=None if sums.each is None else np.column_stack((sums.each, votes)),
    )
