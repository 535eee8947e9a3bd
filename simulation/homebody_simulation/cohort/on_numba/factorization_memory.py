"""What compiled code of logistic factorisation works with: rules, bounds, one thread's memory.

An index is made unsigned by ``P``: numba would ask of a signed one whether it counts from the end.
Nothing here is allocated or let go of, so references to arrays are not counted: that would be some
atomic operations for every step of every device.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from numba import njit

Integers = npt.NDArray[np.int64]
Places = npt.NDArray[np.uint32]
Signed = npt.NDArray[np.int32]
Array = npt.NDArray[np.float32]
Vector = npt.NDArray[np.float64]

Function = TypeVar("Function", bound=Callable[..., Any])

F = np.float32
I32 = np.int32
U32 = np.uint32
P = np.uint64
I64: Callable[[Any], int] = np.int64  # type: ignore[assignment]  # numba's int is one of these

NEAR: Final = 32
"""Visits whose rows stay in the first cache between their two uses."""

AHEAD: Final = 8
"""Rows between asking for one and using it."""


class Pass(NamedTuple):
    """What every device of a round does alike."""

    rows_rate: np.float32
    user_rate: np.float32
    batch: int
    negatives: int


class Limits(NamedTuple):
    """The bound of a contribution; see ``Bounds``."""

    clip: float
    scale: float
    squares: float


class Scratch(NamedTuple):
    """One thread's memory: of visits unless said otherwise, for the longest history there is.

    Attributes:
        base: int64, one entry: visits so far, of all devices since ``head`` was cleared.
        head: Of items: the newest visit plus what ``base`` was for its device, at most.
        drawn: Negatives of all positions.
        item: Whose row it is.
        older: Visit before it of the same item, or below 0.
        step: In which step.
        met: Pairs of the step with this item.
        wanted: Those of them that are positives.
        logit: Logit, or what of it is known.
        slope: Gradient of the loss by the logit.
        coefficient: By how many user vectors the row changes.
        listed: Visits picked out.
        other: Likewise.
        link_from: Of pairs of a visit and an earlier one of its item: the first.
        link_to: And the second.
        path: Of steps: the user vector.
        product: Of steps: its dot product with the present one.
        extra: Of steps: its share of the gradient of the user vector.
    """

    base: Integers
    head: Signed
    drawn: Places
    item: Places
    older: Signed
    step: Places
    met: Array
    wanted: Array
    logit: Array
    slope: Array
    coefficient: Array
    listed: Places
    other: Places
    link_from: Places
    link_to: Places
    path: Array
    product: Vector
    extra: Vector


def outer(function: Function) -> Function:
    """Compile a function that Python calls, and keep it on disk; see ``kernel_cache``."""
    return _compiled(cache=True)(function)


def inner(function: Function) -> Function:
    """Compile a function that is called by compiled code alone.

    The compiler may not change a rounding (no fast mathematics): what it makes of a function
    depends on where it is inlined, and equal bits must not.
    """
    return _compiled(no_cpython_wrapper=True, no_cfunc_wrapper=True)(function)


def _compiled(**options: object) -> Callable[[Function], Function]:
    # With Python's division a zero would raise: a branch in every loop, which then is no vector's.
    # Options that numba's own annotations leave out.
    return njit(nogil=True, error_model="numpy", _nrt=False, **options)  # type: ignore[call-overload,no-any-return]
