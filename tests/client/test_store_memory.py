"""What a store remembers between two calls follows what is on disk at once."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from homebody_client.store import NewRow, Store

OLD, NEW, OWN, OTHER = (bytes([n]) * 32 for n in (1, 2, 3, 4))
VIEW: Final = NewRow(feature="tastes", values={"event": "like"}, at=1.8e9, event_id="one")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store.sqlite", dedupe_key=bytes(32)) as opened:
        opened.set_wraps("tastes", OLD, {"recommend": OWN})
        assert opened.segment_key("tastes", {"recommend": OWN}) == OLD
        opened.append([VIEW], {"tastes": OLD})
        assert opened.has("tastes", "one")
        yield opened


def test_a_new_key_of_a_group_is_given_at_once(store: Store) -> None:
    store.set_wraps("tastes", NEW, {"recommend": OWN})
    assert store.segment_key("tastes", {"recommend": OWN}) == NEW


def test_a_key_is_given_to_nobody_who_could_not_unwrap_it(store: Store) -> None:
    assert store.segment_key("tastes", {"recommend": OTHER}) is None
    assert store.segment_key("tastes", {}) is None
    assert store.segment_key("tastes", {"recommend": OWN}) == OLD


@pytest.mark.parametrize("gone", [lambda store: store.drop_feature("tastes"), Store.clear])
def test_what_was_dropped_is_not_remembered(store: Store, gone: Callable[[Store], None]) -> None:
    gone(store)
    assert store.segment_key("tastes", {"recommend": OWN}) is None
    assert not store.has("tastes", "one")
    assert store.append([VIEW], {"tastes": NEW}) == [2]


def test_a_deleted_event_can_be_kept_again(store: Store) -> None:
    assert store.append([VIEW], {"tastes": OLD}) == [None]
    assert store.delete([1]) == 1
    assert not store.has("tastes", "one")
    assert store.append([VIEW], {"tastes": OLD}) == [2]


def test_an_event_that_could_not_be_stored_is_not_remembered(store: Store) -> None:
    twice = NewRow(feature="tastes", values={"event": "view"}, at=1.8e9, event_id="two")
    with pytest.raises(ValueError, match="without a key"):
        store.append([twice], {})
    assert not store.has("tastes", "two")
    assert store.append([twice, twice], {"tastes": OLD}) == [2, None]
