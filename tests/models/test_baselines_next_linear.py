"""The linear next-item baseline sums what it says, and knows which way a sequence runs."""

import itertools

import numpy as np
import numpy.typing as npt
import pytest

from homebody_models.baselines.choosing import BASELINES
from homebody_models.baselines.gram import head_of
from homebody_models.baselines.next_linear import next_sums
from homebody_models.interactions import Catalog, Interactions

ITEMS = 9


def population(histories: list[list[int]], *, repeats: bool) -> Interactions:
    names = tuple(str(i) for i in range(ITEMS))
    catalog = Catalog(
        ids=names, titles=names, categories=("",) * ITEMS,
        features=np.zeros((ITEMS, 0), np.float32), feature_names=(),
    )  # fmt: skip
    items = np.array([item for history in histories for item in history], np.int32)
    return Interactions(
        ptr=np.cumsum([0, *map(len, histories)]).astype(np.int64),
        items=items,
        times=np.arange(len(items)),
        values=np.ones(len(items), np.float32),
        repeats=repeats,
        catalog=catalog,
    )


def plainly(
    histories: list[list[int]], fade: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    before, onto = np.zeros((ITEMS, ITEMS)), np.zeros((ITEMS, ITEMS))
    for history in histories:
        x = np.zeros(ITEMS)
        for older, item in itertools.pairwise(history):
            x *= fade
            x[older] += 1.0
            before += np.outer(x, x)
            onto[:, item] += x
    return before, onto


@pytest.mark.parametrize("repeats", [False, True])
def test_the_sums_are_those_over_every_position(repeats: bool) -> None:  # noqa: FBT001 a case
    rng = np.random.default_rng(1)
    drawn = [
        rng.integers(0, ITEMS, 7) if repeats else rng.permutation(ITEMS)[:7] for _ in range(20)
    ]
    histories = [[], [3], *(history.tolist() for history in drawn)]
    train = population(histories, repeats=repeats)
    found = next_sums(train, head_of(train), 0.8)
    for sums, expected in zip(found, plainly(histories, 0.8), strict=True):
        np.testing.assert_allclose(sums, expected, atol=1e-9)


def test_what_follows_ranks_above_what_came_before() -> None:
    rounds = [[(start + step) % ITEMS for step in range(5)] for start in range(ITEMS)]
    setting = {"fade": 0.7, "ridge": 1.0, "decay": 0.7}
    baseline = BASELINES["next-linear"]
    (scores,) = baseline.fit_each(population(rounds * 5, repeats=False), [setting], seed=0)
    found = scores([np.array([2, 3, 4])])[0]
    assert int(found.argmax()) == 5
    assert found[5] > found[1] + 0.1
