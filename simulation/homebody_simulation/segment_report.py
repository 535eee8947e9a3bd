"""Whom the model serves, in the report: parts of the devices, each beside popularity."""

from dataclasses import asdict
from typing import Any

import numpy as np

from homebody_models.metrics import Ranked
from homebody_models.segments import (
    Part,
    compare,
    parts_by_label,
    parts_by_length,
    parts_by_target,
)
from homebody_models.split import Task
from homebody_simulation.setup import Prepared

_HISTORY = "length of history"
_TARGET = "popularity of the item that came next"


def segment_report(
    prepared: Prepared, task: Task, own: Ranked, popularity: Ranked, seed: int
) -> list[dict[str, Any]]:
    """Return one table for each way to part the devices.

    Args:
        prepared: The run.
        task: The opened test.
        own: What the published model did on it.
        popularity: What the same list for all did on it.
        seed: Of the bootstrap samples.
    """
    kinds: list[tuple[str, list[Part]]] = [
        (_HISTORY, parts_by_length(task)),
        *((name, parts_by_label(task, labels)) for name, labels in prepared.dataset.groups.items()),
        (_TARGET, parts_by_target(task)),
    ]
    tables = []
    for by, parts in kinds:
        rng = np.random.default_rng(seed)
        rows = [asdict(part) for part in compare(own, popularity, task, parts, rng)]
        tables.append({"by": by, "rows": rows})
    return tables
