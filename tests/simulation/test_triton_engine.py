"""A run with Triton's engine: its statistics and rounds are those of the devices' own code."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from homebody_client.host import Host
from homebody_models.statistics.space import Space
from homebody_models.zoo import ModelSpec
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.lattice import Lattice
from homebody_simulation.cohort.kernel import Work
from homebody_simulation.cohort.kernel_engine import KernelEngine
from homebody_simulation.cohort.on_numba.counts import PopularityKernel
from homebody_simulation.cohort.shard import CohortShard
from homebody_simulation.datasets import load_dataset

from .triton_run import released
from .triton_world import run_interpreted

ROOT = Path(__file__).parents[2]
Write = Callable[..., Path]

STATISTICS = """
[statistics]
recipe = "both"
"""
SECTION = """
noise_multiplier = 3.0

[statistics]
recipe = "both"
window = 0.8
head = 9
popularity_multiplier = 2.0
gram_multiplier = 1.5
"""


@dataclass
class Recorder:
    """A counter that keeps what it was asked."""

    asked: list[tuple[object, ...]] = field(default_factory=list)
    works: list[Work] = field(default_factory=list)

    def popularity(self, work: Work, length: int) -> npt.NDArray[np.int64]:
        """Return ones."""
        self.works.append(work)
        self.asked.append((length,))
        return np.ones(length, np.int64)

    def pairs(self, work: Work, space: Space, window: float) -> npt.NDArray[np.int64]:
        """Return twos."""
        self.works.append(work)
        self.asked.append((space.size, window))
        return np.full(space.length, 2, np.int64)


def test_a_shard_has_its_statistics_counted_where_its_kernel_runs(write_config: Write) -> None:
    data = load_dataset("synthetic", devices=30, items=20).interactions
    host = Host(
        config=PrivacyConfig.load(write_config(more=SECTION)),
        model=ModelSpec("popularity").build(data.catalog),
        histories=data,
        devices=range(20),
        example_key=bytes(32),
        record_key=bytes(32),
        lattice=Lattice(0.5),  # of rounds: a statistic has a bound of its own
    )
    engine = KernelEngine(
        kernel=PopularityKernel(20), histories=data, lattice=host.lattice, example_key=bytes(32)
    )
    recorder = Recorder()
    shard = CohortShard(host, replace(engine, counter=recorder))
    devices = np.array([3, 0, 19])
    popularity = shard.statistic(devices, "popularity", np.zeros(1, np.float32))
    gram = shard.statistic(devices, "gram", np.arange(1, 21).astype(np.float32))
    assert popularity.tolist() == [1] * 20
    assert gram.tolist() == [2] * 36
    assert recorder.asked == [(20,), (9, 0.8)]
    for work in recorder.works:
        assert work.ptr is data.ptr
        assert work.items is data.items
        assert work.rows.tolist() == devices.tolist()
        assert work.lattice == Lattice(1.0, host.config.dp.lattice_bits)
    with pytest.raises(ValueError, match="not hosted"):
        shard.statistic(np.array([1, 25]), "popularity", np.zeros(1, np.float32))
    assert len(recorder.works) == 2


@pytest.mark.slow  # interpreted: a minute each
@pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed")
@pytest.mark.parametrize(
    ("model", "recipe"),
    [("two-tower", "both"), ("popularity", "rounds"), ("two-tower", "rounds")],
)
def test_a_run_releases_the_model_of_the_devices_own_code(
    tmp_path: Path, write_config: Write, model: str, recipe: str
) -> None:
    config = write_config(
        mechanism="blt",
        rounds=2,
        min_separation=1,
        max_rounds_per_device=2,
        cohort_size=20,
        cohort_cap=55,
        delta=1e-3,
        more=STATISTICS,
    )
    file = tmp_path / "parameters.npy"
    asked = (str(config), str(tmp_path), "triton", model, recipe, str(file))
    run_interpreted("triton_run.py", *asked)
    one_by_one = released(config, tmp_path, engine="reference", model=model, recipe=recipe)
    assert one_by_one.any()
    assert np.abs(one_by_one - np.load(file)).max() <= 1e-5


@pytest.mark.slow  # interpreted: a minute
@pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed")
def test_a_run_of_statistics_alone_releases_the_same_bits(
    tmp_path: Path, write_config: Write
) -> None:
    config = write_config(delta=1e-3, more=STATISTICS)
    file = tmp_path / "parameters.npy"
    asked = (str(config), str(tmp_path), "triton", "two-tower", "statistics", str(file))
    run_interpreted("triton_run.py", *asked)
    usual = {"model": "two-tower", "recipe": "statistics"}
    one_by_one = released(config, tmp_path, engine="reference", **usual)
    assert one_by_one.any()
    assert one_by_one.tobytes() == np.load(file).tobytes()


@pytest.mark.slow  # interpreted: a minute
@pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed")
def test_the_benchmark_of_a_gpu_holds_every_kernel_against_a_device_and_is_kept(
    tmp_path: Path,
) -> None:
    found, kept = tmp_path / "gpu.json", tmp_path / "speed.json"
    shutil.copy(ROOT / "benchmarks/results/speed.json", kept)
    own = {**os.environ, "TRITON_INTERPRET": "1"}
    program = [sys.executable, str(ROOT / "benchmarks/speed/gpu.py"), "--small"]
    done = subprocess.run(
        [*program, "--json", str(found)], env=own, check=True, capture_output=True, text=True
    )
    assert done.stdout.count("check: at most") == 5
    command = [sys.executable, str(ROOT / "benchmarks/speed"), "--out", str(kept)]
    subprocess.run([*command, "--gpu", str(found)], check=True)
    shown = subprocess.run([*command, "--table"], check=True, capture_output=True, text=True)
    for what in (
        *("one-shot statistic of popularity", "one-shot statistic of the pairs of 3,000 items"),
        *("model popularity", "model core-tower"),
    ):
        assert f"| {what}, 2 devices once |" in shown.stdout
