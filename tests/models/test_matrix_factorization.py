"""The local solve and the rank-one gradient against definitions and autograd."""

import math

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from homebody_models.draws import Draws
from homebody_models.matrix_factorization import MatrixFactorization
from homebody_models.ridge import Ridge

ITEMS, DIM = 30, 6


def _model(history_decay: float = 0.9, history_max: int = 64) -> MatrixFactorization:
    return MatrixFactorization(ITEMS, dim=DIM, history_decay=history_decay, history_max=history_max)


def _torch_loss(model: MatrixFactorization, flat: torch.Tensor, history: list[int]) -> torch.Tensor:
    """Return the device's loss at its minimum over the user vector; the solve is differentiated."""
    table = flat[: ITEMS * DIM].reshape(ITEMS, DIM)
    b = flat[ITEMS * DIM :]
    newest = history[-model.history_max :]
    w = torch.tensor([model.history_decay**age for age in reversed(range(len(newest)))])
    w = w.double()
    rows = table[newest]
    eye = torch.eye(DIM, dtype=torch.float64)
    system = model.unseen_weight * table.T @ table + model.ridge * eye
    system = system + rows.T @ (w[:, None] * rows)
    user = torch.linalg.solve(system, rows.T @ w)
    loss = (w * (1 - rows @ user) ** 2).sum() + model.ridge * user @ user
    loss = loss + model.unseen_weight * ((table @ user) ** 2).sum()
    y = torch.zeros(ITEMS, dtype=torch.float64)
    y[newest] = 1
    total: torch.Tensor = loss / w.sum() + 0.5 * ((b - y / y.norm()) ** 2).sum()
    return total


@pytest.mark.parametrize("decay", [1.0, 0.8])
@pytest.mark.parametrize("history", [[3], [3, 8, 1], [5] * 4, [2, 9, 2, 9, 4], list(range(20))])
def test_gradient_is_the_whole_gradient_though_the_user_vector_is_held(
    history: list[int], decay: float
) -> None:
    model = _model(decay, history_max=10)
    flat = model.init(np.random.default_rng(1))
    flat += np.float32(0.01)
    got = model.local_gradient(flat, np.array(history), Draws(0))
    parameters = torch.tensor(flat, dtype=torch.float64, requires_grad=True)
    loss = _torch_loss(model, parameters, history)
    loss.backward()  # type: ignore[no-untyped-call]  # torch's
    assert parameters.grad is not None
    wanted = parameters.grad.numpy()
    assert np.abs(got.vector - wanted).max() <= 1e-6 * max(1.0, np.abs(wanted).max())
    assert got.loss == pytest.approx(float(loss.detach()), abs=1e-6)


def test_gradient_of_the_table_has_rank_one() -> None:
    model = _model()
    flat = model.init(np.random.default_rng(1))
    got = model.local_gradient(flat, np.array([1, 2, 3, 2]), Draws(0))
    singular = np.linalg.svd(model.layout.views(got.vector)["Q"], compute_uv=False)
    assert singular[1] < 1e-12 * singular[0]


def test_gradient_of_the_bias_alone_has_norm_one_at_the_start() -> None:
    model = _model()
    flat = model.init(np.random.default_rng(1))
    got = model.local_gradient(flat, np.array([1, 2, 3, 2]), Draws(0))
    assert np.linalg.norm(model.layout.views(got.vector)["b"]) == pytest.approx(1.0)


def test_user_vector_of_no_history_is_zero() -> None:
    solved = Ridge(0.1, 0.1).user_vectors(np.eye(3), np.zeros((0, 3)), np.zeros((1, 0)))
    assert solved.tolist() == [[0.0, 0.0, 0.0]]


@settings(max_examples=25)
@given(st.integers(1, 8), st.floats(0.01, 10), st.floats(0, 1), st.integers(0, 2**32))
def test_user_vector_is_where_the_loss_is_flat(
    slots: int, ridge: float, unseen_weight: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    table, weights = rng.standard_normal((12, 4)), rng.random(slots)
    rows = table[rng.integers(0, 12, slots)]
    problem = Ridge(ridge, unseen_weight)
    user = problem.user_vectors(table.T @ table, rows, weights[None])[0]
    slope = rows.T @ (weights * (rows @ user - 1)) + ridge * user
    slope += unseen_weight * table.T @ (table @ user)
    assert np.abs(slope).max() < 1e-9


def test_many_problems_at_once_equal_one_by_one() -> None:
    rng = np.random.default_rng(3)
    table, rows, weights = rng.random((9, 4)), rng.random((5, 4)), rng.random((7, 5))
    gram: npt.NDArray[np.float64] = table.T @ table
    together = Ridge(0.3, 0.2).user_vectors(gram, rows, weights)
    single = [Ridge(0.3, 0.2).user_vectors(gram, rows, w[None])[0] for w in weights]
    assert together == pytest.approx(np.array(single))


@pytest.mark.parametrize(
    "options",
    [
        {"dim": 0},
        {"ridge": 0.0},
        {"ridge": math.nan},
        {"unseen_weight": -1.0},
        {"history_max": 0},
        {"init_scale": math.inf},
        {"bias_scale": math.nan},
    ],
)
def test_matrix_option_out_of_range_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        MatrixFactorization(ITEMS, **options)  # type: ignore[arg-type]  # wrong on purpose
