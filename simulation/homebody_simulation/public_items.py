"""The items of a data set as a signed catalog can carry them."""

import re
from typing import Final

from homebody_models.catalog_columns import LONGEST_ID, LONGEST_TITLE
from homebody_models.catalog_writer import CatalogItem
from homebody_models.interactions import Catalog

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


def public_items(catalog: Catalog) -> list[CatalogItem]:
    """Return an item for each that a catalog can name, in the order of the model.

    Titles and categories are cut to their limits, control characters become spaces. An id that is
    too long, holds a control character or is no text leaves its item out: devices do not list it.

    Args:
        catalog: Items of a data set.
    """
    columns = zip(catalog.ids, catalog.titles, catalog.categories, strict=True)
    return [
        CatalogItem(
            product_id=item,
            title=_clean(title, LONGEST_TITLE) or item,
            category=_clean(category, LONGEST_ID),
        )
        for item, title, category in columns
        if len(item) <= LONGEST_ID and _clean(item, LONGEST_ID) == item
    ]


def _clean(text: str, longest: int) -> str:
    whole = text.encode("utf-8", "replace").decode()
    return _CONTROL.sub(" ", whole).strip()[:longest]
