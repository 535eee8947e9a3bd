"""A device's local pass against torch autograd, step by step, and what the model does with it."""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from homebody_models.draws import Draws
from homebody_models.history import HistoryWindow
from homebody_models.logistic_epoch import Epoch, local_epoch
from homebody_models.logistic_factorization import LogisticFactorization

ITEMS, DIM, NEGATIVES = 9, 4, 3
EPOCH = Epoch(batch=4, rows_rate=2.0, user_rate=0.7)

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


def _start(seed: int) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((ITEMS, DIM)), rng.standard_normal(ITEMS), rng.standard_normal(DIM)


def _by_autograd(
    start: tuple[Array, Array, Array], positives: Integers, negatives: Integers
) -> tuple[Array, Array, Array, float]:
    """Return table, bias and user vector after the pass, and the mean loss of a positive."""
    table, bias, user = (torch.tensor(array, requires_grad=True) for array in start)
    total = 0.0
    for first in range(0, len(positives), EPOCH.batch):
        own = torch.tensor(positives[first : first + EPOCH.batch])
        drawn = torch.tensor(negatives[first : first + EPOCH.batch])
        pairs = torch.cat((own[:, None], drawn), dim=1)
        wanted = torch.zeros(pairs.shape, dtype=torch.float64)
        wanted[:, 0] = 1.0
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            table[pairs] @ user + bias[pairs], wanted, reduction="sum"
        )
        total += float(loss.detach())
        by_table, by_bias, by_user = torch.autograd.grad(loss / len(own), (table, bias, user))
        with torch.no_grad():
            table -= EPOCH.rows_rate * by_table
            bias -= EPOCH.rows_rate * by_bias
            user -= EPOCH.user_rate * by_user
    after = [tensor.detach().numpy() for tensor in (table, bias, user)]
    return after[0], after[1], after[2], total / len(positives)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, ITEMS - 1), min_size=1, max_size=11), st.integers(0, 2**32 - 1))
def test_local_pass_is_the_sgd_that_autograd_makes(history: list[int], key: int) -> None:
    start = _start(key)
    positives = np.array(history)
    drawn = Draws(key).items(ITEMS, NEGATIVES * len(history)).reshape(-1, NEGATIVES)
    table, bias, user, loss = _by_autograd(start, positives, drawn)
    got = local_epoch(start[0], start[1], start[2], positives, drawn, EPOCH)
    rows, biases = np.zeros((ITEMS, DIM)), np.zeros(ITEMS)
    rows[got.items], biases[got.items] = got.rows, got.biases
    assert rows == pytest.approx(table - start[0], abs=1e-12)
    assert biases == pytest.approx(bias - start[1], abs=1e-12)
    assert got.user == pytest.approx(user, abs=1e-12)
    assert got.loss == pytest.approx(loss)


def test_without_a_bias_there_is_none_in_a_logit() -> None:
    table, bias, user = _start(1)
    positives, drawn = np.array([1, 1, 5]), np.array([[1, 2], [5, 0], [3, 3]])
    bare = local_epoch(table, None, user, positives, drawn, EPOCH)
    zero = local_epoch(table, np.zeros(ITEMS), user, positives, drawn, EPOCH)
    assert bare.rows == pytest.approx(zero.rows)  # one batch: the biases move after its logits
    assert not bare.biases.any()
    assert zero.biases.any()
    moved = local_epoch(table, bias, user, positives, drawn, EPOCH)
    assert np.abs(moved.rows - bare.rows).max() > 1e-2


def test_gradient_is_minus_the_change_of_a_pass_from_the_vector_that_ranks() -> None:
    model = LogisticFactorization(
        ITEMS, dim=DIM, batch=4, negatives=NEGATIVES, rows_rate=2.0, user_rate=0.7
    )
    rng = np.random.default_rng(2)
    flat = model.init(rng) + 0.1 * rng.standard_normal(model.layout.size, np.float32)
    history, draws = np.array([3, 1, 4, 1, 5, 2, 6]), Draws(8)
    views = model.layout.views(flat)
    items, weights = HistoryWindow(64, 0.9).slots(history)
    user = weights @ views["Q"][items] / (weights.sum() + 1e-6)
    scores = model.scores(flat, [history])[0]
    assert scores == pytest.approx(views["Q"] @ user + views["b"], abs=1e-6)
    drawn = draws.items(ITEMS, NEGATIVES * 7).reshape(7, NEGATIVES)
    change = local_epoch(views["Q"], views["b"], user, history, drawn, model.epoch())
    got = model.local_gradient(flat, history, draws)
    gradient = model.layout.views(got.vector)
    assert gradient["Q"][change.items] == pytest.approx(-change.rows, abs=1e-6)
    assert gradient["b"][change.items] == pytest.approx(-change.biases, abs=1e-6)
    untouched = np.setdiff1d(np.arange(ITEMS), change.items)
    assert not gradient["Q"][untouched].any()
    assert got.examples == 7
    assert got.loss == pytest.approx(change.loss, abs=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_no_number_spoils_the_devices_that_meet_it_alone(bad: float) -> None:
    model = LogisticFactorization(200, dim=DIM, negatives=1)
    flat = model.init(np.random.default_rng(0))
    history = np.array([3, 1])
    met = np.concatenate((history, Draws(0).items(200, 2)))
    lost, kept = flat.copy(), flat.copy()
    model.layout.views(lost)["Q"][3, 1] = bad
    model.layout.views(kept)["Q"][np.setdiff1d(np.arange(200), met)[0]] = bad
    assert not np.isfinite(model.local_gradient(lost, history, Draws(0)).vector).all()
    wanted = model.local_gradient(flat, history, Draws(0)).vector
    assert model.local_gradient(kept, history, Draws(0)).vector.tolist() == wanted.tolist()


@pytest.mark.parametrize(
    "options",
    [
        {"dim": 0},
        {"dim": 129},
        {"negatives": 0},
        {"batch": 0},
        {"rows_rate": 0.0},
        {"rows_rate": np.nan},
        {"user_rate": -0.1},
        {"user_rate": np.inf},
        {"init_scale": np.nan},
        {"history_decay": 0.0},
        {"history_max": 65},
    ],
)
def test_option_out_of_range_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        LogisticFactorization(ITEMS, **options)  # type: ignore[arg-type]  # wrong on purpose
