"""MovieLens: the published leave-one-out targets, features, and refusal of other content."""

import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from homebody_privacy.errors import IntegrityError, InvalidFileError
from homebody_simulation.datasets import Dataset, load_dataset

_FOLDERS = {"movielens-100k": "ml-100k", "movielens-1m": "ml-1m"}


def _root(name: str) -> Path:
    root = os.environ.get("HOMEBODY_DATA")
    if root is None or not (Path(root) / _FOLDERS[name]).is_dir():
        pytest.skip(f"data set {name} not found: set HOMEBODY_DATA")
    return Path(root)


@pytest.fixture(scope="module")
def small() -> Dataset:
    return load_dataset("movielens-100k", root=_root("movielens-100k"))


@pytest.fixture(scope="module")
def large() -> Dataset:
    return load_dataset("movielens-1m", root=_root("movielens-1m"))


def _targets(data: Dataset, back: int) -> str:
    """Digest the item ``back`` events before the end of each history; users are 1, 2, 3 ..."""
    inter = data.interactions
    items = inter.items[inter.ptr[1:] - back]
    lines = "".join(f"{u}\t{inter.catalog.ids[i]}\n" for u, i in enumerate(items, start=1))
    return hashlib.sha256(lines.encode()).hexdigest()


def test_ml100k_test_targets_are_the_published_ones(small: Dataset) -> None:
    assert _targets(small, 1) == "c60a1c5a6907be7fded36a1588b979fc88532b3ed9ee5438abdc726108a7d84b"


def test_ml100k_validation_targets_are_the_published_ones(small: Dataset) -> None:
    assert _targets(small, 2) == "b5fc7a3f8d6c4f60524096a74e001d8655aec5f67fdc1815234a051541b77cd3"


def test_ml1m_test_targets_are_the_published_ones(large: Dataset) -> None:
    assert _targets(large, 1) == "7a08e5b772a645ec467524f1c1c1783a082c68974f2930500df88ae55f8586fb"


def test_ml1m_validation_targets_are_the_published_ones(large: Dataset) -> None:
    assert _targets(large, 2) == "50908fd6ea9314de384e89f7b6e6dee57710f8580c7cf5a0408d00cc2ee37981"


def test_ml100k_has_its_known_size(small: Dataset) -> None:
    inter = small.interactions
    lengths = np.diff(inter.ptr)
    assert (inter.devices, len(inter.items), len(inter.catalog)) == (943, 100_000, 1682)
    assert (lengths.min(), np.median(lengths), lengths.max()) == (20, 65, 737)
    assert (small.raw_events, small.skipped, inter.repeats) == (100_000, (), False)


def test_ml1m_has_its_known_size(large: Dataset) -> None:
    inter = large.interactions
    lengths = np.diff(inter.ptr)
    assert (inter.devices, len(inter.items), len(inter.catalog)) == (6040, 1_000_209, 3706)
    assert (lengths.min(), np.median(lengths), lengths.max()) == (20, 96, 2314)
    assert any("reconstruction" in note for note in large.notes)


def test_groups_are_the_files_own_in_the_order_of_users(small: Dataset, large: Dataset) -> None:
    assert {name: labels[:2].tolist() for name, labels in small.groups.items()} == {
        "gender": ["M", "F"],
        "age": ["24 and under", "50 and over"],
    }
    assert {name: labels[-1] for name, labels in large.groups.items()} == {
        "gender": "M",
        "age": "25 to 34",
    }
    assert (small.groups["gender"] == "F").sum() == 273
    assert (large.groups["gender"] == "F").sum() == 1709


def test_a_folder_without_people_has_no_groups(tmp_path: Path) -> None:
    folder = _copy("movielens-100k", tmp_path)
    (folder / "u.user").unlink()
    assert load_dataset("movielens-100k", root=tmp_path).groups == {}


@pytest.mark.parametrize("name", ["small", "large"])
def test_times_never_decrease_and_no_movie_is_rated_twice(
    name: str, request: pytest.FixtureRequest
) -> None:
    inter = request.getfixturevalue(name).interactions
    device = np.repeat(np.arange(inter.devices), np.diff(inter.ptr))
    assert (np.diff(inter.times)[np.diff(device) == 0] >= 0).all()
    assert len(np.unique(device * len(inter.catalog) + inter.items)) == len(inter.items)


def test_items_are_in_ascending_id(small: Dataset, large: Dataset) -> None:
    for data in (small, large):
        ids = [int(item) for item in data.interactions.catalog.ids]
        assert ids == sorted(ids)


