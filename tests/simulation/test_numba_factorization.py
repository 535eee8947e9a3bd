"""Logistic factorisation by compiled code: the integers of the one-device path, in any grouping."""

import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings

from homebody_models.draws import Draws
from homebody_models.logistic_epoch import Epoch, local_epoch
from homebody_models.logistic_factorization import LogisticFactorization
from homebody_privacy.lattice import Lattice
from homebody_simulation.cohort.engine import Status
from homebody_simulation.cohort.kernel import Sums, Work
from homebody_simulation.cohort.on_numba import factorization
from homebody_simulation.cohort.on_numba.factorization import (
    FactorizationCohorts,
    LogisticKernel,
    _limits,
)
from homebody_simulation.cohort.on_numba.factorization_memory import Limits
from homebody_simulation.cohort.on_numba.kernels import kernel_of
from tests.simulation.kernel_world import EDGES, ITEMS, RAGGED, one_by_one, part_of, work_of

DIM = 8
MODEL = LogisticFactorization(ITEMS, dim=DIM, history_max=5, rows_rate=3.0, user_rate=1.0)
KERNEL = kernel_of(MODEL)
LOOSE, TIGHT = Lattice(50.0, 20), Lattice(0.5, 16)  # clips nobody; clips nearly everybody

Array = npt.NDArray[np.float32]


def _start(seed: int = 0) -> Array:
    rng = np.random.default_rng(seed)
    flat = MODEL.init(rng)
    return flat + 0.2 * rng.standard_normal(flat.size, np.float32)


def _run(parameters: Array, work: Work) -> Sums:
    assert KERNEL is not None
    return KERNEL.run(parameters, work)


def _draws(key: np.uint32) -> Draws:
    return Draws(int(key))


def test_kernel_is_that_of_the_very_type() -> None:
    assert isinstance(KERNEL, LogisticKernel)

    class Other(LogisticFactorization):
        """Might compute something else."""

    assert kernel_of(Other(ITEMS)) is None


@settings(max_examples=30, deadline=None)
@given(RAGGED)
@pytest.mark.parametrize("lattice", [LOOSE, TIGHT], ids=["loose", "tight"])
def test_integers_are_those_of_the_one_device_path(
    lattice: Lattice, histories: Sequence[Sequence[int]]
) -> None:
    parameters, work = _start(), work_of(histories, lattice, per_device=True)
    got, wanted = _run(parameters, work), one_by_one(MODEL, parameters, work)
    assert got.each is not None
    assert np.array_equal(got.sum, got.each.sum(axis=0))
    off = np.abs(got.each - wanted)
    assert off.max(initial=0) <= 1 or lattice is LOOSE  # 20 bits show the last digits of float32
    assert off.max(initial=0) <= 20
    assert (off > 0).sum() <= (2 if lattice is TIGHT else 60) * len(histories)


def test_edges_of_histories_have_their_status_and_norm() -> None:
    parameters, work = _start(), work_of(EDGES, TIGHT)
    got = _run(parameters, work)
    assert got.status.tolist() == [Status.EMPTY] + [Status.OK] * (len(EDGES) - 1)
    assert got.each is None
    for history, key, norm in zip(EDGES, work.keys, got.norms, strict=True):
        drawn = MODEL.local_gradient(parameters, np.array(history, np.int64), _draws(key))
        assert norm == pytest.approx(np.linalg.norm(drawn.vector), rel=1e-6)


def test_equal_bits_for_threads_shards_and_order() -> None:
    rng = np.random.default_rng(1)
    histories = [rng.integers(0, ITEMS, n).tolist() for n in rng.integers(0, 90, 60)]
    parameters, work = _start(), work_of(histories, TIGHT)
    whole = _run(parameters, work)
    places = rng.permutation(60)
    shards = [_run(parameters, part_of(work, part, 1)) for part in np.array_split(places, 7)]
    assert np.array_equal(sum(shard.sum for shard in shards), whole.sum)
    assert np.array_equal(np.concatenate([shard.norms for shard in shards]), whole.norms[places])
    two = _run(parameters, part_of(work, places, 2))
    assert np.array_equal(two.sum, whole.sum)
    assert np.array_equal(two.norms, whole.norms[places])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["Q", "b"])
