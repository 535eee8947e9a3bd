"""Which model has a kernel compiled by numba."""

from homebody_models.matrix_factorization import MatrixFactorization
from homebody_models.popularity import Popularity
from homebody_models.recommender import Recommender
from homebody_simulation.cohort.kernel import Kernel
from homebody_simulation.cohort.on_numba.counts import PopularityKernel
from homebody_simulation.cohort.on_numba.ridge import RidgeKernel


def kernel_of(model: Recommender) -> Kernel | None:
    """Return the kernel of a model, or None if it has none here.

    A subclass or a wrapper may compute something else, so the type must be the very one.
    """
    match model:
        case Popularity() if type(model) is Popularity:
            return PopularityKernel(model.n_items)
        case MatrixFactorization() if type(model) is MatrixFactorization:
            return RidgeKernel(model)
        case _:
            return None
