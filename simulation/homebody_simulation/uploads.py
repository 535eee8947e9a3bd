"""How many bytes a device sends over a run, by what it is asked: counted, whatever the runtime.

A contribution has as many integers for every device, so that its length says nothing; messages
around it (keys, shares, signatures) come on top, and are measured where a run can measure them.
"""

from typing import Any, Final

import numpy as np

from homebody_server.statistic_plan import STATISTICS
from homebody_simulation.setup import Prepared

WORD: Final = np.dtype(np.int32).itemsize
"""Bytes of an integer of a contribution."""

FIGURE_WORD: Final = np.dtype(np.int64).itemsize
"""Bytes of an integer of a figure."""


def statistic_lengths(prepared: Prepared) -> dict[str, int]:
    """Return the integers of each statistic that was released, by its name."""
    file = prepared.folder.statistics_file
    if not prepared.spec.statistics or not file.exists():
        return {}
    with np.load(file, allow_pickle=False) as sums:
        return {name: int(sums[name].size) for name in STATISTICS if name in sums.files}


def uploads(prepared: Prepared) -> list[dict[str, Any]]:
    """Return what one device sends at most: for each kind, how often, and bytes each time."""
    spec = prepared.spec
    found: list[dict[str, Any]] = [
        {"what": f"statistic {name}", "times": 1, "bytes": WORD * length}
        for name, length in statistic_lengths(prepared).items()
    ]
    if spec.rounds:
        vote = spec.count_multiplier is not None
        times = spec.participation.joins if spec.mechanism == "blt" else spec.rounds
        size = WORD * (prepared.model.layout.size + vote)
        found.append({"what": "update of a round", "times": times, "bytes": size})
    if spec.ceiling is None:
        return found
    for plan in spec.metrics:
        size = FIGURE_WORD * plan.length
        found.append({"what": f"figure {plan.name}", "times": plan.releases, "bytes": size})
    return found
