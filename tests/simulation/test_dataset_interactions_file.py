"""Anyone's file: every row is an event or named, whatever is in it."""

import csv
import os
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homebody_privacy.errors import HomebodyError, InvalidFileError, UsageError
from homebody_simulation.datasets import Dataset, load_dataset
from homebody_simulation.datasets.events import parse_column


def _load(tmp_path: Path, text: str, **options: object) -> Dataset:
    path = tmp_path / "events.csv"
    path.write_bytes(text.encode())
    return load_dataset(f"csv:{path}", root=None, **options)


def _events(data: Dataset) -> list[list[tuple[str, int, float]]]:
    """Return (item, time, value) of each device."""
    inter = data.interactions
    rows = [
        (inter.catalog.ids[item], int(time), float(value))
        for item, time, value in zip(inter.items, inter.times, inter.values, strict=True)
    ]
    return [rows[start:stop] for start, stop in zip(inter.ptr[:-1], inter.ptr[1:], strict=True)]


def test_a_csv_becomes_histories_oldest_first(tmp_path: Path) -> None:
    data = _load(tmp_path, "user,item,timestamp,value\nb,x,20,2\na,y,10,1.5\nb,y,5,3\na,x,10,4\n")
    assert _events(data) == [[("y", 10, 1.5), ("x", 10, 4.0)], [("y", 5, 3.0), ("x", 20, 2.0)]]
    assert data.name == "interactions:events.csv"
    assert not data.interactions.repeats


def test_an_event_counts_one_without_a_value_and_repeats_are_noticed(tmp_path: Path) -> None:
    data = _load(tmp_path, "user,item,timestamp\na,x,1\na,x,2\n")
    assert data.interactions.values.tolist() == [1.0, 1.0]
    assert data.interactions.repeats


def test_user_ids_are_forgotten(tmp_path: Path) -> None:
    data = _load(tmp_path, "user,item,timestamp\nmartha-7,x,1\n")
    assert "martha" not in repr(data)
    data.interactions.save(tmp_path)
    assert not any(b"martha" in f.read_bytes() for f in tmp_path.iterdir() if f.suffix != ".csv")


def test_columns_are_mapped_by_role(tmp_path: Path) -> None:
    text = "at,what,who,paid,user\n1,x,a,9,ignored\n"
    columns = {"user": "who", "item": "what", "timestamp": "at", "value": "paid"}
    assert _events(_load(tmp_path, text, columns=columns)) == [[("x", 1, 9.0)]]


_BAD = """user,item,timestamp,value
a,x,10,1
,x,11,1
a,  ,12,1
a,x,,1
a,x,soon,1
a,x,-5,1
a,x,1e14,1
a,x,nan,1
a,x,13,inf
a,x,14,many
a,x,15,1e39
a,x,16

a,"y
z",17,1
b,x,,1
"""
_REASONS = {
    3: "user is empty",
    4: "item is empty",
    5: "timestamp is missing",
    6: "timestamp is neither Unix seconds nor ISO 8601",
    7: "timestamp is before 1970",
    8: "timestamp is after the year 9999: Unix seconds are expected, not milliseconds",
    9: "timestamp is NaN or infinite",
    10: "value is NaN or infinite",
    11: "value is not a number",
    12: "value is too large for a 32-bit float",
    13: "3 fields where the header has 4",
    14: "the line is empty",
    17: "timestamp is missing",  # the record before it spans lines 15 and 16
}


def test_bad_rows_are_kept_apart_with_line_and_reason(tmp_path: Path) -> None:
    data = _load(tmp_path, _BAD, on_bad="skip")
    assert {row.line: row.reason for row in data.skipped} == _REASONS
    assert {row.file for row in data.skipped} == {"events.csv"}
    assert _events(data) == [[("x", 10, 1.0), ("y\nz", 17, 1.0)]]
    assert data.raw_events == 2 + len(_REASONS)


def test_by_default_a_bad_row_refuses_the_file_and_names_lines_counts_and_the_fix(
    tmp_path: Path,
) -> None:
    with pytest.raises(InvalidFileError) as refusal:
        _load(tmp_path, _BAD)
    message = str(refusal.value)
    assert "events.csv: 13 of 15 rows" in message
    assert "line 3: user is empty" in message
    assert "timestamp is missing (2)" in message
    assert "--on-bad skip" in refusal.value.fix
    assert refusal.value.exit_code == 2


