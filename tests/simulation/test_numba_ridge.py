"""The compiled ridge solve and counts, held against each device's own answer."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from homebody_models.draws import Draws
from homebody_models.matrix_factorization import MatrixFactorization
from homebody_models.popularity import Popularity
from homebody_models.recommender import Recommender
from homebody_privacy.lattice import Lattice
from homebody_simulation.cohort.bounds import Bounds
from homebody_simulation.cohort.engine import Status
from homebody_simulation.cohort.on_numba import ridge
from homebody_simulation.cohort.on_numba.counts import PopularityKernel
from homebody_simulation.cohort.on_numba.kernels import kernel_of
from homebody_simulation.cohort.on_numba.ridge import RidgeKernel
from homebody_simulation.datasets import load_dataset

from .kernel_world import EDGES, ITEMS, RAGGED, one_by_one, part_of, work_of, work_on

Floats = npt.NDArray[np.float32]
CLIPS = st.sampled_from([1e-3, 0.7, 50.0])
BITS = st.sampled_from([16, 20])


def compare(
    histories: list[list[int]], clip_norm: float, bits: int, unseen: float, seed: int
) -> None:
    """Hold what the kernel adds for each device against what it sends alone."""
    model = MatrixFactorization(ITEMS, dim=5, history_max=9, unseen_weight=unseen)
    rng = np.random.default_rng(seed)
    parameters = model.init(rng) + 0.05 * rng.standard_normal(model.layout.size, np.float32)
    work = work_of(histories, Lattice(clip_norm, bits), per_device=True)
    own = RidgeKernel(model).run(parameters, work)
    expected = one_by_one(model, parameters, work)
    assert own.each is not None
    steps = np.abs(own.each - expected)
    assert steps.max() <= 1
    assert (steps > 0).sum() <= 1 + 0.05 * steps.size * (bits == 20)
    assert own.sum.tolist() == own.each.sum(axis=0).tolist()
    for history, status, norm in zip(histories, own.status, own.norms, strict=True):
        vector = model.local_gradient(parameters, np.array(history, np.int32), Draws(0)).vector
        assert status == (Status.OK if history else Status.EMPTY)
        assert norm == pytest.approx(np.linalg.norm(vector), rel=1e-5)


@settings(max_examples=5)
@given(RAGGED, CLIPS, BITS, st.sampled_from([0.0, 0.1, 4.0]), st.integers(0, 99))
@example(EDGES, 0.7, 16, 0.1, 0)
@example(EDGES, 50.0, 20, 0.0, 1)
def test_a_device_adds_what_it_would_alone_but_for_a_step_in_few_places(
    histories: list[list[int]], clip_norm: float, bits: int, unseen: float, seed: int
) -> None:
    compare(histories, clip_norm, bits, unseen, seed)


@pytest.mark.slow  # many more populations
@settings(max_examples=200)
@given(RAGGED, CLIPS, BITS, st.sampled_from([0.0, 0.1, 4.0]), st.integers(0, 99))
def test_a_device_adds_what_it_would_alone_but_for_a_step_in_few_places_many_times(
    histories: list[list[int]], clip_norm: float, bits: int, unseen: float, seed: int
) -> None:
    compare(histories, clip_norm, bits, unseen, seed)


@settings(max_examples=5)
@given(RAGGED, CLIPS, BITS)
@example(EDGES, 1.0, 16)
def test_counts_are_those_of_each_device_exactly(
    histories: list[list[int]], clip_norm: float, bits: int
) -> None:
    model = Popularity(ITEMS)
    parameters = np.ones(ITEMS, np.float32)
    work = work_of(histories, Lattice(clip_norm, bits), per_device=True)
    own = PopularityKernel(ITEMS).run(parameters, work)
    assert own.each is not None
    assert own.each.tolist() == one_by_one(model, parameters, work).tolist()
    assert own.sum.tolist() == own.each.sum(axis=0).tolist()
    assert own.norms == pytest.approx([float(bool(history)) for history in histories])
    assert own.status.tolist() == [Status.OK if h else Status.EMPTY for h in histories]


@pytest.mark.parametrize("model", [MatrixFactorization(40, dim=7), Popularity(40)])
def test_shards_order_and_threads_give_the_same_bits(model: Recommender) -> None:
    data = load_dataset("synthetic", devices=150, items=40).interactions
    work = work_on(data, 150, Lattice(0.5))
    kernel = kernel_of(model)
    assert kernel is not None
    parameters = model.init(np.random.default_rng(2))
    whole = kernel.run(parameters, work)
    turned = np.random.default_rng(3).permutation(150)
    parts = [turned[start::7] for start in range(7)]
    shards = [kernel.run(parameters, part_of(work, part, 1 + part[0] % 3)) for part in parts]
    assert np.sum([shard.sum for shard in shards], axis=0).tobytes() == whole.sum.tobytes()
    for part, shard in zip(parts, shards, strict=True):
        assert shard.norms.tobytes() == whole.norms[part].tobytes()
    assert kernel.run(parameters, part_of(work, turned[1:], 2)).sum.tobytes() != whole.sum.tobytes()


def broken(model: MatrixFactorization, kind: str) -> Floats:
    """Return parameters no system is solved well with."""
    parameters = model.init(np.random.default_rng(0))
    views = model.layout.views(parameters)
    match kind:
        case "nan":
            views["Q"][3, 1] = np.nan
        case "inf in the bias":
            views["b"][2] = np.inf
        case "a table beyond float32":
            views["Q"][:] *= np.float32(1e30)
        case "a table of nothing":
            parameters[:] = 0.0
        case "a large table":
            views["Q"][:] *= np.float32(1e6)
        case _:
            views["Q"][:, 1:] = views["Q"][:, :1]  # all columns the same: a system of rank one
    return parameters


@pytest.mark.parametrize("unseen", [0.0, 0.1])
@pytest.mark.parametrize(
    "kind",
    ["nan", "inf in the bias", "a table beyond float32", "a table of nothing", "a large table", ""],
)
def test_what_is_out_of_the_ordinary_is_done_as_the_device_does_it(
    kind: str, unseen: float
) -> None:
    model = MatrixFactorization(ITEMS, dim=4, ridge=1e-6, unseen_weight=unseen)
    parameters = broken(model, kind)
    work = work_of(EDGES, Lattice(0.7), per_device=True)
    try:
        with np.errstate(all="ignore"):
            expected = one_by_one(model, parameters, work)
    except np.linalg.LinAlgError:  # it has no answer, and no other engine invents one
        with pytest.raises(np.linalg.LinAlgError):
            RidgeKernel(model).run(parameters, work)
        return
    own = RidgeKernel(model).run(parameters, work)
    assert own.each is not None
    assert np.abs(own.each - expected).max() <= 1
    assert own.status[0] == Status.EMPTY
    for status, norm, sent in zip(own.status[1:], own.norms[1:], expected[1:], strict=True):
        assert (status == Status.NOT_FINITE) == np.isnan(norm) == (not sent.any())


def test_integers_beyond_the_bound_are_taken_back_and_the_device_done_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = MatrixFactorization(ITEMS, dim=4)
    parameters = model.init(np.random.default_rng(0))
    work = work_of(EDGES, Lattice(0.7))
    expected = one_by_one(model, parameters, work).sum(axis=0)
    real = Bounds.of(work.lattice, model.layout.trained_size)
    tight = Bounds(clip=real.clip * 1.5, scale=real.scale, squares=real.squares)

    class Loose:
        """A bound whose clip leaves updates too long."""

        of = staticmethod(lambda _lattice, _size: tight)

    monkeypatch.setattr(ridge, "Bounds", Loose)
    own = RidgeKernel(model).run(parameters, work)
    assert own.sum.tolist() == expected.tolist()
    assert own.status.tolist() == [Status.EMPTY] + [Status.OK] * 6


def test_a_model_that_may_compute_something_else_has_no_kernel() -> None:
    class Other(MatrixFactorization):
        """A model of its own."""

    assert kernel_of(Other(ITEMS)) is None
    assert isinstance(kernel_of(MatrixFactorization(3)), RidgeKernel)
    assert isinstance(kernel_of(Popularity(3)), PopularityKernel)
