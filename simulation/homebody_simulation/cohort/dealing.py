"""Deal the devices of a cohort out to threads that run compiled code.

A part of the work may be done by any thread, at any time: what comes back are integers, whose sum
does not depend on the deal.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Part = npt.NDArray[np.int64]
Result = TypeVar("Result")
Scalar = TypeVar("Scalar", bound=np.generic)


def in_threads(task: Callable[[Part], Result], count: int, threads: int) -> list[Result]:
    """Return what a task makes of each part of ``range(count)``, parts dealt out in turn.

    Args:
        task: Takes places of its part, int64, ascending; it should leave the interpreter free.
        count: Places to deal out, at least 0.
        threads: Threads to use, at least 1; there are no more parts than that, and at least one.
    """
    dealt = max(1, min(threads, count))
    parts = [np.arange(start, count, dealt) for start in range(dealt)]
    if len(parts) == 1:
        return [task(parts[0])]
    with ThreadPoolExecutor(len(parts)) as pool:
        return list(pool.map(task, parts))


def in_turn(
    task: Callable[[Iterator[Part]], Result], count: int, threads: int, size: int
) -> list[Result]:
    """Return what a task makes in each thread of the parts it gets, taken from a common pile.

    A thread that something else on the machine holds up takes fewer of them.

    Args:
        task: Takes its parts, each of at most ``size`` places that follow each other.
        count: Places to deal out, at least 0.
        threads: Threads to use, at least 1.
        size: Places of a part, at least 1.
    """
    starts = iter(range(0, count, size))  # one step of it is never done twice

    def parts() -> Iterator[Part]:
        for start in starts:
            yield np.arange(start, min(start + size, count))

    if threads == 1:
        return [task(parts())]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(task, (parts() for _ in range(threads))))


def added(sums: list[Part]) -> Part:
    """Return the sum of the parts' sums, in the memory of the first of them."""
    total = sums[0]
    for own in sums[1:]:
        total += own
    return total


def by_length(ptr: npt.NDArray[np.int64], rows: Part) -> Part:
    """Return the places of ``rows`` by falling length of history: dealt in turn, parts are alike.

    Args:
        ptr: int64 of shape ``(devices + 1,)``; device u has ``ptr[u + 1] - ptr[u]`` events.
        rows: Devices, shape ``(n,)``.
    """
    return np.argsort(ptr[rows] - ptr[rows + 1], kind="stable")


def read_only(array: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
    """Return a plain view that cannot be written to, mapped or not: one type for compiled code."""
    view = np.ascontiguousarray(array).view(np.ndarray)
    view.flags.writeable = False
    return view


def check_rows(ptr: npt.NDArray[np.int64], rows: Part) -> None:
    """Refuse devices that are not there: compiled code looks where it is told.

    Raises:
        ValueError: If a row is not one of the devices that ``ptr`` describes.
    """
    if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < len(ptr) - 1:
        raise ValueError(f"rows must be from 0 to {len(ptr) - 2}")
