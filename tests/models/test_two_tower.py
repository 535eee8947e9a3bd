"""The closed-form gradient against autograd, and what the model promises about histories."""

import math
import time

import numpy as np
import numpy.typing as npt
import pytest
import torch

from homebody_models.draws import Draws
from homebody_models.two_tower import TwoTower

ITEMS, DIM, FEATURES = 40, 8, 5


def _features(seed: int = 0) -> npt.NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 2, (ITEMS, FEATURES)).astype(np.float32)


def _model(*, content: bool, cuts: int = 8, history_max: int = 64, repeat: float = 0.0) -> TwoTower:
    return TwoTower(
        ITEMS,
        _features(),
        content=content,
        dim=DIM,
        cuts=cuts,
        history_max=history_max,
        repeat=repeat,
    )


def _parameters(model: TwoTower, seed: int = 1) -> npt.NDArray[np.float32]:
    """Return parameters away from the start, so that W and b take part."""
    rng = np.random.default_rng(seed)
    flat = model.init(rng)
    return flat + 0.3 * rng.standard_normal(flat.size, np.float32)


def _autograd(
    model: TwoTower, flat: npt.NDArray[np.float32], history: list[int], positions: list[int]
) -> tuple[npt.NDArray[np.float64], float]:
    """Return gradient and loss as torch sees them, in float64, event by event."""
    parameters = torch.tensor(flat, dtype=torch.float64, requires_grad=True)
    shapes = model.layout.shapes
    sizes = [math.prod(shape) for shape in shapes.values()]
    parts = torch.split(parameters, sizes)
    tensors = {n: p.reshape(s) for (n, s), p in zip(shapes.items(), parts, strict=True)}
    table = tensors["V"]
    if model.content:
        table = table + torch.tensor(model.features, dtype=torch.float64) @ tensors["W"]
    losses = []
    for position in positions:
        prefix = history[max(0, position - model.history_max) : position]
        weights = [model.history_decay**age for age in reversed(range(len(prefix)))]
        x = torch.zeros(ITEMS, dtype=torch.float64)
        for weight, item in zip(weights, prefix, strict=True):
            x[item] += weight / (sum(weights) + 1e-6)
        scores = table @ (x @ table) + tensors["b"] + model.repeat * x
        losses.append(torch.logsumexp(scores, 0) - scores[history[position]])
    loss = torch.stack(losses).mean()
    loss.backward()  # type: ignore[no-untyped-call]  # torch's
    assert parameters.grad is not None
    return parameters.grad.numpy(), float(loss.detach())


@pytest.mark.parametrize("content", [False, True])
@pytest.mark.parametrize(
    "history",
    [
        pytest.param([3, 7], id="one cut"),
        pytest.param([3, 7, 1, 30, 12], id="several cuts"),
        pytest.param([4] * 6, id="all slots one item"),
        pytest.param([4, 9, 4, 9, 2, 4], id="target in history"),
        pytest.param([i % ITEMS for i in range(0, 480, 60)], id="repeats"),
    ],
)
@pytest.mark.parametrize("repeat", [0.0, 3.0])
def test_gradient_equals_autograd(history: list[int], *, content: bool, repeat: float) -> None:
    model = _model(content=content, repeat=repeat)
    flat = _parameters(model)
    got = model.local_gradient(flat, np.array(history), Draws(0))
    wanted, loss = _autograd(model, flat, history, list(range(1, len(history))))
    views, oracle = model.layout.views(got.vector), model.layout.views(wanted)
    for name, tensor in views.items():
        peak = max(1.0, float(np.abs(oracle[name]).max()))
        assert np.abs(tensor - oracle[name]).max() <= 1e-6 * peak, name
        cosine = np.vdot(tensor, oracle[name])
        cosine /= np.linalg.norm(tensor) * np.linalg.norm(oracle[name])
        assert cosine >= 1 - 1e-6, name
    assert got.loss == pytest.approx(loss, abs=1e-5)
    assert got.examples == len(history) - 1
    assert got.vector.dtype == np.float64


def test_only_the_newest_events_form_the_user_vector() -> None:
    model = _model(content=False, history_max=2, cuts=20)
    flat, history = _parameters(model), [5, 6, 7, 8]
    got = model.local_gradient(flat, np.array(history), Draws(0))
    wanted, _ = _autograd(model, flat, history, [1, 2, 3])
    assert got.vector == pytest.approx(wanted, abs=1e-5)
    whole = model.scores(flat, [np.array(history)])
    assert whole.tolist() == model.scores(flat, [np.array(history[-2:])]).tolist()


