"""MovieLens 100K and 1M: the rating histories that papers report on, in their exact order.

F. M. Harper and J. A. Konstan, "The MovieLens Datasets: History and Context" (2015),
https://doi.org/10.1145/2827872. The rows may not be redistributed: they are read from a folder of
the user's. Ratings are used as implicit feedback.
"""

import gzip
import hashlib
import io
import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from homebody_models.interactions import Catalog
from homebody_privacy.errors import IntegrityError
from homebody_simulation.datasets.arrays import histories
from homebody_simulation.datasets.files import dataset_folder, read_checked
from homebody_simulation.datasets.loader import Dataset, Loader

_SHA256: Final = {
    "u.data": "06416e597f82b7342361e41163890c81036900f418ad91315590814211dca490",
    "u.genre": "9757e0d3e6b298159a80dd48eaf938114690e911e39af97a76949ef1663610bb",
    "u.item": "553841ebc7de3a0fd0d6b62a204ea30c1e651aacfb2814c7a6584ac52f2c5701",
    "ml1m_recon.csv.gz": "13ec4d5bbd09fbbde6c087a852565c231572d3a0ff4ed88419582171d62d628e",
    "movies.dat": "0140fc2356357c1a851d0f52e893a1e4d3696df632c4141cea8d5bc3d621f0b9",
    "u.user": "f120e114da2e8cf314fd28f99417c94ae9ddf1cb6db8ce0e4b5995d40e90e62c",
    "users.dat": "1dc3a95300cb19f7c10e027daf29b8cdf1d908dab65b5edfb45950aa389a10a3",
}
_PAIRS_1M: Final = "5d6bc3c1e2993bce372f31f490db044c13e49f0062f412bae7509dd3b6a8d438"
_LICENCE: Final = "GroupLens: research use, cite Harper and Konstan 2015; no redistribution"
_YEAR_BINS: Final = 15
_FIRST_YEAR: Final = 1930
_TIE_NOTE: Final = "Order within a second is a convention, not an observation."


class MovieLens100K(Loader):
    """100,000 ratings of 1,682 movies by 943 users.

    Order: time; within one second the row that comes first in ``u.data`` is the newest.
    """

    name: ClassVar[str] = "movielens-100k"
    about: ClassVar[str] = "100,000 ratings of 1,682 movies by 943 users (folder ml-100k)"

    def load(self, root: Path | None, /) -> Dataset:
        """Read ``u.data``, ``u.item``, ``u.genre`` and ``u.user`` of ``root/ml-100k``."""
        folder = dataset_folder(root, self.name, "ml-100k")
        data, item, genre = (_checked(folder, name) for name in ("u.data", "u.item", "u.genre"))
        rows = pl.read_csv(
            data, separator="\t", has_header=False, new_columns=["user", "movie", "value", "time"]
        ).with_row_index("place")
        genres = [line.split("|")[0] for line in genre.decode().split()]
        movies = {}
        for line in item.decode("latin-1").splitlines():
            movie, title, *_, flags = line.split("|", maxsplit=5)
            # Whatever follows the link is the flags, one for each genre in order.
            has = [name for name, flag in zip(genres, flags.split("|"), strict=True) if flag == "1"]
            movies[int(movie)] = (title, has)
        ordered = rows.sort(["user", "time", "place"], descending=[False, False, True])
        lines = (line.split("|") for line in _people(folder, "u.user"))
        people = {int(user): (gender, int(age)) for user, age, gender, *_ in lines}
        return _dataset(self.name, ordered, movies, genres, (_TIE_NOTE,), people)


class MovieLens1M(Loader):
    """1,000,209 ratings of 3,706 movies by 6,040 users.

    The original ``ratings.dat`` is preferred where the folder has it; else the reconstruction,
    ordered by its ``seq``, whose newest event of each user is the target published with NCF.
    """

    name: ClassVar[str] = "movielens-1m"
    about: ClassVar[str] = "1,000,209 ratings of 3,706 movies by 6,040 users (folder ml-1m)"

    def load(self, root: Path | None, /) -> Dataset:
        """Read ``movies.dat``, ``users.dat`` and the ratings of ``root/ml-1m``."""
        folder = dataset_folder(root, self.name, "ml-1m")
        original = folder / "ratings.dat"
        rows, note = _original(original) if original.is_file() else _reconstruction(folder)
        movies = {}
        for line in _checked(folder, "movies.dat").decode("latin-1").splitlines():
            movie, title, genre = line.split("::")
            movies[int(movie)] = (title, genre.split("|"))
        genres = sorted({genre for _, has in movies.values() for genre in has})
        lines = (line.split("::") for line in _people(folder, "users.dat"))
        people = {int(user): (gender, int(age)) for user, gender, age, *_ in lines}
        return _dataset(self.name, rows, movies, genres, (note, _TIE_NOTE), people)


def _checked(folder: Path, name: str) -> bytes:
    return read_checked(folder / name, _SHA256[name])


