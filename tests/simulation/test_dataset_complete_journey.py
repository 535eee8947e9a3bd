"""Complete Journey: its published figures, the order of a history, and a catalog that is public."""

import subprocess
import sys
from collections import Counter
from datetime import datetime

import numpy as np
import polars as pl
import pytest

from homebody_privacy.errors import InvalidFileError, MissingExtraError
from homebody_simulation.datasets import Dataset, complete_journey, load_dataset
from homebody_simulation.datasets.complete_journey import (
    CompleteJourney,
    package_folder,
    read_columns,
)


@pytest.fixture(scope="module")
def types() -> Dataset:
    return load_dataset("complete-journey")


@pytest.fixture(scope="module")
def lines() -> pl.DataFrame:
    columns = ("household_id", "basket_id", "product_id", "sales_value", "transaction_timestamp")
    return read_columns(package_folder() / "transactions.parquet", columns)


@pytest.fixture(scope="module")
def products() -> pl.DataFrame:
    columns = (
        "product_id", "department", "product_category", "brand", "product_type", "package_size",
    )  # fmt: skip
    return read_columns(package_folder() / "products.parquet", columns)


def test_one_household_is_one_device(types: Dataset) -> None:
    assert types.interactions.devices == 2469
    assert types.unit == "household"
    assert types.interactions.repeats


def test_groups_are_what_some_households_said_of_themselves(types: Dataset) -> None:
    said = read_columns(package_folder() / "demographics.parquet", ("household_id", "age"))
    assert {name: Counter(labels.tolist()) for name, labels in types.groups.items()} == {
        "age": {"": 1668, "35 to 54": 482, "19 to 34": 188, "55 and over": 131},
        "income": {"": 1668, "35K to 74K": 364, "75K and more": 225, "below 35K": 212},
    }
    # Devices are households in ascending id: the first is number 1, who said 65+.
    assert said.filter(pl.col("household_id") == 1)["age"].to_list() == ["65+"]
    assert types.groups["age"][0] == "55 and over"


def test_purchase_lines_of_a_household_are_55_407_1379_at_the_deciles(lines: pl.DataFrame) -> None:
    counts = lines.group_by("household_id").len()["len"].to_numpy()
    assert np.percentile(counts, (10, 50, 90)).round().tolist() == [55, 407, 1379]


def test_every_purchase_line_is_an_event_or_counted_as_skipped(types: Dataset) -> None:
    assert types.raw_events == 1_469_307
    assert len(types.interactions.items) == 1_462_997
    assert {row.reason: row.rows for row in types.skipped} == {
        "product is not in the catalog": 4836,
        "product has no type": 1474,
    }


def test_the_catalog_has_2378_types_of_which_2242_are_bought(types: Dataset) -> None:
    assert len(types.interactions.catalog) == 2378
    assert len(np.unique(types.interactions.items)) == 2242


def test_types_are_described_by_department_category_and_brand(
    types: Dataset, products: pl.DataFrame
) -> None:
    catalog = types.interactions.catalog
    item = catalog.ids.index("BREAD:ITALIAN/FRENCH")
    labels = {
        name for name, on in zip(catalog.feature_names, catalog.features[item], strict=True) if on
    }
    rows = products.filter(pl.col("product_type") == catalog.ids[item])
    assert labels == {
        f"{label}={Counter(rows[label]).most_common(1)[0][0]}"
        for label in ("department", "product_category", "brand")
    }
    assert labels == {"department=PASTRY", "product_category=BREAD", "brand=National"}
    assert catalog.titles[item] == "Bread: italian/french"
    assert catalog.categories[item] == "PASTRY"
    assert set(np.unique(catalog.features)) == {0.0, 1.0}
    assert catalog.features.any(axis=0).all()  # no column that no item has


def test_a_history_is_in_order_of_time_basket_and_file(
    types: Dataset, lines: pl.DataFrame, products: pl.DataFrame
) -> None:
    inter = types.interactions
    kind = dict(zip(products["product_id"], products["product_type"], strict=True))
    households = sorted(lines["household_id"].unique())
    for device in (0, 1, 1234, 2468):
        rows = lines.filter(pl.col("household_id") == households[device]).rows(named=True)
        rows.sort(key=lambda row: (row["transaction_timestamp"], row["basket_id"]))  # stable
        rows = [row for row in rows if kind.get(row["product_id"])]
        here = slice(inter.ptr[device], inter.ptr[device + 1])
        assert [inter.catalog.ids[i] for i in inter.items[here]] == [
            kind[row["product_id"]] for row in rows
        ]
        prices = np.array([row["sales_value"] for row in rows], np.float32)
        assert (inter.values[here] == prices).all()
        epoch = datetime(1970, 1, 1)  # noqa: DTZ001  # the file's times carry no zone
        seconds = [int((row["transaction_timestamp"] - epoch).total_seconds()) for row in rows]
        assert inter.times[here].tolist() == seconds


