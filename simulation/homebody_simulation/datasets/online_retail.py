"""Online Retail II, 2009-12-01 to 2010-12-09: purchases at a British wholesaler of gifts.

D. Chen, "Online Retail II" (2012), UCI Machine Learning Repository,
https://doi.org/10.24432/C5CG6D, CC BY 4.0. One customer is one device, many are shops themselves.
An item counts when a customer first buys it: the task is what they buy for the first time.
"""

import io
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
import polars as pl

from homebody_models.interactions import Catalog
from homebody_simulation.datasets.arrays import histories
from homebody_simulation.datasets.files import dataset_folder, read_checked
from homebody_simulation.datasets.loader import BadRow, Dataset, Loader

_FOLDER: Final = "online-retail"
_FILE: Final = "online_retail_II_2009-2010.parquet"
_SHA256: Final = "e92bcbbce1b7a1041ad79462879d4774bf050c7b8fee9f4eef89f09fb6330664"
_COLUMNS: Final = (
    "Invoice", "StockCode", "Description", "Quantity", "InvoiceDate", "Price", "Customer ID",
)  # fmt: skip
_PASSES: Final = 5  # of dropping rare customers, then rare products
_LEAST: Final = 5
_NOTES: Final = (
    "Order within an invoice is the order of its lines: a convention, not an observation.",
    "Customers and products with fewer than 5 of the other were dropped, 5 times in turn.",
    "Times carry no zone and are read as UTC.",
)


class OnlineRetail(Loader):
    """First purchases of 3,464 products by 4,037 customers, in the order of invoice lines.

    The products have no content features: the file holds a description alone, which is the title.
    """

    name: ClassVar[str] = "online-retail"
    about: ClassVar[str] = (
        "first purchases of 3,464 gifts by 4,037 customers (folder online-retail)"
    )

    def load(self, root: Path | None, /) -> Dataset:
        """Read the invoice lines of ``root/online-retail``."""
        folder = dataset_folder(root, self.name, _FOLDER)
        content = read_checked(folder / _FILE, _SHA256)
        return self.build(pl.read_parquet(io.BytesIO(content), columns=list(_COLUMNS)))

    def build(self, lines: pl.DataFrame) -> Dataset:
        """Make histories of invoice lines, in file order."""
        reason = (
            pl.when(pl.col("Customer ID").is_null())
            .then(pl.lit("customer is not known"))
            .when(pl.col("Invoice").str.starts_with("C"))
            .then(pl.lit("invoice is a cancellation"))
            .when((pl.col("Quantity") <= 0) | (pl.col("Price") <= 0))
            .then(pl.lit("quantity or price is not above 0"))
        )
        marked = lines.with_columns(reason=reason)
        bought = marked.filter(pl.col("reason").is_null()).sort("InvoiceDate", maintain_order=True)
        first = bought.unique(["Customer ID", "StockCode"], keep="first", maintain_order=True)
        kept = _without_rare(first)
        catalog = _catalog(kept, lines)
        index = pl.DataFrame({"StockCode": catalog.ids, "item": np.arange(len(catalog))})
        placed = kept.join(index, on="StockCode", how="left", maintain_order="left")
        ordered = placed.sort("Customer ID", maintain_order=True).select(
            "item",
            user="Customer ID",
            time=pl.col("InvoiceDate").str.to_datetime("%Y-%m-%d %H:%M:%S").dt.epoch("s"),
            value=pl.col("Quantity") * pl.col("Price"),
        )
        skipped = {
            **dict(marked.drop_nulls("reason").group_by("reason").len().sort("reason").iter_rows()),
            "customer had bought the product before": bought.height - first.height,
            "customer or product has too few of the other": first.height - kept.height,
        }
        return Dataset(
            name=self.name,
            interactions=histories(ordered, catalog, repeats=False),
            unit="customer",
            source="UCI Machine Learning Repository, Online Retail II, Daqing Chen",
            licence="CC BY 4.0, attribution",
            skipped=tuple(
                BadRow(file=_FILE, line=None, reason=reason, rows=rows)
                for reason, rows in skipped.items()
                if rows
            ),
            raw_events=lines.height,
            notes=_NOTES,
        )


def _without_rare(first: pl.DataFrame) -> pl.DataFrame:
    """Drop customers of fewer than 5 products, then products of fewer than 5 customers, 5 times."""
    for _ in range(_PASSES):
        for key in ("Customer ID", "StockCode"):
            first = first.filter(pl.len().over(key) >= _LEAST)
    return first


def _catalog(kept: pl.DataFrame, lines: pl.DataFrame) -> Catalog:
    """Name each product that is left by its first description, in ascending stock code."""
    named = lines.drop_nulls("Description").unique("StockCode", keep="first", maintain_order=True)
    titles = dict(named.select("StockCode", "Description").iter_rows())
    ids = kept["StockCode"].unique().sort().to_list()
    return Catalog(
        ids=tuple(ids),
        titles=tuple(_readable(titles.get(code) or code) for code in ids),
        categories=("",) * len(ids),
        features=np.zeros((len(ids), 0), np.float32),
        feature_names=(),
    )


def _readable(description: str) -> str:
    """Turn shelf capitals into a sentence."""
    return " ".join(description.split()).capitalize()
