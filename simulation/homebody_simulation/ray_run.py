"""Run both apps on Flower's simulation runtime: on this machine, or on a Ray cluster.

``RAY_ADDRESS`` names a cluster to join; without it Ray starts on this machine for the run alone,
also where another Ray is up. Each of a few virtual nodes hosts a shard of the population, and
answers with the shard's sum: clipped device by device, and masked where the run is sealed.

Ray has no TLS and asks nobody who they are: loopback or a private network, and no real person's
data. Whoever runs a raylet sees the histories of the shards that come to it. The run's folder, and
with ``lifetime`` budgets the folder of all runs, must be at the same path on every machine of a
cluster, on a file system with POSIX locks; the same wheel is installed on each.
"""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np

from homebody_client.flower_app import NODE_FOLDERS
from homebody_client.host import HELD_OUT
from homebody_privacy.environment import QUIET
from homebody_privacy.errors import DependencyError, MissingExtraError
from homebody_privacy.stream import derive_key
from homebody_server.flower_app import RUN_FOLDER
from homebody_server.rounds import Observer
from homebody_simulation.cohort.choice import answers
from homebody_simulation.cost import Meter
from homebody_simulation.flower_project import write_project
from homebody_simulation.hosting import devices_folder, held_out_items, home_of
from homebody_simulation.ray_client import ANSWERS, ENGINE, reliability
from homebody_simulation.sealed_nodes import SealedNodes
from homebody_simulation.setup import Prepared
from homebody_simulation.watching import Watch

_PLAIN_NODES: Final = 2
_SEALED_NODES: Final = 4  # a secure sum needs three, and should survive the loss of one
_CLUSTER_NODES: Final = 8
_ADDRESS: Final = "RAY_ADDRESS"  # read by Ray
_START_S: Final = 60.0
_POLL_S: Final = 0.3


def run_ray(prepared: Prepared, observe: Observer) -> Meter:
    """Run both apps on Flower's simulation runtime, a few nodes that host a shard each.

    Raises:
        MissingExtraError: If ray is not installed.
        DependencyError: If Flower's run ended without an outcome.
    """
    if find_spec("ray") is None:
        raise MissingExtraError(
            "--runtime ray needs ray", fix='pip install "homebody[ray]", or use --runtime cohort'
        )
    if prepared.spec.ceiling is not None:
        # A record that was put back is refused here, and not by nodes that then never enrol.
        home_of(prepared).participation().close()
    folder = prepared.folder.path.resolve()
    log_file = folder / "flower.log"
    (folder / "outcome.json").unlink(missing_ok=True)
    with _work_folder(folder / "ray") as work:
        population = work / "population"
        population.mkdir()
        prepared.histories.save(population)
        np.save(population / HELD_OUT, held_out_items(prepared), allow_pickle=False)
        nodes = _nodes(prepared)
        app = _write_app(prepared, work, population, nodes)
        _run_flower(prepared, observe, work, app, nodes, log_file)
    if not (folder / "outcome.json").exists():
        raise DependencyError(
            "Flower's run ended without an outcome",
            fix=f"read {log_file}; the run can be resumed",
        )
    log_file.unlink()
    return Meter()


def _nodes(prepared: Prepared) -> int:
    """Return how many virtual nodes share the population."""
    if os.environ.get(_ADDRESS):
        return _CLUSTER_NODES
    return _SEALED_NODES if prepared.spec.secagg else _PLAIN_NODES


@contextmanager
def _work_folder(path: Path) -> Iterator[Path]:
    """Keep a private folder for histories and keys of a run; nothing of it is left behind."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(mode=0o700)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _run_flower(
    prepared: Prepared, observe: Observer, work: Path, app: Path, nodes: int, log_file: Path
) -> None:
    """Start a SuperLink, run the app on it, and observe until there is an outcome."""
    environ = {**os.environ, **QUIET, "FLWR_HOME": str(work / "flwr")}
    if not environ.get(_ADDRESS):
        environ[_ADDRESS] = "local"  # else Ray joins whatever cluster was started here last
    # The SuperLink finds its helpers by PATH: those of this Python's environment.
    environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environ.get('PATH', '')}"
    federation = f"num-supernodes={nodes} client-resources-num-cpus=1"
    command = ["flwr", "run", str(app), "own", "--stream", "--federation-config", federation]
    with log_file.open("wb") as log, _superlink(environ, work, log.fileno()):
        flower = subprocess.Popen(  # noqa: S603 our own arguments
            command, env=environ, stdout=log, stderr=log
        )
        _watch(prepared, observe, flower)


def _watch(prepared: Prepared, observe: Observer, flower: subprocess.Popen[bytes]) -> None:
    """Observe releases as they appear in the folder, until there is an outcome or Flower ends."""
    watch = Watch(prepared.folder, observe)
    outcome = prepared.folder.path / "outcome.json"
    while True:
        done = outcome.exists() or flower.poll() is not None
        watch.look()
        if done:
            break
        time.sleep(_POLL_S)
    try:
        flower.wait(timeout=_START_S)
    except subprocess.TimeoutExpired:
        flower.kill()


def _write_app(prepared: Prepared, work: Path, population: Path, nodes: int) -> Path:
    """Write the Flower app: configuration only, the nodes run the installed packages."""
    key, spec = prepared.folder.read_key(), prepared.spec
    model = {"name": prepared.model_spec.name, "options": dict(prepared.model_spec.options)}
    settings: dict[str, str | int | float | bool] = {
        RUN_FOLDER: str(prepared.folder.path.resolve()),
        "privacy-file": str(prepared.folder.config_file.resolve()),
        "population": str(population),
        "model": json.dumps(model),
        "clip-norm": spec.clip_norm,
        "lattice-bits": spec.lattice_bits,
        "reference": spec.ceiling is None,
        "example-key": derive_key(key, "device-examples").hex(),
        "record-key": derive_key(key, "device-records").hex(),
        "participation": str(devices_folder(prepared).resolve()),
        ENGINE: prepared.request.engine,
        **reliability(prepared.request.conditions, key),
        ANSWERS: answers(spec),
    }
    if spec.secagg:
        sealed = SealedNodes.make(nodes)
        sealed.introduce(prepared)
        sealed.write(work / "nodes")
        settings[NODE_FOLDERS] = str(work / "nodes")
    return write_project(work / "app", settings, client="homebody_simulation.ray_client:app")


@contextmanager
def _superlink(environ: dict[str, str], work: Path, log: int) -> Iterator[None]:
    """Keep a SuperLink of our own on loopback, in a process group that ends with the block."""
    port = _free_port()
    home = work / "flwr"
    home.mkdir()
    (home / "config.toml").write_text(
        f'[superlink]\ndefault = "own"\n\n[superlink.own]\naddress = "127.0.0.1:{port}"\n'
        "insecure = true\n",
        "utf-8",
    )
    command = ["flower-superlink", "--insecure", "--simulation", "--host", "127.0.0.1"]
    process = subprocess.Popen(  # noqa: S603 our own arguments
        [*command, "--port", str(port)],
        env=environ,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    try:
        _await_health(process, port)
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _await_health(process: subprocess.Popen[bytes], port: int) -> None:
    end = time.monotonic() + _START_S
    while time.monotonic() < end and process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1.0)
        try:
            connection.request("GET", "/health")
            if connection.getresponse().status == http.client.OK:
                return
        except (OSError, http.client.HTTPException):
            time.sleep(_POLL_S)
        finally:
            connection.close()
    raise DependencyError(
        "Flower's SuperLink did not start", fix="run homebody doctor; use --runtime cohort"
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
