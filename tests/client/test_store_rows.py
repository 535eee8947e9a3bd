"""Rows come back as they were stored, once each, and open in their own place only."""

import math
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homebody_client.store import NewRow, Store, Value
from homebody_privacy.errors import IntegrityError, UsageError

from .store_home import (
    DEDUPE,
    KEYS,
    OTHER,
    PURPOSE,
    SECRETS,
    SEGMENT,
    bytes_of,
    filled,
    opened,
    row,
)

_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with opened(tmp_path) as store:
        yield store


def test_rows_come_back_oldest_first_after_a_restart(tmp_path: Path) -> None:
    store = opened(tmp_path)
    assert store.append([row(2), row(0), row(1)], KEYS) == [1, 2, 3]
    store.close()
    with opened(tmp_path) as store:
        back = store.rows("purchases", SEGMENT)
    assert [(kept.seq, kept.values["n"]) for kept in back] == [(2, 0), (3, 1), (1, 2)]
    assert dict(back[0].values) == dict(row(0).values)
    assert back[0].at == row(0).at


@settings(max_examples=25, deadline=None)
@given(
    values=st.dictionaries(st.text(max_size=8), _VALUES, max_size=6),
    at=st.floats(allow_nan=False, allow_infinity=False),
    event_id=st.text(min_size=1, max_size=20),
)
def test_any_row_that_can_be_made_comes_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, Value], at: float, event_id: str
) -> None:
    store = opened(tmp_path_factory.mktemp("one"))
    new = NewRow(feature="tastes", values=values, at=at, event_id=event_id)
    assert store.append([new, new], KEYS) == [1, None]
    (kept,) = store.rows("tastes", OTHER)
    store.close()
    assert (kept.values, kept.at) == (values, at)
    assert [type(value) for value in kept.values.values()] == list(map(type, values.values()))


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, 2**63, -(2**63) - 1, b"P-4711", ["P-4711"], {"P-4711": 1}]
)
def test_what_could_not_be_read_back_is_refused_without_being_quoted(value: object) -> None:
    with pytest.raises(ValueError, match="the field x is no text") as refused:
        row(x=value)  # type: ignore[arg-type]
    assert "4711" not in str(refused.value)
    wrong: list[dict[str, Any]] = [
        {"feature": ""},
        {"event_id": ""},
        {"at": math.nan},
        {"values": {1: 2}},
    ]
    for field in wrong:
        sound: dict[str, Any] = {"feature": "f", "event_id": "e", "at": 1.0, "values": {}}
        with pytest.raises(ValueError, match=r"needs|finite|text"):
            NewRow(**{**sound, **field})


def test_s24_a_repeated_event_is_stored_once_in_each_feature_group(store: Store) -> None:
    assert store.append([row(1), row(1), row(2)], KEYS) == [1, None, 2]
    again = NewRow(feature="tastes", values={}, at=1.0, event_id=row(1).event_id)
    assert store.append([row(2), again], KEYS) == [None, 3]
    assert len(store.rows("purchases", SEGMENT)) == 2


def test_a_number_is_never_given_twice(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.append([row(1), row(2)], KEYS)
    assert store.delete([1, 2, 99]) == 2
    store.close()
    store = opened(tmp_path)
    assert store.append([row(1)], KEYS) == [3]
    store.clear()
    store.close()
    with opened(tmp_path) as store:
        assert store.append([row(1)], KEYS) == [4]


def test_a_batch_with_a_row_without_key_is_not_stored_at_all(store: Store) -> None:
    with pytest.raises(ValueError, match="without a key"):
        store.append([row(1), row(2, feature="places")], KEYS)
    with pytest.raises(ValueError, match="32 bytes"):
        store.append([row(1)], {"purchases": b"short"})
    assert store.rows("purchases", SEGMENT) == []


def test_a_corrected_row_keeps_its_time_and_its_place(store: Store) -> None:
    store.append([row(1), row(2)], KEYS)
    store.replace(1, {"category": "tea"}, SEGMENT)
    first, second = store.rows("purchases", SEGMENT)
    assert (first.seq, first.at, first.values) == (1, row(1).at, {"category": "tea"})
    assert second.values == row(2).values
    with pytest.raises(ValueError, match="no row"):
        store.replace(9, {}, SEGMENT)
    with pytest.raises(ValueError, match="the field x"):
        store.replace(1, {"x": math.nan}, SEGMENT)
    with pytest.raises(IntegrityError):
        store.replace(1, {}, OTHER)


def test_s25_s48b_no_byte_on_disk_says_what_a_row_says(tmp_path: Path) -> None:
    filled(tmp_path, rows=50).close()
    stored = bytes_of(tmp_path)
    assert b"purchases" in stored  # a public word: the check can see
    for secret in (*SECRETS, "purchases-1", "1800000000"):
        assert secret.encode() not in stored
        assert secret.encode("utf-16-le") not in stored


def test_nothing_but_the_owner_may_read_the_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "store.sqlite"
    path.parent.mkdir()
    path.touch(mode=0o644)
    Store.open(path, dedupe_key=DEDUPE).close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_length_of_a_row_tells_little(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.append([row(n, x="y" * n) for n in range(64)], KEYS)
    store.close()
    db = sqlite3.connect(tmp_path / "store.sqlite")
    lengths = {length for (length,) in db.execute("SELECT length(body) FROM rows")}
    db.close()
    assert len(lengths) <= 3


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE rows SET seq = 1000 WHERE seq = 1",
        "UPDATE rows SET feature = 'purchases' WHERE seq = 2",
        "UPDATE rows SET body = (SELECT body FROM rows WHERE seq = 3) WHERE seq = 1",
        "UPDATE rows SET body = substr(body, 1, length(body) - 1) WHERE seq = 1",
        "UPDATE rows SET body = x'' WHERE seq = 1",
        "UPDATE rows SET body = 'text' WHERE seq = 1",
        "UPDATE rows SET body = (SELECT body FROM derived) WHERE seq = 1",
    ],
)
def test_a_row_that_was_moved_or_exchanged_does_not_open(tmp_path: Path, change: str) -> None:
    filled(tmp_path).close()
    with_db(tmp_path, change)
    store = opened(tmp_path)
    with pytest.raises(IntegrityError, match="a row is not what was written"):
        store.rows("purchases", SEGMENT)
    assert len(store.rows("tastes", OTHER)) >= 19  # others are not taken along
    store.close()


