"""What a supervisor mends, and what it lets go on: kills, restarts, rotation. Takes minutes."""

import json
import os
import signal
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from homebody_server.fleet.backoff import HELD_S
from homebody_server.fleet.control import health
from homebody_server.fleet.enrol import revoke_node
from homebody_server.fleet.fleet import Fleet, bring_up
from homebody_server.fleet.layout import FleetPaths, NodePaths
from homebody_server.fleet.lifecycle import begin, bring_down, is_up, supervisor_of
from homebody_server.fleet.processes import of_folder, recall
from homebody_server.fleet.rotate import rotate_fleet
from homebody_server.fleet.tls import load_certificate

from .conftest import Cli
from .fleet_world import (
    nothing_left,
    process_of,
    states,
    unguarded,
    until,
    write_patient_app,
)

pytestmark = pytest.mark.slow


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """Return a fleet of one node that is up."""
    fleet = Fleet.create(tmp_path / "home", nodes=1, port=0)
    try:
        fleet.up()
        yield fleet
    finally:
        fleet.down()
        nothing_left(fleet)


def test_a_killed_supernode_is_back_after_flower_lets_go_of_it(fleet: Fleet) -> None:
    process_of(fleet.status(), "n1.supernode").send(signal.SIGKILL)
    until(lambda: fleet.status().processes[2].waits_s > 0, 10)
    waits = fleet.status().processes[2].waits_s
    assert HELD_S - 10 < waits <= HELD_S + 20
    assert until(lambda: is_up(fleet.paths), HELD_S + 60) > HELD_S - 10
    assert fleet.status().processes[2].restarts == 1


def test_a_supernode_that_signed_off_is_back_at_once(fleet: Fleet) -> None:
    before = process_of(fleet.status(), "n1.supernode")
    before.send(signal.SIGTERM)
    until(lambda: fleet.status().processes[2].restarts == 1, 20)
    assert fleet.status().processes[2].last == "exit 0"
    until(lambda: is_up(fleet.paths), HELD_S + 60)


def test_a_new_server_certificate_is_served_and_nodes_stay(fleet: Fleet) -> None:
    old = load_certificate(fleet.paths.path / "server.crt")
    server = process_of(fleet.status(), "superlink")
    node = process_of(fleet.status(), "n1.supernode")
    rotate_fleet(fleet.paths)
    new = load_certificate(fleet.paths.path / "server.crt")
    assert new.serial_number != old.serial_number
    until(lambda: not server.alive, 20)
    until(lambda: health(fleet.file.address, fleet.paths.path / "ca.crt") is not None, 40)
    served = ssl.get_server_certificate(("127.0.0.1", fleet.file.port))
    assert served.strip() == (fleet.paths.path / "server.crt").read_text().strip()
    assert states(fleet) == {"n1": "online"}
    assert node.alive
    certificate = fleet.paths.node("n1").folder.certificate()
    assert fleet.registry.certificates() == {certificate.node_id: certificate.to_bytes()}


def test_a_run_goes_on_over_a_new_certificate_and_a_killed_superlink(
    fleet: Fleet, tmp_path: Path
) -> None:
    marks, authority = tmp_path / "marks", fleet.paths.path / "ca.crt"
    marks.mkdir()
    app = write_patient_app(tmp_path / "app", marks)
    with unguarded(fleet.paths.path / "guard", "flwr-serverapp"):
        run = fleet.start_run(app)
        until((marks / "begun").exists, 40)
    for hurt in (rotate_fleet, _kill_superlink):
        server = process_of(fleet.status(), "superlink")
        hurt(fleet.paths)
        until(lambda server=server: not server.alive, 20)  # type: ignore[misc]
        until(lambda: health(fleet.file.address, authority) is not None, 40)
    assert not fleet.run_status(run).ended
    (marks / "enough").touch()
    assert fleet.wait(run, timeout_s=60).status == "finished:completed"
    assert (marks / "nodes").read_text() == "1"


def _kill_superlink(paths: FleetPaths) -> None:
    process = recall(paths.path / "pids" / "superlink.json")
    assert process is not None
    process.send(signal.SIGKILL)


def test_a_new_supervisor_takes_over_what_a_killed_one_left(fleet: Fleet) -> None:
    before = {process.role: process.pid for process in fleet.status().processes}
    supervisor = supervisor_of(fleet.paths)
    assert supervisor is not None
    os.kill(supervisor.pid, signal.SIGKILL)
    until(lambda: not supervisor.alive, 10)
    assert all(pid is not None for pid in before.values())
    again = begin(fleet.paths)
    until(lambda: is_up(fleet.paths), 40)
    assert again.alive
    assert {process.role: process.pid for process in fleet.status().processes} == before
    process_of(fleet.status(), "n1.superexec").send(signal.SIGKILL)
    until(lambda: is_up(fleet.paths), 40)
    fleet.down()
    assert not again.alive


def test_a_revoked_local_node_is_ended_and_stays_out(fleet: Fleet) -> None:
    processes = [process_of(fleet.status(), f"n1.{part}") for part in ("supernode", "superexec")]
    revoke_node(fleet.paths, "n1")
    until(lambda: not any(process.alive for process in processes), 40)
    fleet.down()
    fleet.up()
    assert states(fleet) == {"n1": "revoked"}
    assert [process.role for process in fleet.status().processes] == ["superlink", "superexec"]


def test_a_node_of_another_folder_joins_works_and_is_refused_after_it_was_revoked(
    fleet: Fleet, tmp_path: Path, cli: Cli
) -> None:
    far, authority = tmp_path / "far", fleet.paths.path / "ca.crt"
    told = [
        ("join", far, "--server", fleet.file.address, "--ca", authority),
        ("register", fleet.paths.path, far / "request.json", "--name", "far"),
        ("join", far, "--answer", tmp_path / "answer.json"),
    ]
    told[1] = (*told[1], "--answer", tmp_path / "answer.json")
    answers = []
    for words in told:
        done = cli("fleet", *words, "--format", "json", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        answers.append(json.loads(done.stdout))
    assert answers[1]["authority"] == answers[2]["authority"]
    node = NodePaths(far)
    try:
        bring_up(node)
        until(lambda: states(fleet)["far"] == "online", 40)
        down = cli("fleet", "down", far, cwd=tmp_path)
        assert down.returncode == 0, down.stderr
        assert of_folder(far) == []
        assert states(fleet)["far"] == "offline"
        revoked = cli("fleet", "revoke", fleet.paths.path, "far", cwd=tmp_path)
        assert revoked.returncode == 0, revoked.stderr
        supervisor = begin(node)
        until(lambda: "Exit Code: 305" in (far / "logs" / "supernode.log").read_text(), 40)
        assert supervisor.alive
        assert states(fleet) == {"far": "revoked", "n1": "online"}
    finally:
        bring_down(node)
