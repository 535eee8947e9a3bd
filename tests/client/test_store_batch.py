"""Rows wait for company, not for long, and not past the consent they came under."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import pytest

from homebody_client.store import BatchWriter, NewRow, Store
from homebody_privacy.errors import UsageError

from .store_home import KEYS, OTHER, SEGMENT, opened, row

_LONG_S = 60.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with opened(tmp_path) as store:
        yield store


def _writer(
    store: Store,
    keys: Callable[[], Mapping[str, bytes]] = lambda: KEYS,
    *,
    batch: int = 4,
    max_delay_s: float = _LONG_S,
) -> BatchWriter:
    lock = threading.RLock()
    return BatchWriter(store.append, keys, lock=lock, batch=batch, max_delay_s=max_delay_s)


def test_a_full_batch_is_stored_at_once_and_the_rest_on_demand(store: Store) -> None:
    writer = _writer(store)
    assert all(writer.add(row(n)) for n in range(6))
    assert (writer.pending, len(store.rows("purchases", SEGMENT))) == (2, 4)
    writer.flush()
    writer.flush()
    assert (writer.pending, len(store.rows("purchases", SEGMENT))) == (0, 6)


def test_a_row_waits_no_longer_than_the_delay(tmp_path: Path) -> None:
    lock, batches = threading.RLock(), list[int]()

    def append(rows: Sequence[NewRow], _: Mapping[str, bytes]) -> None:
        batches.append(len(rows))

    writer = BatchWriter(append, lambda: KEYS, lock=lock, batch=100, max_delay_s=0.02)
    del tmp_path
    for n in range(3):
        writer.add(row(n))
    _wait(lambda: batches == [3])
    writer.add(row(9))  # the delay begins anew
    _wait(lambda: batches == [3, 1])


def test_the_delay_waits_for_whoever_holds_the_lock(store: Store) -> None:
    lock = threading.RLock()
    writer = BatchWriter(store.append, lambda: KEYS, lock=lock, max_delay_s=0.005)
    writer.add(row(1))
    with lock:
        time.sleep(0.03)
        assert writer.pending == 1
    _wait(lambda: writer.pending == 0)
    assert len(store.rows("purchases", SEGMENT)) == 1


def test_a_row_whose_feature_is_shut_is_not_taken(store: Store) -> None:
    writer = _writer(store, lambda: {"tastes": OTHER})
    assert not writer.add(row(1))
    assert writer.add(row(1, feature="tastes"))
    assert writer.pending == 1


def test_r1_a_row_that_waited_through_a_withdrawal_is_dropped(store: Store) -> None:
    keys = dict(KEYS)
    writer = _writer(store, lambda: MappingProxyType(keys))
    writer.add(row(1))
    writer.add(row(1, feature="tastes"))
    del keys["purchases"]
    keys["purchases"] = OTHER  # and given again, which makes a new key
    writer.flush()
    assert store.rows("purchases", OTHER) == []
    assert len(store.rows("tastes", OTHER)) == 1
    writer.add(row(2))
    del keys["purchases"]
    writer.flush()
    assert (writer.pending, store.wraps()) == (0, {"tastes": ()})


def test_what_waits_can_be_dropped(store: Store) -> None:
    writer = _writer(store)
    writer.add(row(1))
    assert (writer.drop(), writer.drop(), writer.pending) == (1, 0, 0)
    assert store.rows("purchases", SEGMENT) == []


def test_rows_that_could_not_be_stored_wait_on_and_no_more_are_taken(store: Store) -> None:
    full = True

    def append(rows: Sequence[NewRow], keys: Mapping[str, bytes]) -> None:
        if full:
            raise UsageError("the disk is full")
        store.append(rows, keys)

    writer = BatchWriter(append, lambda: KEYS, lock=threading.RLock(), batch=2, max_delay_s=_LONG_S)
    writer.add(row(1))
    for n in (2, 3, 4):
        with pytest.raises(UsageError):
            writer.add(row(n))
    assert writer.pending == 2
    full = False
    writer.add(row(5))
    assert [kept.values["n"] for kept in store.rows("purchases", SEGMENT)] == [1, 2]
    writer.flush()
    assert len(store.rows("purchases", SEGMENT)) == 3


def test_a_failure_of_the_timer_is_told_to_the_next_caller() -> None:
    failures = 0

    def append(*_: object) -> None:
        nonlocal failures
        failures += 1
        raise UsageError("the disk is full")

    lock = threading.RLock()
    writer = BatchWriter(append, lambda: KEYS, lock=lock, max_delay_s=0.005)
    writer.add(row(1))
    _wait(lambda: failures == 1)
    with pytest.raises(UsageError, match="full"):
        writer.add(row(2))
    assert writer.pending == 1


def test_threads_that_add_at_once_lose_nothing(store: Store) -> None:
    writer = _writer(store, batch=7, max_delay_s=0.001)
    threads = [
        threading.Thread(target=lambda k=k: [writer.add(row(n)) for n in range(k, k + 50)])
        for k in range(0, 200, 50)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.flush()
    kept = [kept.values["n"] for kept in store.rows("purchases", SEGMENT)]
    assert kept == list(range(200))


@pytest.mark.parametrize(("batch", "delay"), [(0, 1.0), (1, 0.0), (1, float("nan"))])
def test_a_batch_of_nothing_or_without_delay_is_refused(
    store: Store, batch: int, delay: float
) -> None:
    with pytest.raises(ValueError, match="a batch"):
        _writer(store, batch=batch, max_delay_s=delay)


def _wait(done: Callable[[], bool]) -> None:
    for _ in range(1000):
        if done():
            return
        time.sleep(0.005)
    raise AssertionError("it did not happen within five seconds")
