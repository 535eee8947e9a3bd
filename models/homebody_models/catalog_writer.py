"""Write a signed catalog: a new folder that appears whole or not at all."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from homebody_models.catalog import CATALOG, CATALOG_SIGNATURES, CATALOG_TYPE, LARGEST_CATALOG
from homebody_models.catalog_columns import CATALOG_SCHEMA, parse_columns
from homebody_models.dsse import Sign, Signature, pre_authentication, write_signatures
from homebody_models.folder_files import write_whole
from homebody_models.strict_json import canonical


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogItem:
    """One thing that can be recommended. Public.

    Attributes:
        product_id: Its id, unique in the catalog.
        title: Name shown to people.
        category: One coarse category; empty for none.
        price: Decimal text such as ``2.49``; empty for none.
        topics: What it is about, in lower case: ``health``, ``pregnancy``. Devices never name an
            item of a sensitive topic as a reason.
        created: Unix seconds at which it came into the catalog; 0 if that is not said.
    """

    product_id: str
    title: str
    category: str = ""
    price: str = ""
    topics: tuple[str, ...] = ()
    created: int = 0


def write_catalog(
    folder: Path,
    items: Sequence[CatalogItem],
    *,
    catalog_id: str,
    version: int,
    sign: Sign,
    currency: str = "",
) -> str:
    """Sign and write a catalog.

    Args:
        folder: The catalog to create; its parent must exist and it must not.
        items: The items, in the order to show them in where nothing else is known, such as by
            falling popularity.
        catalog_id: Which line of catalogs this is.
        version: Rises with each publication, from 1.
        sign: Signs a message; returns key id and signature. The key stays with the caller.
        currency: ISO 4217 code of the prices; needed if an item has one.

    Returns:
        SHA-256 of the signed bytes, in hex.

    Raises:
        ValueError: If ``folder`` exists or no device would accept the catalog.
        OSError: If the folder cannot be written.
    """
    if folder.exists():
        raise ValueError(f"{folder} exists already: a catalog is never overwritten")
    content = _content(items, catalog_id, version, currency)
    parse_columns(content)  # what a device would refuse is not written
    signed = canonical(content)
    if len(signed) > LARGEST_CATALOG:
        raise ValueError(f"the catalog has {len(signed)} bytes, at most {LARGEST_CATALOG}")
    signature = Signature(*sign(pre_authentication(signed, CATALOG_TYPE)))
    files = {CATALOG: signed, CATALOG_SIGNATURES: write_signatures(signature, kind=CATALOG_TYPE)}
    write_whole(folder, files)
    return hashlib.sha256(signed).hexdigest()


def _content(
    items: Sequence[CatalogItem], catalog_id: str, version: int, currency: str
) -> dict[str, object]:
    """Return the columns, with those left out that nothing is said in."""
    categories = sorted({item.category for item in items} - {""})
    code = {name: i for i, name in enumerate(categories)} | {"": -1}
    content: dict[str, object] = {
        "schema": CATALOG_SCHEMA,
        "catalog_id": catalog_id,
        "version": version,
        "ids": [item.product_id for item in items],
        "titles": [item.title for item in items],
        "categories": categories,
        "category": [code[item.category] for item in items],
        "topics": _topics(items),
    }
    if any(item.price for item in items):
        if not currency:
            raise ValueError("prices need a currency")
        content |= {"currency": currency, "prices": [item.price for item in items]}
    if any(item.created for item in items):
        content["created"] = [item.created for item in items]
    return content


def _topics(items: Sequence[CatalogItem]) -> Mapping[str, list[int]]:
    table: dict[str, list[int]] = {}
    for number, item in enumerate(items):
        for topic in dict.fromkeys(item.topics):
            table.setdefault(topic, []).append(number)
    return table
