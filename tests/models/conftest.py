"""Small histories that every test of the models can share."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from homebody_models.interactions import Catalog, Interactions

Histories = Sequence[Sequence[int]]


def make_interactions(
    histories: Histories, *, n_items: int | None = None, repeats: bool = True
) -> Interactions:
    """Return histories over a catalog just large enough, one second between events."""
    items = np.array([item for history in histories for item in history], np.int32)
    n = n_items if n_items is not None else int(items.max(initial=0)) + 1
    lengths = [len(history) for history in histories]
    catalog = Catalog(
        ids=tuple(f"item-{i}" for i in range(n)),
        titles=tuple(f"Item {i}" for i in range(n)),
        categories=("",) * n,
        features=np.zeros((n, 0), np.float32),
        feature_names=(),
    )
    return Interactions(
        ptr=np.concatenate(([0], np.cumsum(lengths))).astype(np.int64),
        items=items,
        times=np.concatenate([np.arange(k) for k in [*lengths, 0]]).astype(np.int64),
        values=np.ones(len(items), np.float32),
        repeats=repeats,
        catalog=catalog,
    )


@pytest.fixture(scope="session")
def interactions() -> Callable[..., Interactions]:
    """Return the maker of small data sets."""
    return make_interactions
