"""Which model has a kernel in plain PyTorch."""

from homebody_models.recommender import Recommender
from homebody_simulation.cohort.kernel import Kernel


def kernel_of(model: Recommender) -> Kernel | None:
    """Return the kernel of a model, or None if it has none here.

    A subclass or a wrapper may compute something else, so the type must be the very one.
    """
    del model
    return None
