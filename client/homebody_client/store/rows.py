"""Rows of the log: what happened, sealed, with nothing readable but number and feature group.

The text of a row is padded to a multiple of 64 bytes, so that its length tells little. A repeated
event is known by a tag, HMAC-SHA256 under a key of the vault: without the key nobody can try
whether an event is there. Nothing of an event is remembered once its row is deleted.
"""

import hmac
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from typing import Any, Final, TypeAlias

from homebody_client.light_dataclass import dataclass

from .database import Database
from .known import KnownTags
from .sealing import Box

Value: TypeAlias = str | int | float | bool | None

_TAG_BYTES: Final = 16
_PADDING: Final = 64
_INT_LIMIT: Final = 2**63
_SEQ_LIMIT: Final = 2**62
_encode: Final = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
_decode: Final = json.JSONDecoder().decode


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRow:
    """A row to be stored.

    Attributes:
        feature: Name of its feature group. Public.
        values: What is kept, by field. Secret.
        at: When it happened, Unix seconds. Secret.
        event_id: Names the event, so that it is stored once in each feature group. Secret.
    """

    feature: str
    values: Mapping[str, Value] = field(repr=False)
    at: float = field(repr=False)
    event_id: str = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse what could not be stored and read back."""
        if not self.feature or not self.event_id:
            raise ValueError("a row needs a feature group and an event id")
        if not math.isfinite(self.at):
            raise ValueError("at must be finite")
        check_values(self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRow:
    """A row as it was stored.

    Attributes:
        seq: Its number, never used again. Public.
        feature: Name of its feature group. Public.
        at: When it happened, Unix seconds. Secret.
        values: What is kept, by field. Secret.
    """

    seq: int
    feature: str
    at: float = field(repr=False)
    values: Mapping[str, Value] = field(repr=False)


def check_values(values: Mapping[str, Value]) -> None:
    """Refuse values that could not be read back as they are.

    Raises:
        ValueError: If a name is no text, or a value is no text, truth value, None or finite
            number of at most 64 bits.
    """
    for name, value in values.items():
        if type(name) is not str:
            raise ValueError("the name of a field must be text")
        if not _is_kept(value):
            raise ValueError(f"the field {name} is no text, truth value or finite number")


def append(
    database: Database,
    rows: Sequence[NewRow],
    keys: Mapping[str, bytes],
    dedupe_key: bytes,
    there: KnownTags,
) -> list[int | None]:
    """Store rows in one transaction; None stands for a row that is there already.

    Raises:
        ValueError: If a row's feature group has no key.
    """
    boxes = {feature: Box(key) for feature, key in keys.items()}
    if any(row.feature not in boxes for row in rows):
        raise ValueError("a row of a feature group without a key cannot be stored")
    tags = [_tag(dedupe_key, row.feature, row.event_id) for row in rows]
    given: list[int | None] = []
    sealed = []
    known, new = there.known(), set[bytes]()
    with database.transaction() as db:
        seq = _last(database)
        for row, tag in zip(rows, tags, strict=True):
            if tag in known or tag in new:
                given.append(None)
                continue
            seq += 1
            body = _sealed(boxes[row.feature], row.feature, seq, row.at, row.values)
            new.add(tag)
            given.append(seq)
            sealed.append((seq, row.feature, tag, body))
        db.executemany("INSERT INTO rows VALUES (?, ?, ?, ?)", sealed)
    there.add(new)
    return given


def has(there: KnownTags, feature: str, event_id: str, dedupe_key: bytes) -> bool:
    """Say whether a feature group has a row of an event."""
    return _tag(dedupe_key, feature, event_id) in there.known()


def read(database: Database, feature: str, key: bytes) -> list[StoredRow]:
    """Return the rows of a feature group, by time and then by number.

    Raises:
        IntegrityError: If a row does not open.
    """
    box = Box(key)
    found = database.read("SELECT seq, body FROM rows WHERE feature = ?", (feature,))
    rows = [_opened(database, box, feature, seq, body) for seq, body in found]
    rows.sort(key=lambda row: (row.at, row.seq))
    return rows


def replace(database: Database, seq: int, values: Mapping[str, Value], key: bytes) -> None:
    """Exchange the values of a row; its time and its place stay.

    Raises:
        ValueError: If there is no such row, or as ``check_values``.
        IntegrityError: If the row does not open.
    """
    check_values(values)
    box = Box(key)
    with database.transaction() as db:
        found = database.read("SELECT feature, body FROM rows WHERE seq = ?", (seq,))
        if not found:
            raise ValueError("there is no row of this number")
        feature = str(found[0][0])
        row = _opened(database, box, feature, seq, found[0][1])
        body = _sealed(box, feature, seq, row.at, values)
        db.execute("UPDATE rows SET body = ? WHERE seq = ?", (body, seq))


def delete(database: Database, seqs: Iterable[int]) -> int:
    """Delete rows by number and return how many there were."""
    named = [(seq,) for seq in seqs if 0 < seq <= _SEQ_LIMIT]  # others no row ever had
    with database.transaction() as db:
        return db.executemany("DELETE FROM rows WHERE seq = ?", named).rowcount


def _is_kept(value: object) -> bool:
    match value:
        case None | bool() | str():
            return True
        case int():
            return -_INT_LIMIT <= value < _INT_LIMIT
        case float():
            return math.isfinite(value)
        case _:
            return False


def _tag(dedupe_key: bytes, feature: str, event_id: str) -> bytes:
    group, event = feature.encode(), event_id.encode("utf-8", "surrogatepass")
    message = len(group).to_bytes(4, "big") + group + event
    return hmac.digest(dedupe_key, message, "sha256")[:_TAG_BYTES]


def _last(database: Database) -> int:
    """Return the highest number ever given to a row."""
    found = database.read("SELECT seq FROM sqlite_sequence WHERE name = 'rows'")
    match found:
        case []:
            return 0
        case [(int() as last,)] if 0 <= last < _SEQ_LIMIT:
            return last
        case _:
            raise database.broken("the number of its last row")


def _sealed(box: Box, feature: str, seq: int, at: float, values: Mapping[str, Value]) -> bytes:
    text = _encode([at, dict(values)]).encode()
    padded = text + b" " * (-len(text) % _PADDING)  # JSON ends where its value ends
    return box.seal(padded, "row", feature, seq)


def _opened(database: Database, box: Box, feature: str, seq: object, body: object) -> StoredRow:
    content = box.open(body, "row", feature, seq) if isinstance(seq, int) else None
    if content is None:
        raise database.broken("a row")
    at, values = _content(content)
    return StoredRow(seq=int(str(seq)), feature=feature, at=at, values=values)


def _content(content: bytes) -> Any:  # noqa: ANN401 - under its tag: what was written
    return _decode(content.decode())
