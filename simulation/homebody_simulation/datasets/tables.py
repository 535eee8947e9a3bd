"""Read the wanted columns of a CSV or Parquet file, each row with its place in the file.

The CSV reader is Python's own, because it knows the physical line a record begins on, also behind
a quoted line break.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from homebody_privacy.errors import InvalidFileError

_PARQUET: Final = (".parquet", ".pq")


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Wanted columns of a file, unparsed. Secret.

    Attributes:
        unit: What ``lines`` counts: ``line`` or ``row``.
        lines: Place of each row in the file, from 1; a CSV's header counts.
        columns: Values by column name, each as long as ``lines``.
        reasons: Why a row as a whole is no event; None where it may be one.
    """

    unit: str
    lines: Sequence[int]
    columns: Mapping[str, Sequence[object]]
    reasons: Sequence[str | None]


def read_table(
    path: Path, content: bytes, required: Sequence[str], optional: Sequence[str]
) -> Table:
    """Read the named columns.

    Args:
        path: Name of the file: its ending decides the format. Used in messages.
        content: What the file holds.
        required: Columns without which the file is refused.
        optional: Columns that are read where the file has them.

    Raises:
        InvalidFileError: If the file is empty, unreadable, repeats a column name or lacks a column.
    """
    if not content:
        raise InvalidFileError(f"{path}: the file is empty", fix="give a file with a header line")
    if path.suffix.lower() in _PARQUET:
        return _read_parquet(path, content, required, optional)
    return _read_csv(path, content, required, optional)


def _read_parquet(
    path: Path, content: bytes, required: Sequence[str], optional: Sequence[str]
) -> Table:
    try:
        schema = pl.read_parquet_schema(io.BytesIO(content))
        names = _present(path, list(schema), required, optional)
        frame = pl.read_parquet(io.BytesIO(content), columns=names)
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        # Damaged bytes can make polars panic, which is no Exception.
        fix = "write the file again; it may be cut off"
        raise InvalidFileError(f"{path}: it is not a readable Parquet file", fix=fix) from error
    for name in names:
        if frame.schema[name].is_nested() or frame.schema[name] == pl.Binary:
            fix = "map a column of text, numbers or times"
            raise InvalidFileError(f"{path}: column {name!r} is nested or binary", fix=fix)
    return Table(
        unit="row",
        lines=range(1, frame.height + 1),
        columns={name: frame[name].to_list() for name in names},
        reasons=[None] * frame.height,
    )


def _read_csv(
    path: Path, content: bytes, required: Sequence[str], optional: Sequence[str]
) -> Table:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        fix = "write the file as UTF-8"
        raise InvalidFileError(f"{path}: line {line}: not UTF-8", fix=fix) from error
    records = _records(path, text, "\t" if path.suffix.lower() == ".tsv" else ",")
    _, header = next(records, (1, []))
    header = [name.strip() for name in header]
    names = _present(path, header, required, optional)
    places = [header.index(name) for name in names]
    lines: list[int] = []
    reasons: list[str | None] = []
    columns: list[list[object]] = [[] for _ in names]
    for line, record in records:
        lines.append(line)
        whole = len(record) == len(header)
        reasons.append(None if whole else _shape(len(record), len(header)))
        for column, place in zip(columns, places, strict=True):
            column.append(record[place] if whole else None)
    return Table(
        unit="line", lines=lines, columns=dict(zip(names, columns, strict=True)), reasons=reasons
    )


def _records(path: Path, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each record with the physical line it begins on."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = 1
    try:
        for record in reader:
            yield line, record
            line = reader.line_num + 1
    except csv.Error as error:
        fix = "correct the quotes of this line"
        raise InvalidFileError(f"{path}: line {line}: not CSV: {error}", fix=fix) from error


def _shape(fields: int, wanted: int) -> str:
    return f"{fields} fields where the header has {wanted}" if fields else "the line is empty"


def _present(
    path: Path, header: Sequence[str], required: Sequence[str], optional: Sequence[str]
) -> list[str]:
    """Return the wanted columns that are there; each must be there once."""
    names = list(dict.fromkeys([*required, *(name for name in optional if name in header)]))
    missing = [name for name in required if name not in header]
    if missing:
        message = f"{path}: no column {', '.join(missing)}; it has {', '.join(header)}"
        fix = "map the columns: --column user=NAME --column item=NAME --column timestamp=NAME"
        raise InvalidFileError(message, fix=fix)
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        fix = "give each column a name of its own"
        raise InvalidFileError(f"{path}: column {', '.join(twice)} occurs twice", fix=fix)
    return names
