"""Utility against epsilon: what a sweep found, and the files made of it."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

from homebody_privacy.errors import InvalidFileError
from homebody_simulation.frontier_rows import (
    KNEE_RULE,
    KNEE_RULE_PRIVATE,
    Interval,
    Row,
    RunFigures,
    by_curve,
    knee_of,
    row_of,
    worth,
)
from homebody_simulation.sweep_grid import Curve, Grid

SCHEMA: Final = "frontier/1"
BASELINES: Final = ("popularity", "rules", "local-only")
"""Rows of every frontier besides no-dp; a ceiling may follow."""

COLUMNS: Final = (
    "kind",
    "name",
    "mechanism",
    "recipe",
    "epsilon",
    "spent",
    "noise_multiplier",
    "seeds",
    "ndcg@10",
    "ndcg@10_low",
    "ndcg@10_high",
    "ndcg@10_sd",
    "hit@10",
    "coverage@10",
    "validation_ndcg@10",
    "vs_no_dp",
    "upload_bytes",
    "knee",
)
"""Columns of ``results.csv``, without anything that depends on the clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frontier:
    """What a sweep found.

    Attributes:
        grid: What was swept.
        task: ``again`` or ``new``: what the next item may be.
        delta: Failure chance of every epsilon.
        devices: Devices of the data set.
        runs: Figures of each run, in the order of the grid.
        baselines: Rows without differential privacy that no run trained.
        tuning: What was declared or charged, in words.
        price: What choosing by it costs on private data; None where the data is public.
    """

    grid: Grid
    task: str
    delta: float
    devices: int
    runs: tuple[RunFigures, ...]
    baselines: tuple[Row, ...]
    tuning: str
    price: Mapping[str, Any] | None = None

    @property
    def rows(self) -> tuple[Row, ...]:
        """The table: each curve by epsilon, then the baselines, no-dp, and what is above it."""
        knees = self.knees()
        points = [
            row_of(
                [run for run in runs if run.point.epsilon == epsilon],
                no_dp=self._no_dp(curve),
                knee=knees[curve] == epsilon,
            )
            for curve, runs in by_curve(self.runs).items()
            for epsilon in sorted({run.point.epsilon or 0.0 for run in runs})
        ]
        references = [row_of(runs, no_dp=None, knee=False) for runs in self._bare().values()]
        base = references[0].ndcg.mean if references else None
        shelf = [_against(row, base) for row in self.baselines]
        floors = [row for row in shelf if row.name in BASELINES]
        above = [row for row in shelf if row.name not in BASELINES]
        return (*points, *floors, *references, *above)

    @property
    def rule(self) -> str:
        """How the knee is found, in words."""
        return KNEE_RULE_PRIVATE if self._private else KNEE_RULE

    @property
    def _private(self) -> bool:
        return self.grid.tuning == "private"

    def knees(self) -> dict[Curve, float | None]:
        """Return the knee of each curve, on validation; None where it has none."""
        return {
            curve: knee_of(*worth(runs, private=self._private))
            for curve, runs in by_curve(self.runs).items()
        }

    def knee(self) -> Row | None:
        """Return the knee of the curve that is best on validation; None if it has none."""
        curve = self._best()
        if self.knees()[curve] is None:
            return None
        return row_of(self.chosen(), no_dp=self._no_dp(curve), knee=True)

    def chosen(self) -> tuple[RunFigures, ...]:
        """Return the runs of the knee; of the last epsilon of the best curve if it has none."""
        runs = by_curve(self.runs)[self._best()]
        epsilon = self.knees()[self._best()]
        if epsilon is None:
            epsilon = max(run.point.epsilon or 0.0 for run in runs)
        return tuple(run for run in runs if run.point.epsilon == epsilon)

    def priced(self, price: Mapping[str, Any]) -> Self:
        """Return the frontier with what choosing by it costs."""
        return replace(self, price=dict(price))

    def _best(self) -> Curve:
        """Return the curve with the best point on validation; the first of equals."""
        curves = by_curve(self.runs)

        def height(curve: Curve) -> float:
            values, floor = worth(curves[curve], private=self._private)
            return max((value for value in values.values() if value is not None), default=floor)

        return max(curves, key=height)

    def _bare(self) -> dict[tuple[str, str | None], list[RunFigures]]:
        """Return the runs without noise by model and recipe."""
        found: dict[tuple[str, str | None], list[RunFigures]] = {}
        for run in self.runs:
            if run.point.epsilon is None:
                found.setdefault((run.point.model, run.point.recipe), []).append(run)
        return found

    def _no_dp(self, curve: Curve) -> float | None:
        model, _, recipe = curve
        runs = self._bare().get((model, recipe))
        return row_of(runs, no_dp=None, knee=False).ndcg.mean if runs else None

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values; nothing of it depends on the clock."""
        return {
            "schema": SCHEMA,
            "grid": self.grid.to_dict(),
            "task": self.task,
            "delta": self.delta,
            "devices": self.devices,
            "tuning": self.tuning,
            "price": None if self.price is None else dict(self.price),
            "rule": self.rule,
            "rows": [row.to_dict() for row in self.rows],
            "runs": [run.to_dict() for run in self.runs],
            "baselines": [row.to_dict() for row in self.baselines],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the frontier that ``to_dict`` wrote down."""
        return cls(
            grid=Grid.from_dict(values["grid"]),
            task=values["task"],
            delta=values["delta"],
            devices=values["devices"],
            tuning=values["tuning"],
            price=values["price"],
            runs=tuple(RunFigures.from_dict(run) for run in values["runs"]),
            baselines=tuple(_row(row) for row in values["baselines"]),
        )

    @classmethod
    def load(cls, file: Path | str) -> Self:
        """Return the frontier of a ``results.json``.

        Raises:
            InvalidFileError: If it cannot be read.
        """
        try:
            return cls.from_dict(json.loads(Path(file).read_text("utf-8")))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InvalidFileError(
                f"{file} is no results.json of a sweep ({type(error).__name__})",
                fix="name the file that homebody sweep wrote",
            ) from error

    def csv(self) -> str:
        """Return the rows as comma-separated values; the same runs give the same bytes."""
        text = io.StringIO()
        lines = csv.writer(text, lineterminator="\n")
        lines.writerow(COLUMNS)
        lines.writerows(_cells(row) for row in self.rows)
        return text.getvalue()

    def to_csv(self, path: Path | str) -> None:
        """Write the rows as comma-separated values."""
        Path(path).write_text(self.csv(), "utf-8")

    def to_json(self, path: Path | str) -> None:
        """Write everything as one JSON object."""
        text = json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False)
        Path(path).write_text(f"{text}\n", "utf-8")

    def to_html(self, path: Path | str) -> None:
        """Write one page that loads nothing: chart, table, rule."""
        from homebody_simulation.frontier_page import render  # noqa: PLC0415 at its first use

        Path(path).write_text(render(self), "utf-8")

    def to_png(self, path: Path | str) -> None:
        """Write the chart as a picture."""
        from homebody_simulation.frontier_chart import frontier_chart  # noqa: PLC0415 at first use

        Path(path).write_bytes(frontier_chart(self).png())

    def to_plotly(self) -> Any:  # noqa: ANN401 plotly ships no types
        """Return the chart as a figure of plotly, for a notebook."""
        from homebody_simulation.frontier_plotly import figure  # noqa: PLC0415 at its first use

        return figure(self)

    def save(self, folder: Path | str) -> None:
        """Write ``results.csv``, ``results.json``, ``frontier.html`` and ``frontier.png``."""
        folder = Path(folder)
        self.to_csv(folder / "results.csv")
        self.to_json(folder / "results.json")
        self.to_html(folder / "frontier.html")
        self.to_png(folder / "frontier.png")


def _row(values: Mapping[str, Any]) -> Row:
    return Row(**{**values, "ndcg": Interval(**values["ndcg"])})


def _against(row: Row, base: float | None) -> Row:
    return replace(row, against=row.ndcg.mean / base - 1.0 if base else None)


def _cells(row: Row) -> Sequence[str]:
    return (
        row.kind,
        row.name,
        row.mechanism or "",
        row.recipe or "",
        "" if row.epsilon is None else f"{row.epsilon:g}",
        _decimal(row.spent, 3),
        _decimal(row.noise, 4),
        str(row.seeds),
        *(_decimal(value) for value in (row.ndcg.mean, row.ndcg.low, row.ndcg.high, row.sd)),
        _decimal(row.hit),
        _decimal(row.coverage),
        _decimal(row.validation),
        _decimal(row.against, 4),
        _decimal(row.upload_bytes, 0),
        "knee" if row.knee else "",
    )


def _decimal(value: float | None, digits: int = 6) -> str:
    return "" if value is None else f"{value:.{digits}f}"
