"""Bound what one device can add to a sum.

The L2 clip of Abadi et al., "Deep Learning with Differential Privacy" (2016),
https://arxiv.org/abs/1607.00133, applied to a device's whole update as in McMahan et al.,
"Learning Differentially Private Recurrent Language Models" (2018), https://arxiv.org/abs/1710.06963.
"""

import math

import numpy as np
import numpy.typing as npt

_LEAST = 1e-200  # a smaller bound would lose digits to underflow


def clip_update(update: npt.ArrayLike, clip_norm: float) -> npt.NDArray[np.float64]:
    """Scale a client update down until its L2 norm is at most ``clip_norm``.

    The direction is kept. Truncation to the lattice comes later, with a bound of its own.

    Args:
        update: Client update of shape ``(dim,)``, in model units, any real dtype. Secret.
        clip_norm: L2 bound of one device's update, in the same units, finite and at least
            1e-200. Public: part of the approved config, never tuned on the data.

    Returns:
        New float64 array of shape ``(dim,)``, as secret as ``update``.

    Raises:
        ValueError: If ``clip_norm`` is out of range or ``update`` is not one-dimensional.

    Guarantees:
        For every ``update``, finite or not, the exact (not rounded) L2 norm of the result is
        at most ``clip_norm``; so under zero-out adjacency a sum over devices has L2
        sensitivity ``clip_norm``. ``update`` is left as it was. Shape and dtype of the
        result do not depend on values. With ``slack = 2 * max(2**-40, dim * 2**-52)``:

        ====================================  =================================================
        ``update``                            result
        ====================================  =================================================
        norm <= ``clip_norm * (1 - slack)``   equal to ``update``
        larger norm                           norm in ``[clip_norm * (1 - slack), clip_norm]``
        all zeros, or ``dim`` = 0             equal to ``update``
        any NaN or infinity                   zeros: the device counts and adds nothing
        ====================================  =================================================

    Examples:
        >>> clip_update([3.0, 4.0], clip_norm=1.0).round(6)
        array([0.6, 0.8])
        >>> clip_update([0.3, 0.4], clip_norm=1.0)
        array([0.3, 0.4])
        >>> clip_update([float("nan"), 4.0], clip_norm=1.0)
        array([0., 0.])
    """
    if not _LEAST <= clip_norm < math.inf:  # false for NaN too
        raise ValueError(f"clip_norm must be in [{_LEAST}, inf), got {clip_norm!r}")
    vector = np.array(update, dtype=np.float64)
    if vector.ndim != 1:
        raise ValueError(f"update must be one-dimensional, got shape {vector.shape}")
    if not np.isfinite(vector).all():
        return np.zeros_like(vector)
    peak = np.abs(vector).max(initial=0.0)
    if peak == 0.0:
        return vector
    unit = vector / peak  # largest entry is 1: squares cannot overflow or vanish
    limit = clip_norm * (1.0 - clip_margin(vector.size)) / np.linalg.norm(unit)  # of the largest
    return vector if peak <= limit else unit * limit


def clip_margin(dim: int) -> float:
    """Return the share of the clip norm that is left free: more than norm and product round off."""
    return max(2.0**-40, dim * 2.0**-52)
