"""What every model of the zoo must do; a new one gets these tests by one line."""

import math

import numpy as np
import numpy.typing as npt
import pytest

from homebody_models.core_tower import CoreTower
from homebody_models.draws import Draws
from homebody_models.local_recency import LocalRecency
from homebody_models.logistic_factorization import LogisticFactorization
from homebody_models.matrix_factorization import MatrixFactorization
from homebody_models.popularity import Popularity
from homebody_models.ranking import Ranker
from homebody_models.recommender import Recommender
from homebody_models.two_tower import TwoTower

ITEMS = 20
_PARITY = (np.arange(ITEMS)[:, None] % 2 == np.array([0, 1])).astype(np.float32)
_NO_CONTENT = np.zeros((ITEMS, 0), np.float32)

TRAINED: dict[str, Recommender] = {
    "two-tower": TwoTower(ITEMS, _NO_CONTENT, dim=8),
    "two-tower that repeats": TwoTower(ITEMS, _NO_CONTENT, dim=8, repeat=4.0),
    "two-tower with content": TwoTower(ITEMS, _PARITY, content=True, dim=8, init_scale=1.0),
    "core-tower": CoreTower(ITEMS, dim=ITEMS, cuts=8, sharpness=1.0, hidden=False),
    "matrix-factorization": MatrixFactorization(ITEMS, dim=8),
    "logistic-factorization": LogisticFactorization(ITEMS, dim=8),
    "popularity": Popularity(ITEMS),
}
PERSONAL = {name: model for name, model in TRAINED.items() if name != "popularity"}
ALL = TRAINED | {"local-recency": LocalRecency(n_items=ITEMS)}

# What averages local passes sends a change, which is no gradient of its first loss.
STEPPING = {name: model for name, model in TRAINED.items() if name != "logistic-factorization"}
LEARNING = {name: model for name, model in PERSONAL.items() if not model.layout.frozen}

every_model = pytest.mark.parametrize("model", ALL.values(), ids=ALL.keys())
every_trained_model = pytest.mark.parametrize("model", TRAINED.values(), ids=TRAINED.keys())
every_personal_model = pytest.mark.parametrize("model", PERSONAL.values(), ids=PERSONAL.keys())

HISTORY = np.array([3, 5, 3, 8, 13, 1, 1, 17, 19, 2, 4])
EMPTY = np.zeros(0, np.int64)


def _start(model: Recommender, seed: int = 0) -> npt.NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    flat = model.init(rng)
    return flat + 0.05 * rng.standard_normal(flat.size, np.float32)


def _train(
    model: Recommender, histories: list[npt.NDArray[np.int64]], rounds: int = 150, lr: float = 0.05
) -> npt.NDArray[np.float32]:
    """Train on the mean gradient of all devices by Adam."""
    rng = np.random.default_rng(7)
    flat = model.init(rng).astype(np.float64)
    first, second = np.zeros((2, model.layout.trained_size))
    for step in range(1, rounds + 1):
        gradients = [
            model.local_gradient(flat.astype(np.float32), history, Draws.of(step, device)).vector
            for device, history in enumerate(histories)
        ]
        gradient = np.mean(gradients, axis=0)
        first += 0.1 * (gradient - first)
        second += 0.01 * (gradient**2 - second)
        corrected = first / (1 - 0.9**step), second / (1 - 0.99**step)
        model.layout.trained(flat)[:] -= lr * corrected[0] / (np.sqrt(corrected[1]) + 1e-8)
    return flat.astype(np.float32)


@every_model
def test_layout_names_every_parameter(model: Recommender) -> None:
    flat = model.init(np.random.default_rng(0))
    assert flat.dtype == np.float32
    assert flat.shape == (model.layout.size,)
    assert sum(view.size for view in model.layout.views(flat).values()) == flat.size
    assert set(model.privacy_split().shared) == set(model.layout.trained_shapes)
    assert "user_vector" not in model.layout.shapes


@every_model
def test_parameters_of_another_size_are_refused(model: Recommender) -> None:
    wrong = np.zeros(model.layout.size + 1, np.float32)
    with pytest.raises(ValueError, match="parameters must have shape"):
        model.scores(wrong, [HISTORY])
    with pytest.raises(ValueError, match="parameters must have shape"):
        model.local_gradient(wrong, HISTORY, Draws(0))


@every_model
def test_same_seed_gives_the_same_start_and_the_same_gradient(model: Recommender) -> None:
    starts = [model.init(np.random.default_rng(5)) for _ in range(2)]
    assert np.array_equal(starts[0], starts[1])
    flat = _start(model)
    first, again = (model.local_gradient(flat, HISTORY, Draws(5)) for _ in range(2))
    assert np.array_equal(first.vector, again.vector)


