"""What is never named as a reason: special categories of data, and topics near to them.

GDPR Art. 9(1) and 10, and what people are hurt by when others read it over their shoulder. The
catalog says which topics an item has; the app may mark whole categories besides.
"""

from collections.abc import Collection
from typing import Final

import numpy as np
import numpy.typing as npt

from homebody_models.catalog import ItemCatalog

SENSITIVE_TOPICS: Final = frozenset(
    {
        "addiction",
        "biometrics",
        "criminal",
        "debt",
        "disability",
        "ethnicity",
        "fertility",
        "gambling",
        "genetics",
        "grief",
        "health",
        "mental-health",
        "migration",
        "politics",
        "pregnancy",
        "religion",
        "sexuality",
        "trade-union",
        "violence",
        "weight",
    }
)
"""Topics that no reason names."""


def sensitive_items(
    catalog: ItemCatalog, topics: Collection[str], categories: Collection[str]
) -> npt.NDArray[np.bool_]:
    """Return which items of a catalog may not be named, shape ``(items,)``."""
    marked = np.zeros(len(catalog), np.bool_)
    for name, items in catalog.topics_by_name.items():
        if name in topics:
            marked[items] = True
    named = np.array([name in categories for name in catalog.category_names] + [False], np.bool_)
    marked |= named[catalog.category_codes]  # code -1, no category, is the last entry
    return marked


def sensitive_categories(
    catalog: ItemCatalog, marked: npt.NDArray[np.bool_], categories: Collection[str]
) -> npt.NDArray[np.bool_]:
    """Return which categories may not be named: marked, or most of their items are."""
    names = catalog.category_names
    codes = catalog.category_codes
    listed = codes >= 0
    sizes = np.bincount(codes[listed], minlength=len(names))
    held = np.bincount(codes[listed & marked], minlength=len(names))
    by_name = np.array([name in categories for name in names], np.bool_)
    most: npt.NDArray[np.bool_] = by_name | (2 * held > sizes)
    return most
