"""What waits to leave, and what was derived: kept under the key of its purpose, gone with it."""

from homebody_client.store import Store
from homebody_client.store.sealing import Box
from homebody_privacy.errors import IntegrityError

from .gates import Gates
from .prune import OUTGOING
from .tickets import Ticket

_QUEUED = "queued"


class Shelf:
    """Things that carry the decisions they were made under; ``prune`` deletes them with these."""

    __slots__ = ("_gates",)

    def __init__(self, gates: Gates) -> None:
        """Use the store and the keys behind the gates."""
        self._gates = gates

    def enqueue(self, ticket: Ticket, payload: bytes) -> int:
        """Keep a payload until it can be sent, and return its number.

        Raises:
            ConsentMissingError: If the ticket is not fresh.
        """
        with self._gates.book.lock:
            self._gates.check(ticket)
            sealed = Box(self._gates.book.purpose_key(ticket.purpose)).seal(payload, _QUEUED)
            return self._store().enqueue(ticket.to_bytes(), sealed, self._key())

    def queue(self) -> list[tuple[int, Ticket, bytes]]:
        """Return number, ticket and payload of what waits under a fresh ticket, oldest first.

        Raises:
            IntegrityError: If an entry is not what was written.
        """
        with self._gates.book.lock:
            waiting = []
            for number, content, sealed in self._store().queue(self._key()):
                ticket = Ticket.from_bytes(content)
                if self._gates.stale(ticket) is not None:
                    continue
                payload = Box(self._gates.book.purpose_key(ticket.purpose)).open(sealed, _QUEUED)
                if payload is None:
                    raise IntegrityError("an entry of the queue is not what was written")
                waiting.append((number, ticket, payload))
            return waiting

    def dequeue(self, numbers: list[int]) -> None:
        """Forget entries of the queue."""
        with self._gates.book.lock:
            self._store().dequeue(numbers)

    def put(self, name: str, ticket: Ticket, value: bytes) -> None:
        """Keep a thing made from what a ticket read; it goes when one of its pairs closes.

        Raises:
            ConsentMissingError: If the ticket is not fresh.
        """
        with self._gates.book.lock:
            self._gates.check(ticket)
            pairs = frozenset((ticket.purpose, feature) for feature in ticket.features)
            key = self._gates.book.purpose_key(ticket.purpose)
            self._store().put_derived(name, pairs, value, key)

    def get(self, name: str, purpose: str) -> bytes | None:
        """Return a derived thing of a purpose while all it was made from is open; else None."""
        with self._gates.book.lock:
            pairs = dict(self._store().derived_index()).get(name)
            if pairs is None or any(self._gates.book.why(*pair) is not None for pair in pairs):
                return None
            return self._store().derived(name, self._gates.book.purpose_key(purpose))

    def _store(self) -> Store:
        store = self._gates.book.keeper.pruner.store
        if store is None:
            raise IntegrityError("the store of this device cannot be read")
        return store

    def _key(self) -> bytes:
        vault = self._gates.book.keeper.journal.vault
        if vault.key(OUTGOING) is None:
            vault.change(new_keys=[OUTGOING])
        return vault.key(OUTGOING) or b""
