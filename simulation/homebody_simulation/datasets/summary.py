"""What can be said of a data set without showing one device's values."""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from homebody_models.columns import blocks
from homebody_models.interactions import Interactions
from homebody_simulation.datasets.loader import BadRow, Dataset

_HEAD = 0.1  # share of the items that counts as the head


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantiles:
    """Deciles over devices, interpolated and rounded to a whole number."""

    p10: int
    p50: int
    p90: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Specs of a data set: sizes, shares, dates and words. No value of any one device.

    Attributes:
        name: Name of the data set.
        unit: What one device is.
        devices: Number of devices.
        raw_events: Rows in the source.
        events: Rows that became events.
        items: Items in the catalog.
        items_used: Items with at least one event.
        events_per_device: Over devices.
        items_per_device: Distinct items, over devices.
        repeats: Whether an item may be chosen again.
        repeated_share: Share of events whose device had the item before, 0 to 1.
        head_share: Share of events that fall on the 10 % most chosen items, 0 to 1.
        first_day: Day of the first event (UTC), ISO 8601; None without events.
        last_day: Day of the last event.
        features: Content features of an item.
        categories: Distinct item categories.
        skipped: Rows left out, added up by reason, most first.
        source: Where the data comes from.
        licence: What may be done with it.
        notes: Sentences a reader of figures must know.
        catalog_digest: SHA-256 of the catalog, as hex. Public.
    """

    name: str
    unit: str
    devices: int
    raw_events: int
    events: int
    items: int
    items_used: int
    events_per_device: Quantiles
    items_per_device: Quantiles
    repeats: bool
    repeated_share: float
    head_share: float
    first_day: str | None
    last_day: str | None
    features: int
    categories: int
    skipped: dict[str, int]
    source: str
    licence: str
    notes: tuple[str, ...]
    catalog_digest: str


def summarise(dataset: Dataset) -> Summary:
    """Count and measure a data set.

    Examples:
        >>> from homebody_simulation.datasets import load_dataset
        >>> specs = summarise(load_dataset("synthetic", devices=50, items=40))
        >>> specs.devices, specs.items, specs.repeated_share
        (50, 40, 0.0)
    """
    data = dataset.interactions
    catalog = data.catalog
    counts = data.item_counts()
    distinct = _distinct_items(data)
    events = len(data.items)
    return Summary(
        name=dataset.name,
        unit=dataset.unit,
        devices=data.devices,
        raw_events=dataset.raw_events,
        events=events,
        items=len(catalog),
        items_used=int((counts > 0).sum()),
        events_per_device=_quantiles(np.diff(data.ptr)),
        items_per_device=_quantiles(distinct),
        repeats=data.repeats,
        repeated_share=1.0 - int(distinct.sum()) / events if events else 0.0,
        head_share=_head_share(counts),
        first_day=_day(min(part.min() for part in blocks(data.times))) if events else None,
        last_day=_day(max(part.max() for part in blocks(data.times))) if events else None,
        features=len(catalog.feature_names),
        categories=len(set(catalog.categories) - {""}),
        skipped=_by_reason(dataset.skipped),
        source=dataset.source,
        licence=dataset.licence,
        notes=dataset.notes,
        catalog_digest=catalog.digest(),
    )


def _distinct_items(data: Interactions) -> npt.NDArray[np.int64]:
    """Count the distinct items of each device, shape ``(devices,)``."""
    distinct = np.zeros(data.devices, np.int64)
    for devices, _ in data.pairs():
        np.add.at(distinct, devices, 1)
    return distinct


def _quantiles(counts: npt.NDArray[np.int64]) -> Quantiles:
    if not len(counts):
        return Quantiles(p10=0, p50=0, p90=0)
    p10, p50, p90 = (round(float(q)) for q in np.percentile(counts, (10, 50, 90)))
    return Quantiles(p10=p10, p50=p50, p90=p90)


def _head_share(counts: npt.NDArray[np.int64]) -> float:
    """Return the share of events on the most chosen tenth of the items, rounded up."""
    head = int(np.ceil(_HEAD * len(counts)))
    total = int(counts.sum())
    return int(np.sort(counts)[::-1][:head].sum()) / total if total else 0.0


def _by_reason(skipped: tuple[BadRow, ...]) -> dict[str, int]:
    totals: dict[str, int] = {}
    for row in skipped:
        totals[row.reason] = totals.get(row.reason, 0) + row.rows
    return dict(sorted(totals.items(), key=lambda pair: (-pair[1], pair[0])))


def _day(seconds: np.int64) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).date().isoformat()
