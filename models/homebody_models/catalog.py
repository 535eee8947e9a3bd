"""The catalog on a device: signed public data about what can be recommended.

Two files, ``catalog.json`` and ``catalog.sig.json``, signed like a bundle's manifest under a type
of their own. Nothing is parsed before its signature is good; an older version is refused, and so
is other content under a version that was used. There is no loader without signatures.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from homebody_models.bundle import Trust
from homebody_models.catalog_columns import Columns, parse_columns
from homebody_models.dsse import good_keys, read_signatures
from homebody_models.folder_files import read_bounded
from homebody_models.strict_json import strict_loads

CATALOG: Final = "catalog.json"
CATALOG_SIGNATURES: Final = "catalog.sig.json"
CATALOG_TYPE: Final = "application/vnd.homebody.catalog+json"
LARGEST_CATALOG: Final = 1 << 26
_LARGEST_SIGNATURES: Final = 1 << 16


class CatalogError(ValueError):
    """A catalog that must not be used."""


@dataclass(frozen=True)
class ItemCatalog:
    """A verified catalog. Public.

    Attributes:
        columns: What was signed, one entry an item.
        digest: SHA-256 of the signed bytes, in hex.
        size: Signed bytes.

    An item is named by its index; ``index`` gives it by id.
    """

    columns: Columns = field(repr=False)
    digest: str
    size: int

    @property
    def version(self) -> int:
        """Version; it rises with each publication."""
        return self.columns.version

    @property
    def items(self) -> tuple[str, ...]:
        """Product ids, in the order to show them in where nothing else is known."""
        return self.columns.ids

    @cached_property
    def index(self) -> Mapping[str, int]:
        """Index of each product id."""
        return {name: i for i, name in enumerate(self.columns.ids)}

    @property
    def currency(self) -> str:
        """ISO 4217 code of all prices; empty where there are none."""
        return self.columns.currency

    @property
    def category_names(self) -> tuple[str, ...]:
        """The categories."""
        return self.columns.categories

    @property
    def category_codes(self) -> npt.NDArray[np.int32]:
        """Index of each item's category; -1 for none."""
        return self.columns.category

    @property
    def prices(self) -> npt.NDArray[np.float64]:
        """Price of each item; NaN for none."""
        return self.columns.prices

    @property
    def created(self) -> npt.NDArray[np.int64]:
        """Unix seconds at which each item came into the catalog; 0 where that is not said."""
        return self.columns.created

    @property
    def topics_by_name(self) -> Mapping[str, npt.NDArray[np.int64]]:
        """Indices of the items of each topic, rising."""
        return self.columns.topics

    @cached_property
    def titles(self) -> Mapping[str, str]:
        """Name shown to people, by product id."""
        return dict(zip(self.columns.ids, self.columns.titles, strict=True))

    def __len__(self) -> int:
        """Count the items."""
        return len(self.columns.ids)

    def title(self, item: int) -> str:
        """Return the name shown to people."""
        return self.columns.titles[item]

    def category(self, item: int) -> str:
        """Return the category; empty for none."""
        code = int(self.columns.category[item])
        return self.columns.categories[code] if code >= 0 else ""

    def price(self, item: int) -> float | None:
        """Return the price in ``currency``; None where there is none."""
        price = float(self.columns.prices[item])
        return None if np.isnan(price) else price

    def topics(self, item: int) -> tuple[str, ...]:
        """Return the topics, sorted."""
        return self._topics_of.get(item, ())

    @cached_property
    def _topics_of(self) -> Mapping[int, tuple[str, ...]]:
        of: dict[int, tuple[str, ...]] = {}
        for name in sorted(self.columns.topics):
            for item in self.columns.topics[name].tolist():
                of[item] = (*of.get(item, ()), name)
        return of


def open_catalog(folder: Path, trust: Trust) -> ItemCatalog:
    """Verify a catalog and load it.

    Args:
        folder: Holds the two files. Not trusted.
        trust: Keys and state of this device; serials in it are versions of the catalog.

    Raises:
        CatalogError: If a file is missing or too long, too few trusted keys signed it, it is
            malformed, older than the one in use or than the floor, or another one under a
            version that was used.

    Guarantees:
        Bytes are read once, verified, and only then parsed.
    """
    try:
        signed = read_bounded(folder / CATALOG, LARGEST_CATALOG)
        named = read_bounded(folder / CATALOG_SIGNATURES, _LARGEST_SIGNATURES)
        return _verified(signed, named, trust)
    except OSError as error:
        raise CatalogError(f"catalog refused: {error.strerror}") from error
    except ValueError as error:
        raise CatalogError(f"catalog refused: {error}") from error


def _verified(signed: bytes, named: bytes, trust: Trust) -> ItemCatalog:
    signatures = read_signatures(named, CATALOG_TYPE)
    good = good_keys(signed, signatures, trust.trusted, trust.verify, CATALOG_TYPE)
    if good < trust.threshold:
        raise ValueError(f"{good} trusted keys signed it, {trust.threshold} must")
    columns = parse_columns(strict_loads(signed))
    digest = hashlib.sha256(signed).hexdigest()
    check_version(columns.version, digest, trust)
    return ItemCatalog(columns, digest, len(signed))


def check_version(version: int, digest: str, trust: Trust) -> None:
    """Refuse an older catalog, and another one under a version that was used."""
    if version < trust.floor_serial:
        raise ValueError(f"version {version} is below the floor {trust.floor_serial}")
    installed = trust.installed
    if installed is not None and version < installed.serial:
        raise ValueError(f"version {version} is older than {installed.serial}, the one in use")
    if installed is not None and version == installed.serial and digest != installed.digest:
        raise ValueError(f"version {version} was used for other content")
