"""Histories as arrays: nothing malformed can be built, and what is saved reads back."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from homebody_models.interactions import Catalog, Interactions
from homebody_models.zoo import NAMES, ModelSpec

Make = Callable[..., Interactions]


def test_history_is_a_devices_rows(interactions: Make) -> None:
    data = interactions([[3, 1], [], [2]])
    assert data.devices == 3
    assert [data.history(u).tolist() for u in range(3)] == [[3, 1], [], [2]]


@pytest.mark.parametrize(
    "changed",
    [
        {"ptr": np.array([0, 2, 1, 3])},
        {"ptr": np.array([1, 2, 3])},
        {"ptr": np.array([0, 2])},
        {"ptr": np.zeros((1, 1), np.int64)},
        {"items": np.array([0, 1, 9], np.int32)},
        {"items": np.array([0, 1, -1], np.int32)},
        {"times": np.zeros(2, np.int64)},
        {"values": np.zeros(2, np.float32)},
        {"values": np.array([1, np.nan, 1], np.float32)},
    ],
    ids=["falls", "start", "end", "shape", "beyond", "negative", "times", "values", "nan"],
)
def test_arrays_that_are_no_histories_are_refused(
    interactions: Make, changed: dict[str, Any]
) -> None:
    data = interactions([[0, 1], [2]])
    with pytest.raises(ValueError, match=r"ptr|items|times|values"):
        replace(data, **changed)


@pytest.mark.parametrize(
    "changed",
    [
        {"ids": ("a", "a")},
        {"titles": ("A",)},
        {"categories": ()},
        {"features": np.zeros((2, 2), np.float32)},
        {"features": np.full((2, 1), np.inf, np.float32)},
    ],
    ids=["repeated", "titles", "categories", "columns", "infinite"],
)
def test_columns_that_are_no_catalog_are_refused(changed: dict[str, Any]) -> None:
    fields: dict[str, Any] = {
        "ids": ("a", "b"),
        "titles": ("A", "B"),
        "categories": ("", ""),
        "features": np.zeros((2, 1), np.float32),
        "feature_names": ("x",),
    }
    assert len(Catalog(**fields)) == 2
    with pytest.raises(ValueError, match=r"ids|titles|features"):
        Catalog(**(fields | changed))


def test_saved_histories_read_back_with_the_same_digest(interactions: Make, tmp_path: Path) -> None:
    data = interactions([[3, 1], [], [2]], repeats=False)
    data.save(tmp_path)
    back = Interactions.load(tmp_path)
    assert back.digest() == data.digest()
    assert [back.history(u).tolist() for u in range(3)] == [[3, 1], [], [2]]
    assert back.catalog.titles == data.catalog.titles
    assert back.repeats is False


def test_digest_depends_on_events_and_on_the_catalog(interactions: Make) -> None:
    data = interactions([[0, 1], [2]])
    titled = replace(data.catalog, titles=("x", "y", "z"))
    others = [
        interactions([[1, 0], [2]]),
        interactions([[0], [1, 2]]),
        replace(data, catalog=titled),
    ]
    assert len({data.digest(), *(other.digest() for other in others)}) == 4


def test_only_the_order_of_events_may_be_kept(interactions: Make, tmp_path: Path) -> None:
    data = interactions([[3, 1], [], [2]])
    bare = replace(data, times=data.times[:0], values=data.values[:0])
    bare.save(tmp_path)
    back = Interactions.load(tmp_path)
    assert [back.history(u).tolist() for u in range(3)] == [[3, 1], [], [2]]
    assert back.digest() == bare.digest() != data.digest()


@pytest.fixture(scope="module")
def many(interactions: Make) -> Interactions:
    """Return more events than are read at a time."""
    rng = np.random.default_rng(5)
    lengths = rng.integers(0, 60, 40_000)
    events = int(lengths.sum())
    return replace(
        interactions([[0]], n_items=30),
        ptr=np.concatenate(([0], np.cumsum(lengths))).astype(np.int64),
        items=rng.integers(0, 30, events, dtype=np.int32),
        times=rng.integers(0, 2**40, events),
        values=rng.random(events, dtype=np.float32),
    )


def test_digest_is_that_of_the_whole_columns(many: Interactions, tmp_path: Path) -> None:
    whole = hashlib.sha256(many.catalog.digest().encode())
    for column, kind in ((many.ptr, "<i8"), (many.items, "<i4"), (many.times, "<i8")):
        whole.update(column.astype(kind).tobytes())
    many.save(tmp_path)
    assert many.digest() == Interactions.load(tmp_path).digest() == whole.hexdigest()


def test_an_event_that_is_none_is_found_behind_the_first_million(many: Interactions) -> None:
    items, values = many.items.copy(), many.values.copy()
    items[-1], values[-1] = 30, np.inf
    for changed in ({"items": items}, {"values": values}):
        with pytest.raises(ValueError, match=r"items|values"):
            replace(many, **changed)


def test_parts_counts_and_pairs_are_those_of_all_devices(many: Interactions) -> None:
    parts = list(many.parts())
    assert len(parts) > 3
    assert max(len(part.items) for part in parts) < len(many.items) / 3
    ends = [0, *(part.devices.stop for part in parts)]
    assert [part.devices.start for part in parts] == ends[:-1]
    assert ends[-1] == many.devices
    assert (np.concatenate([part.lengths for part in parts]) == np.diff(many.ptr)).all()
    assert (np.concatenate([part.items for part in parts]) == many.items).all()
    assert (many.item_counts() == np.bincount(many.items, minlength=30)).all()
    chosen = np.zeros((many.devices, 30), bool)
    chosen[np.repeat(np.arange(many.devices), np.diff(many.ptr)), many.items] = True
    found = np.concatenate([own * 30 + items for own, items in many.pairs()])
    assert (found == np.flatnonzero(chosen)).all()


@pytest.mark.parametrize("name", NAMES)
def test_zoo_builds_every_model_it_names(interactions: Make, name: str) -> None:
    model = ModelSpec(name).build(interactions([[0, 1, 2]]).catalog)
    assert model.name == name
    assert model.scores(model.init(np.random.default_rng(0)), [np.array([1])]).shape == (1, 3)


def test_zoo_refuses_a_name_it_does_not_know() -> None:
    with pytest.raises(ValueError, match="model must be one of"):
        ModelSpec("oracle")
