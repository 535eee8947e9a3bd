"""Who a model serves well and who pays for its noise: the same figures for parts of the devices.

A mean hides the few. Devices are parted by the length of their history, by labels that only a
laboratory has, and by how popular their target is; in each part a model stands beside another one,
with the interval of the difference, which is paired: both ranked for the same devices.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from homebody_models.bootstrap import Estimate, bootstrap
from homebody_models.metrics import (
    COLD_AT_MOST,
    HOT_ABOVE,
    Ranked,
    coverage,
    novelty,
    segments,
)
from homebody_models.split import Task

LEAST_DEVICES = 2
"""A part of fewer devices has no interval."""

_LENGTHS = {
    "cold": f"at most {COLD_AT_MOST} events",
    "warm": f"{COLD_AT_MOST + 1} to {HOT_ABOVE} events",
    "hot": f"more than {HOT_ABOVE} events",
}
_THIRDS = {
    "head": "the most chosen items, a third of all events",
    "middle": "the next third",
    "tail": "the least chosen items, the last third",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Some devices of a task, by what they have in common.

    Attributes:
        name: Short name.
        words: What it means.
        rows: Which devices of the task, bool of shape ``(n,)``. Secret.
    """

    name: str
    words: str
    rows: npt.NDArray[np.bool_] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartFigures:
    """A model and another one on one part of the devices.

    Attributes:
        name: Short name of the part.
        words: What it means.
        own: ndcg of the model.
        other: ndcg of the one it is compared with.
        gain: The model minus the other, paired by device.
        coverage: Share of the catalog in the model's lists of these devices.
        novelty: Mean surprise of an item in them, in bits.
    """

    name: str
    words: str
    own: Estimate
    other: Estimate
    gain: Estimate
    coverage: float
    novelty: float


def parts_by_length(task: Task) -> list[Part]:
    """Return cold, warm and hot devices, by the events they rank with."""
    lengths = np.diff(task.data.ptr)[task.devices]
    return [
        Part(name=name, words=_LENGTHS[name], rows=rows) for name, rows in segments(lengths).items()
    ]


def parts_by_label(task: Task, labels: npt.NDArray[np.str_]) -> list[Part]:
    """Return the devices of each label, labels ascending.

    Args:
        task: The task.
        labels: A label for each device of the data, shape ``(devices,)``; "" where none is known.
    """
    own = labels[task.devices]
    return [
        Part(name=str(label) or "unknown", words="", rows=own == label) for label in np.unique(own)
    ]


def parts_by_target(task: Task) -> list[Part]:
    """Return devices whose target is of the head, the middle and the tail of the catalog.

    Items are ordered by events in the histories; head, middle and tail each hold a third of these
    events, an item that lies across two counts to the one it begins in. Ties go by index.
    """
    counts = task.data.item_counts()
    order = np.argsort(-counts, kind="stable")
    before = np.concatenate(([0], np.cumsum(counts[order])[:-1]))
    third = np.empty(len(counts), np.int64)
    third[order] = np.minimum(3 * before // max(int(counts.sum()), 1), 2)
    own = third[task.targets]
    return [
        Part(name=name, words=words, rows=own == place)
        for place, (name, words) in enumerate(_THIRDS.items())
    ]


def compare(
    own: Ranked, other: Ranked, task: Task, parts: Sequence[Part], rng: np.random.Generator
) -> list[PartFigures]:
    """Return both models' figures on each part that has enough devices.

    Args:
        own: What the model did on the task.
        other: What the one it is compared with did on the same task.
        task: The task.
        parts: Parts of its devices.
        rng: Draws the bootstrap samples.

    Raises:
        ValueError: If the two did not rank for the same number of devices.
    """
    if own.ranks.shape != other.ranks.shape:
        raise ValueError("both models must have ranked for the same devices")
    mine, theirs = own.ndcg(), other.ndcg()
    items = len(task.data.catalog)
    chosen = task.data.item_counts()
    return [
        PartFigures(
            name=part.name,
            words=part.words,
            own=bootstrap(mine[part.rows], rng),
            other=bootstrap(theirs[part.rows], rng),
            gain=bootstrap((mine - theirs)[part.rows], rng),
            coverage=coverage(own.top[part.rows], items),
            novelty=novelty(own.top[part.rows], chosen),
        )
        for part in parts
        if part.rows.sum() >= LEAST_DEVICES
    ]
