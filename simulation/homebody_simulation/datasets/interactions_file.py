"""Anyone's events: a CSV or Parquet file with user, item, timestamp and perhaps a value.

A row that is no event is never dropped in silence: the file is refused with the lines named, or,
where asked, the row is kept in ``Dataset.skipped``.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Final, Literal

import numpy as np
import polars as pl
from pydantic import Field

from homebody_models.interactions import Catalog
from homebody_privacy.errors import InvalidFileError, UsageError
from homebody_simulation.datasets.arrays import histories
from homebody_simulation.datasets.events import Role, parse_column
from homebody_simulation.datasets.files import read_checked
from homebody_simulation.datasets.loader import BadRow, Dataset, Loader
from homebody_simulation.datasets.tables import Table, read_table

_ROLES: Final[tuple[Role, ...]] = ("user", "item", "timestamp", "value")
_SHOWN: Final = 5  # bad lines named in a refusal


class InteractionsFile(Loader):
    """Events of a file of your own, as ``interactions:PATH`` or ``csv:PATH``.

    Attributes:
        path: ``.parquet``/``.pq``, ``.tsv`` (tabs), or any other name for a CSV with commas, UTF-8.
        columns: Column of the file for each of ``user``, ``item``, ``timestamp`` and ``value``;
            the role's own name where not given. Without a ``value`` column each event counts 1.
        on_bad: ``refuse`` the file over a row that is no event, or ``skip`` the row and tell.
    """

    name: ClassVar[str] = "interactions"
    about: ClassVar[str] = "your own CSV or Parquet file: user, item, timestamp[, value]"
    path: Path
    columns: Mapping[Role, str] = Field(default_factory=dict)
    on_bad: Literal["refuse", "skip"] = "refuse"

    def load(self, _root: Path | None = None, /) -> Dataset:
        """Read the file; the argument is not used.

        Users are forgotten: devices are numbered by ascending user id, as text. Items are in
        ascending order of id, as text. ``repeats`` is set if any device has an item twice.
        """
        names = self._names()
        content = read_checked(self.path)
        needed = [name for role, name in names.items() if role != "value" or role in self.columns]
        table = read_table(self.path, content, needed, [names["value"]])
        events, bad = _parse(self.path.name, table, names)
        if bad and self.on_bad == "refuse":
            raise _refusal(self.path, bad, table)
        if events.is_empty():
            fix = "give a file with at least one event"
            raise InvalidFileError(f"{self.path}: it has no usable row", fix=fix)
        return self._dataset(events, bad, hashlib.sha256(content).hexdigest())

    def _names(self) -> dict[Role, str]:
        """Return the column of each role."""
        names = {role: self.columns.get(role, role) for role in _ROLES}
        for column, count in Counter(names.values()).items():
            if count > 1:
                raise UsageError(f"columns: {column!r} is mapped to {count} of {', '.join(names)}")
        return names

    def _dataset(self, events: pl.DataFrame, bad: tuple[BadRow, ...], sha256: str) -> Dataset:
        ids = events["item"].unique().sort()
        index = pl.DataFrame({"item": ids, "index": np.arange(len(ids), dtype=np.int32)})
        ordered = events.join(index, on="item", how="left", maintain_order="left").sort(
            ["user", "timestamp"], maintain_order=True
        )
        rows = ordered.select("user", "value", item="index", time="timestamp")
        catalog = Catalog(
            ids=tuple(ids),
            titles=tuple(ids),
            categories=("",) * len(ids),
            features=np.zeros((len(ids), 0), dtype=np.float32),
            feature_names=(),
        )
        repeats = bool(rows.select("user", "item").is_duplicated().any())
        return Dataset(
            name=f"{self.name}:{self.path.name}",
            interactions=histories(rows, catalog, repeats=repeats),
            unit="user",
            source=f"{self.path.name}, SHA-256 {sha256}",
            licence="not stated: whoever owns the file decides",
            skipped=bad,
            raw_events=rows.height + len(bad),
            notes=("Times without a zone are read as UTC.",),
        )


def _parse(
    file: str, table: Table, names: Mapping[Role, str]
) -> tuple[pl.DataFrame, tuple[BadRow, ...]]:
    """Return the events in file order, and the rows that are none with their first reason."""
    reasons: list[str | None] = list(table.reasons)
    parsed: dict[str, Sequence[object]] = {}
    for role, name in names.items():
        if name not in table.columns:
            parsed[role] = [1.0] * len(reasons)  # only ``value`` may be absent
            continue
        values, wrong = parse_column(role, table.columns[name])
        reasons = [known or new for known, new in zip(reasons, wrong, strict=True)]
        parsed[role] = values
    schema = {"user": pl.String, "item": pl.String, "timestamp": pl.Int64, "value": pl.Float32}
    events = pl.DataFrame(parsed, schema=schema)
    good = pl.Series([reason is None for reason in reasons], dtype=pl.Boolean)
    bad = tuple(
        BadRow(file=file, line=line, reason=reason)
        for line, reason in zip(table.lines, reasons, strict=True)
        if reason is not None
    )
    return events.filter(good), bad


def _refusal(path: Path, bad: Sequence[BadRow], table: Table) -> InvalidFileError:
    """Name the first bad lines, count them by reason and say what helps."""
    first = "; ".join(f"{table.unit} {row.line}: {row.reason}" for row in bad[:_SHOWN])
    counts = Counter(row.reason for row in bad).most_common()
    totals = ", ".join(f"{reason} ({count})" for reason, count in counts)
    message = f"{path}: {len(bad)} of {len(table.lines)} rows are no events. {first}"
    if len(bad) > _SHOWN:
        message += f"; ... In all: {totals}"
    fix = 'correct these lines, or leave them out with --on-bad skip (on_bad="skip")'
    return InvalidFileError(message, fix=fix)
