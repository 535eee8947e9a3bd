"""Automatic differentiation of a loss in torch, held against each device's own answer."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from homebody_client.host import Host
from homebody_models.core_tower import CoreTower
from homebody_models.draws import Draws
from homebody_models.logistic_factorization import LogisticFactorization
from homebody_models.matrix_factorization import MatrixFactorization
from homebody_models.popularity import Popularity
from homebody_models.recommender import Layout, LocalGradient, Recommender
from homebody_models.two_tower import TwoTower
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.lattice import Lattice
from homebody_simulation.cohort.bounds import Bounds
from homebody_simulation.cohort.choice import engine_of
from homebody_simulation.cohort.engine import Status
from homebody_simulation.cohort.on_torch import kernel as torch_kernel
from homebody_simulation.cohort.on_torch.bounded import bounded
from homebody_simulation.cohort.on_torch.kernel import TorchKernel
from homebody_simulation.cohort.on_torch.kernels import kernel_of
from homebody_simulation.cohort.on_torch.protocol import Arrays, Tensors
from homebody_simulation.cohort.reference import ReferenceEngine
from homebody_simulation.datasets import load_dataset

from .kernel_world import EDGES, ITEMS, RAGGED, one_by_one, part_of, work_of, work_on

Floats = npt.NDArray[np.float32]
SLOW = pytest.mark.slow
CONTENT = np.eye(ITEMS, 3, dtype=np.float32)
# Rows of length 1: where a softmax is nearly certain, float32 leaves few digits of its gradient.
MODELS: dict[str, Recommender] = {
    "two-tower": TwoTower(ITEMS, CONTENT, dim=4, cuts=3, history_max=5, init_scale=1.0),
    "with content and repeats": TwoTower(
        ITEMS, CONTENT, content=True, repeat=1.5, dim=3, cuts=2, init_scale=1.0
    ),
    "core-tower": CoreTower(ITEMS, dim=4),
    "core-tower, nothing hidden": CoreTower(ITEMS, dim=3, hidden=False, repeat=2.0, cuts=2),
    "matrix-factorization": MatrixFactorization(ITEMS, dim=4, history_max=9),
    "logistic-factorization": LogisticFactorization(ITEMS, dim=4, batch=4, negatives=2),
}
CLIPS = st.sampled_from([1e-3, 0.7, 50.0])
# Two of them every day: one by its loss, one by its pass. The others take seconds more.
GROUPED = [
    pytest.param(name, marks=() if name in ("core-tower", "logistic-factorization") else SLOW)
    for name in MODELS
]


def moved(model: Recommender, seed: int) -> Floats:
    """Return parameters none of which is at its start."""
    rng = np.random.default_rng(seed)
    return model.init(rng) + 0.05 * rng.standard_normal(model.layout.size, np.float32)


def compare(name: str, histories: list[list[int]], clip_norm: float, seed: int) -> None:
    """Hold what the kernel adds for each device against what it sends alone."""
    model = MODELS[name]
    kernel = kernel_of(model)
    assert kernel is not None
    parameters = moved(model, seed)
    work = work_of(histories, Lattice(clip_norm), per_device=True)
    own = kernel.run(parameters, work)
    expected = one_by_one(model, parameters, work)
    assert own.each is not None
    steps = np.abs(own.each - expected)
    assert steps.max() <= 1
    assert (steps > 0).sum() <= 1 + 0.01 * steps.size
    assert own.sum.tolist() == own.each.sum(axis=0).tolist()
    for row, history in enumerate(histories):
        draws = Draws(int(work.keys[row]))
        local = model.local_gradient(parameters, np.array(history, np.int32), draws)
        assert own.status[row] == (Status.OK if local.examples else Status.EMPTY)
        assert own.norms[row] == pytest.approx(np.linalg.norm(local.vector), rel=1e-4)


@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=2)
@given(histories=RAGGED, clip_norm=CLIPS, seed=st.integers(0, 99))
@example(histories=EDGES, clip_norm=0.7, seed=0)
def test_a_device_adds_what_it_would_alone_but_for_a_step_in_few_places(
    name: str, histories: list[list[int]], clip_norm: float, seed: int
) -> None:
    compare(name, histories, clip_norm, seed)


@pytest.mark.slow  # many more populations
@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=40)
@given(histories=RAGGED, clip_norm=CLIPS, seed=st.integers(0, 99))
def test_a_device_adds_what_it_would_alone_but_for_a_step_in_few_places_many_times(
    name: str, histories: list[list[int]], clip_norm: float, seed: int
) -> None:
    compare(name, histories, clip_norm, seed)


@pytest.mark.parametrize("name", GROUPED)
def test_neither_chunks_shards_order_nor_threads_change_a_bit_of_the_sum(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = load_dataset("synthetic", devices=80, items=ITEMS).interactions
    model = MODELS[name]
    kernel = kernel_of(model)
    assert kernel is not None
    parameters = moved(model, 1)
    work = work_on(data, 80, Lattice(0.5))
    whole = kernel.run(parameters, work).sum
    turned = np.random.default_rng(3).permutation(80)
    monkeypatch.setitem(torch_kernel.CHUNK_BYTES, "cpu", 20_000)  # some devices a chunk
    threads = torch.get_num_threads()
    shards = [kernel.run(parameters, part_of(work, turned[s::7], 1 + s % 2)).sum for s in range(7)]
    assert torch.get_num_threads() == threads
    assert np.sum(shards, axis=0).tobytes() == whole.tobytes()
    assert kernel.run(parameters, part_of(work, turned[1:], 1)).sum.tobytes() != whole.tobytes()


@pytest.mark.parametrize("name", MODELS)
def test_numbers_that_are_none_add_zeros_and_are_told(name: str) -> None:
    model = MODELS[name]
    kernel = kernel_of(model)
    assert kernel is not None
    work = work_of([[0, 1, 2], [], [4, 5, 6]], Lattice(0.7), per_device=True)
    own = kernel.run(np.full(model.layout.size, np.nan, np.float32), work)
    assert not own.sum.any()
    assert own.each is not None
    assert not own.each.any()
    assert own.status.tolist() == [Status.NOT_FINITE, Status.EMPTY, Status.NOT_FINITE]
    assert np.isnan(own.norms[[0, 2]]).all()


def test_float32_gradients_give_the_same_model_to_five_digits() -> None:
    data = load_dataset("synthetic", devices=60, items=ITEMS).interactions
    model = MODELS["two-tower"]
    kernel = kernel_of(model)
    assert isinstance(kernel, TorchKernel)
    parameters = moved(model, 2)
    work = work_on(data, 60, Lattice(0.5))
    short = TorchKernel(model=model, rule=kernel.rule, dtype=torch.float32)
    apart = work.lattice.decode(short.run(parameters, work).sum - kernel.run(parameters, work).sum)
    assert np.abs(apart / 60).max() < 1e-5
    expected = one_by_one(model, parameters, work).sum(axis=0)
    apart = work.lattice.decode(kernel.run(parameters, work).sum - expected)
    assert np.abs(apart / 60).max() < 1e-5


def test_integers_beyond_the_bound_are_left_to_the_device_itself() -> None:
    lattice = Lattice(0.5)
    limits = Bounds.of(lattice, 2)
    loose = Bounds(clip=2.0, scale=limits.scale, squares=limits.squares)
    own = bounded(torch.tensor([[0.3, 0.3], [0.6, 0.0]], dtype=torch.float64), loose)
    assert own.odd.tolist() == [False, True]
    assert own.units.tolist() == [[-39321.0, -39321.0], [0.0, 0.0]]


class Pulled(Popularity):
    """A model of somebody else's: bias and factors drawn to 1 by (1 - b_i - f_i . c)^2."""

    __slots__ = ()

    @property
    def layout(self) -> Layout:
        """``b`` of shape ``(items,)`` and ``F`` of shape ``(items, 2)``."""
        return Layout({"b": (self.n_items,), "F": (self.n_items, 2)})

    def init(self, rng: np.random.Generator) -> Floats:
        """Return small numbers."""
        return 0.1 * rng.standard_normal(self.layout.size, np.float32)

    def local_gradient(
        self, parameters: Floats, history: npt.NDArray[np.integer], draws: Draws
    ) -> LocalGradient:
        """Return the gradient of the mean over a history and one more item."""
        vector = np.zeros(self.layout.size)
        if not len(history):
            return LocalGradient(vector, float("nan"), 0)
        views, gradient = self.layout.views(parameters), self.layout.views(vector)
        items = np.append(history, draws.items(self.n_items, 1))
        left = 1.0 - views["b"][items] - views["F"][items] @ np.array([1.0, 0.5])
        np.add.at(gradient["b"], items, -2.0 * left / len(items))
        np.add.at(gradient["F"], items, np.outer(-2.0 * left / len(items), [1.0, 0.5]))
        return LocalGradient(vector, float((left**2).mean()), len(items))

    def torch_size(self, events: int) -> int:
        """Return a power of two."""
        return 1 << events.bit_length() if events else 0

    def torch_floats(self, size: int) -> int:
        """Return a few numbers an event."""
        return 8 * size

    def torch_examples(
        self,
        parameters: Floats,
        histories: Sequence[npt.NDArray[np.integer]],
        draws: Sequence[Draws],
        size: int,
    ) -> Arrays:
        """Return items and their weights."""
        del parameters
        items = np.zeros((len(histories), size), np.int64)
        shares = np.zeros((len(histories), size))
        for row, (history, own) in enumerate(zip(histories, draws, strict=True)):
            items[row, : len(history)] = history
            items[row, len(history)] = own.items(self.n_items, 1)[0]
            shares[row, : len(history) + 1] = 1.0 / (len(history) + 1)
        return {"items": items, "shares": shares}

    def torch_loss(self, parameters: Tensors, example: Tensors) -> Tensor:
        """Return the mean."""
        items, shares = example["items"], example["shares"]
        drawn = parameters["b"][items] + parameters["F"][items] @ shares.new_tensor([1.0, 0.5])
        return (shares * (1.0 - drawn) ** 2).sum()