@pytest.mark.parametrize("number", [-1, "many", 2**62, None, 3])
def test_a_counter_that_was_changed_is_noticed(tmp_path: Path, number: object) -> None:
    filled(tmp_path).close()
    with_db(tmp_path, "UPDATE sqlite_sequence SET seq = ? WHERE name = 'rows'", number)
    store = opened(tmp_path)
    with pytest.raises(IntegrityError):
        store.append([row(100)], KEYS)
    store.close()


def test_a_row_under_another_key_does_not_open(store: Store) -> None:
    store.append([row(1)], KEYS)
    with pytest.raises(IntegrityError) as refused:
        store.rows("purchases", OTHER)
    assert not any(secret in str(refused.value) for secret in SECRETS)


def test_another_dedupe_key_knows_no_event(tmp_path: Path) -> None:
    filled(tmp_path, rows=1).close()
    store = Store.open(tmp_path / "store.sqlite", dedupe_key=b"x" * 32)
    assert store.append([row(0)], KEYS) == [3]
    store.close()


def test_a_store_moved_with_its_keys_reads_the_same(tmp_path: Path) -> None:
    store = filled(tmp_path / "a")
    rows = store.rows("purchases", SEGMENT)
    store.close()
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    other = opened(tmp_path / "b")
    key = other.segment_key("purchases", {"recommend": PURPOSE})
    assert key == SEGMENT
    assert other.rows("purchases", key) == rows
    other.close()


def test_no_repr_shows_what_is_stored(store: Store) -> None:
    store.append([row(1)], KEYS)
    shown = repr([row(1), store, *store.rows("purchases", SEGMENT)])
    assert not any(secret in shown for secret in (*SECRETS, "purchases-1", "1800000001", "ssss"))


def test_s23_a_store_that_is_only_read_keeps_its_bytes(tmp_path: Path) -> None:
    filled(tmp_path).close()
    before = (tmp_path / "store.sqlite").read_bytes()
    store = opened(tmp_path)
    store.rows("purchases", SEGMENT)
    store.queue(PURPOSE)
    assert store.append([row(0)], KEYS) == [None]
    store.close()
    assert (tmp_path / "store.sqlite").read_bytes() == before


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.close()
    store.close()
    with pytest.raises(UsageError, match="closed"):
        store.rows("purchases", SEGMENT)
    with pytest.raises(UsageError, match="closed"):
        store.append([row(1)], KEYS)


@pytest.mark.slow
def test_ten_thousand_events_a_second_and_a_thousand_rows_in_fifteen_milliseconds(
    tmp_path: Path,
) -> None:
    store = opened(tmp_path)
    batches = [[row(n) for n in range(start, start + 256)] for start in range(0, 256 * 40, 256)]
    start = time.perf_counter()
    for batch in batches:
        store.append(batch, KEYS)
    assert 256 * 40 / (time.perf_counter() - start) >= 10_000
    store.delete(range(1001, 256 * 40 + 1))
    spans = []
    for _ in range(5):
        start = time.perf_counter()
        assert len(store.rows("purchases", SEGMENT)) == 1000
        spans.append(time.perf_counter() - start)
    store.close()
    assert min(spans) <= 0.015


def with_db(folder: Path, change: str, *values: object) -> None:
    db = sqlite3.connect(folder / "store.sqlite")
    with db:
        assert db.execute(change, values).rowcount > 0
    db.close()
