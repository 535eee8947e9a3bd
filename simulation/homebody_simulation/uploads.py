"""How many bytes a device sends over a run, by what it is asked: counted, whatever the runtime.

A contribution has as many integers for every device, so that its length says nothing; messages
around it (keys, shares, signatures) come on top, and are measured where a run can measure them.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np

from homebody_privacy.messages import STATISTICS
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
    """Return what one device sends, by kind: bytes each time, how often at most, and expected."""
    spec = prepared.spec
    found = [
        _kind(f"statistic {name}", WORD * length, most=1)
        for name, length in statistic_lengths(prepared).items()
    ]
    if spec.rounds:
        found.append(
            _kind(
                "update of a round",
                WORD * (prepared.model.layout.trained_size + (spec.count_multiplier is not None)),
                most=spec.participation.joins if spec.mechanism == "blt" else spec.rounds,
                expected=spec.rounds * spec.cohort_size / spec.devices,
            )
        )
    if spec.ceiling is not None:
        found += [
            _kind(f"figure {plan.name}", FIGURE_WORD * plan.length, most=plan.releases)
            for plan in spec.metrics
        ]
    return found


def upload_bytes(kinds: Iterable[Mapping[str, Any]]) -> float:
    """Return the bytes one device is expected to send over a run, of what ``uploads`` returns."""
    return float(sum(kind["expected"] * kind["bytes"] for kind in kinds))


def _kind(what: str, size: int, *, most: int, expected: float | None = None) -> dict[str, Any]:
    often = float(most) if expected is None else expected
    return {"what": what, "bytes": size, "times": most, "expected": often}
