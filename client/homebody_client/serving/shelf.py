"""All that can be listed, in one numbering: the model's items, then those new to the catalog.

Public, made once for a model and a catalog. An item the catalog no longer has is not shown. One
the model does not know yet gets the model's middling score, so that filters, freshness and the
session's interest can bring it up. Without a model the catalog's own order counts, and without a
catalog the list of ids the app gives.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import field
from typing import Final

import numpy as np
import numpy.typing as npt

from homebody_client.light_dataclass import dataclass
from homebody_client.serving.sensitive import (
    SENSITIVE_TOPICS,
    sensitive_categories,
    sensitive_items,
)
from homebody_client.serving.surfaces import Surface
from homebody_models.bundle import ModelBundle
from homebody_models.catalog import ItemCatalog
from homebody_models.golden import golden_histories
from homebody_models.ranking import Ranker

DAY_S: Final = 86_400
_TOP: Final = 10
_NEW_FOR_DAYS: Final = 30.0
_POPULAR_SHARE: Final = 5  # the first fifth of the catalog is called popular

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """Everything that can be listed. Public.

    Attributes:
        ids: Product ids; the first ``known`` are the model's, in its order.
        index: Number of each product id.
        known: Items the model knows.
        ranker: The model; None without one.
        base: float32, score of each item for nobody in particular.
        spread: Distance from a middling score to one of the first ten; the unit of local terms.
        codes: int32, category of each item; -1 for none.
        categories: Names of the categories.
        listed: Which items the catalog has.
        sensitive: Which items no reason names.
        sensitive_category: Which categories no reason names.
        popular: Which items many people choose, as the model says.
        created: int64, Unix seconds; 0 where that is not said.
        prices: float64; NaN for none.
        topics: Numbers of the items of each topic.
        titles: Names shown to people; an id without one stands for itself.
    """

    ids: tuple[str, ...] = field(repr=False)
    index: Mapping[str, int] = field(repr=False)
    known: int
    ranker: Ranker | None = field(repr=False)
    base: Floats = field(repr=False)
    spread: float
    codes: npt.NDArray[np.int32] = field(repr=False)
    categories: tuple[str, ...] = field(repr=False)
    listed: Mask = field(repr=False)
    sensitive: Mask = field(repr=False)
    sensitive_category: Mask = field(repr=False)
    popular: Mask = field(repr=False)
    created: npt.NDArray[np.int64] = field(repr=False)
    prices: npt.NDArray[np.float64] = field(repr=False)
    topics: Mapping[str, npt.NDArray[np.int64]] = field(repr=False)
    titles: Mapping[str, str] = field(repr=False)

    def __len__(self) -> int:
        """Count the items."""
        return len(self.ids)

    def title(self, item: int) -> str:
        """Return the name shown to people."""
        return self.titles.get(self.ids[item], self.ids[item])

    def freshness(self, now: float) -> Floats | None:
        """Return how new each item is, 1 today and falling to 0; None where nothing says so.

        It changes once a day, so that two devices of one day have the same list for all.
        """
        if not self.created.any():
            return None
        today = int(now // DAY_S)
        age = np.maximum(0, today - self.created // DAY_S)
        fresh = np.where(self.created > 0, np.exp(-age / (_NEW_FOR_DAYS / 2)), 0.0)
        return np.where(self.created > now, 0.0, fresh).astype(np.float32)

    def visible(self, surface: Surface) -> Mask:
        """Return which items a surface may show to anybody."""
        shown = self.listed.copy()
        if surface.hide_sensitive:
            shown &= ~self.sensitive
        for topic in surface.deny_topics & set(self.topics):
            shown[self.topics[topic]] = False
        if surface.allow_categories:
            shown &= self._in(surface.allow_categories)
        if surface.deny_categories:
            shown &= ~self._in(surface.deny_categories)
        if surface.most_price is not None:
            shown &= ~(self.prices > surface.most_price)  # false for NaN: no price, shown
        return shown

    def _in(self, names: Collection[str]) -> Mask:
        table = np.array([name in names for name in self.categories] + [False], np.bool_)
        return table[self.codes]


def build_shelf(
    bundle: ModelBundle | None,
    catalog: ItemCatalog | None,
    *,
    fallback: Sequence[str] = (),
    titles: Mapping[str, str] | None = None,
    topics: Collection[str] = SENSITIVE_TOPICS,
    categories: Collection[str] = (),
) -> Shelf:
    """Put a model and a catalog into one numbering.

    Args:
        bundle: A verified model; None without one.
        catalog: A verified catalog; None without one.
        fallback: Product ids to list where there is neither, best first.
        titles: Names shown to people where the catalog has none.
        topics: Topics that no reason names.
        categories: Categories that no reason names, besides.
    """
    known = () if bundle is None else bundle.item_ids
    index = {} if bundle is None else bundle.index
    new = () if catalog is None else tuple(name for name in catalog.items if name not in index)
    last = () if known or new else tuple(dict.fromkeys(fallback))
    ids = (*known, *new, *last)
    ranker = None if bundle is None else bundle.ranker
    base, spread = _scores(ranker, len(ids))
    place = np.full(len(ids), -1, np.int64)  # where the catalog has it
    if catalog is not None:
        place[:] = [catalog.index.get(name, -1) for name in ids]
    columns = _Columns(catalog, place, topics, categories)
    return Shelf(
        ids=ids,
        index={name: i for i, name in enumerate(ids)} if new or last else dict(index),
        known=len(known),
        ranker=ranker,
        base=base,
        spread=spread,
        codes=columns.codes,
        categories=() if catalog is None else catalog.category_names,
        listed=np.ones(len(ids), np.bool_) if catalog is None else place >= 0,
        sensitive=columns.sensitive,
        sensitive_category=columns.sensitive_category,
        popular=_popular(base, len(known)),
        created=columns.created,
        prices=columns.prices,
        topics=columns.topics,
        titles={**(titles or {}), **({} if catalog is None else catalog.titles)},
    )


class _Columns:
    """A catalog's columns in the numbering of a shelf."""

    def __init__(
        self,
        catalog: ItemCatalog | None,
        place: npt.NDArray[np.int64],
        topics: Collection[str],
        categories: Collection[str],
    ) -> None:
        n = len(place)
        self.codes = np.full(n, -1, np.int32)
        self.created = np.zeros(n, np.int64)
        self.prices = np.full(n, np.nan)
        self.sensitive = np.zeros(n, np.bool_)
        self.sensitive_category = np.zeros(0, np.bool_)
        self.topics: dict[str, npt.NDArray[np.int64]] = {}
        if catalog is None:
            return
        has = np.flatnonzero(place >= 0)
        at = place[has]
        marked = sensitive_items(catalog, topics, categories)
        self.codes[has] = catalog.category_codes[at]
        self.created[has] = catalog.created[at]
        self.prices[has] = catalog.prices[at]
        self.sensitive[has] = marked[at]
        self.sensitive_category = sensitive_categories(catalog, marked, categories)
        number = np.full(len(catalog), -1, np.int64)
        number[at] = has
        self.topics = {name: number[items] for name, items in catalog.topics_by_name.items()}


