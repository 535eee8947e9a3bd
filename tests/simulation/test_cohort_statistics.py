"""One-shot statistics of a whole shard at once are those of its devices, integer for integer."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from homebody_client.host import Host
from homebody_client.statistic import Pairs, Statistic, statistic_of
from homebody_models.interactions import Interactions
from homebody_models.statistics.contribution import EVENTS, popularity_statistic
from homebody_models.statistics.space import Space
from homebody_models.zoo import ModelSpec
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.lattice import Lattice
from homebody_privacy.messages import STATISTICS, StatisticName
from homebody_simulation.cohort import statistics as at_once
from homebody_simulation.cohort.kernel_engine import KernelEngine
from homebody_simulation.cohort.on_numba.counts import PopularityKernel, popularity_total
from homebody_simulation.cohort.reference import ReferenceEngine
from homebody_simulation.cohort.shard import CohortShard
from homebody_simulation.cohort.statistics_pairs import pairs_total
from homebody_simulation.datasets import load_dataset

ITEMS = 12
SPACE = Space.of(np.arange(ITEMS, 0, -1).astype(np.float32), 9)  # three items are outside the head
Columns = tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]
SECTION = """
noise_multiplier = 3.0

[statistics]
recipe = "both"
window = 0.8
head = 30
popularity_multiplier = 2.0
gram_multiplier = 1.5
"""

EVENT = st.integers(0, ITEMS - 1)
RAGGED = st.lists(
    st.one_of(
        st.lists(EVENT, max_size=20),
        st.permutations(range(ITEMS)),
        st.integers(EVENTS - 2, EVENTS + 60).flatmap(
            lambda n: st.randoms(use_true_random=False).map(
                lambda random: [random.randrange(ITEMS) for _ in range(n)]
            )
        ),
    ),
    min_size=1,
    max_size=7,
)
SPARSE = [[0, *[11] * 3000, 1], [4], [], [5, 5], [3, 4] * 200, list(range(ITEMS))]
# The oldest event that still counts, and one that does not.
LONG = [[0, *[1] * (EVENTS - 1)], [0, *[1] * EVENTS]]


def columns(histories: list[list[int]]) -> Columns:
    """Return histories back to back."""
    items = np.array([item for history in histories for item in history], np.int32)
    return np.cumsum([0, *map(len, histories)]).astype(np.int64), items


def compare_pairs(histories: list[list[int]], window: float, bits: int, threads: int) -> None:
    """Hold a sum of pairs against that of each device in turn."""
    ptr, items = columns(histories)
    rows = np.arange(len(histories))
    lattice = Lattice(1.0, bits)
    one_by_one = Statistic(
        length=SPACE.length, lattice=lattice, of=Pairs(space=SPACE, window=window)
    )
    own = pairs_total(
        ptr, items, rows, space=SPACE, window=window, lattice=lattice, threads=threads
    )
    assert own.tolist() == one_by_one.total(map(np.array, histories)).tolist()


@settings(max_examples=6)
@given(RAGGED, st.sampled_from([1.0, 0.8, 1e-3]), st.integers(16, 20), st.integers(1, 3))
@example(LONG, 0.8, 16, 1)
@example(SPARSE, 0.5, 16, 2)  # at a distance of 3,000 a pair weighs less than any float
def test_the_sum_of_pairs_is_that_of_each_device(
    histories: list[list[int]], window: float, bits: int, threads: int
) -> None:
    compare_pairs(histories, window, bits, threads)


@pytest.mark.slow  # many more populations
@settings(max_examples=300)
@given(RAGGED, st.sampled_from([1.0, 0.8, 1e-3]), st.integers(16, 20), st.integers(1, 3))
def test_the_sum_of_pairs_is_that_of_each_device_many_times(
    histories: list[list[int]], window: float, bits: int, threads: int
) -> None:
    compare_pairs(histories, window, bits, threads)


def compare_popularity(histories: list[list[int]], bits: int, threads: int) -> None:
    """Hold a sum of popularity against that of each device in turn."""
    ptr, items = columns(histories)
    lattice = Lattice(1.0, bits)
    one_by_one = Statistic(length=ITEMS, lattice=lattice, of=popularity_statistic)
    total = popularity_total(
        ptr, items, np.arange(len(histories)), length=ITEMS, lattice=lattice, threads=threads
    )
    assert total.tolist() == one_by_one.total(map(np.array, histories)).tolist()


@settings(max_examples=4)
@given(RAGGED, st.integers(16, 20), st.integers(1, 3))
@example(SPARSE, 16, 2)
def test_the_sum_of_popularity_is_that_of_each_device(
    histories: list[list[int]], bits: int, threads: int
) -> None:
    compare_popularity(histories, bits, threads)


@pytest.mark.slow  # many more populations
@settings(max_examples=100)
@given(RAGGED, st.integers(16, 20), st.integers(1, 3))
def test_the_sum_of_popularity_is_that_of_each_device_many_times(
    histories: list[list[int]], bits: int, threads: int
) -> None:
    compare_popularity(histories, bits, threads)


def test_neither_shards_nor_order_nor_threads_change_a_sum() -> None:
    data = load_dataset("synthetic", devices=700, items=60).interactions
    space = Space.of(np.bincount(data.items, minlength=60).astype(np.float32), 50)
    turned = np.random.default_rng(1).permutation(700)

    def total(rows: npt.NDArray[np.int64], threads: int) -> npt.NDArray[np.int64]:
        return pairs_total(
            data.ptr, data.items, rows, space=space, window=0.8, lattice=Lattice(1.0),
            threads=threads,
        )  # fmt: skip

    whole = total(np.arange(700), 1)
    shards = [total(turned[start::7], 1 + start % 3) for start in range(7)]
    assert np.sum(shards, axis=0).tobytes() == whole.tobytes()
    others = np.append(turned[:-1], turned[0])  # one device left out, another twice
    assert total(others, 2).tobytes() != whole.tobytes()


def test_a_device_that_is_not_there_is_refused_before_compiled_code_looks() -> None:
    ptr, items = columns(SPARSE)
    for rows in ([-1], [0, len(SPARSE)]):
        with pytest.raises(ValueError, match="rows must be from 0 to 5"):
            popularity_total(
                ptr, items, np.array(rows), length=ITEMS, lattice=Lattice(1.0), threads=1
            )
        with pytest.raises(ValueError, match="rows must be from 0 to 5"):
            pairs_total(
                ptr, items, np.array(rows), space=SPACE, window=1.0, lattice=Lattice(1.0), threads=1
            )


@pytest.fixture(scope="module")
def host(write_config: Callable[..., Path]) -> Host:
    """Return a node that hosts most of a population, from files."""
    data = load_dataset("synthetic", devices=60, items=40).interactions
    return Host(
        config=PrivacyConfig.load(write_config(more=SECTION)),
        model=ModelSpec("popularity").build(data.catalog),
        histories=data,
        devices=range(50),
        example_key=bytes(32),
        record_key=bytes(32),
        lattice=Lattice(1.0),
    )


def shard_of(host: Host) -> CohortShard:
    """Return a node that answers with a kernel."""
    kernel = PopularityKernel(40)
    engine = KernelEngine(
        kernel=kernel, histories=host.histories, lattice=host.lattice, example_key=bytes(32)
    )
    return CohortShard(host, engine)


@pytest.mark.parametrize("name", STATISTICS)
def test_a_shard_answers_the_same_with_an_engine_without_and_without_a_compiler(
    host: Host, tmp_path: Path, name: StatisticName, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.histories.save(tmp_path)  # mapped, and read-only
    host = replace(host, histories=Interactions.load(tmp_path))
    sent = np.zeros(1, np.float32) if name == "popularity" else np.arange(1, 41).astype(np.float32)
    devices = np.array([3, 0, 49, 20])
    own = shard_of(host).statistic(devices, name, sent)
    one_by_one = statistic_of(host, name, sent).total(map(host.history, devices.tolist()))
    assert own.any()
    assert own.tolist() == one_by_one.tolist()
    reference = CohortShard(host, ReferenceEngine(host)).statistic(devices, name, sent)
    assert reference.tolist() == own.tolist()
    monkeypatch.setattr(at_once, "find_spec", lambda _: None)
    assert shard_of(host).statistic(devices, name, sent).tolist() == own.tolist()


def test_a_shard_answers_for_hosted_devices_alone(host: Host) -> None:
    with pytest.raises(ValueError, match="not hosted"):
        shard_of(host).statistic(np.array([1, 55]), "popularity", np.zeros(1, np.float32))
