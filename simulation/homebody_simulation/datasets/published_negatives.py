"""The sampled negatives that papers on MovieLens rank against; other data sets have none.

MovieLens 1M: those published with He et al., "Neural Collaborative Filtering" (2017),
https://arxiv.org/abs/1708.05031. For 156 devices they contain the target; that is left as it is.
MovieLens 100K has no common list: 99 items outside the whole history, drawn with a fixed seed.
"""

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from homebody_models.interactions import Interactions
from homebody_models.sampled import outside_history
from homebody_privacy.errors import IntegrityError
from homebody_simulation.datasets.files import read_checked
from homebody_simulation.datasets.loader import Dataset

COUNT: Final = 99
_SEED: Final = 2026
_NEGATIVES: Final = "127853228a76b7d21c0481e8ef8d00dd009cd5c88670dbdd9e9debfdb9f93de4"
_ITEMS: Final = "88b3ad7930dc74b80b16b2618d95490d4933b4d8b0e62e63ee9b29eea36fae40"


def published_negatives(dataset: Dataset, root: Path | None) -> npt.NDArray[np.int64] | None:
    """Return 99 items for each device; None for a data set without such a list.

    Args:
        dataset: The data set.
        root: Folder of data sets that may not be redistributed.

    Returns:
        int64 of shape ``(devices, 99)``, item indices; None too where the file is not there.

    Raises:
        IntegrityError: If the file has other content than was published.
    """
    if dataset.name == "movielens-100k":
        return outside_history(dataset.interactions, COUNT, _SEED)
    if dataset.name == "movielens-1m" and root is not None:
        folder = root / "ml-1m"
        if (folder / "ncf.test.negative").is_file() and (folder / "ncf_items.txt").is_file():
            return _ncf(folder, dataset.interactions)
    return None


def _ncf(folder: Path, data: Interactions) -> npt.NDArray[np.int64]:
    """Read NCF's lists: its users are in our order, its items have an order of their own."""
    lines = read_checked(folder / "ncf.test.negative", _NEGATIVES).decode().splitlines()
    movies = read_checked(folder / "ncf_items.txt", _ITEMS).decode().split()
    place = {name: index for index, name in enumerate(data.catalog.ids)}
    known = np.array([place[movie] for movie in movies], np.int64)
    own = np.array([line.split("\t")[1:] for line in lines], np.int64)
    if own.shape != (data.devices, COUNT):
        raise IntegrityError("ncf.test.negative has not 99 items for each device")
    negatives: npt.NDArray[np.int64] = known[own]
    return negatives
