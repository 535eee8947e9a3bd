"""Sealed sums on Flower's simulation runtime and plain ones in this process: the same models."""

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from homebody import simulate
from homebody_server.run_folder import RunFolder
from homebody_simulation import ray_run
from homebody_simulation.simulate import SimulatedRun

pytest.importorskip("ray", reason="ray is not installed: pip install 'homebody[ray]'")
DEVICES = 40
FIGURE = """
[metrics.quality]
purpose = "metrics"
features = ["purchases"]
noise_multiplier = 5.0
releases_per_run = 1
"""


def processes_of(folder: Path) -> Iterator[str]:
    """Name the processes that were started with something of ``folder`` in their environment."""
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            mine = int(environ.parent.name) == os.getpid()
            if not mine and os.fsencode(folder) in environ.read_bytes():
                yield (environ.parent / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # it ended meanwhile, or it is another user's
            continue


def parameters(run: SimulatedRun) -> npt.NDArray[np.float32]:
    """Return the released model."""
    return RunFolder(run.folder).load_state().parameters


@pytest.fixture(params=[pytest.param("gaussian", marks=pytest.mark.slow), "blt with a figure"])
def config(request: pytest.FixtureRequest, write_config: Callable[..., Path]) -> Path:
    """Return a config of each mechanism; the second has devices answer a question too."""
    if request.param == "gaussian":
        return write_config(rounds=2, cohort_size=DEVICES, cohort_cap=80, delta=1e-3)
    return write_config(
        mechanism="blt",
        rounds=3,
        min_separation=2,
        max_rounds_per_device=2,
        cohort_size=DEVICES // 2,
        cohort_cap=DEVICES,
        delta=1e-3,
        more=FIGURE,
    )


def test_ray_and_cohort_release_the_same_and_leave_no_server(
    tmp_path: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = []
    free_port = ray_run._free_port  # noqa: SLF001 - which port it was is told nowhere

    def noting() -> int:
        ports.append(free_port())
        return ports[-1]

    monkeypatch.setattr(ray_run, "_free_port", noting)
    ray, cohort = (
        simulate(
            "synthetic",
            devices=DEVICES,
            items=20,
            config=config,
            runs=tmp_path,
            runtime=runtime,
            seed=2,
            name=runtime,
        )
        for runtime in ("ray", "cohort")
    )
    assert np.abs(parameters(ray) - parameters(cohort)).max() <= 1e-5
    assert ray.report["digests"]["model"] == cohort.report["digests"]["model"]
    assert ray.epsilon == cohort.epsilon
    assert ray.report["released"] == cohort.report["released"]
    assert ray.report["runtime"] == "ray"
    # Ray's replies were sealed and summed by secure aggregation, the other's were plain.
    sealed, plain = ({file.name for file in run.folder.iterdir()} for run in (ray, cohort))
    assert sealed - plain == {"session"}
    assert plain <= sealed
    assert [words for words in processes_of(tmp_path) if "superlink" in words] == []
    assert ports
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", ports[0])) != 0
