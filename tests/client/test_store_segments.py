"""The key of a feature group opens through a purpose chosen for it, and through nothing else."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homebody_client.store import Store
from homebody_privacy.errors import IntegrityError

from .store_home import KEYS, OTHER, PURPOSE, SEGMENT, filled, opened, row

_PURPOSES = {"recommend": b"r" * 32, "training": b"t" * 32, "metrics": b"m" * 32}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with opened(tmp_path) as store:
        yield store


def test_a_segment_opens_by_any_of_its_purposes(store: Store) -> None:
    chosen = {name: _PURPOSES[name] for name in ("recommend", "training")}
    store.set_wraps("purchases", SEGMENT, chosen)
    assert store.segment_key("purchases", _PURPOSES) == SEGMENT
    for name in chosen:
        assert store.segment_key("purchases", {name: _PURPOSES[name]}) == SEGMENT
    for wrong in (
        {},
        {"metrics": _PURPOSES["metrics"]},
        {"training": _PURPOSES["recommend"]},
        {"metrics": _PURPOSES["training"]},
    ):
        assert store.segment_key("purchases", wrong) is None
    assert store.segment_key("tastes", _PURPOSES) is None
    assert store.wraps() == {"purchases": ("recommend", "training")}


def test_cn_02_new_wraps_replace_the_old_ones(store: Store) -> None:
    store.set_wraps("purchases", SEGMENT, _PURPOSES)
    store.set_wraps("purchases", SEGMENT, {"training": b"n" * 32})
    assert store.segment_key("purchases", _PURPOSES) is None
    assert store.segment_key("purchases", {"training": b"n" * 32}) == SEGMENT
    store.append([row(1)], KEYS)
    store.set_wraps("purchases", SEGMENT, {})
    assert store.wraps() == {"purchases": ()}  # rows that nothing opens any more are still seen
    store.drop_feature("purchases")
    assert store.wraps() == {}


def test_one_wrap_that_does_not_open_does_not_shut_the_others(store: Store) -> None:
    store.set_wraps("purchases", SEGMENT, _PURPOSES)
    changed = {**_PURPOSES, "metrics": b"x" * 32}
    assert store.segment_key("purchases", changed) == SEGMENT


@pytest.mark.parametrize("column", ["feature = 'tastes'", "purpose = 'metrics'", "body = x'00'"])
def test_a_wrap_that_was_moved_or_changed_opens_nothing(tmp_path: Path, column: str) -> None:
    with opened(tmp_path) as store:
        store.set_wraps("purchases", SEGMENT, {"training": PURPOSE})
    db = sqlite3.connect(tmp_path / "store.sqlite")
    with db:
        assert db.execute(f"UPDATE wraps SET {column}").rowcount == 1  # noqa: S608 - our own words
    db.close()
    with opened(tmp_path) as store:
        for feature in ("purchases", "tastes"):
            both = {"training": PURPOSE, "metrics": PURPOSE}
            assert store.segment_key(feature, both) is None


def test_keys_of_another_length_are_refused(store: Store) -> None:
    for segment, purpose in ((b"short", PURPOSE), (SEGMENT, b"short")):
        with pytest.raises(ValueError, match="32 bytes") as refused:
            store.set_wraps("purchases", segment, {"training": purpose})
        assert "short" not in str(refused.value)
    assert store.wraps() == {}


def test_r13_a_derived_thing_carries_what_it_was_made_from(tmp_path: Path) -> None:
    pairs = frozenset({("recommend", "purchases"), ("recommend", "tastes")})
    with opened(tmp_path) as store:
        store.put_derived("user-vector", frozenset({("training", "tastes")}), b"old", PURPOSE)
        store.put_derived("user-vector", pairs, b"new", PURPOSE)
        store.put_derived("model", frozenset(), b"", PURPOSE)
    with opened(tmp_path) as store:
        assert store.derived_index() == [("model", frozenset()), ("user-vector", pairs)]
        assert store.derived("user-vector", PURPOSE) == b"new"
        assert store.derived("model", PURPOSE) == b""
        assert store.derived("reasons", PURPOSE) is None
        with pytest.raises(IntegrityError, match="a derived thing"):
            store.derived("user-vector", OTHER)
        store.drop_derived(["user-vector"])
        assert store.derived_index() == [("model", frozenset())]


@pytest.mark.parametrize(
    ("change", "listed"),
    [
        ("name = 'reasons'", True),
        ("pairs = '[]'", True),
        ("pairs = '[[1, 2]]'", False),
        ("pairs = '[[\"a\"]]'", False),
        ("pairs = '7'", False),
        ("pairs = '{'", False),
        ("body = zeroblob(40)", True),
    ],
)
def test_r13_what_a_derived_thing_was_made_from_cannot_be_changed(
    tmp_path: Path, change: str, *, listed: bool
) -> None:
    filled(tmp_path).close()
    db = sqlite3.connect(tmp_path / "store.sqlite")
    with db:
        assert db.execute(f"UPDATE derived SET {change}").rowcount == 1  # noqa: S608 - our own words
    db.close()
    with opened(tmp_path) as store:
        name = "reasons" if "reasons" in change else "user-vector"
        with pytest.raises(IntegrityError, match="a derived thing"):
            store.derived(name, PURPOSE)
        if listed:
            assert len(store.derived_index()) == 1
        else:
            with pytest.raises(IntegrityError, match="a derived thing"):
                store.derived_index()


def test_the_queue_gives_back_ticket_and_payload_oldest_first(tmp_path: Path) -> None:
    entries = [(b"t1", b"one"), (b"", b"two"), (b"t3", b"")]
    with opened(tmp_path) as store:
        ids = [store.enqueue(ticket, payload, PURPOSE) for ticket, payload in entries]
    with opened(tmp_path) as store:
        assert [(ticket, payload) for _, ticket, payload in store.queue(PURPOSE)] == entries
        store.dequeue(ids[1:])
        assert [number for number, *_ in store.queue(PURPOSE)] == ids[:1]
        assert store.enqueue(b"", b"", PURPOSE) == ids[-1] + 1
        with pytest.raises(IntegrityError, match="an entry of the queue"):
            store.queue(OTHER)


def test_entries_of_the_queue_cannot_change_places(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        for payload in (b"one", b"two"):
            store.enqueue(b"t", payload, PURPOSE)
    db = sqlite3.connect(tmp_path / "store.sqlite")
    with db:
        db.execute("UPDATE outgoing SET body = (SELECT body FROM outgoing WHERE id = 2)")
    db.close()
    with opened(tmp_path) as store, pytest.raises(IntegrityError):
        store.queue(PURPOSE)


_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.lists(st.integers(0, 12), max_size=5)),
        st.tuples(st.just("delete"), st.lists(st.integers(0, 15), max_size=4)),
        st.tuples(st.just("drop"), st.just([0])),
        st.tuples(st.just("restart"), st.just([0])),
    ),
    max_size=12,
)


@settings(max_examples=25, deadline=None)
@given(steps=_STEPS)
def test_the_store_holds_what_a_dictionary_would(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, list[int]]]
) -> None:
    folder, last, expected = tmp_path_factory.mktemp("walk"), 0, dict[int, int]()
    store = opened(folder)
    for what, numbers in steps:
        if what == "append":
            for n, seq in zip(numbers, store.append([row(n) for n in numbers], KEYS), strict=True):
                assert (seq is None) == (n in expected.values())
                if seq is not None:
                    last += 1
                    assert seq == last
                    expected[seq] = n
        elif what == "delete":
            assert store.delete(numbers) == len({n for n in numbers if n in expected})
            expected = {seq: n for seq, n in expected.items() if seq not in numbers}
        elif what == "drop":
            store.drop_feature("purchases")
            expected = {}
        else:
            store.close()
            store = opened(folder)
        kept = store.rows("purchases", SEGMENT)
        assert {one.seq: one.values["n"] for one in kept} == expected
    store.close()
