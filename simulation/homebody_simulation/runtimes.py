"""Run the two Flower apps: in this process (``cohort``) or on Flower's simulation (``ray``).

The apps are the same; only who carries the messages differs. ``ray`` is a simulation on one's own
machine: the SuperLink on loopback, Ray on the machine's own address, no TLS, no real person's data.
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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
from flwr.app import Context, RecordDict

from homebody_client.devices_home import DevicesHome
from homebody_client.flower_app import build_client_app
from homebody_client.host import HELD_OUT, Host, shard
from homebody_privacy.environment import QUIET
from homebody_privacy.errors import DependencyError, MissingExtraError
from homebody_privacy.stream import derive_key
from homebody_server.flower_app import RUN_FOLDER, build_server_app
from homebody_server.rounds import Observer
from homebody_simulation.cost import Meter, metered
from homebody_simulation.flower_project import write_project
from homebody_simulation.grid import CohortGrid, app_cohort
from homebody_simulation.setup import Prepared

_NODES = 2
_START_S = 60.0
_POLL_S = 0.3


def run(prepared: Prepared, observe: Observer) -> Meter:
    """Train until the run ends, whatever ends it; the outcome stands in the run's folder.

    Args:
        prepared: The run.
        observe: Called with each release that is seen.

    Returns:
        What the devices' part cost; empty where the runtime cannot measure it.
    """
    runtime: Callable[[Prepared, Observer], Meter] = {"cohort": run_cohort, "ray": run_ray}[
        prepared.request.runtime
    ]
    return runtime(prepared, observe)


def host_of(prepared: Prepared) -> Host:
    """Return a host of the whole population, in this process."""
    key = prepared.folder.read_key()
    return Host(
        config=prepared.config,
        model=prepared.model,
        histories=prepared.split.train,
        devices=frozenset(range(prepared.spec.devices)),
        example_key=derive_key(key, "device-examples"),
        record_key=derive_key(key, "device-records"),
        lattice=prepared.spec.lattice,
        held_out=held_out_items(prepared),
    )


def held_out_items(prepared: Prepared) -> npt.NDArray[np.int32]:
    """Return each device's validation item, -1 for none: the latest event it does not train on."""
    task = prepared.split.validation
    items = np.full(prepared.spec.devices, -1, np.int32)
    items[task.devices] = task.targets
    return items


def devices_folder(prepared: Prepared) -> Path:
    """Return where the simulated devices keep their own records: with the run, or for life."""
    spec = prepared.spec
    if not spec.lifetime:
        return prepared.folder.devices_folder
    return prepared.request.runs / f"devices-{spec.population[:16]}"


def _home_of(prepared: Prepared) -> DevicesHome:
    return DevicesHome.open(devices_folder(prepared), lifetime=prepared.spec.lifetime)


@contextmanager
def _own_records(prepared: Prepared, everyone: Host) -> Iterator[Host]:
    """Give a host the devices' own records, while the block lasts; none for a reference."""
    spec = prepared.spec
    if spec.ceiling is None:
        yield everyone
        return
    home = _home_of(prepared)
    key = derive_key(prepared.folder.read_key(), "device-records")
    with home.participation() as store:
        yield replace(everyone, participation=store, records=home.records(prepared.config, key))


def run_cohort(prepared: Prepared, observe: Observer) -> Meter:
    """Run both apps in this process, one node a device."""
    devices = prepared.spec.devices
    meter = Meter()
    with _own_records(prepared, host_of(prepared)) as everyone:

        def opener(context: Context) -> Host:
            part = int(context.node_config["partition-id"])
            return replace(everyone, devices=shard(devices, part, devices))

        grid = CohortGrid(
            metered(app_cohort(build_client_app(opener, shielded=False)), meter),
            {1 + i: {"partition-id": i, "num-partitions": devices} for i in range(devices)},
            {RUN_FOLDER: str(prepared.folder.path)},
        )
        context = Context(1, 0, {}, RecordDict(), {RUN_FOLDER: str(prepared.folder.path)})
        build_server_app(observe)(grid=grid, context=context)
    return meter


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
        _home_of(prepared).participation().close()
    folder = prepared.folder.path.resolve()
    log_file = folder / "flower.log"
    (folder / "outcome.json").unlink(missing_ok=True)
    with _work_folder(folder / "ray") as work:
        population = work / "population"
        population.mkdir()
        prepared.split.train.save(population)
        np.save(population / HELD_OUT, held_out_items(prepared), allow_pickle=False)
        _run_flower(prepared, observe, work, _write_app(prepared, work, population), log_file)
    if not (folder / "outcome.json").exists():
        raise DependencyError(
            "Flower's run ended without an outcome",
            fix=f"read {log_file}; the run can be resumed",
        )
    log_file.unlink()
    return Meter()


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
    prepared: Prepared, observe: Observer, work: Path, app: Path, log_file: Path
) -> None:
    """Start a SuperLink, run the app on it, and observe until there is an outcome."""
    environ = {**os.environ, **QUIET, "FLWR_HOME": str(work / "flwr")}
    # The SuperLink finds its helpers by PATH: those of this Python's environment.
    environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environ.get('PATH', '')}"
    federation = f"num-supernodes={_NODES} client-resources-num-cpus=1"
    command = ["flwr", "run", str(app), "own", "--stream", "--federation-config", federation]
    with log_file.open("wb") as log, _superlink(environ, work, log.fileno()):
        flower = subprocess.Popen(  # noqa: S603 our own arguments
            command, env=environ, stdout=log, stderr=log
        )
        _watch(prepared, observe, flower)


def _watch(prepared: Prepared, observe: Observer, flower: subprocess.Popen[bytes]) -> None:
    """Observe releases as they appear in the folder, until there is an outcome or Flower ends."""
    seen = prepared.folder.load_state().next_round
    outcome = prepared.folder.path / "outcome.json"
    while True:
        done = outcome.exists() or flower.poll() is not None
        state = prepared.folder.load_state()
        if state.next_round > seen:
            seen = state.next_round
            observe(state.next_round - 1, state.parameters)
        if done:
            break
        time.sleep(_POLL_S)
    try:
        flower.wait(timeout=_START_S)
    except subprocess.TimeoutExpired:
        flower.kill()


def _write_app(prepared: Prepared, work: Path, population: Path) -> Path:
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
    }
    return write_project(work / "app", settings)


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
