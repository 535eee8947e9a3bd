"""The made-up shop: a catalog, and a model made of its categories alone, both signed on the spot.

Nothing is trained: an item's row points where its category points, and how many people would choose
it is made up. It shows what a device does, not how well a trained model ranks.
"""

import csv
import zlib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

import numpy as np

from homebody_models.bundle import BundleFacts, write_bundle
from homebody_models.catalog_writer import CatalogItem, write_catalog
from homebody_models.manifest import LIFETIME
from homebody_models.recommender import Exported
from homebody_privacy.signing import SigningKey

_SERIAL: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """Where the made-up shop was written.

    Attributes:
        config: Its ``privacy.toml``.
        bundle: Its model.
        catalog: Its catalog.
        key: Its publisher's public key.
    """

    config: Path
    bundle: Path
    catalog: Path
    key: Path


def items() -> list[CatalogItem]:
    """Return the products of the shop."""
    text = (files(__package__) / "items.csv").read_text("utf-8")
    return [
        CatalogItem(
            product_id=row["product_id"],
            title=row["title"],
            category=row["category"],
            price=row["price"],
            topics=tuple(filter(None, row["topics"].split(";"))),
        )
        for row in csv.DictReader(text.splitlines())
    ]


def write_shop(folder: Path, *, now: int, key: SigningKey | None = None) -> Shop:
    """Write the shop's files into a folder.

    Args:
        folder: Where to; made if it is not there.
        now: Unix seconds.
        key: Signs model and catalog; None makes one that is thrown away.
    """
    folder.mkdir(parents=True, exist_ok=True)
    signing = key or SigningKey.generate()

    def sign(message: bytes) -> tuple[str, bytes]:
        return signing.key_id, signing.sign(message)

    products = items()
    shop = Shop(
        config=folder / "privacy.toml",
        bundle=folder / "model.hbm",
        catalog=folder / "catalog",
        key=folder / "publisher.pub",
    )
    shop.config.write_bytes((files(__package__) / "privacy.toml").read_bytes())
    shop.key.write_bytes(signing.public)
    digest = write_catalog(
        shop.catalog, products, catalog_id="demo-shop", version=_SERIAL, currency="EUR", sign=sign
    )
    facts = BundleFacts(
        model_id="demo-shop",
        version="demo",
        serial=_SERIAL,
        created=now,
        expires=now + LIFETIME,
        catalog_sha256=digest,
        privacy={"statement": "Made up, not trained: nobody's data is in this model."},
    )
    write_bundle(
        shop.bundle,
        _model(products),
        item_ids=[p.product_id for p in products],
        facts=facts,
        sign=sign,
    )
    return shop


def _model(products: list[CatalogItem]) -> Exported:
    """Return rows that point where their category points, the same on every machine."""
    names = sorted({product.category for product in products})
    own = np.array([zlib.crc32(product.product_id.encode()) for product in products], np.float64)
    spread = own / 2**32 - 0.5
    table = np.zeros((len(products), len(names)), np.float32)
    for row, product in enumerate(products):
        table[row, names.index(product.category)] = 1.5 + 0.3 * spread[row]
    return Exported(
        encoder="mean",
        embeddings=table,
        bias=(0.5 + spread).astype(np.float32),
        history_max=32,
        history_decay=0.9,
    )
