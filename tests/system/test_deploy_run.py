"""A run on a real fleet: the cohort's model bit for bit, and nothing of anybody for who listens.

One fleet, four nodes in processes of their own, TLS, one run of two rounds; every test of this file
looks at that run. It takes a minute or two on two cores.
"""

import json
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from homebody_client.host import Host
from homebody_client.training import shard_contribution
from homebody_privacy.config import PrivacyConfig
from homebody_server.fleet import Fleet
from homebody_server.run_folder import RunFolder
from homebody_simulation import runtimes, setup
from homebody_simulation.deploy_assign import Assignment
from homebody_simulation.hosting import host_of
from homebody_simulation.setup import Prepared, prepare
from tests.approving import approve_fleet

from .conftest import Finished
from .fleet_wire import (
    Needles,
    captured,
    files_of,
    list_pieces,
    needs_capture,
    pieces,
    streams,
    vector_pieces,
)
from .fleet_world import nothing_left

DEVICES, NODES = 40, 4
OWN = {"state.db", "state.db-wal", "state.db-shm"}

Vector = npt.NDArray[Any]


@dataclass(frozen=True)
class Deployed:
    """A finished run on a fleet, and what was seen of it meanwhile.

    Attributes:
        fleet: Folder of the fleet; it is down.
        run: The run's folder.
        finished: The command that trained.
        key: The run's key, read while it was open.
        capture: Packets on the ports of server and nodes.
        seen: Copies of the server's database and its log, taken while the run was on.
    """

    fleet: Path
    run: RunFolder
    finished: Finished
    key: bytes
    capture: Path
    seen: list[Path]

    @property
    def report(self) -> dict[str, Any]:
        """The run's report."""
        return self.run.read_json("report.json")


class Watch:
    """Copies a run's key, and the server's database again and again, while the run is on."""

    def __init__(self, fleet: Path, run: Path, copies: Path) -> None:
        """Begin."""
        self.key = b""
        self.copies = copies
        self._fleet, self._run = fleet, run
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def _look(self) -> None:
        number, last = 0, dict[str, float]()
        while not self._end.wait(2.0):
            key = self._run / "run.key"
            if not self.key and key.exists():
                self.key = key.read_bytes()
            for name in ("state.db", "state.db-wal"):
                file, number = self._fleet / name, number + 1
                if last.get(name) != file.stat().st_mtime:
                    last[name] = file.stat().st_mtime
                    (self.copies / f"{number}-{name}").write_bytes(file.read_bytes())

    def end(self) -> None:
        """End."""
        self._end.set()
        self._thread.join()


