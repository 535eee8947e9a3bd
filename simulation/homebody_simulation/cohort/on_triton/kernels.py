"""Which model has a kernel in Triton."""

from homebody_models.logistic_factorization import LogisticFactorization
from homebody_models.matrix_factorization import MatrixFactorization
from homebody_models.recommender import Recommender
from homebody_models.two_tower import TwoTower
from homebody_simulation.cohort.kernel import Kernel


def kernel_of(model: Recommender) -> Kernel | None:
    """Return the kernel of a model, or None if it has none here.

    A subclass or a wrapper may compute something else, so the type must be the very one. Triton is
    loaded here, so that ``TRITON_INTERPRET`` may be set until then.

    Raises:
        UsageError: If the model has a kernel and there is no CUDA device to run it.
        MissingExtraError: If triton is not installed.
    """
    if type(model) in {LogisticFactorization, MatrixFactorization, TwoTower}:
        from homebody_simulation.cohort.on_triton.processor import processor  # noqa: PLC0415

        processor()  # says what is missing, before a program is loaded
    match model:
        case LogisticFactorization() if type(model) is LogisticFactorization:
            from homebody_simulation.cohort.on_triton.factorization import (  # noqa: PLC0415
                TritonFactorization,
            )

            return TritonFactorization(model)
        case TwoTower() if type(model) is TwoTower:
            from homebody_simulation.cohort.on_triton.tower import (  # noqa: PLC0415
                MOST_CUTS,
                TritonTower,
            )

            return TritonTower(model) if model.cuts <= MOST_CUTS else None
        case MatrixFactorization() if type(model) is MatrixFactorization:
            from homebody_simulation.cohort.on_triton.ridge import (  # noqa: PLC0415
                TritonRidge,
            )

            return TritonRidge(model)
        case _:
            return None
