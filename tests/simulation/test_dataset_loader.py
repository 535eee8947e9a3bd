"""Data sets by name: what is refused, and that rows always add up."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homebody_models.interactions import Catalog, Interactions
from homebody_privacy.errors import InvalidFileError, UsageError
from homebody_simulation.datasets import (
    LOADERS,
    BadRow,
    Dataset,
    PlantedTruth,
    load_dataset,
    summarise,
)
from homebody_simulation.datasets.arrays import one_hot


def _interactions(events: int) -> Interactions:
    catalog = Catalog(
        ids=("a",),
        titles=("A",),
        categories=("",),
        features=np.zeros((1, 0), np.float32),
        feature_names=(),
    )
    return Interactions(
        ptr=np.array([0, events]),
        items=np.zeros(events, np.int32),
        times=np.arange(events),
        values=np.ones(events, np.float32),
        repeats=True,
        catalog=catalog,
    )


def _dataset(kept: int, skipped: int, raw: int) -> Dataset:
    rows = (BadRow(file="x.csv", line=None, reason="odd", rows=skipped),) if skipped else ()
    return Dataset(
        name="x",
        interactions=_interactions(kept),
        unit="user",
        source="a test",
        licence="none",
        skipped=rows,
        raw_events=raw,
    )


def test_labels_of_other_devices_are_refused() -> None:
    data = _dataset(3, 0, 3)
    labels = {"age": np.array(["young"])}
    assert dataclasses.replace(data, groups=labels).groups == labels
    with pytest.raises(ValueError, match="a label for each of 1 devices"):
        dataclasses.replace(data, groups={"age": np.array(["young", "old"])})


@given(kept=st.integers(0, 20), skipped=st.integers(0, 20), raw=st.integers(0, 40))
@settings(max_examples=60)
def test_a_dataset_is_refused_unless_kept_and_skipped_rows_add_up(
    kept: int, skipped: int, raw: int
) -> None:
    if raw == kept + skipped:
        assert _dataset(kept, skipped, raw).skipped_rows == skipped
    else:
        with pytest.raises(ValueError, match="raw_events"):
            _dataset(kept, skipped, raw)


def test_histories_are_not_in_the_representation_of_a_dataset() -> None:
    data = _dataset(3, 1, 4)
    assert "array" not in repr(data)
    assert "odd" not in repr(data)


@pytest.mark.parametrize(("line", "rows"), [(0, 1), (3, 2), (None, 0)])
def test_a_bad_row_without_a_place_or_with_two_is_refused(line: int | None, rows: int) -> None:
    with pytest.raises(ValueError, match=r"rows|line"):
        BadRow(file="x.csv", line=line, reason="odd", rows=rows)


@pytest.mark.parametrize(("dim", "seasons"), [(8, 4), (7, 3)])
def test_truth_of_different_lengths_is_refused(dim: int, seasons: int) -> None:
    with pytest.raises(ValueError, match=r"shape|dim"):
        PlantedTruth(
            user_factors=np.zeros((2, dim), np.float32),
            item_factors=np.zeros((3, 8), np.float32),
            popularity=np.zeros(3, np.float32),
            season_phase=np.zeros(3, np.float32),
            season_strength=np.zeros(seasons, np.float32),
            start=0,
        )


def test_a_population_of_nobody_is_described_with_zeros() -> None:
    nobody = dataclasses.replace(_interactions(0), ptr=np.array([0]))
    specs = summarise(dataclasses.replace(_dataset(0, 2, 2), interactions=nobody))
    assert (specs.devices, specs.events_per_device.p90, specs.head_share) == (0, 0, 0.0)
    assert (specs.first_day, specs.skipped) == (None, {"odd": 2})


def test_an_unknown_name_is_refused_with_the_list_and_the_closest() -> None:
    with pytest.raises(UsageError, match="complete-journey, movielens-100k") as refusal:
        load_dataset("movielens100k")
    assert refusal.value.fix == "did you mean movielens-100k?"
    assert refusal.value.exit_code == 2


def test_an_unknown_name_close_to_nothing_is_refused_too() -> None:
    with pytest.raises(UsageError, match="no data set is called"):
        load_dataset("zzz:abc")


@pytest.mark.parametrize("name", ["interactions", "csv"])
def test_a_file_data_set_without_a_path_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="needs a path"):
        load_dataset(name)


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("synthetic", "devices", "5"),
        ("synthetic", "devices", 0),
        ("synthetic", "seed", -1),
        ("synthetic", "colour", "red"),
        ("complete-journey", "items", "shelves"),
        ("movielens-100k", "devices", 5),
        ("csv:x.csv", "on_bad", "ignore"),
        ("csv:x.csv", "columns", {"customer": "id"}),
    ],
)
def test_an_option_a_loader_does_not_take_is_refused_by_name(
    name: str, option: str, value: object
) -> None:
    with pytest.raises(UsageError, match=option) as refusal:
        load_dataset(name, root=None, **{option: value})
    assert "takes" in refusal.value.fix


@pytest.mark.parametrize("name", ["movielens-100k", "movielens-1m", "online-retail"])
def test_a_data_set_without_its_folder_says_what_to_set(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HOMEBODY_DATA", raising=False)
    for root in (None, tmp_path):
        with pytest.raises(InvalidFileError, match="set HOMEBODY_DATA") as refusal:
            load_dataset(name, root=root)
        assert refusal.value.exit_code == 2


def test_the_folder_is_taken_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ml-100k").mkdir()
    monkeypatch.setenv("HOMEBODY_DATA", str(tmp_path))
    with pytest.raises(InvalidFileError, match=r"u\.data: No such file"):
        load_dataset("movielens-100k")


def test_every_loader_is_registered_under_its_own_name_and_described() -> None:
    assert all(loader.name == name and loader.about for name, loader in LOADERS.items())
    assert set(LOADERS) == {
        "complete-journey", "movielens-100k", "movielens-1m", "online-retail", "synthetic",
        "interactions",
    }  # fmt: skip


@given(st.lists(st.none() | st.sampled_from("abcd"), max_size=30))
@settings(max_examples=60)
def test_one_hot_columns_give_the_labels_back(values: list[str | None]) -> None:
    names, matrix = one_hot("x", values)
    assert matrix.dtype == np.float32
    assert matrix.shape == (len(values), len(set(values) - {None}))
    back = [names[int(row.argmax())][2:] if row.sum() == 1 else None for row in matrix]
    assert back == values