@pytest.fixture(scope="module")
def deployed(
    tmp_path_factory: pytest.TempPathFactory, environ: dict[str, str], tiny_config: Path
) -> Iterator[Deployed]:
    """Make a fleet, give its nodes their part, train, and end it."""
    root = tmp_path_factory.mktemp("deployed")
    folder, copies = root / "fleet", root / "copies"
    copies.mkdir()

    def do(*words: str | Path) -> Finished:
        done = subprocess.run(
            [sys.executable, "-m", "homebody", *map(str, words)],
            cwd=root,
            env=environ,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done

    do("fleet", "init", folder, "--nodes", str(NODES), "--port", "0")
    plan: list[str | Path] = ["--data", "synthetic", "--devices", str(DEVICES), "-c", tiny_config]
    do("fleet", "assign", folder, *plan)
    approve_fleet(folder)
    fleet = Fleet.open(folder)
    ports = [fleet.file.port, *(node.runtime().port for node in fleet.nodes().values())]
    try:
        with captured(ports, root / "packets.pcapng"):
            do("fleet", "up", folder)
            watch = Watch(folder, root / "runs" / "one", copies)
            try:
                words: list[str | Path] = [
                    "train",
                    "--fleet",
                    folder,
                    "--data",
                    "synthetic",
                    "--name",
                    "one",
                ]
                finished = do(*words, "--format", "json")
            finally:
                watch.end()
    finally:
        fleet.down()
    yield Deployed(
        fleet=folder,
        run=RunFolder(root / "runs" / "one"),
        finished=finished,
        key=watch.key,
        capture=root / "packets.pcapng",
        seen=sorted(copies.iterdir()),
    )
    nothing_left(fleet)


@dataclass(frozen=True)
class Repeated:
    """The same run in this process, from the same key.

    Attributes:
        prepared: The run.
        initial: The model before the first round.
        releases: The model after each.
    """

    prepared: Prepared
    initial: Vector
    releases: list[Vector]

    def host(self) -> Host:
        """Return a host of everybody."""
        return host_of(self.prepared)


@pytest.fixture(scope="module")
def repeated(deployed: Deployed, tmp_path_factory: pytest.TempPathFactory) -> Repeated:
    """Run in this process what the fleet ran, on the key it had: a test may, nobody else can."""
    runs = tmp_path_factory.mktemp("repeated")
    assignment = Assignment.load(deployed.fleet)
    request = assignment.request(deployed.fleet, runs=runs, name="one")
    request = replace(request, runtime="cohort", fleet=None, secagg=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setup, "run_key", lambda *_: deployed.key)
        prepared = prepare(request, assignment.accept)
    releases: list[Vector] = []
    initial = prepared.folder.load_state().parameters
    runtimes.run(prepared, lambda _, parameters: releases.append(parameters))
    return Repeated(prepared, initial, releases)


def test_the_fleet_releases_the_cohorts_model_bit_for_bit(
    deployed: Deployed, repeated: Repeated
) -> None:
    own = deployed.run.load_state().parameters
    assert len(repeated.releases) == 2
    assert np.abs(own - repeated.initial).max() > 0
    assert np.abs(own - repeated.releases[-1]).max() <= 1e-5
    np.testing.assert_array_equal(own, repeated.releases[-1])


def test_the_run_concludes_as_any_other(deployed: Deployed, repeated: Repeated) -> None:
    report, answer = deployed.report, json.loads(deployed.finished.stdout)
    assert answer["model_digest"] == report["digests"]["model"]
    assert (report["runtime"], report["seeded"], report["rounds"]) == ("deploy", False, 2)
    assert report["epsilon"]["user"]["void_rounds"] == 0
    assert report["bundle"]["signer"] == "held", "until homebody release has looked at it"
    assert (
        report["digests"]["config"] == PrivacyConfig.load(deployed.fleet / "privacy.toml").digest()
    )
    assert f"homebody train --fleet {deployed.fleet}" in report["reproduce"]
    left = {file.name for file in deployed.run.path.iterdir()}
    assert left.isdisjoint({"run.key", "replay.sqlite", "flower.json", "outcome.json", "devices"})
    assert {"report.html", "model.hbm", "ledger.jsonl"} <= left
    lines = [line for line in deployed.finished.stderr.splitlines() if line.startswith("round=")]
    assert len(lines) == 2
    assert repeated.prepared.spec.secagg is False


def needles_of(deployed: Deployed, repeated: Repeated) -> Needles:
    """Return what may stand nowhere in the clear: vectors, models, who is who, keys."""
    host, fleet = repeated.host(), Fleet.open(deployed.fleet)
    before = [repeated.initial, repeated.releases[0]]
    found: dict[str, tuple[bytes, ...]] = {"run key": (deployed.key, deployed.key.hex().encode())}
    for number, model in enumerate(before, start=1):
        found[f"model of round {number}"] = pieces(model)[:4]
        total = np.zeros(model.size, np.int64)
        for part, (name, node) in enumerate(fleet.nodes().items()):
            devices = frozenset(range(part, DEVICES, NODES))
            shard = replace(host, devices=devices)
            own = shard_contribution(shard, tuple(sorted(devices)), model, number)
            total += own
            found[f"sum of {name} in round {number}"] = vector_pieces(own)[:12]
            first = replace(host, devices=frozenset({part}))
            one = shard_contribution(first, (part,), model, number)
            found[f"update of device {part} in round {number}"] = vector_pieces(one)[:12]
            found[f"devices of {name}"] = list_pieces(sorted(devices))
            secret = node.folder.identity()
            found[f"keys of {name}"] = (secret.signing.secret, secret.recipient.to_bytes()[:32])
        found[f"sum of round {number}"] = vector_pieces(total)[:12]
    found["aggregator's key"] = (fleet.aggregator.secret,)
    assert all(found.values())
    return Needles(found)


@pytest.fixture(scope="module")
def needles(deployed: Deployed, repeated: Repeated) -> Needles:
    """Return what may stand nowhere in the clear."""
    return needles_of(deployed, repeated)


@needs_capture
def test_who_listens_on_every_port_sees_tls_and_nothing_else(
    deployed: Deployed, needles: Needles
) -> None:
    found = streams(deployed.capture)
    ports = {Fleet.open(deployed.fleet).file.port} | {
        node.runtime().port for node in Fleet.open(deployed.fleet).nodes().values()
    }
    assert ports == {port for stream in found for port in stream.ports} & ports
    assert sum(len(stream.content) for stream in found) > 500_000
    assert sum(stream.gaps for stream in found) == 0, "packets were lost: nothing is proved"
    plain = [
        (stream.ports, stream.plain_from()) for stream in found if stream.plain_from() is not None
    ]
    assert plain == []
    run = deployed.run.read_json("run.json")["spec"]["run_id"].encode()
    assert run not in b"".join(stream.content for stream in found)
    assert set().union(*(needles.found_in(stream.content) for stream in found)) == set()


def test_the_servers_database_never_held_a_vector_a_model_or_who_is_who(
    deployed: Deployed, needles: Needles
) -> None:
    contents = [copy.read_bytes() for copy in deployed.seen]
    contents += files_of(deployed.fleet, OWN).values()
    run = deployed.run.read_json("run.json")["spec"]["run_id"].encode()
    assert any(run in content for content in contents), "an announcement is signed, not sealed"
    assert len(contents) > 10
    assert set().union(*(needles.found_in(content) for content in contents)) == set()


def test_the_scan_would_have_found_them(
    deployed: Deployed, needles: Needles, tmp_path: Path
) -> None:
    for name in OWN:
        if (deployed.fleet / name).exists():
            (tmp_path / name).write_bytes((deployed.fleet / name).read_bytes())
    database = sqlite3.connect(tmp_path / "state.db")
    database.execute("CREATE TABLE planted (content BLOB)")
    for pieces_of in needles.by_name.values():
        database.execute("INSERT INTO planted VALUES (?)", (pieces_of[-1],))
    database.commit()
    contents = files_of(tmp_path, OWN).values()
    assert set().union(*map(needles.found_in, contents)) == set(needles.by_name)
    database.close()


def test_no_log_and_no_file_of_the_processes_tells_anything(
    deployed: Deployed, needles: Needles
) -> None:
    folders = [deployed.fleet / name for name in ("logs", "flwr", "cli", "pids", "guard")]
    folders += [node.path / "flwr" for node in Fleet.open(deployed.fleet).nodes().values()]
    files = {
        path: content for folder in folders for path, content in files_of(folder, ["*"]).items()
    }
    assert any(path.name == "superlink.log" and content for path, content in files.items())
    telling = {path.name: needles.found_in(content) for path, content in files.items()}
    assert {name: found for name, found in telling.items() if found} == {}


def test_what_the_nodes_kept_of_the_run_is_encrypted(deployed: Deployed, needles: Needles) -> None:
    states = files_of(deployed.fleet / "nodes", ["state.db*"])
    assert len(states) >= NODES
    assert set().union(*map(needles.found_in, states.values())) == set()
