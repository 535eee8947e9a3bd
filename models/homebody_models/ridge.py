"""A user vector by ridge regression on the device's own events (implicit ALS).

Hu, Koren and Volinsky, "Collaborative Filtering for Implicit Feedback Datasets" (2008); weights as
in Rendle et al., "Revisiting the Performance of iALS" (2021), https://arxiv.org/abs/2110.14037.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Ridge:
    """The quadratic problem a device solves for its user vector. Public.

    Attributes:
        ridge: Weight of the squared length of the user vector, above 0, at most 1e6.
        unseen_weight: Weight of each item's squared score, in [0, 1e6]: unseen items pull to 0.
    """

    ridge: float
    unseen_weight: float

    def __post_init__(self) -> None:
        """Refuse a problem without a unique solution."""
        if not 0.0 < self.ridge <= 1e6:  # noqa: PLR2004 documented range
            raise ValueError(f"ridge must be in (0, 1e6], got {self.ridge!r}")
        if not 0.0 <= self.unseen_weight <= 1e6:  # noqa: PLR2004 documented range
            raise ValueError(f"unseen_weight must be in [0, 1e6], got {self.unseen_weight!r}")

    def user_vectors(
        self,
        gram: npt.NDArray[np.float64],
        rows: npt.NDArray[np.floating],
        weights: npt.NDArray[np.float64],
    ) -> npt.NDArray[np.float64]:
        """Minimise sum w_j (1 - q_j.u)^2 + unseen_weight |Q u|^2 + ridge |u|^2 over u.

        Args:
            gram: Q^T Q of the whole item table, shape ``(dim, dim)``. Public.
            rows: Rows q_j of the history's slots, shape ``(slots, dim)``.
            weights: Weights w_j, shape ``(n, slots)``: one problem for each row. Secret.

        Returns:
            float64 of shape ``(n, dim)``: (unseen_weight Q^T Q + sum w_j q_j q_j^T + ridge I)^-1
            sum w_j q_j; zeros where all weights are 0.
        """
        q = np.asarray(rows, np.float64)
        base = self.unseen_weight * gram + self.ridge * np.eye(len(gram))
        systems = base + np.einsum("ns,si,sj->nij", weights, q, q, optimize=True)
        return np.linalg.solve(systems, (weights @ q)[..., None])[..., 0]

    def each_user(
        self,
        gram: npt.NDArray[np.float64],
        rows: npt.NDArray[np.floating],
        weights: npt.NDArray[np.float64],
    ) -> npt.NDArray[np.float64]:
        """Solve the problem of many histories of the same length, each as if it were alone.

        Args:
            gram: Q^T Q of the whole item table, shape ``(dim, dim)``. Public.
            rows: Rows of each history's slots, shape ``(n, slots, dim)``. Secret.
            weights: Weights of the slots, shape ``(slots,)``.

        Returns:
            float64 of shape ``(n, dim)``: the bits of ``user_vectors`` for each history.
        """
        q = np.asarray(rows, np.float64)
        base = self.unseen_weight * gram + self.ridge * np.eye(len(gram))
        systems = base + (weights[:, None] * q).transpose(0, 2, 1) @ q
        solved = np.linalg.solve(systems, (weights[None] @ q)[:, 0, :, None])
        return np.asarray(solved[..., 0], np.float64)
