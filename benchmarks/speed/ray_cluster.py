"""How a Ray cluster scales: the same run on one raylet and on two, a processor each."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np

from homebody_privacy.environment import QUIET
from homebody_simulation.curve import Point
from homebody_simulation.request import Request
from homebody_simulation.simulate import Silent
from homebody_simulation.simulate import simulate as carry_out

_ROUNDS: Final = 6
_CLUSTER: Final = """
import sys
from ray.cluster_utils import Cluster

head = {"num_cpus": 1, "include_dashboard": False}
cluster = Cluster(initialize_head=True, head_node_args=head)
for _ in range(int(sys.argv[1]) - 1):
    cluster.add_node(num_cpus=1)
print(cluster.address, flush=True)
sys.stdin.readline()
cluster.shutdown()
"""


class _Clock(Silent):
    """Notes when each round's model was seen."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def point(self, point: Point) -> None:
        del point
        self.seen.append(time.perf_counter())


def cluster(*, quick: bool) -> dict[str, Any]:
    """Return seconds of a round on one raylet and on two, by the median of rounds after the first.

    TwoTower over a catalog of MovieLens' size, every device in every round, no noise and no record
    of joins: what is left is what devices compute, and what Flower and Ray take to carry it.
    """
    devices = 2_000 if quick else 30_000
    seconds = {str(raylets): _round_s(raylets, devices) for raylets in (1, 2)}
    return {"devices": devices, "rounds": _ROUNDS, "seconds": seconds}


def _round_s(raylets: int, devices: int) -> float:
    with tempfile.TemporaryDirectory(prefix="homebody-ray-") as name, _running(raylets) as address:
        os.environ["RAY_ADDRESS"] = address
        clock = _Clock()
        request = Request(
            data="synthetic",
            options={"devices": devices, "items": 3_706},
            config_file=Path(__file__).parents[2] / "privacy.toml",
            epsilon=None,
            rounds=_ROUNDS,
            cohort=devices,
            recipe="rounds",
            runtime="ray",
            engine="numba",
            secagg=False,
            runs=Path(name),
        )
        try:
            carry_out(request, clock)
        finally:
            del os.environ["RAY_ADDRESS"]
    return float(np.median(np.diff(clock.seen)))


@contextmanager
def _running(raylets: int) -> Iterator[str]:
    """Keep a cluster of raylets on this machine, a processor each."""
    process = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-W", "ignore", "-c", _CLUSTER, str(raylets)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **QUIET},
        start_new_session=True,
    )
    try:
        yield (process.stdout.readline() if process.stdout else "").strip()
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