def _people(folder: Path, name: str) -> Iterable[str]:
    """Return the lines about users; none where the folder has no such file."""
    return _checked(folder, name).decode().splitlines() if (folder / name).is_file() else ()


def _original(path: Path) -> tuple[pl.DataFrame, str]:
    """Order the original file by time, then by place in the file."""
    content = read_checked(path).replace(b"::", b",")
    schema = dict.fromkeys(("user", "movie", "value", "time"), pl.Int64)
    try:
        rows = pl.read_csv(content, has_header=False, schema=schema)
    except pl.exceptions.PolarsError as error:
        raise IntegrityError(f"{path}: not four numbers a line") from error
    if _pairs_digest(rows) != _PAIRS_1M:
        raise IntegrityError(f"{path}: its users and movies are not those of MovieLens 1M")
    note = "Read from the original ratings.dat; ties by place in the file."
    return rows.sort(["user", "time"], maintain_order=True), note


def _reconstruction(folder: Path) -> tuple[pl.DataFrame, str]:
    """Order the reconstruction by its rank in time."""
    content = gzip.decompress(_checked(folder, "ml1m_recon.csv.gz"))
    rows = pl.read_csv(io.BytesIO(content)).sort(["user_id", "seq"])
    note = "Read from a reconstruction: order by seq; times are partly filled, rating 0 = unknown."
    return rows.select(user="user_id", movie="movie_id", value="rating", time="timestamp"), note


def _pairs_digest(rows: pl.DataFrame) -> str:
    """Return the SHA-256 of the sorted (user, movie) pairs as little-endian int64."""
    pairs = rows.select("user", "movie").sort("user", "movie").to_numpy()
    return hashlib.sha256(np.ascontiguousarray(pairs, dtype="<i8").tobytes()).hexdigest()


def _dataset(
    name: str,
    rows: pl.DataFrame,
    movies: dict[int, tuple[str, list[str]]],
    genres: Sequence[str],
    notes: tuple[str, ...],
    people: Mapping[int, tuple[str, int]],
) -> Dataset:
    """Index the rated movies in ascending id and pack the ordered rows."""
    rated = sorted(rows["movie"].unique())
    index = pl.DataFrame({"movie": rated, "item": np.arange(len(rated), dtype=np.int32)})
    placed = rows.join(index, on="movie", how="left", maintain_order="left")
    return Dataset(
        name=name,
        interactions=histories(placed, _catalog(rated, movies, genres), repeats=False),
        unit="user",
        source=f"GroupLens, {name}",
        licence=_LICENCE,
        raw_events=rows.height,
        notes=notes,
        groups=_groups(rows["user"].unique(maintain_order=True).to_list(), people),
    )


def _groups(
    users: Sequence[int], people: Mapping[int, tuple[str, int]]
) -> dict[str, npt.NDArray[np.str_]]:
    """Return gender and age band of each user, as the files state them; none without the file."""
    if not people:
        return {}
    known = [people[user] for user in users]
    return {
        "gender": np.array([gender for gender, _ in known], np.str_),
        "age": np.array([age_band(age) for _, age in known], np.str_),
    }


def age_band(age: int) -> str:
    """Return the band of an age; 1M's files state the least age of a class, 1 for "under 18".

    Examples:
        >>> age_band(1), age_band(25), age_band(49), age_band(50)
        ('24 and under', '25 to 34', '35 to 49', '50 and over')
    """
    bands = ("24 and under", "25 to 34", "35 to 49", "50 and over")
    return bands[bisect_right((25, 35, 50), age)]


def _catalog(
    rated: Sequence[int], movies: dict[int, tuple[str, list[str]]], genres: Sequence[str]
) -> Catalog:
    """Describe each rated movie by its genres and the five years it is of."""
    features = np.zeros((len(rated), len(genres) + _YEAR_BINS), dtype=np.float32)
    for row, movie in enumerate(rated):
        title, has = movies[movie]
        features[row, [genres.index(genre) for genre in has]] = 1.0
        year = year_bin(title)
        if year is not None:
            features[row, len(genres) + year] = 1.0
    years = tuple(f"year={_FIRST_YEAR + 5 * step}" for step in range(_YEAR_BINS))
    return Catalog(
        ids=tuple(str(movie) for movie in rated),
        titles=tuple(movies[movie][0] for movie in rated),
        categories=tuple(next(iter(movies[movie][1]), "") for movie in rated),
        features=features,
        feature_names=(*(f"genre={genre}" for genre in genres), *years),
    )


def year_bin(title: str) -> int | None:
    """Return which five years from 1930 on a title is of, 0 to 14; None if it names no year.

    Examples:
        >>> year_bin("Toy Story (1995)"), year_bin("Metropolis (1926)"), year_bin("unknown")
        (13, 0, None)
    """
    years = re.findall(r"\((\d{4})\)", title)
    if not years:
        return None
    return min(max((int(years[-1]) - _FIRST_YEAR) // 5, 0), _YEAR_BINS - 1)