def _scores(ranker: Ranker | None, n: int) -> tuple[Floats, float]:
    """Return scores for nobody in particular, and their spread."""
    if ranker is None:
        return (np.arange(n, 0, -1, dtype=np.float32) / max(n, 1)).astype(np.float32), 0.5
    own = ranker.scores([])
    base = np.full(n, _middle(np.sort(own)), np.float32)
    base[: len(own)] = own
    spreads = [_spread(ranker.scores(history)) for history in golden_histories(len(own))[:4:3]]
    return base, max(spreads) or 1.0


def _spread(scores: Floats) -> float:
    """Return the distance from the median to the tenth score, or in small catalogs a higher one."""
    ordered = np.sort(scores)
    return float(ordered[-min(_TOP, max(1, len(ordered) // 4))] - _middle(ordered))


def _middle(ordered: Floats) -> np.float32:
    """Return the median of rising scores; ``np.median`` would load all of ``numpy.ma``."""
    n = len(ordered)
    middle: np.float32 = (ordered[(n - 1) // 2] + ordered[n // 2]) / np.float32(2.0)
    return middle


def _popular(base: Floats, known: int) -> Mask:
    """Return which items are of the first fifth, at least ten, of the model's own order."""
    popular = np.zeros(len(base), np.bool_)
    if known:
        most = min(known, max(_TOP, known // _POPULAR_SHARE))
        popular[:known] = base[:known] >= np.sort(base[:known])[known - most]
    return popular
