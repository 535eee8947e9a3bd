"""What a data set is, and what every loader of one promises.

A loader turns files (or a seed) into histories over a catalog and tells what it left out. Loaders
are pydantic models, so that an option is checked where it enters and an unknown one is refused.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from homebody_models.interactions import Interactions

YEAR_S: Final = 365 * 24 * 3600
"""Length of the planted year, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BadRow:
    """A row that is not an event, or many of one kind. Holds no value of the row.

    Attributes:
        file: Name of the file, without its folder.
        line: Physical line of a CSV, from 1 with the header; row number of a Parquet file, from 1;
            None for a summary of ``rows`` rows.
        reason: What is wrong, in words.
        rows: Number of rows it stands for, at least 1; exactly 1 where ``line`` is given.
    """

    file: str
    line: int | None
    reason: str
    rows: int = 1

    def __post_init__(self) -> None:
        """Refuse a line before the first, and a line that stands for several rows."""
        if self.rows < 1 or (self.line is not None and self.rows != 1):
            raise ValueError(f"rows must be at least 1, and 1 for a line, got {self.rows}")
        if self.line is not None and self.line < 1:
            raise ValueError(f"line must be at least 1, got {self.line}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantedTruth:
    """The structure a synthetic population was drawn from, for tests and oracles.

    Device u chooses item i at time t with weight ``exp(popularity[i] + user_factors[u] .
    item_factors[i])`` times the von Mises density of item i's season at t.

    Attributes:
        user_factors: float32 of shape ``(devices, dim)``.
        item_factors: float32 of shape ``(items, dim)``.
        popularity: Log weight of each item, float32 of shape ``(items,)``.
        season_phase: Time of year of the item's peak, radians in [0, 2 pi), shape ``(items,)``.
        season_strength: Von Mises concentration, at least 0 (0 = all year), shape ``(items,)``.
        start: Unix seconds of the first second of the planted year.
    """

    user_factors: npt.NDArray[np.float32] = field(repr=False)
    item_factors: npt.NDArray[np.float32] = field(repr=False)
    popularity: npt.NDArray[np.float32] = field(repr=False)
    season_phase: npt.NDArray[np.float32] = field(repr=False)
    season_strength: npt.NDArray[np.float32] = field(repr=False)
    start: int

    def __post_init__(self) -> None:
        """Refuse item arrays of different lengths."""
        items = len(self.item_factors)
        columns = (self.popularity, self.season_phase, self.season_strength)
        if any(column.shape != (items,) for column in columns):
            raise ValueError(f"popularity and season arrays must have shape ({items},)")
        if self.user_factors.shape[1:] != self.item_factors.shape[1:]:
            raise ValueError("user_factors and item_factors must have the same dim")

    def tastes(self, devices: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
        """Return the log weight of each item, seasons left out, shape ``(len(devices), items)``."""
        users = self.user_factors[devices].astype(np.float64)
        affinity: npt.NDArray[np.float64] = users @ self.item_factors.T.astype(np.float64)
        return affinity + self.popularity

    def seasons(self, times: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
        """Return the log season density of each item at Unix seconds, ``(len(times), items)``."""
        angle = 2.0 * np.pi * ((np.asarray(times) - self.start) % YEAR_S) / YEAR_S
        strength = self.season_strength.astype(np.float64)
        peak = strength * np.cos(angle[:, None] - self.season_phase)
        return np.subtract(peak, np.log(np.i0(strength)), dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Histories with their origin. Secret, but for the catalog and the words.

    Guarantees:
        Nothing is dropped in silence: ``raw_events`` equals the events kept plus the rows of
        ``skipped``.

    Attributes:
        name: Name it was loaded by, without a folder.
        interactions: The histories and the catalog.
        unit: What one device is, in words: ``household``, ``user``.
        source: Where the data comes from, in words.
        licence: What may be done with it, in words.
        skipped: Rows that are not among the events, with the reason.
        raw_events: Number of rows in the source.
        notes: Sentences a reader of figures must know.
        truth: What a synthetic population was drawn from; None for other data.
        groups: By name of a trait, a label for each device, "" where none is known: for the
            laboratory's report on whom a model serves. No device and no server is given them.
    """

    name: str
    interactions: Interactions = field(repr=False)
    unit: str
    source: str
    licence: str
    skipped: tuple[BadRow, ...] = field(default=(), repr=False)
    raw_events: int
    notes: tuple[str, ...] = ()
    truth: PlantedTruth | None = field(default=None, repr=False)
    groups: Mapping[str, npt.NDArray[np.str_]] = field(
        default_factory=lambda: MappingProxyType({}), repr=False
    )

    def __post_init__(self) -> None:
        """Refuse a count of rows that does not add up, and labels of other devices."""
        devices = self.interactions.devices
        if any(labels.shape != (devices,) for labels in self.groups.values()):
            raise ValueError(f"groups must have a label for each of {devices} devices")
        kept = len(self.interactions.items)
        if self.raw_events != kept + self.skipped_rows:
            counts = f"{kept} kept and {self.skipped_rows} skipped"
            raise ValueError(f"raw_events must be {counts} together, got {self.raw_events}")

    @property
    def skipped_rows(self) -> int:
        """Number of rows left out."""
        return sum(row.rows for row in self.skipped)


class Loader(BaseModel):
    """A data set that can be loaded, with its options as fields.

    Attributes:
        name: Kebab-case name, as ``load_dataset`` and the command line take it.
        about: One sentence that describes the data set.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)
    name: ClassVar[str]
    about: ClassVar[str]

    @abstractmethod
    def load(self, root: Path | None, /) -> Dataset:
        """Read the data set; the same files and options give the same arrays.

        Args:
            root: Folder of data sets that may not be redistributed; None where it is not known.

        Raises:
            InvalidFileError: If a file is missing, unreadable or breaks its schema.
            IntegrityError: If a file of known content has other content.
        """
        ...
