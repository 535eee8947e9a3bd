"""What a sweep shows: bars on a terminal, a line of JSON for each finished run elsewhere."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table

from homebody_simulation.frontier import Frontier
from homebody_simulation.frontier_rows import Row
from homebody_simulation.sweep_crew import Piece
from homebody_simulation.sweep_run import Progress


def show_progress() -> Progress:
    """Return the progress for this terminal; it writes to stderr."""
    console = Console(stderr=True)
    return BarProgress(console) if console.is_terminal else JsonProgress()


class JsonProgress:
    """One JSON object a line when a run begins, ends, or loses its process; to stderr."""

    def __init__(self) -> None:
        """Count nothing yet."""
        self._done = self._of = 0

    def begin(self, names: Sequence[str], done: Sequence[str]) -> None:
        """Say how much there is to do."""
        self._done, self._of = len(done), len(names)
        self._write({"sweep": "begin", "done": self._done, "of": self._of})

    def tell(self, piece: Piece, answer: Mapping[str, Any]) -> None:
        """Say what ended."""
        if answer.get("lost"):
            self._write({"run": piece["name"], "state": "lost"})
        elif answer.get("refused"):
            self._write({"run": piece["name"], "state": "refused", **answer["refused"]})
        elif answer.get("ended"):
            self._done += 1
            count = {"done": self._done, "of": self._of}
            self._write({"run": piece["name"], "state": "done", **count})

    def end(self) -> None:
        """Nothing to tidy."""

    def _write(self, line: Mapping[str, Any]) -> None:
        sys.stderr.write(json.dumps(line, ensure_ascii=False) + "\n")
        sys.stderr.flush()


class BarProgress:
    """A bar for the sweep and one for each run at work, in place."""

    def __init__(self, console: Console) -> None:
        """Draw on ``console``."""
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=console,
            refresh_per_second=4,
        )
        self._own: dict[str, TaskID] = {}

    def begin(self, names: Sequence[str], done: Sequence[str]) -> None:
        """Draw the bar of the sweep."""
        self._all = self._bars.add_task(
            "runs", total=len(names), completed=len(done), figures="finished"
        )
        self._bars.start()

    def tell(self, piece: Piece, answer: Mapping[str, Any]) -> None:
        """Move the bars."""
        name = piece["name"]
        if answer.get("ended") or answer.get("lost"):
            if name in self._own:
                self._bars.remove_task(self._own.pop(name))
            self._bars.advance(self._all, 1 if answer.get("ended") else 0)
            return
        if name not in self._own:
            self._own[name] = self._bars.add_task(name, total=None, figures="")
        if "rounds" in answer:
            self._bars.update(self._own[name], total=answer["rounds"])
        if "round" in answer:
            quality = answer["ndcg@10"]
            figures = "" if quality is None else f"ndcg@10 {quality:.4f}"
            self._bars.update(self._own[name], completed=answer["round"], figures=figures)

    def end(self) -> None:
        """Leave the bars where they are."""
        self._bars.stop()


def show_frontier(frontier: Frontier) -> None:
    """Print the table, the knee and what was declared to stdout."""
    console = Console()
    console.print(table_of(frontier))
    console.print(frontier.rule, highlight=False, soft_wrap=True)
    console.print(frontier.tuning, highlight=False, soft_wrap=True)
    if frontier.price is not None:
        console.print(frontier.price["words"], highlight=False, soft_wrap=True)


def table_of(frontier: Frontier) -> Table:
    """Return the table of a sweep; columns in which all points agree are left out."""
    rows = frontier.rows
    points = [row for row in rows if row.kind == "point"]
    seeds = len(frontier.grid.seeds)
    table = Table(
        title=f"{frontier.grid.data}: {seeds} seed{'s' if seeds > 1 else ''}, 95 % over devices "
        f"and seeds{'; a quick look' if frontier.grid.quick else ''}",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    told = [name for name in ("name", "mechanism", "recipe") if _differ(points, name)]
    table.add_column("target ε", justify="right", no_wrap=True)
    for name in told:
        table.add_column("model" if name == "name" else name)
    for name in ("noise", "ndcg@10", "coverage", "vs no-dp", "kB up", ""):
        table.add_column(name, justify="left" if not name else "right", no_wrap=True)
    for row in rows:
        table.add_row(*_cells(row, told))
    return table


def _differ(points: Sequence[Row], name: str) -> bool:
    return len({getattr(row, name) for row in points}) > 1


def _cells(row: Row, told: Sequence[str]) -> list[str]:
    target = {"no-dp": "no-dp", "baseline": row.name}.get(row.kind) or f"{row.epsilon:g}"
    shown = [getattr(row, name) or "" if row.kind != "baseline" else "" for name in told]
    return [
        target,
        *shown,
        "" if row.noise is None else f"{row.noise:.2f}",
        f"{row.ndcg.mean:.4f} ± {row.ndcg.half:.4f}",
        f"{row.coverage:.3f}",
        "" if row.against is None else f"{100 * row.against:+.0f}%",
        "" if row.upload_bytes is None else f"{row.upload_bytes / 1000:,.0f}",
        "◀ knee" if row.knee else "",
    ]