def test_loading_twice_gives_the_same_population(types: Dataset) -> None:
    assert load_dataset("complete-journey").interactions.digest() == types.interactions.digest()


def test_the_catalog_does_not_depend_on_purchases(
    types: Dataset, lines: pl.DataFrame, products: pl.DataFrame
) -> None:
    few = CompleteJourney().build(lines.head(1000), products)
    assert few.interactions.catalog.digest() == types.interactions.catalog.digest()


def test_products_are_92331_of_which_68492_are_bought() -> None:
    data = load_dataset("complete-journey", items="products")
    assert len(data.interactions.catalog) == 92_331
    assert len(np.unique(data.interactions.items)) == 68_492
    assert data.raw_events - len(data.interactions.items) == 4836
    assert data.interactions.catalog.titles[0] == "Ice - crushed/cubed, 22 lb"


def _products(*rows: tuple[int, str | None, str]) -> pl.DataFrame:
    """Return products of (id, type, brand)."""
    return pl.DataFrame(
        [(i, "FOOD", "BREAD", brand, kind, None) for i, kind, brand in rows],
        schema=["product_id", "department", "product_category", "brand", "product_type",
                "package_size"],
        orient="row",
    )  # fmt: skip


def _lines(*rows: tuple[int, int, int]) -> pl.DataFrame:
    """Return lines of (household, basket, product), all at one second, priced by place."""
    frame = pl.DataFrame(rows, schema=["household_id", "basket_id", "product_id"], orient="row")
    return frame.with_columns(
        sales_value=pl.int_range(pl.len()).cast(pl.Float64),
        transaction_timestamp=pl.datetime(2017, 1, 1, time_unit="ns"),
    )


def test_a_type_takes_the_brand_of_most_products_and_the_first_of_a_tie() -> None:
    products = _products(
        (1, "RYE", "Private"), (2, "RYE", "National"), (3, "RYE", "Private"),
        (4, "OAT", "Private"), (5, "OAT", "National"), (6, None, "Other"),
    )  # fmt: skip
    for shuffled in (products, products.reverse()):
        catalog = CompleteJourney().build(_lines((1, 1, 1)), shuffled).interactions.catalog
        assert catalog.ids == ("OAT", "RYE")
        brands = catalog.feature_names.index("brand=National")
        assert catalog.features[:, brands:].tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_ties_in_time_are_broken_by_basket_then_by_the_file() -> None:
    data = CompleteJourney().build(
        _lines((7, 20, 1), (3, 9, 1), (7, 10, 2), (7, 10, 1)),
        _products((1, "RYE", "Private"), (2, "OAT", "Private")),
    )
    assert data.interactions.ptr.tolist() == [0, 1, 4]  # household 3, then 7
    assert data.interactions.values.tolist() == [1.0, 2.0, 3.0, 0.0]


def test_lines_without_an_item_are_counted_by_reason() -> None:
    data = CompleteJourney().build(
        _lines((1, 1, 1), (1, 1, 2), (1, 1, 99), (1, 1, 2)),
        _products((1, "RYE", "Private"), (2, None, "Private")),
    )
    assert {row.reason: row.rows for row in data.skipped} == {
        "product is not in the catalog": 1,
        "product has no type": 2,
    }


def test_a_package_without_its_columns_is_refused(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.mktemp("cj") / "products.parquet"
    with pytest.raises(InvalidFileError, match=r"products\.parquet"):
        read_columns(path, ("brand",))
    pl.DataFrame({"product_id": [1]}).write_parquet(path)
    with pytest.raises(InvalidFileError, match="brand"):
        read_columns(path, ("brand",))


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(complete_journey, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError) as refusal:
        load_dataset("complete-journey")
    assert refusal.value.fix == 'pip install "homebody[simulation]"'


def test_loading_does_not_import_pandas() -> None:
    code = (
        "import sys; from homebody_simulation.datasets import load_dataset;"
        "load_dataset('complete-journey'); sys.exit('pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0  # our own code
