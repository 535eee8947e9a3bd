"""A store and a vault of the sea-side shop's device, for the tests of both; also as a process."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from homebody_client.store import NewRow, Store, Value

DEDUPE = b"d" * 32
SEGMENT = b"s" * 32
OTHER = b"o" * 32
PURPOSE = b"p" * 32
KEYS = {"purchases": SEGMENT, "tastes": OTHER}
SECRETS = ("12345", "P-4711", "Harbour Bakery", "rye-bread")
"""What the rows say and no file or message may."""


def row(
    number: int = 0, *, feature: str = "purchases", at: float | None = None, **values: Value
) -> NewRow:
    """Return a row that says all of ``SECRETS``."""
    said: dict[str, Value] = {
        "event": "purchase",
        "user_id": "12345",
        "product_id": "P-4711",
        "merchant": "Harbour Bakery",
        "category": "rye-bread",
        "price": 3.5,
        "n": number,
    }
    moment = 1_800_000_000.0 + number if at is None else at
    return NewRow(
        feature=feature, values={**said, **values}, at=moment, event_id=f"{feature}-{number}"
    )


def opened(folder: Path) -> Store:
    """Open the store of a folder."""
    return Store.open(folder / "store.sqlite", dedupe_key=DEDUPE)


def filled(folder: Path, rows: int = 20) -> Store:
    """Open a store with rows of two feature groups, a derived thing and an entry to be sent."""
    store = opened(folder)
    store.set_wraps("purchases", SEGMENT, {"recommend": PURPOSE})
    store.set_wraps("tastes", OTHER, {"recommend": PURPOSE})
    new = [row(n, feature=feature) for n in range(rows) for feature in KEYS]
    store.append(new, KEYS)
    pairs = frozenset({("recommend", "purchases")})
    store.put_derived("user-vector", pairs, " ".join(SECRETS).encode(), PURPOSE)
    store.enqueue(b"ticket", " ".join(SECRETS).encode(), PURPOSE)
    return store


def bytes_of(folder: Path) -> bytes:
    """Return all bytes of all files below a folder."""
    return b"\0".join(file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file())


def process(code: str, *arguments: object) -> "subprocess.Popen[str]":
    """Start Python with a piece of code in a process of its own."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def windows(content: bytes, width: int = 32) -> Iterator[bytes]:
    """Return each run of bytes that could be a key, in hex or as it is."""
    for start in range(len(content) - width + 1):
        yield content[start : start + width]
    text = content.decode("ascii", "replace")
    for start in range(len(text) - 2 * width + 1):
        piece = text[start : start + 2 * width]
        if set(piece) <= set("0123456789abcdef"):
            yield bytes.fromhex(piece)
