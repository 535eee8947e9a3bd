"""What a sweep is compared with: scorers that no run trained, without differential privacy."""

import json
from pathlib import Path
from typing import Any, Final

from homebody_privacy.durable import write_durably
from homebody_simulation.baselines import BaselineRow, baseline_rows
from homebody_simulation.datasets import load_dataset
from homebody_simulation.frontier import BASELINES
from homebody_simulation.frontier_rows import Interval, Row
from homebody_simulation.sweep_grid import Grid

CEILING: Final = "ease-windowed"
"""The strongest scorer without noise that is quick: what the data has to give."""

FILE: Final = "baselines.json"


def keep_references(folder: Path, grid: Grid) -> None:
    """Compute the baselines of a sweep's data, once, and keep them in its folder.

    Raises:
        HomebodyError: If the data is refused.
    """
    if (folder / FILE).exists():
        return
    dataset = load_dataset(grid.data, root=None, **grid.options)
    names = BASELINES if grid.tuning == "private" else (*BASELINES, CEILING)
    rows = [_row(row) for row in baseline_rows(dataset, names=names)]
    kept = {"devices": dataset.interactions.devices, "rows": rows}
    write_durably(folder / FILE, f"{json.dumps(kept, indent=1)}\n".encode())


def read_references(folder: Path, kind: str) -> tuple[int, tuple[Row, ...]]:
    """Return the number of devices, and the baselines of one task in the order of the names.

    Args:
        folder: Of the sweep.
        kind: ``again`` or ``new``.
    """
    kept: dict[str, Any] = json.loads((folder / FILE).read_text("utf-8"))
    rows = tuple(
        Row(
            kind="baseline",
            name=row["name"],
            note=row["note"],
            ndcg=Interval(**row["ndcg"]),
            hit=row["hit"],
            coverage=row["coverage"],
            validation=row["validation"],
        )
        for row in kept["rows"]
        if row["kind"] == kind
    )
    return kept["devices"], rows


def _row(row: BaselineRow) -> dict[str, Any]:
    overall = row.evaluation.overall
    return {
        "name": row.name,
        "note": row.note,
        "kind": row.kind,
        "ndcg": {
            "mean": overall.ndcg.mean,
            "low": overall.ndcg.low,
            "high": overall.ndcg.high,
        },
        "hit": overall.hit.mean,
        "coverage": row.evaluation.coverage,
        "validation": row.validation,
    }
