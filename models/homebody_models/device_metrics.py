"""Figures a device can compute about its own list, and what it adds to their sum.

A device holds its latest event back, ranks with the rest and looks where that event came. It adds
one vector of norm at most 1; the sum over all devices is released with noise, and each figure is
its entry of the sum over the number of devices.
"""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt

from .metrics import hit, ndcg

TOP: Final = 10
"""Length of the list that is looked at."""

Measure = Callable[[npt.NDArray[np.float64], int], npt.NDArray[np.float64]]

_MEASURES: Final[Mapping[str, Measure]] = MappingProxyType({"hit": hit, "ndcg": ndcg})

DEVICE_METRICS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"hit_rate": ("hit",), "ndcg": ("ndcg",), "quality": ("hit", "ndcg")}
)
"""Name of each metric, and the figures it holds, each between 0 and 1 a device."""


def figure_names(metric: str) -> tuple[str, ...]:
    """Return the names of a metric's figures, such as ``hit@10``.

    Raises:
        ValueError: If there is no such metric.
    """
    if metric not in DEVICE_METRICS:
        raise ValueError(f"{metric!r} is no metric: there are {', '.join(DEVICE_METRICS)}")
    return tuple(f"{figure}@{TOP}" for figure in DEVICE_METRICS[metric])


def own_figures(metric: str, rank: float) -> npt.NDArray[np.float64]:
    """Return what a device adds for the rank its latest event got. Secret.

    Args:
        metric: Name of the metric.
        rank: Rank of the event from 0, ties halved; infinity where there was nothing to rank.

    Returns:
        float64 of shape ``(figures,)``, norm at most 1: each figure over sqrt(figures).

    Raises:
        ValueError: If there is no such metric.
    """
    names = figure_names(metric)
    ranks = np.array([rank], dtype=np.float64)
    values = [float(_MEASURES[figure](ranks, TOP)[0]) for figure in DEVICE_METRICS[metric]]
    return np.array(values) / math.sqrt(len(names))


def figure_scale(metric: str, devices: int) -> float:
    """Return what one unit of the released sum is in each figure.

    Raises:
        ValueError: If there is no such metric.
    """
    return math.sqrt(len(figure_names(metric))) / devices


def means(metric: str, total: npt.NDArray[np.float64], devices: int) -> dict[str, float]:
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
