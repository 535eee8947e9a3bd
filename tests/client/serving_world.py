"""A made-up shop with trained models: people with tastes, items by category, some sensitive."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from homebody_client.bundles import open_model, trust_key
from homebody_client.serving.interactions import Interaction
from homebody_models.bundle import BundleFacts, ModelBundle, write_bundle
from homebody_models.catalog import ItemCatalog, open_catalog
from homebody_models.catalog_writer import CatalogItem, write_catalog
from homebody_models.recommender import Exported
from homebody_privacy.signing import SigningKey

NOW = 1_800_000_000.0
DAY = 86_400
ITEMS, CATEGORIES, PEOPLE, DIM = 240, 12, 400, 16
KEY = SigningKey(bytes(32))
PREGNANCY = ("PREGNANCY TEST", "FOLIC ACID", "MATERNITY TIGHTS", "BABY COT")
"""Titles of the planted items; all of category 0, as unsuspicious as a drug store."""


def sign(message: bytes) -> tuple[str, bytes]:
    """Sign as the shop's publisher."""
    return KEY.key_id, KEY.sign(message)


def category_of(item: int) -> int:
    """Return an item's category."""
    return item % CATEGORIES


def ident(item: int) -> str:
    """Return an item's product id."""
    return f"SKU-{item:03d}"


@dataclass(frozen=True)
class World:
    """A catalog, a model of each encoder, and who chose what."""

    catalog: ItemCatalog
    bundles: dict[str, ModelBundle]
    people: npt.NDArray[np.int64]

    def choices(self, person: int, n: int = 30, event: str = "purchase") -> list[Interaction]:
        """Return a person's choices, a few days old, in the evening and on a phone."""
        return choices(self.people[person][:n].tolist(), event)


def choices(
    items: Sequence[int],
    event: str = "purchase",
    *,
    age_s: float = 3.0 * DAY,
    hour: int | None = 19,
    device: str | None = "mobile",
) -> list[Interaction]:
    """Return events about some items, one a minute, the last one ``age_s`` before now."""
    return [
        Interaction(
            product_id=ident(item),
            event=event,
            at=NOW - age_s - 60.0 * (len(items) - 1 - i),
            hour=hour,
            device=device,
        )
        for i, item in enumerate(items)
    ]


def make_world(folder: Path) -> World:
    """Draw people, train the models on them and sign everything."""
    rng = np.random.default_rng(7)
    people = _people(rng)
    bundles = {}
    for encoder in ("mean", "mean-repeat", "ridge", "none"):
        facts = BundleFacts(
            model_id="shop",
            version="v7",
            serial=7,
            created=1,
            expires=2**33,
            catalog_sha256="0" * 64,
            privacy={},
        )
        ids = [ident(item) for item in range(ITEMS)]
        write_bundle(
            folder / encoder, _train(people, encoder), item_ids=ids, facts=facts, sign=sign
        )
        bundles[encoder] = open_model(folder / encoder, trust_key(KEY.public), now=2)
    write_catalog(
        folder / "catalog",
        [_item(item) for item in range(ITEMS)],
        catalog_id="shop",
        version=1,
        sign=sign,
    )
    return World(open_catalog(folder / "catalog", trust_key(KEY.public)), bundles, people)


def _item(item: int) -> CatalogItem:
    """Describe an item; the first of category 0 are the planted ones."""
    planted = category_of(item) == 0 and item // CATEGORIES < len(PREGNANCY)
    return CatalogItem(
        product_id=ident(item),
        title=PREGNANCY[item // CATEGORIES] if planted else f"item {item}",
        category=f"category {category_of(item)}",
        topics=("pregnancy",) if planted else (),
    )


def _people(rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Draw 40 choices of each person: three favourite categories, popular items more often."""
    weight = 1.0 / (1.0 + np.arange(ITEMS) // CATEGORIES)
    people = np.empty((PEOPLE, 40), np.int64)
    for person in range(PEOPLE):
        taste = np.full(CATEGORIES, 0.15)
        taste[rng.choice(CATEGORIES, 3, replace=False)] = 3.0
        chance = weight * taste[np.arange(ITEMS) % CATEGORIES]
        people[person] = rng.choice(ITEMS, 40, p=chance / chance.sum())
    return people


def _train(people: npt.NDArray[np.int64], encoder: str) -> Exported:
    """Train by implicit least squares (``ridge``) or by the spectrum of what goes together."""
    counts = np.zeros((PEOPLE, ITEMS))
    np.add.at(counts, (np.arange(PEOPLE)[:, None], people), 1.0)
    popularity = np.log1p(counts.sum(axis=0))
    bias = (0.4 * (popularity - popularity.mean())).astype(np.float32)
    common = {"bias": bias, "history_max": 64, "history_decay": 0.95}
    if encoder == "none":
        return Exported(encoder="none", embeddings=np.zeros((ITEMS, 0), np.float32), **common)
    if encoder == "ridge":
        table = _least_squares((counts > 0).astype(np.float64))
        return Exported(
            encoder="ridge",
            embeddings=table,
            ridge=1.0,
            unseen_weight=0.1,
            bias=0.1 * bias,
            history_max=64,
            history_decay=0.95,
        )
    together = counts.T @ counts
    size = np.sqrt(np.maximum(np.diag(together), 1.0))
    values, vectors = np.linalg.eigh(together / size[:, None] / size)
    table = vectors[:, -DIM:] * np.sqrt(np.maximum(values[-DIM:], 0.0))
    return Exported(
        encoder=encoder,
        embeddings=(3.0 * table).astype(np.float32),
        repeat=2.0 if encoder == "mean-repeat" else None,
        **common,
    )


def _least_squares(seen: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Return item rows after a few alternating solves, weights 1 seen and 0.1 unseen."""
    rng = np.random.default_rng(1)
    rows = 0.1 * rng.standard_normal((ITEMS, DIM))
    for _ in range(6):
        users = _solve(rows, seen)
        rows = _solve(users, seen.T)
    return rows.astype(np.float32)


def _solve(
    fixed: npt.NDArray[np.float64], seen: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    base = 0.1 * fixed.T @ fixed + np.eye(DIM)
    systems = base + 0.9 * np.einsum("us,si,sj->uij", seen, fixed, fixed, optimize=True)
    solved: npt.NDArray[np.float64] = np.linalg.solve(systems, (seen @ fixed)[..., None])[..., 0]
    return solved
