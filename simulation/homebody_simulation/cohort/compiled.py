"""How the pieces of a kernel are compiled that compiled code alone calls."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

from numba import njit

from homebody_simulation.cohort.kernel_cache import settle

settle()  # before any function here or in a kernel is decorated

Function = TypeVar("Function", bound=Callable[..., Any])

REASSOCIATED: Final = {"reassoc", "contract", "arcp", "nsz", "afn"}
"""What the order of a device's own sums may be changed for; NaN stays NaN."""


def inner(function: Function) -> Function:
    """Compile a function that is called by compiled code alone: no door to Python is made.

    It is compiled when what calls it is, and kept on disk as a part of that; it saves a sixth of
    the time that takes.
    """
    return _without_doors()(function)


def inner_fast(function: Function) -> Function:
    """Compile likewise, free to reorder sums."""
    return _without_doors(fastmath=REASSOCIATED)(function)


def _without_doors(**options: object) -> Callable[[Function], Function]:
    # Not among numba's own annotations, but among its options.
    return njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **options)  # type: ignore[call-overload,no-any-return]
