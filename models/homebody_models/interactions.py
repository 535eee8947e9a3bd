"""Who did what when, as arrays: the catalog and one history per device.

Histories are stored back to back (compressed sparse rows), so that a million devices are four
arrays and no Python object each; the arrays can be memory-mapped, and are then read block by block.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from homebody_models.columns import blocks, release, spans

_ARRAYS = ("ptr", "items", "times", "values")


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """What can be recommended. Public.

    Attributes:
        ids: Identifier of each item, unique, in index order.
        titles: Name shown to people, same length as ``ids``.
        categories: One coarse category an item, "" where there is none; same length.
        features: Content features of shape ``(items, features)``, float32; zero columns if none.
        feature_names: Name of each feature column.
    """

    ids: tuple[str, ...]
    titles: tuple[str, ...]
    categories: tuple[str, ...]
    features: npt.NDArray[np.float32] = field(repr=False)
    feature_names: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse columns of different lengths, repeated ids and non-finite features."""
        n = len(self.ids)
        if len(set(self.ids)) != n:
            raise ValueError("catalog ids must be unique")
        if len(self.titles) != n or len(self.categories) != n:
            raise ValueError(f"titles and categories must have {n} entries, one for each id")
        if self.features.shape != (n, len(self.feature_names)):
            shape = (n, len(self.feature_names))
            raise ValueError(f"features must have shape {shape}, got {self.features.shape}")
        if not np.isfinite(self.features).all():
            raise ValueError("features must be finite")

    def __len__(self) -> int:
        """Count the items."""
        return len(self.ids)

    def digest(self) -> str:
        """Return the SHA-256 of ids, titles, categories and features, as hex."""
        names = [self.ids, self.titles, self.categories, self.feature_names]
        digest = hashlib.sha256(json.dumps(names, ensure_ascii=False).encode())
        digest.update(np.ascontiguousarray(self.features, dtype="<f4").tobytes())
        return digest.hexdigest()


class Part(NamedTuple):
    """Some neighbouring devices of a population. Secret.

    Attributes:
        devices: Which.
        lengths: Events of each, shape ``(devices,)``.
        items: Their items, back to back, shape ``(events,)``.
    """

    devices: slice
    lengths: npt.NDArray[np.int64]
    items: npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interactions:
    """Every device's history, oldest event first. Secret, but for the catalog.

    Attributes:
        ptr: int64 of shape ``(devices + 1,)``; device u owns rows ``ptr[u]:ptr[u + 1]``.
        items: int32 of shape ``(events,)``, item indices.
        times: int64 of shape ``(events,)``, Unix seconds, not decreasing within a device; empty
            where nothing but the order is kept, as for training.
        values: float32 of shape ``(events,)``: price, rating or count, NaN is refused; or empty.
        repeats: Whether an item may be chosen again (groceries): nothing is hidden in ranking.
        catalog: The items. Public.
    """

    ptr: npt.NDArray[np.int64] = field(repr=False)
    items: npt.NDArray[np.int32] = field(repr=False)
    times: npt.NDArray[np.int64] = field(repr=False, default_factory=lambda: np.zeros(0, np.int64))
    values: npt.NDArray[np.float32] = field(
        repr=False, default_factory=lambda: np.zeros(0, np.float32)
    )
    repeats: bool
    catalog: Catalog = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse arrays that do not describe histories over the catalog."""
        events = len(self.items)
        if self.ptr.ndim != 1 or len(self.ptr) < 1 or self.ptr[0] != 0 or self.ptr[-1] != events:
            raise ValueError("ptr must start at 0 and end at the number of events")
        if (np.diff(self.ptr) < 0).any():
            raise ValueError("ptr must not decrease")
        if not {len(self.times), len(self.values)} <= {0, events}:
            raise ValueError("times and values must be as many as items, or none")
        items = len(self.catalog)
        if not all(0 <= int(b.min()) <= int(b.max()) < items for b in blocks(self.items)):
            raise ValueError("items must be indices of the catalog")
        if not all(np.isfinite(block).all() for block in blocks(self.values)):
            raise ValueError("values must be finite")

    @property
    def devices(self) -> int:
        """Number of devices."""
        return len(self.ptr) - 1

    def history(self, device: int) -> npt.NDArray[np.int32]:
        """Return the item indices of one device, oldest first."""
        return self.items[self.ptr[device] : self.ptr[device + 1]]

    def parts(self) -> Iterator[Part]:
        """Yield some devices at a time, in order, so that no array is as long as all events."""
        for span in spans(self.ptr):
            ptr = self.ptr[span.start : span.stop + 1]
            yield Part(span, np.diff(ptr), self.items[ptr[0] : ptr[-1]])
            release(self.items)

    def pairs(self) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
        """Yield each device with each of its items once: devices ascending, items of one too."""
        size = max(len(self.catalog), 1)
        for span, lengths, items in self.parts():
            devices = np.repeat(np.arange(span.start, span.stop, dtype=np.int64), lengths)
            every: npt.NDArray[np.int64] = devices * np.int64(size) + items
            every.sort()
            first = np.ones(len(every), bool)
            np.not_equal(every[1:], every[:-1], out=first[1:])
            yield every[first] // size, every[first] % size

    def item_counts(self) -> npt.NDArray[np.int64]:
        """Return how many events each item has, shape ``(items,)``. Secret."""
        counts = np.zeros(len(self.catalog), np.int64)
        for block in blocks(self.items):
            counts += np.bincount(block, minlength=len(counts))
        return counts

    def digest(self) -> str:
        """Return the SHA-256 of catalog and histories, as hex: which population this is.

        Where times are not kept it is another one than with them.
        """
        digest = hashlib.sha256(self.catalog.digest().encode())
        for array, kind in ((self.ptr, "<i8"), (self.items, "<i4"), (self.times, "<i8")):
            for block in blocks(array):
                digest.update(np.ascontiguousarray(block, dtype=kind).data)
        return digest.hexdigest()

    def save(self, folder: Path) -> None:
        """Write the arrays and the catalog to ``folder``, which must exist."""
        for name in _ARRAYS:
            np.save(folder / f"{name}.npy", getattr(self, name))
        np.save(folder / "features.npy", self.catalog.features)
        names = {
            "repeats": self.repeats,
            "ids": self.catalog.ids,
            "titles": self.catalog.titles,
            "categories": self.catalog.categories,
            "feature_names": self.catalog.feature_names,
        }
        (folder / "catalog.json").write_text(json.dumps(names, ensure_ascii=False), "utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Interactions":
        """Open what ``save`` wrote; the event arrays are memory-mapped, read-only.

        Raises:
            OSError: If a file is missing.
            ValueError: If a file does not hold what ``save`` writes.
        """
        names = json.loads((folder / "catalog.json").read_text("utf-8"))
        catalog = Catalog(
            ids=tuple(names["ids"]),
            titles=tuple(names["titles"]),
            categories=tuple(names["categories"]),
            features=np.load(folder / "features.npy"),
            feature_names=tuple(names["feature_names"]),
        )
        ptr, items, times, values = (np.load(folder / f"{n}.npy", mmap_mode="r") for n in _ARRAYS)
        return cls(
            ptr=ptr, items=items, times=times, values=values,
            repeats=bool(names["repeats"]), catalog=catalog,
        )  # fmt: skip
