"""A run that joins a Ray cluster of two raylets: shards on both, and the model of one process."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from homebody import simulate
from homebody_privacy.environment import QUIET
from homebody_server.run_folder import RunFolder

from .test_runtime_parity import processes_of

pytest.importorskip("ray", reason="ray is not installed: pip install 'homebody[ray]'")
DEVICES = 40

_CLUSTER = """
import json, sys
import ray
from ray.cluster_utils import Cluster

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
cluster.add_node(num_cpus=1)
print(cluster.address, flush=True)
sys.stdin.readline()
ray.init(address=cluster.address, logging_level="ERROR")
actors = ray._private.state.actors().values()
runs = [one["tid"] for one in ray.timeline() if one["cat"] == "task::ClientAppActor.run"]
told = {"nodes": [actor["Address"]["NodeID"] for actor in actors], "runs": runs}
ray.shutdown()
cluster.shutdown()
print(json.dumps(told), flush=True)
"""


class RayCluster:
    """Two raylets of one CPU each, in processes that end with the block."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        """Wait until both are up."""
        self._process = process
        assert process.stdout is not None
        self.address = process.stdout.readline().strip()

    def end(self) -> dict[str, Any]:
        """Stop both and return which of them ran clients."""
        told, _ = self._process.communicate("\n", timeout=60)
        found: dict[str, Any] = json.loads(told.splitlines()[-1])
        return found


@contextmanager
def cluster(mark: Path) -> Iterator[RayCluster]:
    """Start a cluster whose processes carry ``mark`` in their environment."""
    environ = {**os.environ, **QUIET, "MARK": str(mark), "OMP_NUM_THREADS": "1"}
    with (mark / "cluster.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", _CLUSTER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environ,
            start_new_session=True,
        )
    try:
        yield RayCluster(process)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


@pytest.mark.slow
def test_a_run_on_two_raylets_is_the_run_of_one_process_and_leaves_nothing_running(
    tmp_path: Path, write_config: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_config(rounds=2, cohort_size=DEVICES, cohort_cap=80, delta=1e-3)
    usual: dict[str, Any] = {"devices": DEVICES, "items": 20, "config": config, "seed": 2}
    usual["engine"] = "numba"
    with cluster(tmp_path) as raylets:
        with monkeypatch.context() as patch:
            patch.setenv("RAY_ADDRESS", raylets.address)
            joined = simulate("synthetic", runs=tmp_path, runtime="ray", name="ray", **usual)
        told = raylets.end()
    alone = simulate("synthetic", runs=tmp_path, name="cohort", **usual)
    assert len(set(told["nodes"])) == 2  # an actor on each raylet
    shares = [told["runs"].count(worker) for worker in set(told["runs"])]
    assert len(shares) == 2  # and both answered messages
    # Eight nodes, an enrolment and five legs in each of two rounds: 88, some perhaps unreported.
    assert sum(shares) > 70
    assert min(shares) >= 8
    one, other = (RunFolder(run.folder).load_state().parameters for run in (joined, alone))
    assert np.array_equal(one, other)
    assert joined.report["digests"]["model"] == alone.report["digests"]["model"]
    assert json.loads((joined.folder / "run.json").read_text())["spec"]["secagg"] is True
    assert not (joined.folder / "ray").exists()
    assert list(processes_of(tmp_path)) == []