@every_model
def test_gradient_has_the_size_of_what_is_trained_and_leaves_the_parameters(
    model: Recommender,
) -> None:
    flat = _start(model)
    before = flat.copy()
    got = model.local_gradient(flat, HISTORY, Draws(0))
    assert got.vector.shape == (model.layout.trained_size,)
    assert got.vector.dtype == np.float64
    assert np.array_equal(flat, before)


@pytest.mark.parametrize("model", STEPPING.values(), ids=STEPPING.keys())
@pytest.mark.parametrize("seed", range(5))
def test_a_small_step_down_the_gradient_lowers_the_loss(model: Recommender, seed: int) -> None:
    flat = _start(model, seed)
    history = np.random.default_rng(seed).integers(0, ITEMS, 8)
    got = model.local_gradient(flat, history, Draws(seed))
    norm = float(np.linalg.norm(got.vector))

    def loss_after(step: float) -> float:
        moved = flat.copy()
        model.layout.trained(moved)[:] -= (step * got.vector).astype(np.float32)
        return model.local_gradient(moved, history, Draws(seed)).loss

    lower, higher = loss_after(0.02 / norm), loss_after(-0.02 / norm)
    assert lower < got.loss < higher
    assert (higher - lower) / 0.04 == pytest.approx(norm, rel=0.05)


@every_model
def test_empty_history_is_safe(model: Recommender) -> None:
    flat = _start(model)
    got = model.local_gradient(flat, EMPTY, Draws(0))
    assert not got.vector.any()
    assert math.isnan(got.loss)
    assert got.examples == 0
    assert np.isfinite(model.scores(flat, [EMPTY, HISTORY])).all()


@every_model
def test_scores_have_one_row_a_history(model: Recommender) -> None:
    flat = _start(model)
    scores = model.scores(flat, [HISTORY, EMPTY, HISTORY])
    assert scores.shape == (3, ITEMS)
    assert scores.dtype == np.float32
    assert np.array_equal(scores[0], scores[2])
    assert model.scores(flat, []).shape == (0, ITEMS)


@every_personal_model
def test_histories_make_lists_personal(model: Recommender) -> None:
    scores = model.scores(_start(model), [np.array([0]), np.array([1])])
    assert np.abs(scores[0] - scores[1]).max() > 1e-3


@every_trained_model
@pytest.mark.parametrize("history", [EMPTY, HISTORY, np.array([2]), np.tile(HISTORY, 9)])
def test_exported_model_ranks_like_the_model(
    model: Recommender, history: npt.NDArray[np.int64]
) -> None:
    flat = _start(model)
    wanted = model.scores(flat, [history])[0]
    got = Ranker(model.export(flat)).scores(history)
    assert np.abs(got - wanted).max() <= 1e-5 * max(1.0, float(np.abs(wanted).max()))


@every_trained_model
def test_export_is_a_copy(model: Recommender) -> None:
    flat = _start(model)
    exported = model.export(flat)
    bias = exported.bias.copy()
    flat += 1.0
    assert np.array_equal(exported.bias, bias)


@pytest.mark.parametrize("model", LEARNING.values(), ids=LEARNING.keys())
def test_checkerboard_is_learned(model: Recommender) -> None:
    """A person chose every item of their own colour but one: that one is the best new item."""
    rng = np.random.default_rng(3)
    missing = np.arange(ITEMS)
    histories = [
        rng.permutation([i for i in range(ITEMS) if i % 2 == gap % 2 and i != gap])
        for gap in missing
    ]
    flat = _train(model, histories)
    scores = model.scores(flat, histories)
    for row, history in zip(scores, histories, strict=True):
        row[history] = -np.inf
    assert scores.argmax(axis=1).tolist() == missing.tolist()


def test_popularity_learns_what_is_popular() -> None:
    model = Popularity(ITEMS)
    rng = np.random.default_rng(0)
    flat = model.init(rng)
    for i in range(7):
        flat -= model.local_gradient(flat, np.array([7, i]), Draws(i)).vector.astype(np.float32)
    assert model.scores(flat, [EMPTY]).argmax() == 7


@every_model
def test_name_is_kebab_case(model: Recommender) -> None:
    assert model.name == model.name.lower().replace("_", "-").replace(" ", "-")


@pytest.mark.parametrize(
    "model",
    [TwoTower(2_378, np.zeros((2_378, 0), np.float32)), MatrixFactorization(2_378)],
    ids=["two-tower", "matrix-factorization"],
)
def test_default_model_of_2378_items_fits_two_megabytes(model: Recommender) -> None:
    assert model.layout.size * 4 <= 2_000_000