def test_a_refusal_repeats_no_value_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidFileError) as refusal:
        _load(tmp_path, "user,item,timestamp\nhelga,pills,yesterday\n")
    assert not any(word in str(refusal.value) for word in ("helga", "pills", "yesterday"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("user,item\na,x\n", "no column timestamp; it has user, item"),
        ("user,item,timestamp,user\na,x,1,b\n", "column user occurs twice"),
        ("user,item,timestamp\n", "no usable row"),
        ('user,item,timestamp\na,x,1\na,"x,2\n', "line 3: not CSV"),
        ("\n", "no column user"),
    ],
)
def test_a_file_that_is_no_table_of_events_is_refused(
    tmp_path: Path, text: str, reason: str
) -> None:
    with pytest.raises(InvalidFileError, match=reason):
        _load(tmp_path, text, on_bad="skip")


def test_a_file_with_no_good_row_is_refused_even_if_bad_rows_are_skipped(tmp_path: Path) -> None:
    with pytest.raises(InvalidFileError, match="no usable row"):
        _load(tmp_path, "user,item,timestamp\na,x,\n", on_bad="skip")


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(InvalidFileError, match=str(path)):
            load_dataset(f"interactions:{path}")


def test_other_encodings_are_refused_with_the_line(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_bytes("user,item,timestamp\na,x,1\na,müsli,2\n".encode("latin-1"))
    with pytest.raises(InvalidFileError, match="line 3: not UTF-8"):
        load_dataset(f"csv:{path}")


def test_a_byte_order_mark_and_tabs_are_understood(tmp_path: Path) -> None:
    path = tmp_path / "events.tsv"
    path.write_bytes(b"\xef\xbb\xbfuser\titem\ttimestamp\r\na\tx\t1\r\n")
    assert _events(load_dataset(f"csv:{path}")) == [[("x", 1, 1.0)]]


def test_a_mapped_value_column_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidFileError, match="no column paid"):
        _load(tmp_path, "user,item,timestamp\na,x,1\n", columns={"value": "paid"})


def test_one_column_cannot_have_two_roles(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'user' is mapped to 2"):
        _load(tmp_path, "user,timestamp\na,1\n", columns={"item": "user"})


_SECONDS = st.integers(0, 253_402_300_799)


@given(_SECONDS, st.integers(-23, 23))
@settings(max_examples=80)
def test_a_time_means_the_same_in_every_form(seconds: int, hours: int) -> None:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    naive = moment.replace(tzinfo=None)
    forms: list[object] = [
        seconds, str(seconds), float(seconds), f" {seconds}.25", moment, naive,
        moment.isoformat(), naive.isoformat(" "), naive.isoformat() + "Z",
    ]  # fmt: skip
    if 2 < moment.year < 9999:
        forms.append(moment.astimezone(timezone(timedelta(hours=hours))).isoformat())
    assert parse_column("timestamp", forms) == ([seconds] * len(forms), [None] * len(forms))


@given(st.text() | st.floats() | st.integers() | st.none() | st.booleans())
@settings(max_examples=150)
def test_whatever_a_cell_holds_it_is_parsed_or_has_a_reason(value: object) -> None:
    for role in ("user", "item", "timestamp", "value"):
        (parsed,), (reason,) = parse_column(role, [value])
        assert (parsed is None) == (reason is not None)
        if role == "value" and parsed is not None:
            assert np.isfinite(np.float32(float(parsed)))
        if role == "timestamp" and parsed is not None:
            assert isinstance(parsed, int)
            assert parsed >= 0


def test_days_are_read_and_spreadsheet_ids_lose_their_point() -> None:
    assert parse_column("timestamp", [date(1970, 1, 2)])[0] == [86_400]
    assert parse_column("user", [13085.0, 13085, "13085"])[0] == ["13085"] * 3
    assert parse_column("timestamp", ["1_000"])[1] != [None]


_IDS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1).filter(
    lambda text: text.strip() == text
)
_ROWS = st.lists(
    st.tuples(_IDS, _IDS, st.integers(0, 10**9), st.integers(0, 1000), st.booleans()),
    min_size=1,
    max_size=12,
).filter(lambda rows: any(row[-1] for row in rows))


