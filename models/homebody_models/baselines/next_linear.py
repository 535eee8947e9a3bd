"""The next item as a linear function of the recent ones: one ridge regression over all positions.

EASE predicts each item from those around it, before and after. Here a position is predicted from
what came before alone, with the recency weights that ranking uses, so that direction counts:
with x_t = sum_s decay^(t - 1 - s) e_i(s) over s < t, B = (sum x x^T + ridge I)^-1 sum x e_i(t)^T.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from homebody_models.baselines.baseline import Axes, Setting, own_again
from homebody_models.baselines.gram import EVENTS, REPEATED, Head, head_of
from homebody_models.baselines.linear import Linear
from homebody_models.interactions import Interactions
from homebody_models.recommender import Scores

Matrix = npt.NDArray[np.float64]

_FADES: Final = (0.7, 0.8)
_RIDGES: Final = (300.0, 100.0, 1_000.0)
_DECAYS: Final = (0.7, 0.8, 0.9)


@dataclass(frozen=True, slots=True)
class NextLinear:
    """Ridge regression of the next item on the decayed history."""

    name: str = "next-linear"
    note: str = "the next item as a linear function of the recent ones"

    def axes(self, train: Interactions) -> Axes:
        """Return decays of the regression, ridges, and decays of ranking."""
        return {"fade": _FADES, "ridge": _RIDGES, "decay": _DECAYS, **own_again(train)}

    def fit_each(
        self,
        train: Interactions,
        settings: Sequence[Setting],
        *,
        seed: int,  # noqa: ARG002 protocol
    ) -> Iterator[Scores]:
        """Sum once for each fade, solve once for each ridge."""
        head = head_of(train)
        fade, ridge = float("nan"), float("nan")
        before, onto = np.zeros((0, 0)), np.zeros((0, 0))
        matrix = np.zeros((0, 0), np.float32)
        for setting in settings:
            if setting["fade"] != fade:
                fade, ridge = setting["fade"], float("nan")
                before, onto = next_sums(train, head, fade)
            if setting["ridge"] != ridge:
                ridge = setting["ridge"]
                held = before + ridge * np.eye(len(before))
                matrix = np.linalg.solve(held, onto).astype(np.float32)
            yield Linear(head, matrix, setting["decay"], setting.get("repeat", 0.0))


def next_sums(train: Interactions, head: Head, fade: float) -> tuple[Matrix, Matrix]:
    """Return the sums of x x^T and of x e^T over all positions of all devices, shape ``(h, h)``.

    Args:
        train: Histories. Secret.
        head: The items that count; others are left out before positions are numbered.
        fade: Weight of an event relative to the next newer one, in (0, 1).
    """
    before = np.zeros((len(head.items), len(head.items)))
    onto = np.zeros_like(before)
    newest = REPEATED if train.repeats else EVENTS
    ages = np.arange(newest)
    powers = fade ** np.abs(ages[:, None] - ages)  # symmetric, 8 MB
    # Of two events the newer one is in as many later x as positions follow it.
    later = (1.0 - fade ** (2.0 * ages)) / (1.0 - fade * fade)
    for device in range(train.devices):
        own = head.place[train.history(device)[-newest:]]
        own = own[own >= 0]
        n = len(own)
        followed = later[np.arange(n - 1, -1, -1)]
        both = powers[:n, :n] * np.minimum(followed[:, None], followed)
        ahead = np.triu(powers[:n, :n], 1) / fade
        distinct = np.unique(own)
        if len(distinct) == n:
            before[np.ix_(own, own)] += both
            onto[np.ix_(own, own)] += ahead
        else:
            at = np.ix_(distinct, distinct)
            rows = (own == distinct[:, None]).astype(np.float64)
            before[at] += rows @ both @ rows.T
            onto[at] += rows @ ahead @ rows.T
    return before, onto
