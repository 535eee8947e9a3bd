"""Histories as arrays: nothing malformed can be built, and what is saved reads back."""

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
        {"values": np.array([1, np.nan, 1], np.float32)},
    ],
    ids=["falls", "start", "end", "shape", "beyond", "negative", "times", "nan"],
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


@pytest.mark.parametrize("name", NAMES)
def test_zoo_builds_every_model_it_names(interactions: Make, name: str) -> None:
    model = ModelSpec(name).build(interactions([[0, 1, 2]]).catalog)
    assert model.name == name
    assert model.scores(model.init(np.random.default_rng(0)), [np.array([1])]).shape == (1, 3)


def test_zoo_refuses_a_name_it_does_not_know() -> None:
    with pytest.raises(ValueError, match="model must be one of"):
        ModelSpec("oracle")
