"""Time of a device's calls, each beside a reference measured in turn with it."""

import json
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from device_figure import Figure
from device_shop import SLOTS, BenchShop, event

_BATCH = 512  # events of one transaction, as the device has it
_GROUPS = ("product_view", "like")  # kinds of event that go into different feature groups


def seconds(work: Callable[..., object], *arguments: object) -> float:
    """Return how long a call takes."""
    started = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - started


def bare_top(shop: BenchShop, history: npt.NDArray[np.int64], k: int = 10) -> object:
    """Score and sort with numpy alone: what any ranker of this table has to do."""
    user = shop.table[history].mean(axis=0)
    scores = shop.table @ user + shop.bias
    best = np.argpartition(-scores, k)[:k]
    return best[np.argsort(-scores[best])]


def record_and_recommend(shop: BenchShop, profile: Path, calls: int) -> Figure:
    """Measure an event and the list after it."""
    rng = np.random.default_rng(1)
    took, bare = [], []
    with shop.open(profile, fresh=True) as device:
        for number in range(300):
            device.record(event(number, shop.items))
        device.recommend()
        for number in range(300, 300 + calls):
            text = event(number, shop.items)
            history = rng.integers(0, shop.items, SLOTS)
            took.append(seconds(lambda: (device.record(text), device.recommend())))  # noqa: B023 called here
            bare.append(seconds(bare_top, shop, history))
    return Figure(
        what=f"record and recommend, {shop.items:,} items, p95",
        unit="{:.2f} ms",
        value=1e3 * float(np.quantile(took, 0.95)),
        reference="numpy scores and sorts",
        beside=1e3 * float(np.quantile(bare, 0.95)),
        relation="<",
        target=50.0,
    )


def ingest(shop: BenchShop, profile: Path, events: int) -> list[Figure]:
    """Measure events into the store, from JSON text to the disk: by the clock, and of the CPU."""
    turns = 5
    took, plain, cpu, plain_cpu = [], [], [], []
    profile.parent.mkdir()
    db = sqlite3.connect(profile.parent / "plain.sqlite", isolation_level=None)
    db.execute("CREATE TABLE events (id INTEGER PRIMARY KEY, body TEXT NOT NULL)")
    device = shop.open(profile, fresh=True)
    device.record(event(-1, shop.items))  # whose profile it is, and the vocabulary
    kept = 0
    for turn in range(turns):
        numbers = range(turn * events // turns, (turn + 1) * events // turns)
        texts = [event(number, shop.items) for number in numbers]
        started, busy = time.perf_counter(), time.process_time()
        kept += sum(device.record(text) for text in texts)
        if turn == turns - 1:
            device.close()  # what waits in the last batch
        took.append((time.perf_counter() - started) / len(texts))
        cpu.append((time.process_time() - busy) / len(texts))
        busy = time.process_time()
        plain.append(seconds(_insert, db, texts) / len(texts))
        plain_cpu.append((time.process_time() - busy) / len(texts))
    db.close()
    if kept != events:
        raise RuntimeError(f"{kept} of {events} events were kept")
    reference = "plain SQLite, the same text and batches"
    return [
        Figure(
            what="events into the store: parsed, gated, sealed, synced",
            unit="{:,.0f} /s",
            value=1.0 / float(np.median(took)),
            reference=reference,
            beside=1.0 / float(np.median(plain)),
            relation=">=",
            target=10_000.0,
        ),
        Figure(
            what="- by a second of CPU",
            unit="{:,.0f}",
            value=1.0 / float(np.median(cpu)),
            reference=reference,
            beside=1.0 / float(np.median(plain_cpu)),
        ),
    ]


def _insert(db: sqlite3.Connection, texts: list[str]) -> None:
    for start in range(0, len(texts), _BATCH):
        db.execute("BEGIN")
        db.executemany(
            "INSERT INTO events (body) VALUES (?)",
            [(json.dumps(json.loads(text)),) for text in texts[start : start + _BATCH]],
        )
        db.execute("COMMIT")


def withdrawal(shop: BenchShop, folder: Path, rows: int, repeats: int) -> Figure:
    """Measure taking a yes back, with rows of two feature groups, until all is off the disk."""
    full = _filled(shop, folder / "full", rows)
    took, plain = [], []
    for turn in range(repeats):
        copy = folder / f"copy{turn}"
        shutil.copytree(full, copy)
        store = copy / "profile" / "store.sqlite"
        plain.append(_delete(copy / "plain.sqlite", store))
        with shop.open(copy / "profile") as device:
            device.recommend()
            took.append(seconds(device.consent.withdraw, "recommend"))
            left = sqlite3.connect(store).execute("SELECT count(*) FROM rows").fetchone()[0]
            if left or device.knows():
                raise RuntimeError("rows were left after a withdrawal")
    return Figure(
        what=f"withdrawal complete, disk included, {rows:,} rows",
        unit="{:.0f} ms",
        value=1e3 * float(np.median(took)),
        reference="plain SQLite deletes these rows",
        beside=1e3 * float(np.median(plain)),
        relation="<",
        target=1_000.0,
    )


def _delete(plain: Path, store: Path) -> float:
    shutil.copy(store, plain)
    db = sqlite3.connect(plain, isolation_level=None)
    db.execute("PRAGMA secure_delete = ON")
    took = seconds(db.execute, "DELETE FROM rows")
    db.close()
    return took


def _filled(shop: BenchShop, folder: Path, rows: int) -> Path:
    with shop.open(folder / "profile", fresh=True) as device:
        for number in range(rows):
            device.record(event(number, shop.items, kind=_GROUPS[number % len(_GROUPS)]))
        if len(device.knows()) != rows:
            raise RuntimeError("not all rows were kept")
    return folder


def opening(shop: BenchShop, folder: Path, rows: int, repeats: int) -> Figure:
    """Measure opening a profile of many rows, until its first list."""
    full = _filled(shop, folder / "many", rows)
    plain = sqlite3.connect(full / "plain.sqlite", isolation_level=None)
    plain.execute("CREATE TABLE events (id INTEGER PRIMARY KEY, body TEXT NOT NULL)")
    _insert(plain, [event(number, shop.items) for number in range(rows)])
    took, bare = [], []

    def open_and_list() -> None:
        with shop.open(full / "profile") as device:
            if device.recommend().fallback_reason is not None:
                raise RuntimeError("the list is not personal")

    def read_plain() -> None:
        for (text,) in plain.execute("SELECT body FROM events").fetchall():
            json.loads(text)

    for _ in range(repeats):
        took.append(seconds(open_and_list))
        bare.append(seconds(read_plain))
    return Figure(
        what=f"opening a profile of {rows:,} rows, to the first list",
        unit="{:.0f} ms",
        value=1e3 * float(np.median(took)),
        reference="plain SQLite and JSON read these rows",
        beside=1e3 * float(np.median(bare)),
    )
