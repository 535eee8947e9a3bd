"""The few devices a kernel leaves: done by the model itself, as each of them would do it alone."""

import numpy as np
import numpy.typing as npt

from homebody_models.draws import Draws
from homebody_models.recommender import Recommender
from homebody_simulation.cohort.engine import Status
from homebody_simulation.cohort.kernel import Sums, Work


def add_alone(
    model: Recommender,
    parameters: npt.NDArray[np.float32],
    work: Work,
    sums: Sums,
    places: npt.NDArray[np.int64],
) -> None:
    """Add to ``sums`` what some devices of ``work`` contribute, and say what became of them.

    Args:
        model: The model being trained.
        parameters: Broadcast model, flat, of shape ``(size,)``.
        work: Whose, and how it is bounded.
        sums: What the others came to; changed.
        places: Which of ``work.rows``; they have added nothing so far.
    """
    for place in places.tolist():
        row = work.rows[place]
        history = work.items[work.ptr[row] : work.ptr[row + 1]]
        with np.errstate(all="ignore"):  # numbers that are none are why it is here
            local = model.local_gradient(parameters, history, Draws(int(work.keys[place])))
            norm = float(np.linalg.norm(local.vector))
        own = work.lattice.contribution(-local.vector)
        sums.sum[:] += own
        if sums.each is not None:
            sums.each[place] = own
        finite = bool(np.isfinite(local.vector).all())
        sums.norms[place] = norm if finite else np.nan
        sums.status[place] = Status.OK if finite else Status.NOT_FINITE
        if not local.examples:
            sums.status[place] = Status.EMPTY