@pytest.mark.parametrize("events", [0, 1])
def test_too_short_a_history_gives_zeros(events: int) -> None:
    model = _model(content=True)
    got = model.local_gradient(_parameters(model), np.arange(events), Draws(0))
    assert not got.vector.any()
    assert math.isnan(got.loss)
    assert got.examples == 0


def test_positions_are_drawn_without_replacement_and_evenly() -> None:
    model = _model(content=False, cuts=3)
    drawn = [model._positions(11, Draws.of(2, i)) for i in range(2_000)]  # noqa: SLF001 the draw itself
    assert all(len(set(p.tolist())) == 3 and p.min() >= 1 and p.max() <= 10 for p in drawn)
    counts = np.bincount(np.concatenate(drawn), minlength=11)[1:]
    assert counts.sum() == 6_000
    chi_square = ((counts - 600) ** 2 / 600).sum()
    assert chi_square < 27.9  # 99.9 % point at 9 degrees of freedom
    assert ((counts * np.array([1.5, 1, 1, 1, 1, 1, 1, 1, 1, 0.5]) - 600) ** 2 / 600).sum() > 27.9


def test_initial_rows_have_the_stated_length_and_the_rest_is_zero() -> None:
    model = TwoTower(2_000, np.zeros((2_000, 3), np.float32), content=True, init_scale=5.0)
    views = model.layout.views(model.init(np.random.default_rng(0)))
    mean_square = float((views["V"] ** 2).sum(axis=1).mean())
    assert mean_square == pytest.approx(25.0, rel=0.02)
    assert mean_square != pytest.approx(25.0 * 4 / 9, rel=0.02)
    assert not views["W"].any()
    assert not views["b"].any()


def test_features_are_shared_parameters_only_with_content() -> None:
    assert set(_model(content=False).layout.shapes) == {"V", "b"}
    assert _model(content=True).layout.shapes["W"] == (FEATURES, DIM)


def test_repeat_adds_each_items_share_of_the_history() -> None:
    plain, repeating = _model(content=False), _model(content=False, repeat=2.0)
    flat, history = _parameters(plain), np.array([7, 9, 7])
    added = repeating.scores(flat, [history])[0] - plain.scores(flat, [history])[0]
    total = 1 + 0.9 + 0.81
    wanted = np.zeros(ITEMS)
    wanted[[7, 9]] = 2 * 1.81 / total, 2 * 0.9 / total
    assert added == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize("repeat", [0.0, 2.0])
def test_scores_in_blocks_equal_scores_one_by_one(repeat: float) -> None:
    model = _model(content=True, repeat=repeat)
    flat, rng = _parameters(model), np.random.default_rng(4)
    histories = [rng.integers(0, ITEMS, rng.integers(0, 90)) for _ in range(1_030)]
    together = model.scores(flat, histories)
    one_by_one = np.vstack([model.scores(flat, [history]) for history in histories])
    assert np.abs(together - one_by_one).max() < 1e-4


@pytest.mark.parametrize(
    "options",
    [
        {"dim": 0},
        {"dim": 129},
        {"cuts": 0},
        {"history_max": 65},
        {"history_decay": 0.0},
        {"init_scale": math.nan},
        {"init_scale": 0.0},
        {"repeat": -1.0},
        {"repeat": math.nan},
    ],
)
def test_option_out_of_range_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        TwoTower(ITEMS, _features(), **options)  # type: ignore[arg-type]  # wrong on purpose


def test_features_of_another_catalog_are_refused() -> None:
    with pytest.raises(ValueError, match="features"):
        TwoTower(ITEMS + 1, _features())


def test_gradient_of_a_real_catalog_takes_milliseconds() -> None:
    model = TwoTower(2_378, np.zeros((2_378, 0), np.float32))
    rng = np.random.default_rng(0)
    flat, history = model.init(rng), rng.integers(0, 2_378, 400)
    times = []
    for _ in range(20):
        start = time.perf_counter()
        model.local_gradient(flat, history, Draws(0))
        times.append(time.perf_counter() - start)
    assert min(times) < 3e-3


@pytest.mark.parametrize("item", [3, -1])
def test_an_item_outside_the_catalog_is_refused(item: int) -> None:
    model = TwoTower(3, np.zeros((3, 0), np.float32), dim=2)
    with pytest.raises(IndexError, match="outside the catalog"):
        model.scores(model.init(np.random.default_rng(0)), [np.array([1, item])])
