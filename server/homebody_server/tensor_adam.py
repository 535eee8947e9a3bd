"""Adam with one second moment for each tensor instead of one for each coordinate.

A release carries noise of the same scale on every coordinate, so a coordinate's own second moment
is mostly noise: dividing by it bends the direction that clipping and noise were calibrated for.
One second moment a tensor keeps the direction and still sets the step's length. It is Adam (Kingma
and Ba 2015, https://arxiv.org/abs/1412.6980) with the squared gradient averaged over the tensor, as
in Adam-mini (Zhang et al. 2024, https://arxiv.org/abs/2406.16793) with a block a tensor.
"""

from collections.abc import Iterable

import torch


class TensorAdam(torch.optim.Optimizer):
    """Adam whose second moment is one number a tensor.

    Args:
        params: Tensors to optimise.
        lr: Step length, in units of the parameter, above 0.
        betas: Decay of the first and of the second moment, each in [0, 1).
        eps: Added to the root of the second moment.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        params: Iterable[torch.nn.Parameter],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.99),
        eps: float = 1e-10,
    ) -> None:
        """Keep the constants."""
        if not lr > 0.0 or not eps > 0.0 or not all(0.0 <= beta < 1.0 for beta in betas):
            raise ValueError("lr and eps must be above 0, betas in [0, 1)")
        super().__init__(params, {"lr": lr})
        self._betas = betas
        self._eps = eps

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move each tensor that has a gradient.

        Raises:
            ValueError: If a closure is given: a release is made once.
        """
        if closure is not None:
            raise ValueError("a release is made once: no closure")
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self._move(p, p.grad, group["lr"])

    def _move(self, p: torch.Tensor, grad: torch.Tensor, lr: float) -> None:
        first, second = self._betas
        state = self.state[p]
        if not state:
            state["step"] = torch.tensor(0.0)
            state["exp_avg"] = torch.zeros_like(p)
            state["exp_avg_sq"] = torch.zeros(())
        state["step"] += 1.0
        taken = float(state["step"])
        state["exp_avg"].mul_(first).add_(grad, alpha=1.0 - first)
        square = grad.double().square().mean()
        state["exp_avg_sq"].mul_(second).add_(square.float(), alpha=1.0 - second)
        mean = state["exp_avg"] / (1.0 - first**taken)
        root = (state["exp_avg_sq"] / (1.0 - second**taken)).sqrt() + self._eps
        p.sub_(mean / root, alpha=lr)
