"""Figures a device can compute about itself, and what it adds to their sum.

Quality: a device holds its latest event back, ranks with the rest and looks where that event came.
Counts and histograms: how much it holds. It adds one vector of norm at most 1; the sum over all
devices is released with noise, and each figure is its entry of the sum over the number of devices.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt

from .metrics import hit, ndcg

TOP: Final = 10
"""Length of the list that is looked at."""

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnLook:
    """What a device sees of itself. Secret.

    Attributes:
        rank: Rank of its latest event from 0, ties halved; infinity where nothing was ranked.
        events: Events it holds, at least 0.
    """

    rank: float
    events: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Metric:
    """One metric: the names of its figures, and what a device adds, of norm at most 1."""

    names: tuple[str, ...]
    measure: Callable[[OwnLook], Vector]
    scale: float = 1.0  # of a device's figures, relative to the vector
    of_list: bool = False  # whether it looks where the event held back came in the list


def _hit(own: OwnLook) -> float:
    return float(hit(np.array([own.rank]), TOP)[0])


def _ndcg(own: OwnLook) -> float:
    return float(ndcg(np.array([own.rank]), TOP)[0])


_EDGES: Final = (0, 5, 20, 100)  # last number of events of each class but the open one


def _class_of_events(own: OwnLook) -> Vector:
    one_hot = np.zeros(len(_EDGES) + 1)
    one_hot[bisect_left(_EDGES, own.events)] = 1.0
    return one_hot


_ROOT: Final = math.sqrt(2.0)
_METRICS: Final[Mapping[str, _Metric]] = MappingProxyType(
    {
        "hit_rate": _Metric(
            names=(f"hit@{TOP}",), measure=lambda own: np.array([_hit(own)]), of_list=True
        ),
        "ndcg": _Metric(
            names=(f"ndcg@{TOP}",), measure=lambda own: np.array([_ndcg(own)]), of_list=True
        ),
        "quality": _Metric(
            names=(f"hit@{TOP}", f"ndcg@{TOP}"),
            measure=lambda own: np.array([_hit(own), _ndcg(own)]) / _ROOT,
            scale=_ROOT,
            of_list=True,
        ),
        "active": _Metric(names=("active",), measure=lambda own: np.array([float(own.events > 0)])),
        "history": _Metric(
            names=(
                "events 0",
                "events 1 to 5",
                "events 6 to 20",
                "events 21 to 100",
                "events over 100",
            ),
            measure=_class_of_events,
        ),
    }
)

DEVICE_METRICS: Final = tuple(_METRICS)
"""Names of the metrics: quality of the list, a count of devices, a histogram of their events."""


def figure_names(metric: str) -> tuple[str, ...]:
    """Return the names of a metric's figures, such as ``hit@10``.

    Raises:
        ValueError: If there is no such metric.
    """
    return _known(metric).names


def needs_held_out(metric: str) -> bool:
    """Tell whether a metric is about the list: devices that hold no event back have none to say.

    Raises:
        ValueError: If there is no such metric.
    """
    return _known(metric).of_list


def own_figures(metric: str, own: OwnLook) -> Vector:
    """Return what a device adds. Secret.

    Args:
        metric: Name of the metric.
        own: What the device sees of itself.

    Returns:
        float64 of shape ``(figures,)``, norm at most 1.

    Raises:
        ValueError: If there is no such metric.
    """
    return _known(metric).measure(own)


def figures_of_many(
    metric: str, ranks: npt.NDArray[np.float64], events: npt.NDArray[np.integer]
) -> Iterator[tuple[Vector, int]]:
    """Yield each different vector that devices add, and how many of them add it. Secret.

    A metric of the list looks at the rank alone, and at none past the list; the others look at the
    events alone. So there are few, each made by ``own_figures``.

    Args:
        metric: Name of the metric.
        ranks: Rank of each device's latest event, as in ``OwnLook``; shape ``(n,)``.
        events: Events each device holds, shape ``(n,)``.

    Raises:
        ValueError: If there is no such metric.
    """
    if needs_held_out(metric):
        looked, times = np.unique(np.where(ranks < TOP, ranks, np.inf), return_counts=True)
        looks = [OwnLook(rank=rank, events=0) for rank in looked.tolist()]
    else:
        held, times = np.unique(events, return_counts=True)
        looks = [OwnLook(rank=math.inf, events=number) for number in held.tolist()]
    for look, number in zip(looks, times.tolist(), strict=True):
        yield own_figures(metric, look), number


def figure_scale(metric: str, devices: int) -> float:
    """Return what one unit of the released sum is in each figure.

    Raises:
        ValueError: If there is no such metric.
    """
    return _known(metric).scale / devices


def means(metric: str, total: Vector, devices: int) -> dict[str, float]:
    """Return the figures by name from their released sum.

    Args:
        metric: Name of the metric.
        total: Noised sum of ``own_figures``, shape ``(figures,)``. Public.
        devices: Number of devices, a constant. Public.

    Raises:
        ValueError: If there is no such metric or the shape is another.
    """
    names = figure_names(metric)
    if total.shape != (len(names),):
        raise ValueError(f"{metric} has {len(names)} figures, got shape {total.shape}")
    scale = figure_scale(metric, devices)
    return {name: float(value) * scale for name, value in zip(names, total, strict=True)}


def _known(metric: str) -> _Metric:
    if metric not in _METRICS:
        raise ValueError(f"{metric!r} is no metric: there are {', '.join(_METRICS)}")
    return _METRICS[metric]
