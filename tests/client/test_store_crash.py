"""A device that is killed at any moment loses its last batch at most; its file stays whole."""

import os
import random
import signal
import time
from pathlib import Path

import pytest

from homebody_client.store import NewRow

from .store_home import KEYS, OTHER, PURPOSE, SEGMENT, bytes_of, filled, opened, process, row

_BATCH = 32
_WRITER = """
import sys, threading
from pathlib import Path
from homebody_client.store import BatchWriter, NewRow, Store

folder, life = Path(sys.argv[1]), sys.argv[2]
keys = {"purchases": b"s" * 32}
store = Store.open(folder / "store.sqlite", dedupe_key=b"d" * 32)
stored = 0

def append(rows, keys):
    global stored
    store.append(rows, keys)
    stored += len(rows)
    print(stored, flush=True)

writer = BatchWriter(append, lambda: keys, lock=threading.RLock(), batch=32, max_delay_s=60)
n = 0
while True:
    values = {"event": "view", "product_id": f"P-{n}", "life": life, "n": n}
    writer.add(NewRow(feature="purchases", values=values, at=float(n), event_id=f"{life}/{n}"))
    n += 1
"""
_CLEANER = """
import os, signal, sys
from pathlib import Path
from homebody_client.store import Store

store = Store.open(Path(sys.argv[1]) / "store.sqlite", dedupe_key=b"d" * 32)
print("open", flush=True)
store.drop_feature("purchases")
store.clear()
print("done", flush=True)
"""


def _killed_after(child_seconds: float, folder: Path, life: int) -> int:
    """Return the rows a writer said were stored before it was killed."""
    child = process(_WRITER, folder, life)
    assert child.stdout is not None
    told = child.stdout.readline()
    time.sleep(child_seconds)
    os.kill(child.pid, signal.SIGKILL)
    rest, _ = child.communicate(timeout=20)
    assert child.returncode == -signal.SIGKILL
    whole = (told + rest).split("\n")[:-1]  # a line that was cut was not told
    return int(whole[-1])


def _lives(folder: Path) -> dict[str, list[int]]:
    with opened(folder) as store:
        found: dict[str, list[int]] = {}
        for kept in store.rows("purchases", SEGMENT):
            found.setdefault(str(kept.values["life"]), []).append(int(str(kept.values["n"])))
    return found


def _kill_in_a_loop(folder: Path, times: int) -> None:
    rng = random.Random(24)  # noqa: S311 - moments, no secret
    kept: dict[str, list[int]] = {}
    for life in range(times):
        told = _killed_after(rng.uniform(0, 0.06), folder, life)
        found = _lives(folder)
        rows = sorted(found.pop(str(life)))
        assert rows == list(range(len(rows)))
        assert len(rows) % _BATCH == 0  # a batch is there whole or not at all
        assert told <= len(rows) <= told + _BATCH  # it was killed before it could tell of the last
        assert found == kept  # and no earlier life lost anything
        kept[str(life)] = rows


def test_s24_a_writer_killed_in_a_loop_loses_its_last_batch_at_most(tmp_path: Path) -> None:
    _kill_in_a_loop(tmp_path, 15)


@pytest.mark.slow
def test_s24_a_writer_killed_two_hundred_times_loses_its_last_batches_at_most(
    tmp_path: Path,
) -> None:
    _kill_in_a_loop(tmp_path, 200)


def test_r17_a_device_killed_while_it_erases_keeps_all_of_a_step_or_nothing(
    tmp_path: Path,
) -> None:
    rng = random.Random(17)  # noqa: S311 - moments, no secret
    for trial in range(6):
        folder = tmp_path / str(trial)
        folder.mkdir()
        filled(folder, rows=400).close()
        child = process(_CLEANER, folder)
        assert child.stdout is not None
        assert child.stdout.readline() == "open\n"
        time.sleep(rng.uniform(0, 0.006))
        os.kill(child.pid, signal.SIGKILL)
        child.communicate(timeout=20)
        with opened(folder) as store:
            rows = len(store.rows("purchases", SEGMENT)), len(store.rows("tastes", OTHER))
            wrapped = store.segment_key("purchases", {"recommend": PURPOSE}) is not None
            assert rows in {(400, 400), (0, 400), (0, 0)}
            assert wrapped == (rows[0] == 400)


def test_a_transaction_that_was_cut_off_is_taken_back_from_its_journal(tmp_path: Path) -> None:
    code = """
import os, signal, sys
from pathlib import Path
from homebody_client.store import Store
store = Store.open(Path(sys.argv[1]) / "store.sqlite", dedupe_key=b"d" * 32)
db = store._database._db
db.execute("PRAGMA cache_size = 1")  # pages go to the file before the transaction ends
with store._database.transaction():
    db.execute("DELETE FROM rows")
    db.execute("UPDATE derived SET body = zeroblob(100000)")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    with filled(tmp_path, rows=400) as store:
        before = store.rows("purchases", SEGMENT)
    child = process(code, tmp_path)
    child.communicate(timeout=20)
    assert child.returncode == -signal.SIGKILL
    journal = tmp_path / "store.sqlite-journal"
    assert journal.stat().st_size > 0
    with opened(tmp_path) as store:
        assert store.rows("purchases", SEGMENT) == before
        assert not journal.exists() or journal.stat().st_size == 0
        new = NewRow(feature="purchases", values={}, at=0.0, event_id="new")
        assert store.append([row(0), new], KEYS) == [None, 801]
    assert b"Harbour" not in bytes_of(tmp_path)
