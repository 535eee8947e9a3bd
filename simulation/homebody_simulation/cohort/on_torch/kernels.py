"""Which model has a kernel in plain PyTorch."""

import torch

from homebody_models.core_tower import CoreTower
from homebody_models.logistic_factorization import LogisticFactorization
from homebody_models.matrix_factorization import MatrixFactorization
from homebody_models.recommender import Recommender
from homebody_models.two_tower import TwoTower
from homebody_simulation.cohort.kernel import Kernel
from homebody_simulation.cohort.on_torch.factorizations import LogisticPass, RidgeLoss
from homebody_simulation.cohort.on_torch.kernel import TorchKernel
from homebody_simulation.cohort.on_torch.protocol import TorchModel, TorchPass
from homebody_simulation.cohort.on_torch.towers import CoreTowerLoss, TwoTowerLoss


def kernel_of(model: Recommender) -> Kernel | None:
    """Return the kernel of a model, or None if it has none here.

    A model of the zoo has one, and so has every model that says its own loss (``TorchModel``,
    ``TorchPass``). A subclass or a wrapper may compute something else than the model of the zoo, so
    that the type must be the very one.
    """
    rule = _rule_of(model)
    if rule is None:
        return None
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return TorchKernel(model=model, rule=rule, device=device)


def _rule_of(model: Recommender) -> TorchModel | TorchPass | None:
    """Return a model's loss in torch, or None."""
    if isinstance(model, (TorchModel, TorchPass)):
        return model
    if type(model) is TwoTower:
        return TwoTowerLoss(model)
    if type(model) is CoreTower:
        return CoreTowerLoss(model)
    if type(model) is MatrixFactorization:
        return RidgeLoss(model)
    if type(model) is LogisticFactorization:
        return LogisticPass(model)
    return None