def test_what_is_no_number_adds_zeros_and_spoils_nobody_else(bad: float, where: str) -> None:
    histories = [[0, 1, 2, 3] * 9, [], [4], [7, 7]]
    parameters = _start()
    view = MODEL.layout.views(parameters)[where]
    view[7] = bad
    work = work_of(histories, TIGHT, per_device=True)
    got, wanted = _run(parameters, work), one_by_one(MODEL, parameters, work)
    assert got.each is not None
    assert np.abs(got.each - wanted).max() <= 1
    assert got.status[3] == Status.NOT_FINITE
    assert np.isnan(got.norms[3])
    assert got.status[1] == Status.EMPTY
    assert not got.each[3].any()


@pytest.mark.parametrize("scale", [0.0, 1e18, 1e30])
def test_zeros_and_huge_parameters_stay_within_the_bound(scale: float) -> None:
    parameters = (_start() * np.float32(scale)).astype(np.float32)
    with np.errstate(all="ignore"):
        got = _run(parameters, work_of(EDGES, TIGHT, per_device=True))
    assert got.each is not None
    assert ((got.each.astype(object) ** 2).sum(axis=1) <= TIGHT.bound**2).all()


def test_sums_of_more_devices_than_a_word_holds_do_not_overflow() -> None:
    few = Lattice(0.01, 20)  # 2,047 of them would overflow 32 bits
    histories = [[3]] * 8_000
    work = work_of(histories, few)
    same = replace(work, keys=np.full(8_000, 5, np.uint32))
    one = _run(_start(), part_of(same, np.array([0]), 1))
    assert np.array_equal(_run(_start(), same).sum, 8_000 * one.sum)
    assert np.abs(one.sum).max() * 8_000 > 2**31 - 1


def test_a_device_over_the_bound_is_taken_back_and_done_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def halved(work: Work, size: int) -> Limits:
        right = _limits(work, size)
        return right._replace(squares=right.squares / 4)

    parameters, work = _start(), work_of(EDGES, TIGHT, per_device=True)
    monkeypatch.setattr(factorization, "_limits", halved)
    got, wanted = _run(parameters, work), one_by_one(MODEL, parameters, work)
    assert got.each is not None
    assert np.array_equal(got.each, wanted)  # the model's own, to the last integer
    assert np.array_equal(got.sum, wanted.sum(axis=0))
    assert set(got.status.tolist()) == {Status.OK, Status.EMPTY}


def test_a_history_of_thousands_fits() -> None:
    rng = np.random.default_rng(3)
    long = rng.integers(0, ITEMS, 2_100).tolist()
    parameters, work = _start(), work_of([[1, 2], long, [3]], TIGHT, per_device=True)
    got, wanted = _run(parameters, work), one_by_one(MODEL, parameters, work)
    assert got.each is not None
    assert np.abs(got.each - wanted).max() <= 1
    assert (got.each != wanted).sum() <= 6


@pytest.mark.parametrize("rates", [(1.0, 0.3), (20.0, 2.0)])
def test_given_user_vectors_are_trained_in_place(rates: tuple[float, float]) -> None:
    epoch = Epoch(batch=32, rows_rate=rates[0], user_rate=rates[1])
    cohorts = FactorizationCohorts(
        n_items=ITEMS, dim=DIM, epoch=epoch, negatives=4, with_bias=False
    )
    rng = np.random.default_rng(4)
    table = rng.standard_normal((ITEMS, DIM), np.float32)
    users = rng.standard_normal((len(EDGES), DIM), np.float32)
    users[3] = 0.0
    before, work = users.copy(), work_of(EDGES, TIGHT, per_device=True)
    sums, left = cohorts.train(table, None, users, work)
    assert left.tolist() == []
    assert sums.each is not None
    for place, history in enumerate(EDGES):
        n = len(history)
        drawn = _draws(work.keys[place]).items(ITEMS, 4 * n).reshape(n, 4)
        change = local_epoch(table, None, before[place], np.array(history, np.int64), drawn, epoch)
        update = np.zeros((ITEMS, DIM))
        update[change.items] = change.rows
        assert users[place] == pytest.approx(change.user, rel=1e-4, abs=1e-4)
        off = np.abs(sums.each[place] - TIGHT.contribution(update.ravel()))
        assert off.max(initial=0) <= 1
        assert (off > 0).sum() <= 2


