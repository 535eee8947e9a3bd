"""The history of our own kernels: a line a measurement, each beside the reference of the same run.

A ratio of one run can be compared over machines and years; seconds cannot. So the file needs no
machine kept quiet for it, and no service: any two lines of one system say whether it got slower.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from kept import Part, stamp

FILE: Final = Path(__file__).parents[1] / "results" / "history" / "speed.jsonl"
SYSTEMS: Final = ("reference", "torch", "numba", "numba-2")
_LOST: Final = 0.8  # of the last ratio: a loss worth looking at


def lines(rows: Sequence[Part]) -> list[Part]:
    """Return a line for each system of ours that was measured beside the reference."""
    measured = {row["name"]: row for row in rows if row["status"] == "measured"}
    if "reference" not in measured:
        return []
    base = measured["reference"]["per_core_s"]
    return [
        {
            **stamp(),
            "system": name,
            "devices_s": row["devices_s"]["median"],
            "per_core_s": row["per_core_s"],
            "to_reference": row["per_core_s"] / base,
        }
        for name, row in measured.items()
        if name != "reference"
    ]


def read(file: Path = FILE) -> list[dict[str, Any]]:
    """Return what was kept, oldest first; empty where there is nothing."""
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def append(rows: Sequence[Part], file: Path = FILE) -> list[str]:
    """Add a measurement; return in words how each system stands to its last line.

    Args:
        rows: Of a table; see ``comparing.compare``.
        file: The history.
    """
    before = {line["system"]: line for line in read(file)}
    new = lines(rows)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as kept:
        for line in new:
            kept.write(json.dumps(line, ensure_ascii=False) + "\n")
    return [_said(line, before.get(line["system"])) for line in new]


def _said(line: Part, last: Part | None) -> str:
    text = f"{line['system']}: {line['to_reference']:.1f} x the reference"
    if last is None:
        return text
    mark = "  LOOK" if line["to_reference"] < _LOST * last["to_reference"] else ""
    return f"{text}, {last['to_reference']:.1f} x at {last['commit'] or 'no commit'}{mark}"
