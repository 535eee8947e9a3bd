"""Derived things: local model, user vector, cached features, reason log.

Each carries the (purpose, feature) pairs it was made from, bound to its content, so that it can
be dropped when one of them closes.
"""

import json
from collections.abc import Iterable

from .database import Database
from .sealing import Box

Pairs = frozenset[tuple[str, str]]


def put(database: Database, name: str, pairs: Pairs, value: bytes, key: bytes) -> None:
    """Keep a derived thing; an older one of that name is replaced."""
    text = json.dumps(sorted(pairs))
    body = Box(key).seal(value, "derived", name, text)
    with database.transaction() as db:
        db.execute("INSERT OR REPLACE INTO derived VALUES (?, ?, ?)", (name, text, body))


def get(database: Database, name: str, key: bytes) -> bytes | None:
    """Return a derived thing; None if there is none of that name.

    Raises:
        IntegrityError: If it does not open.
    """
    found = database.read("SELECT pairs, body FROM derived WHERE name = ?", (name,))
    if not found:
        return None
    ((pairs, body),) = found
    value = Box(key).open(body, "derived", name, str(pairs))
    if value is None:
        raise database.broken("a derived thing")
    return value


def index(database: Database) -> list[tuple[str, Pairs]]:
    """Return the name and the pairs of each derived thing, by name.

    Raises:
        IntegrityError: If the pairs of one cannot be read.
    """
    found = database.read("SELECT name, pairs FROM derived ORDER BY name")
    return [(str(name), _pairs(database, text)) for name, text in found]


def drop(database: Database, names: Iterable[str]) -> None:
    """Delete derived things; unknown names are ignored."""
    with database.transaction() as db:
        db.executemany("DELETE FROM derived WHERE name = ?", [(name,) for name in names])


def _pairs(database: Database, text: object) -> Pairs:
    try:
        pairs = frozenset((p, f) for p, f in json.loads(str(text)))
        sound = all(isinstance(p, str) and isinstance(f, str) for p, f in pairs)
    except (RecursionError, TypeError, ValueError):
        pairs, sound = frozenset(), False
    if not sound:
        raise database.broken("what a derived thing was made from")
    return pairs