def test_features_are_genres_then_one_of_fifteen_year_bins(large: Dataset) -> None:
    catalog = large.interactions.catalog
    assert catalog.features.shape == (3706, 33)
    assert np.linalg.matrix_rank(np.c_[catalog.features, np.ones(3706)]) == 33
    assert (catalog.features[:, 18:].sum(axis=1) == 1).all()
    toy_story = dict(zip(catalog.feature_names, catalog.features[0], strict=True))
    assert {name for name, on in toy_story.items() if on} == {
        "genre=Animation", "genre=Children's", "genre=Comedy", "year=1995",
    }  # fmt: skip
    assert (catalog.titles[0], catalog.categories[0]) == ("Toy Story (1995)", "Animation")


def test_ml100k_features_follow_its_flags(small: Dataset) -> None:
    catalog = small.interactions.catalog
    on = {
        name
        for name, flag in zip(catalog.feature_names, catalog.features[1], strict=True)
        if flag == 1.0
    }
    assert catalog.titles[1] == "GoldenEye (1995)"
    assert on == {"genre=Action", "genre=Adventure", "genre=Thriller", "year=1995"}
    assert catalog.features.shape == (1682, 34)
    # One title has no year: no bin, rather than a wrong one.
    assert (catalog.features[:, 19:].sum(axis=1) == 0).sum() == 1


def test_the_order_within_a_second_decides_hundreds_of_targets(small: Dataset) -> None:
    inter = small.interactions
    last, before = inter.times[inter.ptr[1:] - 1], inter.times[inter.ptr[1:] - 2]
    assert (last == before).sum() == 415


def _copy(name: str, tmp_path: Path) -> Path:
    folder = tmp_path / _FOLDERS[name]
    shutil.copytree(_root(name) / _FOLDERS[name], folder, copy_function=shutil.copyfile)
    folder.chmod(0o755)
    return folder


def test_changed_content_is_an_integrity_error(tmp_path: Path) -> None:
    folder = _copy("movielens-100k", tmp_path)
    content = (folder / "u.data").read_bytes()
    (folder / "u.data").write_bytes(content[:-1] + b" ")
    with pytest.raises(IntegrityError, match=r"u\.data") as refusal:
        load_dataset("movielens-100k", root=tmp_path)
    assert refusal.value.exit_code == 14


def test_a_missing_file_is_an_invalid_file(tmp_path: Path) -> None:
    folder = _copy("movielens-100k", tmp_path)
    (folder / "u.item").unlink()
    with pytest.raises(InvalidFileError, match=r"u\.item"):
        load_dataset("movielens-100k", root=tmp_path)


@pytest.fixture
def with_original(tmp_path: Path) -> Path:
    """Return a root whose ml-1m has a ratings.dat: the reconstruction's rows, all rated 3."""
    folder = _copy("movielens-1m", tmp_path)
    rows = pl.read_csv(folder / "ml1m_recon.csv.gz").sort("seq")
    lines = rows.select(pl.format("{}::{}::3::{}", "user_id", "movie_id", "timestamp"))
    (folder / "ratings.dat").write_text("\n".join(lines.to_series()) + "\n", "utf-8")
    return tmp_path


def test_an_original_ratings_file_is_preferred_and_named(
    with_original: Path, large: Dataset
) -> None:
    data = load_dataset("movielens-1m", root=with_original)
    assert (data.interactions.values == 3.0).all()
    assert any("original ratings.dat" in note for note in data.notes)
    assert data.interactions.catalog.digest() == large.interactions.catalog.digest()
    assert (data.interactions.ptr == large.interactions.ptr).all()


@pytest.mark.parametrize("damage", ["another movie", "not a number", "too short"])
def test_an_original_of_other_content_is_an_integrity_error(
    damage: str, with_original: Path
) -> None:
    path = with_original / "ml-1m" / "ratings.dat"
    first, rest = path.read_text("utf-8").split("\n", maxsplit=1)
    user, _, rating, time = first.split("::")
    new = {
        "another movie": f"{user}::3999::{rating}::{time}\n{rest}",
        "not a number": f"{user}::x::{rating}::{time}\n{rest}",
        "too short": rest,
    }
    path.write_text(new[damage], "utf-8")
    with pytest.raises(IntegrityError, match=r"ratings\.dat"):
        load_dataset("movielens-1m", root=with_original)
