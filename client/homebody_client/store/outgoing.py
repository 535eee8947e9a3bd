"""The queue of what waits to be sent, each entry with the ticket it may be sent under."""

from collections.abc import Iterable
from typing import Final

from .database import Database
from .sealing import Box

_LENGTH_BYTES: Final = 4


def enqueue(database: Database, ticket: bytes, payload: bytes, key: bytes) -> int:
    """Keep an entry and return its number, never used again."""
    content = len(ticket).to_bytes(_LENGTH_BYTES, "big") + ticket + payload
    with database.transaction() as db:
        number = db.execute("INSERT INTO outgoing (body) VALUES (x'')").lastrowid or 0
        body = Box(key).seal(content, "outgoing", number)
        db.execute("UPDATE outgoing SET body = ? WHERE id = ?", (body, number))
    return number


def queue(database: Database, key: bytes) -> list[tuple[int, bytes, bytes]]:
    """Return number, ticket and payload of each entry, oldest first.

    Raises:
        IntegrityError: If one does not open.
    """
    box = Box(key)
    entries = []
    for number, body in database.read("SELECT id, body FROM outgoing ORDER BY id"):
        content = box.open(body, "outgoing", number) if isinstance(number, int) else None
        if content is None or not isinstance(number, int):
            raise database.broken("an entry of the queue")
        end = _LENGTH_BYTES + int.from_bytes(content[:_LENGTH_BYTES], "big")
        entries.append((number, content[_LENGTH_BYTES:end], content[end:]))
    return entries


def dequeue(database: Database, ids: Iterable[int]) -> None:
    """Delete entries; unknown numbers are ignored."""
    with database.transaction() as db:
        db.executemany("DELETE FROM outgoing WHERE id = ?", [(number,) for number in ids])
