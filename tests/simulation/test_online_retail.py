"""Online Retail: its published size, the order of invoice lines, and what was left out."""

import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from homebody_privacy.errors import IntegrityError, InvalidFileError
from homebody_simulation.datasets import Dataset, load_dataset
from homebody_simulation.datasets.online_retail import OnlineRetail

_FILE = "online_retail_II_2009-2010.parquet"


def _root() -> Path:
    root = os.environ.get("HOMEBODY_DATA")
    if root is None or not (Path(root) / "online-retail").is_dir():
        pytest.skip("data set online-retail not found: set HOMEBODY_DATA")
    return Path(root)


@pytest.fixture(scope="module")
def retail() -> Dataset:
    return load_dataset("online-retail", root=_root())


def _lines(*rows: tuple[str, str, int, str, float, float | None]) -> pl.DataFrame:
    names = ("Invoice", "StockCode", "Quantity", "InvoiceDate", "Price", "Customer ID")
    frame = pl.DataFrame(list(rows), schema=list(names), orient="row")
    return frame.with_columns(Description=pl.lit("BIG  TIN"))


def _shop(minute: str = "10:00") -> list[tuple[str, str, int, str, float, float | None]]:
    """Return five products bought by each of five customers, in descending stock code."""
    when = f"2010-01-01 {minute}:00"
    return [(str(c), f"p{p}", 2, when, 1.5, float(c)) for c in range(5) for p in range(4, -1, -1)]


def test_the_set_has_its_published_size(retail: Dataset) -> None:
    inter = retail.interactions
    assert (inter.devices, len(inter.items), len(inter.catalog)) == (4037, 272_530, 3464)
    assert np.diff(inter.ptr).min() >= 5
    assert (retail.raw_events, retail.unit, inter.repeats) == (525_461, "customer", False)


def test_no_customer_has_a_product_twice_and_times_never_decrease(retail: Dataset) -> None:
    inter = retail.interactions
    device = np.repeat(np.arange(inter.devices), np.diff(inter.ptr))
    assert len(np.unique(device * len(inter.catalog) + inter.items)) == len(inter.items)
    assert (np.diff(inter.times)[np.diff(device) == 0] >= 0).all()


def test_most_targets_share_the_invoice_of_the_event_before(retail: Dataset) -> None:
    inter = retail.interactions
    last, before = inter.times[inter.ptr[1:] - 1], inter.times[inter.ptr[1:] - 2]
    assert 0.90 < (last == before).mean() < 0.94


@pytest.mark.parametrize(
    ("back", "digest"),
    [
        (1, "0f51e6341a2b3676255b87a9e47388d0873dfe8ac875e86ad48f133d91786a27"),
        (2, "aea1b1d5ec60882828bcea49295dcda13969d9a7baf3d27992224ed33627fcfb"),
    ],
)
def test_the_targets_are_those_the_figures_were_measured_on(
    back: int, digest: str, retail: Dataset
) -> None:
    inter = retail.interactions
    items = inter.items[inter.ptr[1:] - back]
    lines = "".join(f"{u}\t{inter.catalog.ids[i]}\n" for u, i in enumerate(items, start=1))
    assert hashlib.sha256(lines.encode()).hexdigest() == digest


def test_lines_of_an_invoice_keep_the_order_of_the_file() -> None:
    data = OnlineRetail().build(_lines(*_shop()))
    assert data.interactions.history(0).tolist() == [4, 3, 2, 1, 0]
    assert data.interactions.catalog.titles[0] == "Big tin"
    assert data.interactions.values.tolist() == [3.0] * 25


def test_only_the_first_purchase_of_a_product_counts() -> None:
    again = ("9", "p0", 1, "2010-01-01 09:00:00", 1.0, 0.0)  # later in the file, earlier in time
    data = OnlineRetail().build(_lines(*_shop(), again))
    assert data.interactions.history(0).tolist() == [0, 4, 3, 2, 1]
    assert {row.reason: row.rows for row in data.skipped} == {
        "customer had bought the product before": 1
    }


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (("8", "p0", 1, "2010-01-01 09:00:00", 1.0, None), "customer is not known"),
        (("C8", "p0", -1, "2010-01-01 09:00:00", 1.0, 0.0), "invoice is a cancellation"),
        (("8", "p0", 0, "2010-01-01 09:00:00", 1.0, 0.0), "quantity or price is not above 0"),
        (("8", "p0", 1, "2010-01-01 09:00:00", 0.0, 0.0), "quantity or price is not above 0"),
        (("8", "new", 1, "2010-01-01 09:00:00", 1.0, 0.0), "customer or product has too few"),
    ],
)
def test_a_line_that_is_no_event_is_counted_with_its_reason(
    row: tuple[str, str, int, str, float, float | None], reason: str
) -> None:
    data = OnlineRetail().build(_lines(*_shop(), row))
    assert len(data.interactions.items) == 25
    assert [r.rows for r in data.skipped] == [1]
    assert data.skipped[0].reason.startswith(reason)


def test_changed_content_is_an_integrity_error(tmp_path: Path) -> None:
    folder = tmp_path / "online-retail"
    folder.mkdir()
    shutil.copyfile(_root() / "online-retail" / _FILE, folder / _FILE)
    content = (folder / _FILE).read_bytes()
    (folder / _FILE).write_bytes(content[:-1] + b" ")
    with pytest.raises(IntegrityError, match="online_retail"):
        load_dataset("online-retail", root=tmp_path)


def test_a_missing_file_is_an_invalid_file(tmp_path: Path) -> None:
    (tmp_path / "online-retail").mkdir()
    with pytest.raises(InvalidFileError, match="online_retail"):
        load_dataset("online-retail", root=tmp_path)
