"""One pass of stochastic gradient descent over a device's own history, in logistic factorisation.

The loss of a batch is the cross entropy of logits q_i . p + b_i, of its positives and of their
negatives, divided by the number of positives. Rows and user vector step from the same forward pass;
an item met twice in a batch gets both changes.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """How a device takes its pass; public.

    Attributes:
        batch: Positives a step, at least 1.
        rows_rate: Learning rate of item rows and biases, above 0.
        user_rate: Learning rate of the user vector, at least 0.
    """

    batch: int = 32
    rows_rate: float = 1.0
    user_rate: float = 0.3

    def __post_init__(self) -> None:
        """Refuse a pass that would not train."""
        if self.batch < 1:
            raise ValueError(f"batch must be at least 1, got {self.batch}")
        if not 0.0 < self.rows_rate < np.inf:
            raise ValueError(f"rows_rate must be finite and above 0, got {self.rows_rate!r}")
        if not 0.0 <= self.user_rate < np.inf:
            raise ValueError(f"user_rate must be finite and at least 0, got {self.user_rate!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalChange:
    """What a pass changed. Secret.

    Attributes:
        items: int64 of shape ``(touched,)``: the items met, ascending, each once.
        rows: float64 of shape ``(touched, dim)``: how their rows changed.
        biases: float64 of shape ``(touched,)``: how their biases changed.
        user: float64 of shape ``(dim,)``: the user vector after the pass. It stays on the device.
        loss: Mean over the positives of their batch's loss, in nats; NaN without a positive.
    """

    items: npt.NDArray[np.int64] = field(repr=False)
    rows: Vector = field(repr=False)
    biases: Vector = field(repr=False)
    user: Vector = field(repr=False)
    loss: float = field(repr=False)


def local_epoch(
    table: npt.NDArray[np.floating],
    bias: npt.NDArray[np.floating] | None,
    user: npt.NDArray[np.floating],
    positives: npt.NDArray[np.integer],
    negatives: npt.NDArray[np.integer],
    epoch: Epoch,
) -> LocalChange:
    """Train rows and user vector on each event once, in the order given, in float64.

    Args:
        table: Item table of shape ``(items, dim)``; it is left as it was. Public.
        bias: Item bias of shape ``(items,)``; None for no bias at all. Public.
        user: User vector to start from, of shape ``(dim,)``. Secret.
        positives: Items of the history, of shape ``(n,)``; may be empty. Secret.
        negatives: Items drawn for each of them, of shape ``(n, k)``.
        epoch: Rates and the size of a batch.
    """
    pairs = np.column_stack((positives.astype(np.int64), negatives.astype(np.int64)))
    items, index = np.unique(pairs, return_inverse=True)
    index = index.reshape(pairs.shape)
    start = table[items].astype(np.float64)
    level = np.zeros(len(items)) if bias is None else bias[items].astype(np.float64)
    rows, levels, total = start.copy(), level.copy(), 0.0
    own_user: Vector = user.astype(np.float64)
    for first in range(0, len(pairs), epoch.batch):
        places = index[first : first + epoch.batch]
        own, wanted = places.ravel(), np.zeros(places.shape)
        wanted[:, 0] = 1.0
        with np.errstate(over="ignore", invalid="ignore"):  # what is no number adds zeros later
            met = rows[own]
            logits = met @ own_user + levels[own]
            total += (np.logaddexp(0.0, logits) - wanted.ravel() * logits).sum()
            slope = (0.5 + 0.5 * np.tanh(0.5 * logits) - wanted.ravel()) / len(places)
            step = epoch.rows_rate * np.bincount(own, slope, len(items))  # met twice: both
            rows -= step[:, None] * own_user
            if bias is not None:
                levels -= step
            own_user = own_user - epoch.user_rate * (slope @ met)
    loss = float(total) / len(pairs) if len(pairs) else float("nan")
    with np.errstate(invalid="ignore"):
        return LocalChange(
            items=items, rows=rows - start, biases=levels - level, user=own_user, loss=loss
        )
