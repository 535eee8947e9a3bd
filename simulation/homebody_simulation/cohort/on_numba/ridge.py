"""``MatrixFactorization`` for many devices at once: a ridge solve each, a sum on the lattice.

A device's update of the item table has rank one, so that its norm is a product of two and nothing
of the size of the table is kept of it: its rows are truncated as they are added. What all systems
share is inverted once a broadcast; what is left to solve is as large as a history is long.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from homebody_models.matrix_factorization import MatrixFactorization
from homebody_privacy.lattice import Lattice
from homebody_simulation.cohort.again import add_alone
from homebody_simulation.cohort.bounds import Bounds
from homebody_simulation.cohort.dealing import added, check_rows, in_threads, read_only
from homebody_simulation.cohort.kernel import Sums, Work
from homebody_simulation.cohort.on_numba.ridge_kernels import AGAIN, Shared, room, train

Integers = npt.NDArray[np.int64]

_ALIKE: Final = 1e-9
"""Ratio of the ends of a spectrum below which half the digits of an inverse are rounding."""


@dataclass(frozen=True, slots=True)
class RidgeKernel:
    """Trains ``MatrixFactorization``; see ``Kernel``.

    Systems are solved in float64 by Cholesky, scores made in float32, norm, clip and truncation
    done in float64. A device whose system is nearly singular, whose numbers are not finite or whose
    integers would pass the bound is done by the model itself: it comes out as it would alone.

    Attributes:
        model: Its options.
    """

    model: MatrixFactorization

    def run(self, parameters: npt.NDArray[np.float32], work: Work) -> Sums:
        """Return the sum of what the devices of ``work`` contribute; see ``Kernel.run``."""
        check_rows(work.ptr, work.rows)
        model, count = self.model, len(work.rows)
        shared = self._shared(parameters, work.lattice)
        ptr, items = read_only(work.ptr), read_only(work.items)
        norms, status = np.zeros(count), np.full(count, AGAIN, np.uint8)

        def task(places: Integers) -> Integers:
            total = np.zeros(model.layout.trained_size, np.int64)
            if shared is not None:
                own = room(model.n_items, model.dim)
                train(ptr, items, work.rows[places], places, shared, own, total, norms, status)
            return total

        each = None
        if work.per_device:
            each = np.array([task(np.array([place])) for place in range(count)], np.int64)
            each = each.reshape(count, model.layout.trained_size)
            total = each.sum(axis=0)
        else:
            total = added(in_threads(task, count, work.threads))
        sums = Sums(sum=total, norms=norms, status=status, each=each)
        add_alone(model, parameters, work, sums, np.flatnonzero(status == AGAIN))
        return sums

    def _shared(self, parameters: npt.NDArray[np.float32], lattice: Lattice) -> Shared | None:
        """Return what all devices work with; None where what they share is nearly singular."""
        model = self.model
        views = model.layout.views(np.asarray(parameters, np.float32))
        table = views["Q"].astype(np.float32)
        with np.errstate(all="ignore"):  # a table beyond float32 is the model's to refuse
            gram = (table.T @ table).astype(np.float64)  # as the model makes it
            base = model.unseen_weight * gram + model.ridge * np.eye(model.dim)
        if not np.isfinite(base).all():
            return None
        spectrum = np.linalg.eigvalsh(base)
        if not spectrum[0] > _ALIKE * spectrum[-1]:
            return None
        decays = model.history_decay ** np.arange(model.history_max, dtype=np.float64)
        bounds = Bounds.of(lattice, model.layout.trained_size)
        return Shared(
            table=table,
            bias=views["b"].astype(np.float64),
            solved=np.ascontiguousarray(np.linalg.solve(base, table.T.astype(np.float64)).T),
            decays=decays,
            roots=np.sqrt(decays),
            unseen=model.unseen_weight,
            peak=float(np.abs(table).max()),
            clip=bounds.clip,
            scale=bounds.scale,
            squares=float(bounds.squares),
            most=lattice.max_devices,
        )
