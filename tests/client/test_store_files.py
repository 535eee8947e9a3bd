"""A damaged file opens as it was or is refused in words: no traceback of SQLite, no plaintext."""

import sqlite3
import traceback
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homebody_client.store import Store, database
from homebody_privacy.errors import IntegrityError, UsageError

from .store_home import DEDUPE, KEYS, PURPOSE, SECRETS, SEGMENT, filled, opened, row

_ROWS: Final = 30
_HEADER: Final = 100
_Damage = tuple[int, bytes]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store in good order."""
    folder = tmp_path_factory.mktemp("sound")
    filled(folder, rows=_ROWS).close()
    return folder / "store.sqlite"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged")


def _look(folder: Path) -> None:
    """Read and write everything; whatever comes back must be what was written."""
    expected = {n: dict(row(n).values) for n in range(_ROWS)}
    with opened(folder) as store:
        for feature, key in KEYS.items():
            for kept in store.rows(feature, key):
                assert kept.values == expected[int(str(kept.values["n"]))]
        assert store.segment_key("purchases", {"recommend": PURPOSE}) in (SEGMENT, None)
        assert store.derived("user-vector", PURPOSE) in (" ".join(SECRETS).encode(), None)
        for _, ticket, payload in store.queue(PURPOSE):
            assert (ticket, payload) == (b"ticket", " ".join(SECRETS).encode())
        store.derived_index()
        store.wraps()
        store.append([row(1000), row(1)], KEYS)
        store.put_derived("user-vector", frozenset(), b"", PURPOSE)
        store.delete([1, 2])
        store.drop_feature("tastes")
        store.clear()


def _refused_or_sound(folder: Path) -> None:
    try:
        _look(folder)
    except IntegrityError as error:
        told = "".join(traceback.format_exception(error)) + error.fix
    else:
        return
    assert not any(secret in told for secret in SECRETS)
    assert told.count("store.sqlite: ") >= 1


_places = st.one_of(st.integers(0, _HEADER), st.integers(0, 2**20))
_damages = st.lists(st.tuples(_places, st.binary(min_size=1, max_size=40)), min_size=1, max_size=6)


@settings(max_examples=150, deadline=None)
@given(damages=_damages)
def test_overwritten_bytes_are_refused_in_words(
    sound: Path, place: Path, damages: list[_Damage]
) -> None:
    content = bytearray(sound.read_bytes())
    for where, piece in damages:
        start = where % len(content)
        content[start : start + len(piece)] = piece[: len(content) - start]
    _put(place, bytes(content))
    _refused_or_sound(place)


@settings(max_examples=60, deadline=None)
@given(bits=st.lists(st.integers(0, 2**30), min_size=1, max_size=4))
def test_flipped_bits_are_refused_in_words(sound: Path, place: Path, bits: list[int]) -> None:
    content = bytearray(sound.read_bytes())
    for bit in bits:
        where = bit % (8 * len(content))
        content[where // 8] ^= 1 << where % 8
    _put(place, bytes(content))
    _refused_or_sound(place)


@settings(max_examples=50, deadline=None)
@given(cut=st.integers(0, 2**30), tail=st.binary(max_size=200), head=st.binary(max_size=40))
def test_a_cut_or_lengthened_file_is_refused_in_words(
    sound: Path, place: Path, cut: int, tail: bytes, head: bytes
) -> None:
    whole = sound.read_bytes()
    _put(place, head + whole[: cut % (len(whole) + 1)] + tail)
    _refused_or_sound(place)


@settings(max_examples=50, deadline=None)
@given(content=st.binary(max_size=3000))
def test_any_bytes_in_its_place_are_refused_in_words(place: Path, content: bytes) -> None:
    _put(place, content)
    _refused_or_sound(place)


@settings(max_examples=40, deadline=None)
@given(journal=st.binary(max_size=3000), real=st.booleans())
def test_any_bytes_in_place_of_its_journal_are_refused_in_words(
    sound: Path, place: Path, journal: bytes, *, real: bool
) -> None:
    magic = bytes.fromhex("d9d505f920a163d7") if real else b""
    _put(place, sound.read_bytes(), magic + journal)
    _refused_or_sound(place)


def test_the_fuzzed_file_is_read_to_its_end_where_it_is_sound(sound: Path, place: Path) -> None:
    _put(place, sound.read_bytes())
    _look(place)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER t AFTER INSERT ON rows BEGIN DELETE FROM rows; END",
        "CREATE VIEW v AS SELECT * FROM rows",
        "CREATE TABLE more (x)",
        "DROP INDEX rows_once",
        "DROP TABLE wraps",
        "PRAGMA user_version = 2",
        "PRAGMA application_id = 0",
    ],
)
def test_tables_that_are_not_ours_are_refused(tmp_path: Path, statement: str) -> None:
    filled(tmp_path).close()
    _execute(tmp_path / "store.sqlite", statement)
    with pytest.raises(IntegrityError, match="the list of its tables"):
        opened(tmp_path)


def test_a_data_base_of_somebody_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    _execute(path, "CREATE TABLE joins (n)")
    before = path.read_bytes()
    with pytest.raises(IntegrityError):
        opened(tmp_path)
    assert path.read_bytes() == before


def test_rows_lost_from_an_index_are_noticed_at_the_start(tmp_path: Path) -> None:
    filled(tmp_path).close()
    path = tmp_path / "store.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        find = "SELECT * FROM sqlite_master WHERE name = 'rows_of'"
        index = db.execute(find).fetchone()
        db.execute("PRAGMA writable_schema = ON")
        db.execute("DELETE FROM sqlite_master WHERE name = 'rows_of'")
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("INSERT INTO rows SELECT 99, feature, x'01', body FROM rows WHERE seq = 1")
        db.execute("PRAGMA writable_schema = ON")
        db.execute("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", index)
    with pytest.raises(IntegrityError, match="what its pages hold"):
        opened(tmp_path)


def test_words_of_sqlite_that_quote_broken_text_are_not_passed_on(sound: Path, place: Path) -> None:
    whole, refused = sound.read_bytes(), 0
    for start in range(2500, 4096, 7):  # the texts of the tables end the first page
        _put(place, whole[:start] + b"\t\x80" + whole[start + 2 :])
        try:
            opened(place).close()
        except IntegrityError:
            refused += 1
    assert refused > 100


def test_a_locked_file_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(tmp_path).close()
    monkeypatch.setattr(database, "_PATIENCE_S", 0.01)
    db = sqlite3.connect(tmp_path / "store.sqlite", isolation_level=None)
    db.execute("BEGIN EXCLUSIVE")
    with pytest.raises(UsageError, match="keeps it locked"):
        opened(tmp_path)
    db.close()
    opened(tmp_path).close()


def test_a_place_that_cannot_be_used_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot be read or written"):
        Store.open(tmp_path / "file" / "store.sqlite", dedupe_key=DEDUPE)
    (tmp_path / "store.sqlite").mkdir()
    with pytest.raises(UsageError, match="cannot be read or written"):
        opened(tmp_path)


def test_a_full_disk_is_said_so_and_nothing_is_lost(tmp_path: Path) -> None:
    with filled(tmp_path) as store:
        limit = store.size() // 4096
        store._database._db.execute(f"PRAGMA max_page_count = {limit}")  # noqa: SLF001 - a full disk
        with pytest.raises(UsageError, match="disk is full"):
            store.append([row(n) for n in range(1000, 2000)], KEYS)
        assert len(store.rows("purchases", SEGMENT)) == 20
    with opened(tmp_path) as store:
        assert len(store.append([row(1000)], KEYS)) == 1


def _put(place: Path, content: bytes, journal: bytes | None = None) -> None:
    for file in place.iterdir():
        file.unlink()
    (place / "store.sqlite").write_bytes(content)
    if journal is not None:
        (place / "store.sqlite-journal").write_bytes(journal)


def _execute(path: Path, statement: str) -> None:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute(statement)
    db.close()
