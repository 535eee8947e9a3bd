"""The made-up shop that the device is measured in: any number of items, signed on the spot."""

import json
import os
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

import numpy as np
import numpy.typing as npt

from homebody_client.device import Device
from homebody_models.bundle import BundleFacts
from homebody_models.bundle_writer import write_bundle
from homebody_models.catalog_writer import CatalogItem, write_catalog
from homebody_models.manifest import LIFETIME
from homebody_models.recommender import Exported
from homebody_privacy.environment import STATE
from homebody_privacy.signing import SigningKey

SMALL, MIDDLE = 3_706, 10_000
DIM = SLOTS = 64
USER = "12345"
_CATEGORIES = 20
_ROWS = 100_000  # more than any measurement keeps
_DAYS = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchShop:
    """A shop's files, and its item table before quantisation."""

    folder: Path
    items: int
    table: npt.NDArray[np.float32] = field(repr=False)
    bias: npt.NDArray[np.float32] = field(repr=False)

    def open(self, profile: Path, *, fresh: bool = False) -> Device:
        """Open a profile of the shop.

        Args:
            profile: Its folder.
            fresh: Take model and catalog into use and switch recommendations on.
        """
        use_state(profile)
        device = Device.open(
            profile,
            config=self.folder / "privacy.toml",
            trusted_key=self.folder / "publisher.pub",
            bundle=self.folder / "model.hbm" if fresh else None,
            catalog=self.folder / "catalog" if fresh else None,
        )
        if fresh:
            device.consent.grant("recommend", features=["purchases", "tastes"])
        if device.problems:
            raise RuntimeError("; ".join(device.problems))
        return device


def make_shop(folder: Path, items: int) -> BenchShop:
    """Write a shop; rows and popularity are drawn, nothing is trained."""
    folder.mkdir(parents=True)
    key, rng, now = SigningKey.generate(), np.random.default_rng(items), int(time.time())

    def sign(message: bytes) -> tuple[str, bytes]:
        return key.key_id, key.sign(message)

    products = [
        CatalogItem(
            product_id=product(i),
            title=f"Product {i}",
            category=f"category {i % _CATEGORIES}",
            price=f"{1 + i % 90}.99",
        )
        for i in range(items)
    ]
    digest = write_catalog(
        folder / "catalog", products, catalog_id="bench", version=1, currency="EUR", sign=sign
    )
    table = rng.normal(size=(items, DIM)).astype(np.float32)
    bias = rng.normal(size=items).astype(np.float32)
    write_bundle(
        folder / "model.hbm",
        Exported(
            encoder="mean", embeddings=table, bias=bias, history_max=SLOTS, history_decay=0.98
        ),
        item_ids=[one.product_id for one in products],
        facts=BundleFacts(
            model_id="bench",
            version="v1",
            serial=1,
            created=now,
            expires=now + LIFETIME,
            catalog_sha256=digest,
            privacy={"statement": "Made up, not trained: nobody's data is in this model."},
        ),
        sign=sign,
    )
    (folder / "publisher.pub").write_bytes(key.public)
    config = (files("homebody_client.demo") / "privacy.toml").read_text("utf-8")
    for most in ("max_rows = 1000", "max_rows = 200"):
        config = config.replace(f"{most}\n", f"max_rows = {_ROWS}\n")
    (folder / "privacy.toml").write_text(config, "utf-8")
    return BenchShop(folder=folder, items=items, table=table, bias=bias)


def product(item: int) -> str:
    """Return the id of an item."""
    return f"SKU-{item:06d}"


def event(number: int, items: int, *, kind: str = "product_view") -> str:
    """Return the JSON text of an event; two seconds lie between two numbers."""
    at = int(time.time()) - _DAYS * 86_400 + 2 * number
    return json.dumps(
        {
            "user_id": USER,
            "event": kind,
            "product_id": product(number * 7_919 % items),
            "timestamp": datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z"),
            "device": "mobile",
            "event_id": f"event-{kind}-{number}",
        }
    )


def use_state(profile: Path) -> None:
    """Keep the keys of a profile beside it, for child processes too."""
    os.environ[STATE] = str(profile.parent / "state")
