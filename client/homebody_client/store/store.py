"""The encrypted store of one device: log of events, derived things, queue, in one SQLite file."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from . import derived, outgoing, rows, segments
from .database import Database
from .derived import Pairs
from .known import KnownTags
from .rows import NewRow, StoredRow, Value


class Store:
    """The store of one device. Made by ``open`` only; use it under one lock.

    What can be read in the file without a key: numbers of rows, names of feature groups, purposes
    and derived things, and sizes. A piece that was changed, moved or exchanged does not open.
    That rows were removed, or the whole file put back from an older copy, it cannot tell: the
    keys of purposes closed since then are gone, and the vault knows the consents.

    Each method raises IntegrityError if the file is damaged, and UsageError if it cannot be
    read or written, is locked by another process or closed.
    """

    __slots__ = ("_database", "_dedupe_key", "_segments", "_tags")

    def __init__(self, database: Database, dedupe_key: bytes) -> None:
        """Use an open file."""
        self._database = database
        self._dedupe_key = dedupe_key
        self._tags = KnownTags(database)
        self._segments: dict[str, tuple[Mapping[str, bytes], bytes]] = {}  # keys asked for last

    @classmethod
    def open(cls, path: Path, *, dedupe_key: bytes) -> Self:
        """Open a store, made (mode 0600) at the first use.

        Args:
            path: The file.
            dedupe_key: Makes the tags by which a repeated event is known. Secret.

        Raises:
            IntegrityError: If the file is damaged or no store.
            UsageError: If it cannot be used, or another process keeps it locked.
        """
        return cls(Database.open(path), dedupe_key)

    def __enter__(self) -> Self:
        """Return the store itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the file."""
        self.close()

    def tag_with(self, dedupe_key: bytes) -> None:
        """Make the tags of events with another key from now on; for a store just cleared."""
        self._dedupe_key = dedupe_key

    def segment_key(self, feature: str, purpose_keys: Mapping[str, bytes]) -> bytes | None:
        """Return the key of a feature group's rows, unwrapped by any purpose; None if none can."""
        held = self._segments.get(feature)
        if held is not None and held[0] == purpose_keys:
            return held[1]
        key = segments.segment_key(self._database, feature, purpose_keys)
        if key is not None:
            self._segments[feature] = (dict(purpose_keys), key)
        return key

    def set_wraps(
        self, feature: str, segment_key: bytes, purpose_keys: Mapping[str, bytes]
    ) -> None:
        """Wrap the key of a feature group under these purposes and no others."""
        self._segments.pop(feature, None)
        segments.set_wraps(self._database, feature, segment_key, purpose_keys)

    def wraps(self) -> dict[str, tuple[str, ...]]:
        """Return all feature groups with rows or wraps, and the purposes each is wrapped for."""
        return segments.wrapped_for(self._database)

    def drop_feature(self, feature: str) -> None:
        """Delete rows and wraps of a feature group; their bytes are overwritten."""
        self._segments.pop(feature, None)
        self._tags.forget()
        segments.drop_feature(self._database, feature)

    def append(self, new_rows: Sequence[NewRow], keys: Mapping[str, bytes]) -> list[int | None]:
        """Store rows in one transaction, durable when the call returns.

        Args:
            new_rows: The rows.
            keys: Key of each feature group.

        Returns:
            The number of each row; None for an event its feature group has already.

        Raises:
            ValueError: If a row's feature group has no key; then nothing is stored.
        """
        return rows.append(self._database, new_rows, keys, self._dedupe_key, self._tags)

    def has(self, feature: str, event_id: str) -> bool:
        """Say whether a feature group has a row of an event."""
        return rows.has(self._tags, feature, event_id, self._dedupe_key)

    def rows(self, feature: str, key: bytes) -> list[StoredRow]:
        """Return the rows of a feature group, oldest first."""
        return rows.read(self._database, feature, key)

    def delete(self, seqs: Iterable[int]) -> int:
        """Delete rows by number and return how many there were; their bytes are overwritten."""
        self._tags.forget()
        return rows.delete(self._database, seqs)

    def replace(self, seq: int, values: Mapping[str, Value], key: bytes) -> None:
        """Exchange the values of a row (GDPR Art. 16).

        Raises:
            ValueError: If there is no such row, or a value cannot be kept.
        """
        rows.replace(self._database, seq, values, key)

    def put_derived(self, name: str, pairs: Pairs, value: bytes, key: bytes) -> None:
        """Keep a derived thing with the (purpose, feature) pairs it was made from."""
        derived.put(self._database, name, pairs, value, key)

    def derived(self, name: str, key: bytes) -> bytes | None:
        """Return a derived thing; None if there is none of that name."""
        return derived.get(self._database, name, key)

    def derived_index(self) -> list[tuple[str, Pairs]]:
        """Return the name and the pairs of each derived thing, by name."""
        return derived.index(self._database)

    def drop_derived(self, names: Iterable[str]) -> None:
        """Delete derived things; their bytes are overwritten."""
        derived.drop(self._database, names)

    def enqueue(self, ticket: bytes, payload: bytes, key: bytes) -> int:
        """Keep what waits to be sent, with its ticket, and return its number."""
        return outgoing.enqueue(self._database, ticket, payload, key)

    def queue(self, key: bytes) -> list[tuple[int, bytes, bytes]]:
        """Return number, ticket and payload of what waits to be sent, oldest first."""
        return outgoing.queue(self._database, key)

    def dequeue(self, ids: Iterable[int]) -> None:
        """Delete entries of the queue; their bytes are overwritten."""
        outgoing.dequeue(self._database, ids)

    def clear(self) -> None:
        """Delete everything and give the pages back; numbers are not used again."""
        self._segments.clear()
        self._tags.forget()
        self._database.clear()
        self._database.vacuum()

    def size(self) -> int:
        """Return the bytes on disk."""
        return self._database.bytes_on_disk()

    def vacuum(self) -> None:
        """Give the pages that nothing uses back to the file system."""
        self._database.vacuum()

    def close(self) -> None:
        """Close the file; nothing happens if it is closed already."""
        self._segments.clear()
        self._tags.forget()
        self._database.close()
