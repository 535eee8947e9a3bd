"""Which model has a kernel compiled by numba."""

from homebody_models.core_tower import CoreTower
from homebody_models.logistic_factorization import LogisticFactorization
from homebody_models.matrix_factorization import MatrixFactorization
from homebody_models.popularity import Popularity
from homebody_models.recommender import Recommender
from homebody_models.two_tower import TwoTower
from homebody_simulation.cohort.kernel import Kernel
from homebody_simulation.cohort.on_numba.counts import PopularityKernel
from homebody_simulation.cohort.on_numba.factorization import LogisticKernel
from homebody_simulation.cohort.on_numba.ridge import RidgeKernel
from homebody_simulation.cohort.on_numba.tower import TwoTowerKernel
from homebody_simulation.cohort.on_numba.tower_core import CoreTowerKernel


def kernel_of(model: Recommender) -> Kernel | None:
    """Return the kernel of a model, or None if it has none here.

    A subclass or a wrapper may compute something else, so the type must be the very one.
    """
    match model:
        case Popularity() if type(model) is Popularity:
            return PopularityKernel(model.n_items)
        case MatrixFactorization() if type(model) is MatrixFactorization:
            return RidgeKernel(model)
        case LogisticFactorization() if type(model) is LogisticFactorization:
            return LogisticKernel.of(model)
        case TwoTower() if type(model) is TwoTower:
            return TwoTowerKernel(model)
        case CoreTower() if type(model) is CoreTower:
            return CoreTowerKernel(model)
        case _:
            return None
