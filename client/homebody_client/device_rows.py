"""The rows of one device: in through the collect gate, out through the read gate, and erased."""

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from homebody_client.api.device_like import Known
from homebody_client.consent.book import ConsentBook
from homebody_client.consent.gates import Gates
from homebody_client.events.event import Event
from homebody_client.events.quality import VIEWS, Problem
from homebody_client.intake import Owner, Quarantine, values_of
from homebody_client.memory import Memory, event_time
from homebody_client.rights import correct, known_rows, rows_of_export
from homebody_client.serving.interactions import Interaction, interaction_of
from homebody_client.store import BatchWriter, NewRow, Store, StoredRow, Value
from homebody_client.vault import Vault
from homebody_models.catalog import ItemCatalog
from homebody_privacy.consent_terms import DAY_S

_HOUR_S: Final = 3_600


class Rows:
    """What the device keeps of the person. Made for one opening of its parts.

    Args:
        vault: Its keys.
        store: Its rows on disk.
        book: Its consent; its lock is held during each call.
        gates: Its gates.
        purpose: What lists are made for.
    """

    __slots__ = (
        "_book",
        "_burst_until",
        "_gates",
        "_memory",
        "_owner",
        "_purpose",
        "_quarantine",
        "_store",
        "_writer",
    )

    def __init__(
        self, vault: Vault, store: Store, book: ConsentBook, gates: Gates, purpose: str
    ) -> None:
        """Start with nothing read."""
        self._store = store
        self._book = book
        self._gates = gates
        self._purpose = purpose
        self._owner = Owner(vault)
        self._quarantine = Quarantine()
        self._burst_until = -math.inf
        self._memory = Memory(self._read, book.now)
        self._writer = BatchWriter(store.append, gates.keys, lock=book.lock)

    def owns(self, user_id: str) -> bool:
        """Return whether the profile is this person's, or has met nobody yet."""
        with self._book.lock:
            return self._owner.is_(user_id)

    def record(self, event: Event, catalog: ItemCatalog | None, *, own: bool = False) -> bool:
        """Keep what may be kept of an event; return whether any row was.

        Args:
            event: What happened. Secret.
            catalog: What is known of products; None without one.
            own: It was said on the device itself: whose it is needs no asking.

        Raises:
            PolicyViolationError: If it is of another person.
            UsageError: If rows that waited could not be stored.
        """
        with self._book.lock:
            terms = self._book.terms
            if terms is None:
                return False
            offset = datetime.fromtimestamp(self._book.now()).astimezone().utcoffset()
            seconds = 0 if offset is None else int(offset.total_seconds())
            admitted = self._gates.collect(values_of(event, terms, catalog, utc_offset_s=seconds))
            if not admitted:
                return False
            if not own:
                self._owner.meet(event.user_id)
            finding = self._quarantine.check(event, self._book.now())
            if finding is not None:
                if finding.problem is Problem.TOO_MANY_VIEWS:
                    self._put_burst_aside(finding.since, event.timestamp)
                return False
            new = [name for name in admitted if not self._store.has(name, event.event_id)]
            if not new:  # known from an earlier start
                self._quarantine.repeated()
            kept = [self._keep(event, name, admitted[name]) for name in new]
            return any(kept)

    def interactions(self) -> Sequence[Interaction]:
        """Return what lists may be made from now, oldest first. Secret.

        Raises:
            ConsentMissingError: If nothing may.
            IntegrityError: If the store is damaged.
        """
        with self._book.lock:
            return self._memory.interactions(self._book.epoch)

    def known(self) -> list[Known]:
        """Return every row kept. Secret."""
        with self._book.lock:
            self._writer.flush()
            return known_rows(self._book, self._store, self._gates)

    def correct(self, row: int, values: Mapping[str, Value]) -> None:
        """Change fields of a row; ``ValueError`` if it may not be."""
        with self._book.lock:
            self._writer.flush()
            correct(self._book, self._store, self._gates, row, values)
            self._memory.drop()

    def delete(self, rows: Iterable[int]) -> int:
        """Erase rows by number; return how many there were."""
        with self._book.lock:
            self._writer.flush()
            self._memory.drop()
            return self._store.delete(rows)

    def forget(self, product_id: str) -> int:
        """Erase every row of a product; return how many there were."""
        with self._book.lock:
            named = [k.row for k in self.known() if k.values.get("product_id") == product_id]
            self._quarantine.forget()
            return self.delete(named)

    def take_in(self, document: object) -> int:
        """Collect the rows of an export; return how many were kept.

        Raises:
            InvalidFileError: If it is no export.
        """
        with self._book.lock:
            rows = rows_of_export(document, self._gates, self._book.now())
            self._writer.flush()
            self._memory.drop()
            stored = self._store.append(rows, self._gates.keys()) if rows else []
            return sum(seq is not None for seq in stored)

    def quarantined(self) -> Mapping[str, int]:
        """Return how many events were put aside since the device was opened, by problem."""
        return self._quarantine.counts()

    def flush(self) -> None:
        """Put on disk what waits."""
        self._writer.flush()

    def drop(self) -> None:
        """Forget what was read: its consent has changed. What waits is judged when it is stored."""
        with self._book.lock:
            self._memory.drop()
            self._quarantine.forget()

    def discard(self) -> None:
        """Forget what was read and what waits, without storing it."""
        with self._book.lock:
            self.drop()
            self._writer.drop()

    def _read(self) -> list[StoredRow]:
        self._writer.flush()
        return self._gates.read(self._purpose).rows

    def _keep(self, event: Event, feature: str, values: Mapping[str, Value]) -> bool:
        """Keep one row."""
        at = self._collected(feature)
        row = NewRow(feature=feature, values=values, at=at, event_id=event.event_id)
        if not self._writer.add(row):
            return False
        if self._book.why(self._purpose, feature) is None:
            seen = interaction_of(values, event_time(values, at))
            if seen is not None:
                self._memory.add(seen, self._book.epoch)
        return True

    def _collected(self, feature: str) -> float:
        """Return when a row is collected, no finer than its group keeps time.

        Rounded down, but not to before the yes it came under: it would be taken for older.
        """
        now, terms = self._book.now(), self._book.terms
        if terms is None:
            return now
        fields = terms.groups[feature].fields
        if "timestamp" in fields:
            return now
        step = _HOUR_S if "hour" in fields else DAY_S
        since = [self._book.decision(name).since.get(feature, 0.0) for name in terms.purposes]
        return max(now // step * step, *since)

    def _put_burst_aside(self, since: float, at: float) -> None:
        """Erase the views a burst began with, once: those that follow are not kept at all."""
        if self._burst_until < since:
            self.delete(
                known.row
                for known in self.known()
                if known.values.get("event") in VIEWS
                and since <= event_time(known.values, known.at) <= at
            )
        self._burst_until = max(self._burst_until, at)
