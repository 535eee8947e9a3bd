"""Data sets by name."""

import os
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Final

from pydantic import ValidationError

from homebody_privacy.environment import DATA
from homebody_privacy.errors import UsageError
from homebody_simulation.datasets.complete_journey import CompleteJourney
from homebody_simulation.datasets.interactions_file import InteractionsFile
from homebody_simulation.datasets.loader import Dataset, Loader
from homebody_simulation.datasets.movielens import MovieLens1M, MovieLens100K
from homebody_simulation.datasets.online_retail import OnlineRetail
from homebody_simulation.datasets.synthetic import Synthetic

LOADERS: Final[Mapping[str, type[Loader]]] = MappingProxyType(
    {
        loader.name: loader
        for loader in (
            CompleteJourney,
            MovieLens100K,
            MovieLens1M,
            OnlineRetail,
            Synthetic,
            InteractionsFile,
        )
    }
)
"""Every loader by name. ``interactions`` takes a path: ``interactions:PATH`` or ``csv:PATH``."""

_FILE: Final = ("interactions", "csv")


def load_dataset(name: str, *, root: Path | None = None, **options: object) -> Dataset:
    """Load a data set by name.

    Args:
        name: ``complete-journey``, ``movielens-100k``, ``movielens-1m``, ``online-retail``,
            ``synthetic``, ``interactions:PATH`` or ``csv:PATH``.
        root: Folder of data sets that may not be redistributed; None takes the folder named by
            the environment variable ``HOMEBODY_DATA``, if it is set.
        options: The loader's own: ``items="products"`` (complete-journey); ``devices``, ``items``,
            ``seed`` (synthetic); ``columns``, ``on_bad`` (interactions).

    Raises:
        UsageError: If there is no such data set, or it does not take an option or its value.
        InvalidFileError: If a file is missing, unreadable or breaks its schema.
        IntegrityError: If a file of known content has other content.

    Examples:
        >>> data = load_dataset("synthetic", devices=20, items=50, seed=7)
        >>> data.interactions.devices, len(data.interactions.catalog)
        (20, 50)
    """
    kind, colon, path = name.partition(":")
    if colon and kind in _FILE:
        options, kind = {"path": Path(path), **options}, InteractionsFile.name
    elif kind in _FILE or name not in LOADERS:
        raise _unknown(name)
    try:
        loader = LOADERS[kind].model_validate(options)
    except ValidationError as error:
        raise _refused(kind, error) from error
    if root is None and os.environ.get(DATA):
        root = Path(os.environ[DATA])
    return loader.load(root)


def _unknown(name: str) -> UsageError:
    """Name the data sets there are, and the one that was probably meant."""
    known = [*(n for n in LOADERS if n not in _FILE), "interactions:PATH", "csv:PATH"]
    if name in _FILE:
        return UsageError(f"data set {name!r} needs a path", fix=f"write {name}:PATH")
    close = get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]}?" if close else "name one of them"
    return UsageError(f"no data set is called {name!r}; there are {', '.join(known)}", fix=hint)


def _refused(kind: str, error: ValidationError) -> UsageError:
    """Say which option was refused and why, without repeating its value."""
    takes = ", ".join(sorted(set(LOADERS[kind].model_fields) - {"path"})) or "none"
    details = error.errors(include_url=False, include_input=False, include_context=False)
    reasons = "; ".join(
        f"{'.'.join(str(part) for part in detail['loc']) or 'options'}: {detail['msg']}"
        for detail in details
    )
    return UsageError(f"data set {kind}: {reasons}", fix=f"options it takes: {takes}")
