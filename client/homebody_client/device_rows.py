"""The rows of one device: in through the collect gate, out through the read gate, and erased."""

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from homebody_client.consent.book import ConsentBook
from homebody_client.consent.gates import Gates
from homebody_client.events.event import Event
from homebody_client.memory import Memory, event_time
from homebody_client.owner import Owner
from homebody_client.serving.interactions import Interaction, interaction_of
from homebody_client.store import BatchWriter, NewRow, Store, StoredRow, Value
from homebody_client.vault import Vault
from homebody_models.catalog import ItemCatalog
from homebody_privacy.consent_terms import DAY_S

if TYPE_CHECKING:  # a device that only ranks starts without what takes events in
    from homebody_client.api.device_like import Known
    from homebody_client.events.quality import Finding
    from homebody_client.intake import Quarantine

_BATCH: Final = 512  # rows of one transaction: at most what a writer waits for anyway
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
        "_aside",
        "_book",
        "_burst_until",
        "_gates",
        "_memory",
        "_owner",
        "_purpose",
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
        self._aside: Quarantine | None = None
        self._burst_until = -math.inf
        self._memory = Memory(self._read, book.now)
        self._writer = BatchWriter(store.append, gates.keys, lock=book.lock, batch=_BATCH)

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
        from homebody_client.intake import values_of  # noqa: PLC0415 at the first event

        with self._book.lock:
            terms, now = self._book.terms, self._book.now()
            if terms is None:
                return False
            offset = time.localtime(now).tm_gmtoff
            admitted = self._gates.collect(values_of(event, terms, catalog, utc_offset_s=offset))
            if not admitted:
                return False
            if not own:
                self._owner.meet(event.user_id)
            finding = self._quarantine.check(event, now)
            if finding is not None:
                if self._quarantine.burst(finding):
                    self._put_burst_aside(finding, event.timestamp)
                return False
            new = [name for name in admitted if not self._store.has(name, event.event_id)]
            if not new:  # known from an earlier start
                self._quarantine.repeated()
            if len(admitted) > 1:  # which of the rows counts is for the next read to say
                self._memory.drop()
            kept = [self._keep(event, name, admitted[name], now) for name in new]
            return any(kept)

    def interactions(self) -> Sequence[Interaction]:
        """Return what lists may be made from now, oldest first. Secret.

        Raises:
            ConsentMissingError: If nothing may.
            IntegrityError: If the store is damaged.
        """
        with self._book.lock:
            return self._memory.interactions(self._book.epoch)

    def known(self) -> "list[Known]":
        """Return every row kept. Secret."""
        from homebody_client.rights import known_rows  # noqa: PLC0415 at the first question

        with self._book.lock:
            self._writer.flush()
            return known_rows(self._book, self._store, self._gates)

    def correct(self, row: int, values: Mapping[str, Value], catalog: ItemCatalog | None) -> None:
        """Change fields of a row; ``ValueError`` if it may not be."""
        from homebody_client.rights import correct  # noqa: PLC0415 at the first question

        with self._book.lock:
            self._writer.flush()
            correct(self._book, self._store, self._gates, row, values, catalog=catalog)
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
            if self._aside is not None:
                self._aside.forget()
            return self.delete(named)

    def take_in(self, document: object, catalog: ItemCatalog | None) -> int:
        """Collect the rows of an export; return how many were kept.

        Raises:
            InvalidFileError: If it is no export.
        """
        from homebody_client.rights import rows_of_export  # noqa: PLC0415 at the first question

        with self._book.lock:
            rows = rows_of_export(document, self._gates, self._book.now(), catalog=catalog)
            self._writer.flush()
            self._memory.drop()
            stored = self._store.append(rows, self._gates.keys()) if rows else []
            return sum(seq is not None for seq in stored)

    def quarantined(self) -> Mapping[str, int]:
        """Return how many events were put aside since the device was opened, by problem."""
        return {} if self._aside is None else self._aside.counts()

    def flush(self) -> None:
        """Put on disk what waits."""
        self._writer.flush()

    def drop(self) -> None:
        """Forget what was read: its consent has changed. What waits is judged when it is stored."""
        with self._book.lock:
            self._memory.drop()
            if self._aside is not None:
                self._aside.forget()

    def discard(self) -> None:
        """Forget what was read and what waits, without storing it."""
        with self._book.lock:
            self.drop()
            self._writer.drop()

    @property
    def _quarantine(self) -> "Quarantine":
        if self._aside is None:
            from homebody_client.intake import Quarantine  # noqa: PLC0415 at the first event

            self._aside = Quarantine()
        return self._aside

    def _read(self) -> list[StoredRow]:
        self._writer.flush()
        return self._gates.read(self._purpose).rows

    def _keep(self, event: Event, feature: str, values: Mapping[str, Value], now: float) -> bool:
        """Keep one row."""
        at = self._collected(feature, now)
        row = NewRow(feature=feature, values=values, at=at, event_id=event.event_id)
        if not self._writer.add(row):
            return False
        held = self._memory.holds(self._book.epoch)
        if held and self._book.why(self._purpose, feature) is None:
            seen = interaction_of(values, event_time(values, at))
            if seen is not None:
                self._memory.add(seen, self._book.epoch)
        return True

    def _collected(self, feature: str, now: float) -> float:
        """Return when a row is collected, no finer than its group keeps time.

        Rounded down, but not to before the yes it came under: it would be taken for older.
        """
        terms = self._book.terms
        if terms is None:
            return now
        fields = terms.groups[feature].fields
        if "timestamp" in fields:
            return now
        step = _HOUR_S if "hour" in fields else DAY_S
        since = [self._book.decision(name).since.get(feature, 0.0) for name in terms.purposes]
        return max(now // step * step, *since)

    def _put_burst_aside(self, finding: "Finding", at: float) -> None:
        """Erase the views a burst began with, once: those that follow are not kept at all."""
        if self._burst_until < finding.since:
            self.delete(
                known.row
                for known in self.known()
                if self._quarantine.is_of_burst(known.values, known.at, finding, at)
            )
        self._burst_until = max(self._burst_until, at)
