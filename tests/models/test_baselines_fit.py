"""Each baseline does what its paper says: checked against definitions, and on planted structure."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homebody_models.baselines import ials, next_item
from homebody_models.baselines.baseline import Baseline, Setting, recency
from homebody_models.baselines.choosing import BASELINES
from homebody_models.baselines.gram import gram, head_of
from homebody_models.baselines.linear import EASE, EASE_WINDOWED, ItemKnn
from homebody_models.draws import Draws
from homebody_models.interactions import Catalog, Interactions
from homebody_models.recommender import Scores
from homebody_models.two_tower import TwoTower

Make = Callable[..., Interactions]

HISTORIES = st.lists(st.lists(st.integers(0, 7), max_size=9), min_size=1, max_size=6)


def fit(baseline: Baseline, train: Interactions, setting: Setting | None = None) -> Scores:
    first = {name: values[0] for name, values in baseline.axes(train).items()}
    (scores,) = baseline.fit_each(train, [{**first, **(setting or {})}], seed=0)
    return scores


def one_hot(history: list[int], n_items: int) -> npt.NDArray[np.float64]:
    return np.eye(n_items)[np.array(history, np.int64)].reshape(len(history), n_items)


@settings(max_examples=60)
@given(histories=HISTORIES, window=st.sampled_from([0.3, 0.8]), normalised=st.booleans())
def test_the_windowed_gram_is_its_definition(
    interactions: Make,
    histories: list[list[int]],
    window: float,
    normalised: bool,  # noqa: FBT001 drawn
) -> None:
    train = interactions(histories, n_items=8)
    expected = np.zeros((8, 8))
    for history in histories:
        x = one_hot(history, 8)
        steps = np.arange(len(history))
        own = x.T @ window ** np.abs(steps[:, None] - steps) @ x
        expected += own / (np.linalg.norm(own) if normalised and len(history) else 1.0)
    found = gram(train, head_of(train, 8), window=window, normalised=normalised)
    np.testing.assert_allclose(found, expected, atol=1e-12)


@settings(max_examples=60)
@given(histories=HISTORIES)
def test_the_plain_gram_counts_devices_that_hold_both(
    interactions: Make, histories: list[list[int]]
) -> None:
    train = interactions(histories, n_items=8)
    x = np.array([np.bincount(np.array(h, np.int64), minlength=8) > 0 for h in histories], float)
    found = gram(train, head_of(train, 8), window=1.0, normalised=False)
    np.testing.assert_allclose(found, x.T @ x)


@pytest.fixture
def blocks(interactions: Make) -> Interactions:
    """Return devices that each choose within one of two halves of eight items."""
    rng = np.random.default_rng(3)
    return interactions(
        [(rng.permutation(4)[:3] + 4 * (device % 2)).tolist() for device in range(40)],
        n_items=8,
        repeats=False,
    )


def test_ease_is_the_minimum_of_its_loss(blocks: Interactions) -> None:
    ridge = 2.0
    scores = fit(EASE, blocks, {"ridge": ridge})
    matrix = scores([np.array([item]) for item in range(8)]).astype(np.float64)  # one row an item
    pairs = gram(blocks, head_of(blocks), window=1.0, normalised=False)
    slope = pairs @ matrix + ridge * matrix - pairs
    off_diagonal = slope[~np.eye(8, dtype=bool)]
    assert np.abs(off_diagonal).max() < 1e-3  # of pairs that are counted in tens
    assert np.abs(np.diag(matrix)).max() < 1e-5


def test_item_knn_adds_up_cosines_of_the_nearest(interactions: Make) -> None:
    train = interactions([[0, 1], [0, 1], [0, 2], [3]], repeats=False)
    scores = fit(ItemKnn(), train, {"neighbours": 0.0})([np.array([0])])[0]
    np.testing.assert_allclose(scores[[1, 2]], [2 / np.sqrt(6), 1 / np.sqrt(3)], atol=1e-5)
    assert scores[3] == pytest.approx(0.0, abs=1e-5)
    nearest = fit(ItemKnn(), train, {"neighbours": 1.0})([np.array([0])])[0]
    assert nearest[1] == pytest.approx(2 / np.sqrt(6), abs=1e-5)


@pytest.mark.parametrize("name", ["item-knn", "ease", "ease-recency", "ease-windowed", "ials"])
def test_what_is_planted_is_found(name: str, blocks: Interactions) -> None:
    found = fit(BASELINES[name], blocks)([np.array([0, 1, 2]), np.array([4, 5, 6])])
    left = [np.delete(row, own) for row, own in zip(found, ([0, 1, 2], [4, 5, 6]), strict=True)]
    assert [int(row.argmax()) for row in left] == [0, 4]  # items 3 and 7


def test_a_newer_event_counts_more_where_there_is_a_decay(blocks: Interactions) -> None:
    scores = fit(BASELINES["ease-recency"], blocks, {"decay": 0.5})
    old, new = scores([np.array([0, 4]), np.array([4, 0])])[:, 1]
    assert new > old
    plain = fit(EASE, blocks)
    assert np.array_equal(*plain([np.array([0, 4]), np.array([4, 0])]))


def test_items_outside_the_head_are_ordered_by_popularity(
    interactions: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("homebody_models.baselines.linear.head_of", lambda t: head_of(t, 2))
    train = interactions([[0, 1]] * 5 + [[2]] * 2 + [[3]], n_items=5, repeats=False)
    scores = fit(EASE, train)([np.array([0, 3])])[0]
    assert scores[1] > scores[2] > scores[3] > scores[4] == 0.0


def test_an_own_choice_comes_first_where_it_may_come_again(interactions: Make) -> None:
    train = interactions([[0, 1, 0], [2, 3, 2], [0, 1], [2, 3]] * 5)
    for name in ("rules", "item-knn", "ease", "ease-recency", "ease-windowed", "ials"):
        assert "repeat" in BASELINES[name].axes(train)
        scores = fit(BASELINES[name], train, {"repeat": 100.0})([np.array([3, 2])])[0]
        assert set(np.argsort(-scores)[:2]) == {2, 3}, name


def test_ials_solves_for_users_and_items_in_turn(blocks: Interactions) -> None:
    histories = [blocks.history(device) for device in range(blocks.devices)]
    table = ials._fit(histories, 8, 0.1, 0.01, seed=0)  # noqa: SLF001 the vectors themselves
    users = ials._solve(histories, table, 0.1, 0.01)  # noqa: SLF001

    def loss(users: npt.NDArray[np.float64]) -> float:
        chosen = np.array([np.isin(np.arange(8), own) for own in histories])
        fitted = users @ table.T
        lengths = 0.01 * (chosen.sum(axis=1) + 0.1 * 8) * (users**2).sum(axis=1)
        return float(((1 - fitted) ** 2 * chosen).sum() + 0.1 * (fitted**2).sum() + lengths.sum())

    at_best = loss(users)
    for seed in range(5):
        step = 1e-3 * np.random.default_rng(seed).standard_normal(users.shape)
        assert loss(users + step) > at_best


def test_the_central_gradient_is_that_of_the_federated_model() -> None:
    rng = np.random.default_rng(5)
    model = TwoTower(9, np.zeros((9, 0), np.float32), dim=4, history_max=32, history_decay=0.8,
                     repeat=3.0, cuts=100)  # fmt: skip
    flat = model.init(rng)
    history = rng.integers(9, size=7).astype(np.int32)
    theirs = model.local_gradient(flat, history, Draws(0)).vector
    before = [history[:cut][::-1] for cut in range(1, 7)]
    items = np.array([np.pad(own, (0, 32 - len(own))) for own in before], np.int64)
    weights = np.array([np.pad(0.8 ** np.arange(len(own)), (0, 32 - len(own))) for own in before])
    batch = next_item._Batch(  # noqa: SLF001 the one way to fix a batch
        devices=np.zeros(6, np.int64),
        targets=history[1:].astype(np.int64),
        items=items,
        shares=(weights / (weights.sum(axis=1, keepdims=True) + 1e-6)).astype(np.float32),
    )
    views = model.layout.views(flat)
    ours = next_item._over_all(batch, views["V"], views["b"], 3.0)  # noqa: SLF001
    np.testing.assert_allclose(np.concatenate([ours[0].ravel(), ours[1]]), theirs, atol=2e-6)
    rest = [[item for item in range(9) if item != target] for target in batch.targets]
    candidates = np.column_stack([batch.targets, np.array(rest)])
    among = next_item._over_some(batch, candidates, views["V"], views["b"], 3.0)  # noqa: SLF001
    np.testing.assert_allclose(among[0], ours[0], atol=2e-6)
    np.testing.assert_allclose(among[1], ours[1], atol=2e-6)


@pytest.mark.parametrize("whole", [next_item.WHOLE, 1])
def test_the_two_tower_finds_what_is_planted(
    blocks: Interactions, monkeypatch: pytest.MonkeyPatch, whole: int
) -> None:
    monkeypatch.setattr(next_item, "STEPS", (80, 80))
    monkeypatch.setattr(next_item, "BATCH", 128)
    monkeypatch.setattr(next_item, "WHOLE", whole)
    monkeypatch.setattr(next_item, "NEGATIVES", 4)
    found = fit(next_item.NextItem(), blocks)([np.array([0, 1, 2]), np.array([4, 5, 6])])
    left = [np.delete(row, own) for row, own in zip(found, ([0, 1, 2], [4, 5, 6]), strict=True)]
    assert [int(row.argmax()) for row in left] == [0, 4]  # items 3 and 7
    assert left[0][0] - left[0][1:].max() > 1.0  # by much, in nats


def test_the_same_seed_gives_the_same_scores(blocks: Interactions) -> None:
    once, again = (fit(BASELINES["ials"], blocks)([np.array([0])]) for _ in range(2))
    assert np.array_equal(once, again)


@pytest.mark.parametrize("name", sorted(set(BASELINES) - {"two-tower"}))
def test_every_baseline_scores_an_empty_history_and_a_catalog_without_content(
    name: str, interactions: Make
) -> None:
    train = interactions([[0, 1], [], [1, 2, 1]], n_items=4)
    scores = fit(BASELINES[name], train)([np.zeros(0, np.int32), np.array([1])])
    assert scores.shape == (2, 4)
    assert np.isfinite(scores).all()


def test_recency_weights_sum_to_one_and_halve() -> None:
    weights = recency([np.array([0, 1, 0]), np.zeros(0, np.int64)], 3, 0.5)
    np.testing.assert_allclose(weights, [[1.25 / 1.75, 0.5 / 1.75, 0.0], [0.0, 0.0, 0.0]])


def test_a_shelf_comes_before_the_bestsellers_of_other_shelves() -> None:
    names = tuple("abcd")
    catalog = Catalog(ids=names, titles=names, categories=("tea", "tea", "milk", "milk"),
                      features=np.zeros((4, 0), np.float32), feature_names=())  # fmt: skip
    items = np.array([2, 3, 2, 3, 2, 3, 0, 1, 1], np.int32)
    train = Interactions(
        ptr=np.array([0, 2, 4, 6, 8, 9]), items=items, times=np.zeros(9, np.int64),
        values=np.ones(9, np.float32), repeats=False, catalog=catalog,
    )  # fmt: skip
    scores = fit(BASELINES["rules"], train)([np.array([0])])[0]
    assert np.argsort(-scores).tolist()[:2] == [1, 0]


def test_the_windowed_search_starts_in_the_middle_of_its_axes(blocks: Interactions) -> None:
    for axis in EASE_WINDOWED.axes(blocks).values():
        assert min(axis) < axis[0] < max(axis)