def test_shapes_that_do_not_fit_are_refused() -> None:
    cohorts = FactorizationCohorts(
        n_items=ITEMS, dim=DIM, epoch=Epoch(), negatives=4, with_bias=False
    )
    table, work = np.zeros((ITEMS, DIM), np.float32), work_of([[1]], TIGHT)
    with pytest.raises(ValueError, match="table"):
        cohorts.train(table[1:], None, np.zeros((1, DIM), np.float32), work)
    with pytest.raises(ValueError, match="bias"):
        cohorts.train(table, np.zeros(ITEMS, np.float32), np.zeros((1, DIM), np.float32), work)
    with pytest.raises(ValueError, match="users"):
        cohorts.train(table, None, np.zeros((2, DIM), np.float32), work)
    with pytest.raises(ValueError, match="rows"):
        cohorts.train(
            table, None, np.zeros((1, DIM), np.float32), replace(work, rows=np.array([1]))
        )


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The workload of the speed benchmark."""
    path = Path(__file__).parents[2] / "benchmarks" / "speed" / "world.py"
    spec = importlib.util.spec_from_file_location("world", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "world", module)  # its dataclasses ask for their module
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow  # compiles rows of 64 entries, and trains 1,000 devices in numpy
@pytest.mark.parametrize(
    ("rates", "norm", "mean_norm"),
    [("TIMED", 8.702607, 0.422221), ("CHECKED", 12.859945, 10.21688)],
)
def test_workload_of_the_benchmark_gives_the_known_sums(
    world: ModuleType, rates: str, norm: float, mean_norm: float
) -> None:
    people, rate, lattice = world.make_world(), getattr(world, rates), Lattice(world.CLIP_NORM)
    rows = world.cohort(people, 0, 500)
    keys = world.device_keys(world.round_key(0), rows)
    epoch = Epoch(batch=world.BATCH, rows_rate=rate.rows, user_rate=rate.user)
    cohorts = FactorizationCohorts(
        n_items=world.ITEMS, dim=world.DIM, epoch=epoch, negatives=4, with_bias=False
    )
    work = Work(ptr=people.ptr, items=people.items, rows=rows, keys=keys, lattice=lattice)
    users = people.users[rows]
    sums, left = cohorts.train(people.table, None, users, work)
    total, integers = np.zeros(people.table.size), np.zeros(people.table.size, np.int64)
    for place, (row, key) in enumerate(zip(rows, keys, strict=True)):
        history = people.history(row)
        drawn = world.negatives(key, len(history))
        change = local_epoch(people.table, None, people.users[row], history, drawn, epoch)
        update = np.zeros(people.table.shape)
        update[change.items] = change.rows
        length = np.linalg.norm(update)
        assert sums.norms[place] == pytest.approx(length, rel=1e-6)
        assert users[place] == pytest.approx(change.user, abs=1e-6)
        total += update.ravel() * min(1.0, world.CLIP_NORM / length)
        integers += lattice.contribution(update.ravel())
    assert left.tolist() == []
    assert np.linalg.norm(total) == pytest.approx(norm, abs=1e-6)
    assert sums.norms.mean() == pytest.approx(mean_norm, abs=1e-5)
    off = np.abs(sums.sum - integers)
    assert off.max() <= 2
    assert (off > 0).sum() <= 2 * len(rows)
