"""The compiled towers, held against each device's own answer."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numba import njit

from homebody_client.host import Host
from homebody_models.core_tower import CoreTower
from homebody_models.draws import Draws
from homebody_models.recommender import Recommender
from homebody_models.two_tower import TwoTower
from homebody_models.zoo import ModelSpec
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.lattice import Lattice
from homebody_simulation.cohort.bounds import Bounds
from homebody_simulation.cohort.choice import engine_of
from homebody_simulation.cohort.engine import Status
from homebody_simulation.cohort.kernel import Kernel
from homebody_simulation.cohort.on_numba import tower
from homebody_simulation.cohort.on_numba.kernels import kernel_of
from homebody_simulation.cohort.on_numba.tower_softmax import row_length, to_residuals
from homebody_simulation.cohort.reference import ReferenceEngine
from homebody_simulation.datasets import load_dataset

from .kernel_world import EDGES, ITEMS, RAGGED, one_by_one, part_of, work_of, work_on

Floats = npt.NDArray[np.float32]

FEATURES: Final = np.random.default_rng(9).standard_normal((ITEMS, 3), np.float32)
PLAIN: Final = TwoTower(ITEMS, FEATURES, dim=5, cuts=3, init_scale=1.0)
TOWERS: Final = (
    PLAIN,
    replace(PLAIN, content=True, repeat=2.0, history_max=7, history_decay=0.6),
    replace(PLAIN, dim=16, cuts=1),
    replace(PLAIN, content=True, dim=3, cuts=20),
    CoreTower(ITEMS, dim=5),
    CoreTower(ITEMS, dim=17, cuts=9, hidden=False, repeat=2.0, sharpness=1.0),
    CoreTower(ITEMS, dim=3, cuts=1, history_max=1, history_decay=1.0),
)
MODELS: Final = st.sampled_from(TOWERS)
CLIPS: Final = st.sampled_from([1e-3, 0.4, 50.0])  # all are clipped, some, none


@settings(max_examples=15)
@given(RAGGED, MODELS, CLIPS, st.sampled_from([16, 20]), st.integers(0, 99))
@example(EDGES, TOWERS[0], 0.4, 16, 0)
@example(EDGES, TOWERS[1], 0.4, 16, 1)
@example(EDGES, TOWERS[3], 1e-3, 16, 2)
@example(EDGES, TOWERS[4], 0.4, 16, 3)
@example(EDGES, TOWERS[5], 1e-3, 20, 4)
def test_a_device_adds_what_it_would_alone_but_for_a_step_in_few_places(
    histories: list[list[int]], model: Recommender, clip_norm: float, bits: int, seed: int
) -> None:
    parameters = _start(model, seed)
    work = work_of(histories, Lattice(clip_norm, bits), per_device=True)
    own = _kernel(model).run(parameters, work)
    expected = one_by_one(model, parameters, work)
    assert own.each is not None
    steps = np.abs(own.each - expected)
    assert steps.max() <= (1 if bits == 16 else 3)  # 2**20 steps are as fine as float32's own
    assert (steps > 0).sum(axis=1).max() <= (
        2 if bits == 16 else 6 + 0.1 * model.layout.trained_size
    )
    assert own.sum.tolist() == own.each.sum(axis=0).tolist()
    for history, key, status, norm in zip(histories, work.keys, own.status, own.norms, strict=True):
        vector = model.local_gradient(parameters, np.array(history), Draws(int(key))).vector
        assert status == (Status.OK if len(history) > 1 else Status.EMPTY)
        assert norm == pytest.approx(np.linalg.norm(vector), rel=1e-5, abs=1e-6)


def test_the_comparison_sees_other_examples_and_one_step_too_many() -> None:
    work = work_of(EDGES, Lattice(0.4), per_device=True)
    parameters = _start(PLAIN, 0)
    expected = one_by_one(PLAIN, parameters, work)
    other = _kernel(PLAIN).run(parameters, replace(work, keys=work.keys + np.uint32(1)))
    assert other.each is not None
    assert np.abs(other.each - expected).max() > 1
    nearby = _kernel(PLAIN).run(parameters * np.float32(1.0001), work)
    assert nearby.each is not None
    assert np.abs(nearby.each - expected).max() > 1


@pytest.mark.parametrize(
    "model",
    [
        TwoTower(70, np.zeros((70, 0), np.float32), dim=20),
        CoreTower(70, dim=20),
    ],
)
def test_shards_order_and_threads_give_the_same_bits(model: Recommender) -> None:
    data = load_dataset("synthetic", devices=150, items=70).interactions
    kernel, parameters = _kernel(model), _start(model, 2)
    work = work_on(data, 150, Lattice(0.5))
    whole = kernel.run(parameters, work)
    turned = np.random.default_rng(3).permutation(150)
    parts = [turned[start::7] for start in range(7)]
    norms = whole.norms[np.concatenate(parts)]
    shards = [kernel.run(parameters, part_of(work, part, 1 + part[0] % 2)) for part in parts]
    total = np.sum([shard.sum for shard in shards], axis=0)
    assert total.tobytes() == whole.sum.tobytes()
    assert np.concatenate([s.norms for s in shards]).tobytes() == norms.tobytes()
    both = kernel.run(parameters, replace(work, threads=2))
    assert both.sum.tobytes() == whole.sum.tobytes()
    assert both.norms.tobytes() == whole.norms.tobytes()
    # What is released of the same noise is then the same to 1e-5, at any rate below 1.
    expected = one_by_one(model, parameters, work).sum(axis=0)
    assert np.abs(whole.sum - expected).max() * work.lattice.step / 150 < 1e-5


def test_few_devices_fit_the_integers_and_are_trained_in_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    work, parameters = work_of(EDGES * 3, Lattice(0.4)), _start(PLAIN, 0)
    whole = _kernel(PLAIN).run(parameters, work)
    monkeypatch.setattr(Lattice, "max_devices", 4)
    assert _kernel(PLAIN).run(parameters, work).sum.tobytes() == whole.sum.tobytes()


@pytest.mark.parametrize("model", [TOWERS[1], TOWERS[4]])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_parameters_that_are_not_finite_come_out_as_they_do_alone(
    model: Recommender, value: float
) -> None:
    work = work_of(EDGES, Lattice(0.4), per_device=True)
    for name, view in model.layout.views(_start(model, 0)).items():
        parameters = _start(model, 0)
        model.layout.views(parameters)[name][(1,) * view.ndim] = value
        with np.errstate(all="ignore"):
            own = _kernel(model).run(parameters, work)
            expected = one_by_one(model, parameters, work)
        assert own.each is not None
        assert np.abs(own.each - expected).max() <= 1, name
        broken = own.status == Status.NOT_FINITE
        assert np.isnan(own.norms).tolist() == broken.tolist()
        assert not own.each[broken].any()
        assert not np.isnan(value) or broken.any(), name


def test_integers_beyond_the_bound_are_taken_out_again_and_the_model_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @dataclass(frozen=True)
    class Tight(Bounds):
        @classmethod
        def of(cls, lattice: Lattice, size: int) -> Self:
            found = super().of(lattice, size)
            return replace(found, squares=found.squares // 2)

    work, parameters = work_of(EDGES, Lattice(1e-3), per_device=True), _start(TOWERS[1], 0)
    monkeypatch.setattr(tower, "Bounds", Tight)
    own = _kernel(TOWERS[1]).run(parameters, work)
    assert own.each is not None
    assert own.each.tolist() == one_by_one(TOWERS[1], parameters, work).tolist()
    together = _kernel(TOWERS[1]).run(parameters, replace(work, per_device=False))
    assert together.sum.tolist() == own.sum.tolist()


def test_factors_beyond_float32_are_left_to_the_model() -> None:
    model = TwoTower(1, np.zeros((1, 0), np.float32), dim=1)  # certain: its gradient is 0
    work = work_of([[0, 0, 0]], Lattice(1e-9), per_device=True)
    own = _kernel(model).run(np.array([3.0, 0.0], np.float32), work)
    assert own.status.tolist() == [Status.OK]
    assert not own.sum.any()


def test_mapped_histories_compile_nothing_new(tmp_path: Path) -> None:
    work, parameters = work_of(EDGES, Lattice(0.4)), _start(PLAIN, 0)
    whole = _kernel(PLAIN).run(parameters, work)
    np.save(tmp_path / "ptr.npy", work.ptr)
    np.save(tmp_path / "items.npy", work.items)
    ptr, items = (np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in ("ptr", "items"))
    mapped = _kernel(PLAIN).run(parameters, replace(work, ptr=ptr, items=items))
    assert mapped.sum.tobytes() == whole.sum.tobytes()
    assert len(tower._train.signatures) == 1  # noqa: SLF001 - the compiled part


@pytest.mark.slow  # it compiles a loop of its own
def test_the_softmax_is_as_close_as_numpys() -> None:
    @njit(nogil=True)
    def rows(
        scores: Floats, levels: Floats, space: Floats, integers: npt.NDArray[np.int32]
    ) -> None:
        for row in range(len(scores)):
            to_residuals(scores[row], levels, 0, space, integers)

    rng, length = np.random.default_rng(0), row_length(500)
    scores = np.zeros((40, length), np.float32)
    scores[:, :500] = rng.standard_normal((40, 500)) * np.geomspace(0.01, 30, 40)[:, None]
    levels = np.where(np.arange(length - 16) < 500, 0, -3e38).astype(np.float32)
    exact = np.exp(scores[:, :500].astype(np.float64))
    exact /= exact.sum(axis=1, keepdims=True)
    exact[:, 0] -= 1.0
    top = scores[:, :500].max(axis=1, keepdims=True)
    theirs = np.exp(scores[:, :500] - top)
    theirs /= theirs.sum(axis=1, dtype=np.float64)[:, None].astype(np.float32)
    theirs[:, 0] -= 1.0
    rows(scores, levels, np.zeros(64, np.float32), np.zeros(length, np.int32))
    assert not scores[:, 500:].any()
    assert np.abs(scores[:, :500] - exact).max() <= 1.5 * np.abs(theirs - exact).max()


def test_no_kernel_for_what_only_looks_like_a_tower() -> None:
    class Other(TwoTower):
        """May compute anything."""

    assert kernel_of(Other(ITEMS, FEATURES)) is None
    assert isinstance(kernel_of(PLAIN), tower.TwoTowerKernel)


def test_a_round_with_votes_is_that_of_the_app(write_config: Callable[..., Path]) -> None:
    data = load_dataset("synthetic", devices=10, items=12).interactions
    host = Host(
        config=PrivacyConfig.load(write_config()),
        model=ModelSpec("two-tower", {"dim": 4, "cuts": 2}).build(data.catalog),
        histories=data,
        devices=frozenset(range(10)),
        example_key=bytes(32),
        record_key=bytes(32),
        lattice=Lattice(0.5),
    )
    parameters, rows = host.model.init(np.random.default_rng(0)), np.arange(10)
    engine = engine_of(host, "numba", answers=1, threads=2)
    found = engine.run(parameters, rows, 3, clip_norm=0.8)
    expected = ReferenceEngine(host).run(parameters, rows, 3, clip_norm=0.8)
    assert found.sum[-1] == expected.sum[-1]
    assert np.abs(found.sum - expected.sum).max() <= 2
    assert found.status.tolist() == expected.status.tolist()


@pytest.mark.slow  # the one-device path takes half a minute for these
@pytest.mark.parametrize("bits", [16, 20])
def test_a_catalog_of_thousands_differs_in_few_of_many_places(bits: int) -> None:
    rng = np.random.default_rng(bits)
    histories = [rng.integers(0, 3706, n).tolist() for n in (2, 9, 70, 400, 2000) * 20]
    features = np.zeros((3706, 0), np.float32)
    models = (
        TwoTower(3706, features, init_scale=1.0),
        TwoTower(3706, features, dim=128, cuts=20, repeat=20.0, init_scale=1.0),
        CoreTower(3706),
    )
    for model in models:
        parameters, work = _start(model, bits), work_of(histories, Lattice(0.1, bits))
        own = _kernel(model).run(parameters, work)
        alone = one_by_one(model, parameters, work)
        assert np.abs(own.sum - alone.sum(axis=0)).max() <= 3
        assert np.abs(own.sum - alone.sum(axis=0)).sum() <= 1e-6 * np.abs(alone).sum()


def _kernel(model: Recommender) -> Kernel:
    """Return the compiled kernel of a model that has one."""
    kernel = kernel_of(model)
    assert kernel is not None
    return kernel


def _start(model: Recommender, seed: int) -> Floats:
    """Return parameters all of which count: levels and content are 0 at first."""
    rng = np.random.default_rng(seed)
    noise = 0.1 * rng.standard_normal(model.layout.size, np.float32)
    parameters: Floats = model.init(rng) + noise
    return parameters