@given(rows=_ROWS)
@settings(max_examples=80, deadline=None)
def test_any_rows_come_back_and_the_bad_ones_at_their_place(
    rows: list[tuple[str, str, int, int, bool]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    table = {
        "user": [row[0] for row in rows],
        "item": [row[1] for row in rows],
        "timestamp": [row[2] if row[4] else None for row in rows],
        "value": [float(row[3]) for row in rows],
    }
    pl.DataFrame(table).write_parquet(folder / "t.parquet")
    with (folder / "t.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerow(table)
        writer.writerows(zip(*table.values(), strict=True))
    wanted = [
        [
            (row[1], row[2], float(row[3]))
            for row in sorted((r for r in rows if r[4] and r[0] == user), key=lambda r: r[2])
        ]
        for user in sorted({row[0] for row in rows if row[4]}, key=lambda user: user.encode())
    ]
    from_parquet, from_csv = (
        load_dataset(f"interactions:{folder / name}", on_bad="skip")
        for name in ("t.parquet", "t.csv")
    )
    assert _events(from_parquet) == _events(from_csv) == wanted
    bad = [place for place, row in enumerate(rows, start=1) if not row[4]]
    assert [row.line for row in from_parquet.skipped] == bad
    assert len(from_csv.skipped) == len(bad)


def test_parquet_types_are_understood(tmp_path: Path) -> None:
    path = tmp_path / "events.parquet"
    moment = datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)
    frame = pl.DataFrame({"user": [1.0, 2.0, None], "item": [7, 8, 9], "timestamp": [moment] * 3})
    frame.write_parquet(path)
    data = load_dataset(f"interactions:{path}", on_bad="skip")
    assert _events(data) == [[("7", 1_577_934_245, 1.0)], [("8", 1_577_934_245, 1.0)]]
    assert [(row.line, row.reason) for row in data.skipped] == [(3, "user is missing")]


@pytest.mark.parametrize("content", [b"PAR1 and no more", b"PAR1"])
def test_a_cut_off_parquet_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "events.parquet"
    path.write_bytes(content)
    with pytest.raises(InvalidFileError, match="not a readable Parquet"):
        load_dataset(f"interactions:{path}")


def test_a_nested_column_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "events.parquet"
    pl.DataFrame({"user": [["a"]], "item": ["x"], "timestamp": [1]}).write_parquet(path)
    with pytest.raises(InvalidFileError, match="'user' is nested"):
        load_dataset(f"interactions:{path}")


@given(content=st.binary(max_size=300), ending=st.sampled_from(["csv", "parquet"]))
@settings(max_examples=80, deadline=None)
def test_any_bytes_are_refused_as_a_homebody_error(
    content: bytes, ending: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("bytes") / f"events.{ending}"
    path.write_bytes(content)
    with pytest.raises(HomebodyError):
        load_dataset(f"interactions:{path}")


def test_online_retail_is_read_with_a_column_mapping(tmp_path: Path) -> None:
    name = "online-retail/online_retail_II_2009-2010.parquet"
    path = Path(os.environ.get("HOMEBODY_DATA", "")) / name
    if not os.environ.get("HOMEBODY_DATA") or not path.is_file():
        pytest.skip("data set online-retail not found: set HOMEBODY_DATA")
    sold = pl.read_parquet(path).filter(
        (pl.col("Quantity") > 0) & (pl.col("Price") > 0) & ~pl.col("Invoice").str.starts_with("C")
    )
    sold.write_parquet(tmp_path / "sold.parquet")
    data = load_dataset(
        f"interactions:{tmp_path / 'sold.parquet'}",
        columns={
            "user": "Customer ID",
            "item": "StockCode",
            "timestamp": "InvoiceDate",
            "value": "Price",
        },
        on_bad="skip",
    )
    known = sold.drop_nulls("Customer ID")
    assert data.raw_events == sold.height
    assert data.interactions.devices == known["Customer ID"].n_unique()
    assert len(data.interactions.items) == known.height
    assert {row.reason for row in data.skipped} == {"user is missing"}
    first = known.filter(pl.col("Customer ID") == 12346.0)
    assert len(data.interactions.history(0)) == first.height
    assert data.interactions.repeats
