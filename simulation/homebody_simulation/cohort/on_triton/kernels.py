"""Which model has a kernel in Triton."""

from typing import TYPE_CHECKING, Final, Protocol

from homebody_models.core_tower import CoreTower
from homebody_models.logistic_factorization import LogisticFactorization
from homebody_models.matrix_factorization import MatrixFactorization
from homebody_models.popularity import Popularity
from homebody_models.recommender import Recommender
from homebody_models.two_tower import TwoTower
from homebody_simulation.cohort.kernel import Counter, Kernel

if TYPE_CHECKING:
    from homebody_simulation.cohort.on_triton.loading import Loader

_MODELS: Final = {CoreTower, LogisticFactorization, MatrixFactorization, Popularity, TwoTower}


class TritonKernel(Kernel, Protocol):
    """A kernel that keeps histories where Triton runs.

    Attributes:
        loader: Brings them there.
    """

    loader: "Loader"


def kernel_of(model: Recommender) -> TritonKernel | None:  # noqa: PLR0911 a model each
    """Return the kernel of a model, or None if it has none here.

    A subclass or a wrapper may compute something else, so the type must be the very one. Triton is
    loaded here, so that ``TRITON_INTERPRET`` may be set until then.

    Raises:
        UsageError: If the model has a kernel and there is no CUDA device to run it.
        MissingExtraError: If triton is not installed.
    """
    if type(model) not in _MODELS:
        return None
    from homebody_simulation.cohort.on_triton.processor import processor  # noqa: PLC0415

    processor()  # says what is missing, before a program is loaded
    match model:
        case LogisticFactorization():
            from homebody_simulation.cohort.on_triton.factorization import (  # noqa: PLC0415
                TritonFactorization,
            )

            return TritonFactorization(model)
        case TwoTower():
            from homebody_simulation.cohort.on_triton.tower import (  # noqa: PLC0415
                MOST_CUTS,
                TritonTower,
            )

            return TritonTower(model) if model.cuts <= MOST_CUTS else None
        case CoreTower():
            from homebody_simulation.cohort.on_triton.core import TritonCore  # noqa: PLC0415

            return TritonCore(model)
        case MatrixFactorization():
            from homebody_simulation.cohort.on_triton.ridge import (  # noqa: PLC0415
                TritonRidge,
            )

            return TritonRidge(model)
        case Popularity():
            from homebody_simulation.cohort.on_triton.counts import (  # noqa: PLC0415
                TritonPopularity,
            )

            return TritonPopularity(model.n_items)
        case _:
            return None


def counter_beside(kernel: TritonKernel) -> Counter:
    """Return what counts one-shot statistics where a kernel runs, of the histories it loads."""
    from homebody_simulation.cohort.on_triton.statistics import TritonCounter  # noqa: PLC0415

    return TritonCounter(kernel.loader)
