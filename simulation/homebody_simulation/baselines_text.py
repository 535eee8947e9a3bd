"""The table of ``homebody baselines`` for people."""

from collections.abc import Sequence

from homebody_models.bootstrap import Estimate
from homebody_simulation.baselines import PROTOCOL, BaselineRow, BaselineTable

_TASKS = {"again": "next item, repeats included", "new": "next new item"}
_HEAD = ("", "ndcg@10 (95 %)", "hit@10 (95 %)", "coverage", "novelty", "seconds", "setting")


def baselines_text(table: BaselineTable) -> str:
    """Lay the table out, one block for each task."""
    title = f"{table.data}: {table.devices:,} devices, {table.items:,} items"
    blocks = [title]
    for kind, words in _TASKS.items():
        rows = [row for row in table.rows if row.kind == kind]
        if rows:
            blocks.append(f"{kind}: {words}\n{_block(rows)}")
    if any(row.sampled is not None for row in table.rows):
        blocks.append(_comparison(table))
    blocks.append(PROTOCOL)
    return "\n\n".join([*blocks, *table.notes]) + "\n"


def _block(rows: list[BaselineRow]) -> str:
    lines = [
        (
            row.name,
            _interval(row.evaluation.overall.ndcg),
            _interval(row.evaluation.overall.hit),
            f"{row.evaluation.coverage:.1%}",
            f"{row.evaluation.novelty:.2f}",
            f"{row.seconds:.1f}",
            ", ".join(f"{name} {value:g}" for name, value in row.setting.items()) or "none",
        )
        for row in rows
    ]
    return _columns([_HEAD, *lines])


def _comparison(table: BaselineTable) -> str:
    """Return what papers with sampled negatives report, apart from the headline."""
    lines = [("", "ndcg@10", "hit@10")]
    negatives = 0
    for row in table.rows:
        if row.sampled is not None:
            negatives = row.sampled.negatives
            lines.append((row.name, f"{row.sampled.ndcg.mean:.4f}", f"{row.sampled.hit.mean:.4f}"))
    title = f"For comparison with papers only: ranked against {negatives} sampled items"
    return f"{title}\n{_columns(lines)}"


def _interval(value: Estimate) -> str:
    return f"{value.mean:.4f} ({value.low:.4f} to {value.high:.4f})"


def _columns(lines: Sequence[tuple[str, ...]]) -> str:
    """Set cells in columns, the first one and the last one to the left."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    last = len(widths) - 1
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place in (0, last) else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
