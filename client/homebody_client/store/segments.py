"""Segments: the key of a feature group, wrapped under the key of each purpose chosen for it.

Destroying the key of a purpose takes its wraps along; a segment without a wrap that opens is
unreadable for good (crypto-shredding). A later yes makes a new segment key.
"""

from collections.abc import Mapping

from .database import Database
from .sealing import Box


def segment_key(
    database: Database, feature: str, purpose_keys: Mapping[str, bytes]
) -> bytes | None:
    """Return the key of a feature group, unwrapped by any of these purposes.

    None if there is no wrap of theirs or none that opens: a crash may have come between the
    exchange of a purpose's key and that of its wraps.
    """
    found = database.read("SELECT purpose, body FROM wraps WHERE feature = ?", (feature,))
    for purpose, body in found:
        if isinstance(purpose, str) and purpose in purpose_keys:
            key = Box(purpose_keys[purpose]).open(body, "wrap", feature, purpose)
            if key is not None:
                return key
    return None


def set_wraps(
    database: Database, feature: str, key: bytes, purpose_keys: Mapping[str, bytes]
) -> None:
    """Replace all wraps of a feature group."""
    Box(key)  # a key of another length is refused before anything is written
    wraps = [
        (feature, purpose, Box(purpose_key).seal(key, "wrap", feature, purpose))
        for purpose, purpose_key in purpose_keys.items()
    ]
    with database.transaction() as db:
        db.execute("DELETE FROM wraps WHERE feature = ?", (feature,))
        db.executemany("INSERT INTO wraps VALUES (?, ?, ?)", wraps)


def wrapped_for(database: Database) -> dict[str, tuple[str, ...]]:
    """Return the purposes that each feature group with rows or wraps is wrapped for."""
    purposes: dict[str, tuple[str, ...]] = {
        str(feature): () for (feature,) in database.read("SELECT DISTINCT feature FROM rows")
    }
    for feature, purpose in database.read("SELECT feature, purpose FROM wraps ORDER BY 1, 2"):
        purposes[str(feature)] = (*purposes.get(str(feature), ()), str(purpose))
    return purposes


def drop_feature(database: Database, feature: str) -> None:
    """Delete the rows and the wraps of a feature group."""
    with database.transaction() as db:
        db.execute("DELETE FROM wraps WHERE feature = ?", (feature,))
        db.execute("DELETE FROM rows WHERE feature = ?", (feature,))
