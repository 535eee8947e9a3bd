"""The core's gradient against autograd, and that a start ranks as the statistics' model does."""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from homebody_models.core_matrix import pack_core, unpack_core
from homebody_models.core_tower import CoreTower
from homebody_models.draws import Draws
from homebody_models.recommender import Layout
from homebody_models.two_tower import TwoTower

ITEMS, DIM = 30, 6
Array = npt.NDArray[np.float32]


def _model(**options: float) -> CoreTower:
    return CoreTower(ITEMS, dim=DIM, **options)  # type: ignore[arg-type]  # checked by the class


def _parameters(model: CoreTower, seed: int = 1) -> Array:
    """Return parameters with a level for each item and a core away from the identity."""
    rng = np.random.default_rng(seed)
    flat = model.init(rng)
    return flat + 0.2 * rng.standard_normal(flat.size, np.float32)


def _autograd(
    model: CoreTower, flat: Array, history: list[int]
) -> tuple[npt.NDArray[np.float64], float]:
    """Return gradient and loss as torch sees them, in float64, event by event."""
    views = {n: torch.tensor(v, dtype=torch.float64) for n, v in model.layout.views(flat).items()}
    packed = views["M"].requires_grad_()
    rows, columns = torch.triu_indices(model.dim, model.dim)
    scale = torch.full(packed.shape, 0.5**0.5, dtype=torch.float64)
    scale[rows == columns] = 1.0
    entries = packed * scale
    upper = torch.zeros(model.dim, model.dim, dtype=torch.float64).index_put(
        (rows, columns), entries
    )
    core = upper + upper.T - torch.diag(torch.diag(upper))
    losses = []
    for position in range(max(1, len(history) - model.cuts), len(history)):
        prefix = history[max(0, position - model.history_max) : position]
        weights = [model.history_decay**age for age in reversed(range(len(prefix)))]
        x = torch.zeros(ITEMS, dtype=torch.float64)
        for weight, item in zip(weights, prefix, strict=True):
            x[item] += float(np.float32(weight / (sum(weights) + 1e-6)))
        scores = x @ views["V"] @ core @ views["V"].T + views["b"] + model.repeat * x
        target = history[position]
        shown = [
            i
            for i in range(ITEMS)
            if not model.hidden or i == target or i not in history[:position]
        ]
        logits = model.sharpness * scores
        losses.append(torch.logsumexp(logits[shown], 0) - logits[target])
    loss = torch.stack(losses).mean()
    loss.backward()  # type: ignore[no-untyped-call]  # torch's
    assert packed.grad is not None
    return packed.grad.numpy(), float(loss.detach())


@pytest.mark.parametrize("hidden", [True, False])
@pytest.mark.parametrize("repeat", [0.0, 3.0])
@pytest.mark.parametrize(
    "history",
    [
        pytest.param([3, 7], id="one cut"),
        pytest.param([3, 7, 1, 29, 12, 8, 20], id="more events than cuts"),
        pytest.param([4, 9, 4, 9, 2, 4], id="target in history"),
    ],
)
def test_gradient_equals_autograd(history: list[int], *, repeat: float, hidden: bool) -> None:
    model = _model(repeat=repeat, hidden=hidden)
    flat = _parameters(model)
    got = model.local_gradient(flat, np.array(history), Draws(0))
    wanted, loss = _autograd(model, flat, history)
    assert got.vector.dtype == np.float64
    assert np.abs(got.vector - wanted).max() <= 1e-9 * max(1.0, float(np.abs(wanted).max()))
    assert got.loss == pytest.approx(loss, rel=1e-9)
    assert got.examples == min(4, len(history) - 1)


@settings(max_examples=25)
@given(
    users=st.lists(st.floats(-3, 3), min_size=2 * DIM, max_size=2 * DIM),
    pulls=st.lists(st.floats(-3, 3), min_size=2 * DIM, max_size=2 * DIM),
)
def test_norm_follows_from_products_of_vectors(users: list[float], pulls: list[float]) -> None:
    u, q = np.array(users).reshape(2, DIM), np.array(pulls).reshape(2, DIM)
    dense = u.T @ q
    got = np.linalg.norm(pack_core(0.5 * (dense + dense.T))) ** 2
    wanted = 0.5 * float(((u @ u.T) * (q @ q.T) + (u @ q.T) * (u @ q.T).T).sum())
    assert got == pytest.approx(wanted, rel=1e-9, abs=1e-9)


@settings(max_examples=25)
@given(st.lists(st.floats(-9, 9), min_size=21, max_size=21))
def test_packing_keeps_a_matrix_and_its_norm(values: list[float]) -> None:
    vector = np.array(values)
    matrix = unpack_core(vector, DIM)
    assert np.array_equal(matrix, matrix.T)
    assert np.abs(pack_core(matrix) - vector).max() <= 1e-12
    assert np.linalg.norm(matrix) == pytest.approx(np.linalg.norm(vector), rel=1e-12, abs=1e-300)


@pytest.mark.parametrize("repeat", [0.0, 5.0])
def test_start_ranks_as_the_statistics_model(repeat: float) -> None:
    rng = np.random.default_rng(2)
    statistics = rng.standard_normal(ITEMS * DIM + ITEMS).astype(np.float32)
    histories = [np.array([3, 8, 1]), np.zeros(0, np.int64)]
    table = TwoTower(
        ITEMS, np.zeros((ITEMS, 0), np.float32), dim=DIM, history_decay=0.6, repeat=repeat
    )
    model = _model(repeat=repeat)
    got = model.scores(model.start(statistics), histories)
    assert np.abs(got - table.scores(statistics, histories)).max() <= 1e-5


def test_start_of_another_table_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 210 values"):
        _model().start(np.zeros(211, np.float32))


def test_directions_that_noise_made_negative_count_nothing() -> None:
    model = _model()
    flat = model.init(np.random.default_rng(0))
    core = np.diag([1.0, -2.0, 1.0, 1.0, 1.0, 1.0])
    model.layout.views(flat)["M"][:] = pack_core(core)
    table = model.layout.views(flat)["V"].astype(np.float64)
    shown = model.export(flat).embeddings.astype(np.float64)
    wanted = table @ np.maximum(core, 0.0) @ table.T
    assert np.abs(shown @ shown.T - wanted).max() <= 1e-5


def test_older_events_than_the_last_cuts_are_no_targets() -> None:
    model = _model(cuts=2, history_max=2)
    flat = _parameters(model)
    first, other = (
        model.local_gradient(flat, np.array([*old, 5, 6, 7, 8]), Draws(0)).vector
        for old in ([1, 2], [2, 1])
    )
    assert np.array_equal(first, other)


def test_only_the_core_is_trained() -> None:
    layout = _model().layout
    flat = np.arange(layout.size, dtype=np.float32)
    assert layout.frozen == ("V", "b")
    assert layout.trained_size == DIM * (DIM + 1) // 2
    assert layout.trained_shapes == {"M": (21,)}
    assert np.array_equal(layout.trained(flat), layout.views(flat)["M"])
    assert _model().privacy_split().shared == ("M",)


@pytest.mark.parametrize("frozen", [("b",), ("a", "b"), ("c",)])
def test_frozen_tensors_must_come_first_and_leave_some(frozen: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="frozen must be"):
        Layout({"a": (2,), "b": (3,)}, frozen=frozen)


@pytest.mark.parametrize(
    "options",
    [{"dim": 0}, {"dim": 129}, {"cuts": 0}, {"sharpness": 0.0}, {"repeat": -1.0}],
)
def test_option_out_of_range_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        CoreTower(ITEMS, **options)  # type: ignore[arg-type]  # that is the test
