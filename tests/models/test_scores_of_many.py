"""Scores of many histories: in columns as in a list, ready made as asked for, apart as alone."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from homebody_models.baselines.baseline import recency
from homebody_models.baselines.gram import Head
from homebody_models.baselines.linear import Linear
from homebody_models.core_tower import CoreTower
from homebody_models.history import normalised
from homebody_models.history_columns import Histories
from homebody_models.local_recency import LocalRecency
from homebody_models.logistic_factorization import LogisticFactorization
from homebody_models.matrix_factorization import MatrixFactorization
from homebody_models.popularity import Popularity
from homebody_models.recommender import Recommender, scorer_of
from homebody_models.ridge import Ridge
from homebody_models.two_tower import TwoTower

ITEMS = 211
CONTENT = np.random.default_rng(7).normal(size=(ITEMS, 3)).astype(np.float32)
MODELS: dict[str, Recommender] = {
    "tower": TwoTower(ITEMS, CONTENT, dim=24, content=True, init_scale=1.0),
    "tower, repeat": TwoTower(ITEMS, CONTENT, dim=64, history_max=20, repeat=3.0),
    "core": CoreTower(ITEMS, dim=32, repeat=2.0),
    "factorization": MatrixFactorization(ITEMS, dim=16, history_max=30),
    "logistic": LogisticFactorization(ITEMS, dim=24, history_max=40),
    "popularity": Popularity(ITEMS),
    "local": LocalRecency(n_items=ITEMS, history_decay=0.83),
}
Histories_ = Sequence[npt.NDArray[np.integer]]


def people(seed: int = 0, devices: int = 90) -> list[npt.NDArray[np.int32]]:
    """Return histories of no event to a hundred, many items more than once."""
    rng = np.random.default_rng(seed)
    lengths = [0, 1, 64, 65, *rng.integers(100, size=devices - 4)]
    return [rng.integers(ITEMS, size=n).astype(np.int32) for n in lengths]


def parameters(model: Recommender) -> npt.NDArray[np.float32]:
    """Return a model in which every tensor says something."""
    rng = np.random.default_rng(3)
    flat = model.init(rng)
    return flat + np.float32(0.1) * rng.normal(size=flat.shape).astype(np.float32)


@pytest.mark.parametrize("name", MODELS)
def test_columns_score_as_lists_do_and_a_scorer_as_the_model(name: str) -> None:
    model, own = MODELS[name], people()
    flat = parameters(model)
    wanted = model.scores(flat, own)
    assert wanted.dtype == np.float32
    assert wanted.tobytes() == model.scores(flat, Histories.of(own)).tobytes()
    assert wanted.tobytes() == scorer_of(model, flat)(Histories.of(own)).tobytes()


@pytest.mark.parametrize("name", MODELS)
def test_scored_apart_each_history_has_the_bits_it_has_alone(name: str) -> None:
    model, own = MODELS[name], people()
    flat = parameters(model)
    alone = np.concatenate([model.scores(flat, [history]) for history in own])
    columns = Histories.of(own)
    apart = scorer_of(model, flat, apart=True)
    assert apart(columns).tobytes() == alone.tobytes()
    turned = np.random.default_rng(1).permutation(len(own))
    pieces = [apart(columns[part]) for part in np.array_split(turned, 7)]
    assert np.concatenate(pieces).tobytes() == alone[turned].tobytes()


def test_together_a_row_is_the_same_up_to_rounding() -> None:
    model, own = MODELS["tower, repeat"], people()
    flat = parameters(model)
    alone = scorer_of(model, flat, apart=True)(own)
    together = scorer_of(model, flat)(own)
    assert together == pytest.approx(alone, rel=1e-4, abs=1e-4)


class _Plain:
    """A model without a scorer of its own."""

    def __init__(self, inner: Recommender) -> None:
        self.scores = inner.scores


def test_a_model_without_a_scorer_is_asked_one_by_one() -> None:
    inner, own = MODELS["tower, repeat"], people(devices=12)
    flat, plain = parameters(inner), _Plain(inner)
    apart = scorer_of(plain, flat, apart=True)  # type: ignore[arg-type]  # scores is all it takes
    assert apart(own).tobytes() == scorer_of(inner, flat, apart=True)(own).tobytes()
    assert apart([]).shape == (0, ITEMS)
    together = scorer_of(plain, flat)  # type: ignore[arg-type]
    assert together(own).tobytes() == inner.scores(flat, own).tobytes()


def test_user_vectors_are_those_of_one_ridge_problem_after_another() -> None:
    model = MODELS["factorization"]
    assert isinstance(model, MatrixFactorization)
    own, flat = people(), parameters(model)
    table = model.layout.views(flat)["Q"]
    gram = (table.T @ table).astype(np.float64)
    problem = Ridge(ridge=model.ridge, unseen_weight=model.unseen_weight)
    users = np.zeros((len(own), model.dim), np.float32)
    for row, history in enumerate(own):
        newest = history[-model.history_max :]
        if len(newest):
            weights = model.history_decay ** np.arange(len(newest) - 1, -1, -1, dtype=np.float64)
            users[row] = problem.user_vectors(gram, table[newest], weights[None])[0]
    wanted = users @ table.T + np.float32(model.bias_scale) * model.layout.views(flat)["b"]
    assert model.scores(flat, own).tobytes() == wanted.tobytes()


def test_user_vectors_of_means_are_made_one_after_another() -> None:
    model = MODELS["logistic"]
    assert isinstance(model, LogisticFactorization)
    own, flat = people(), parameters(model)
    views = model.layout.views(flat)
    users = np.zeros((len(own), model.dim), np.float32)
    for row, history in enumerate(own):
        items, weights = model.window().slots(history)
        users[row] = normalised(weights) @ views["Q"][items]
    wanted = users @ views["Q"].T + views["b"]
    assert model.scores(flat, own).tobytes() == wanted.tobytes()


def test_own_choices_are_counted_as_one_history_after_another() -> None:
    own, decay = people(), 0.83
    wanted = np.zeros((len(own), ITEMS), np.float32)
    for row, history in zip(wanted, own, strict=True):
        ages = np.arange(len(history) - 1, -1, -1, dtype=np.float64)
        row[:] = np.bincount(history, decay**ages, minlength=ITEMS)
    model = MODELS["local"]
    assert model.scores(np.zeros(0, np.float32), own).tobytes() == wanted.tobytes()


def recency_one_by_one(histories: Histories_, decay: float, newest: int) -> npt.NDArray[np.float32]:
    """Return normalised weights of each history, one after another."""
    weights = np.zeros((len(histories), ITEMS), np.float32)
    powers = decay ** np.arange(newest - 1, -1, -1, dtype=np.float64)
    for row, history in enumerate(histories):
        if len(history):
            own = history[-newest:]
            summed = np.bincount(own, powers[-len(own) :], minlength=ITEMS)
            weights[row] = summed / summed.sum()
    return weights


@pytest.mark.parametrize(("decay", "newest"), [(0.9, 1_000), (1.0, 10), (0.3, 33)])
def test_recency_of_many_is_that_of_each_to_the_bit(decay: float, newest: int) -> None:
    own = people()
    wanted = recency_one_by_one(own, decay, newest)
    assert recency(own, ITEMS, decay, newest=newest).tobytes() == wanted.tobytes()


@pytest.mark.parametrize("decay", [1.0, 0.8])
def test_a_history_times_a_matrix_is_that_of_each(decay: float) -> None:
    rng, own = np.random.default_rng(5), people()
    kept = np.sort(rng.choice(ITEMS, 60, replace=False))
    place = np.full(ITEMS, -1, np.int64)
    place[kept] = np.arange(60)
    head = Head(kept, place, rng.random(ITEMS).astype(np.float32))
    model = Linear(head, rng.normal(size=(60, 60)).astype(np.float32), decay, 2.0)
    known = [place[np.unique(h) if decay == 1.0 else h] for h in own]
    padded = np.zeros((len(own), 60), np.float32)
    powers = decay ** np.arange(1_000, dtype=np.float64)
    for row, places in zip(padded, known, strict=True):
        there = places[places >= 0]
        if len(there):
            summed = np.bincount(there, powers[: len(there)][::-1], minlength=60)
            row[:] = summed / summed.sum()
    wanted = np.tile(np.float32(1e-6) * head.popular, (len(own), 1))
    wanted[:, kept] += padded @ model.matrix
    wanted += np.float32(2.0) * recency_one_by_one(own, 0.9, 1_000)
    assert model(own).tobytes() == model(Histories.of(own)).tobytes() == wanted.tobytes()