def test_a_model_of_somebody_elses_that_says_its_loss_trains_on_torch(
    write_config: Callable[..., Path],
) -> None:
    data = load_dataset("synthetic", devices=30, items=ITEMS).interactions
    model = Pulled(ITEMS)
    host = Host(
        config=PrivacyConfig.load(write_config()),
        model=model,
        histories=data,
        devices=range(30),
        example_key=bytes(32),
        record_key=bytes(32),
        lattice=Lattice(0.5),
    )
    parameters = model.init(np.random.default_rng(0))
    unasked = engine_of(host, "auto", answers=10**6, threads=1)
    assert isinstance(unasked, ReferenceEngine) or torch.cuda.is_available()
    engine = engine_of(host, "torch", answers=1, threads=1)
    own = engine.run(parameters, np.arange(30), 2, per_device=True)
    expected = ReferenceEngine(host).run(parameters, np.arange(30), 2, per_device=True)
    assert own.each is not None
    assert expected.each is not None
    assert own.sum.any()
    assert np.abs(own.each - expected.each).max() <= 1
    assert own.sum.tolist() != engine.run(parameters, np.arange(30), 3).sum.tolist()


def test_a_model_that_may_compute_something_else_has_no_kernel() -> None:
    class Other(MatrixFactorization):
        """A model of its own that says no loss."""

    assert kernel_of(Other(ITEMS)) is None
    assert kernel_of(Popularity(ITEMS)) is None
