"""A fleet of four nodes on this machine: up, attacked, hurt, down. Real processes, over TLS."""

import http.client
import json
import os
import signal
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from homebody_server.fleet.control import health
from homebody_server.fleet.enrol import join_fleet, register_node, revoke_node
from homebody_server.fleet.fleet import Fleet
from homebody_server.fleet.layout import NodePaths
from homebody_server.fleet.lifecycle import supervisor_of
from homebody_server.fleet.roles import control_environment, node_roles
from homebody_server.fleet.supernode_keys import make_supernode_key

from .conftest import Cli
from .fleet_world import (
    nothing_left,
    process_of,
    start,
    states,
    unguarded,
    until,
    write_hostile_app,
)

NODES = ("n1", "n2", "n3", "n4")


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Iterator[Fleet]:
    """Return a fleet that is up; tests of this file take it as the one before left it."""
    folder = tmp_path_factory.mktemp("fleets") / "home"
    made = cli("fleet", "init", folder, "--port", "0", cwd=folder.parent)
    assert made.returncode == 0, made.stderr
    fleet = Fleet.open(folder)
    try:
        up = cli("fleet", "up", folder, "--format", "json", cwd=folder.parent)
        assert up.returncode == 0, up.stderr
        yield fleet
    finally:
        fleet.down()


def test_one_command_brings_four_nodes_online(fleet: Fleet, cli: Cli) -> None:
    asked = cli("fleet", "status", fleet.paths.path, "--format", "json", cwd=fleet.paths.path)
    status = json.loads(asked.stdout)
    assert asked.returncode == 0
    assert {node["name"]: node["state"] for node in status["nodes"]} == dict.fromkeys(
        NODES, "online"
    )
    assert status["up"]
    assert status["supervised"]
    assert status["serving"]
    assert len(status["processes"]) == 2 + 2 * len(NODES)
    assert all(process["pid"] for process in status["processes"])


def test_a_fleet_that_is_up_is_not_started_twice(fleet: Fleet, cli: Cli) -> None:
    again = cli("fleet", "up", fleet.paths.path, cwd=fleet.paths.path)
    assert again.returncode == 2
    assert "is up already" in again.stderr


def test_preflight_of_a_fleet_that_is_up_finds_no_fault(fleet: Fleet, cli: Cli) -> None:
    asked = cli("fleet", "preflight", fleet.paths.path, "--format", "json", cwd=fleet.paths.path)
    found = json.loads(asked.stdout)
    assert asked.returncode == 0, found
    lines = {line["check"]: line["what"] for line in found["findings"]}
    assert lines["clock"] == "as the server's"
    assert lines["database"].startswith("state.db is of the installed flwr")


def test_plain_http_is_refused_by_the_server_and_by_a_node(fleet: Fleet) -> None:
    for port in (fleet.file.port, fleet.paths.node("n1").runtime().port):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/health")
        with pytest.raises((http.client.HTTPException, OSError)):
            connection.getresponse()
        connection.close()


def test_who_trusts_another_authority_refuses_the_server(fleet: Fleet) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        health(fleet.file.address, fleet.paths.node("n1").path / "runtime.ca.crt")


def test_a_task_is_not_given_to_who_does_not_know_the_secret(fleet: Fleet, tmp_path: Path) -> None:
    node = fleet.paths.node("n1")
    places = (
        (fleet.file.port, fleet.paths.path / "ca.crt"),
        (node.runtime().port, node.path / "runtime.ca.crt"),
    )
    for port, authority in places:
        context = ssl.create_default_context(cafile=str(authority))
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=5, context=context)
        connection.request(
            "POST", "/v1/runtime/acquire-task", b"", {"Content-Type": "application/protobuf"}
        )
        assert connection.getresponse().status == http.client.UNAUTHORIZED
        connection.close()
    wrong = tmp_path / "secret"
    wrong.write_bytes(b"0" * 64)
    ended = start(
        [
            *("flower-superexec", "--runtime-api-address", fleet.file.address),
            *("--root-certificates", str(fleet.paths.path / "ca.crt")),
            *("--superexec-auth-secret-file", str(wrong)),
        ],
        control_environment(fleet.paths),
    )
    assert "SuperExec terminated" in ended.stdout + ended.stderr  # with the secret it stays


def _sign_in(fleet: Fleet, key: Path) -> str:
    """Start a SuperNode with n1's files but another key; return what it said when it ended."""
    role = node_roles(fleet.paths.node("n1"))[0]
    words = list(role.command[role.command.index("flower-supernode") :])
    words[words.index("--auth-supernode-private-key") + 1] = str(key)
    words[words.index("--port") + 1] = "28999"
    ended = start(words, {**role.environ, "FLWR_HOME": str(key.parent)})
    assert ended.returncode == 1
    return ended.stdout + ended.stderr


def test_a_supernode_with_a_key_nobody_registered_is_refused(fleet: Fleet, tmp_path: Path) -> None:
    make_supernode_key(tmp_path / "own.key")
    assert "Exit Code: 305" in _sign_in(fleet, tmp_path / "own.key")


@pytest.mark.slow
def test_a_node_that_joins_is_registered_and_refused_after_it_was_revoked(
    fleet: Fleet, tmp_path: Path
) -> None:
    node = tmp_path / "node"
    request = join_fleet(node, server=fleet.file.address, authority=fleet.paths.path / "ca.crt")
    register_node(fleet.paths, request, name="far", answer=tmp_path / "answer.json")
    assert states(fleet)["far"] == "registered"
    fleet.registry.change("far", flower_id="1")  # as where the database is new
    assert states(fleet)["far"] == "new"
    register_node(fleet.paths, request, name="far", answer=tmp_path / "again.json")
    assert states(fleet)["far"] == "registered"
    revoke_node(fleet.paths, "far")
    assert states(fleet)["far"] == "revoked"
    assert "Exit Code: 305" in _sign_in(fleet, NodePaths(node).path / "supernode.key")
    identity = NodePaths(node).folder.identity()
    assert identity.node_id in fleet.registry.revoked()
    assert identity.node_id not in fleet.registry.certificates()


def test_a_run_brings_no_code_to_a_guarded_node(fleet: Fleet, tmp_path: Path) -> None:
    """The server of this test is the attacker's own, and so is n4: only there his client runs."""
    marks = tmp_path / "marks"
    marks.mkdir()
    app = write_hostile_app(tmp_path / "app", marks)
    stock = fleet.paths.node("n4").path / "guard"
    with (
        unguarded(fleet.paths.path / "guard", "flwr-serverapp"),
        unguarded(stock, "flwr-clientapp"),
    ):
        run = fleet.wait(fleet.start_run(app), timeout_s=90)
    assert run.status == "finished:completed"
    replies = json.loads((marks / "server").read_text())
    assert len(replies) == len(NODES)
    assert {mark.name for mark in marks.glob("client-*")} == {"client-n4"}
    assert [reply for reply in replies if reply and "the app failed" not in reply] == []
    assert "flwr-clientapp" in (fleet.paths.path / "logs" / "n1.clientapp.log").read_text()


@pytest.mark.slow
def test_a_run_brings_no_code_to_the_guarded_server(fleet: Fleet, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    app = write_hostile_app(tmp_path / "app", marks)
    fleet.wait(fleet.start_run(app, {"run-folder": str(tmp_path)}), timeout_s=60)
    assert json.loads((tmp_path / "outcome.json").read_text())["ended"] == "invalid-file"
    assert list(marks.iterdir()) == []


def test_no_log_names_a_device_or_where_it_is(fleet: Fleet, cli: Cli) -> None:
    ids = [record.flower_id for record in fleet.registry.records().values() if record.flower_id]
    texts = [file.read_text() for file in (fleet.paths.path / "logs").glob("*.log*")]
    assert ids
    assert any("Activated node_id=[id]" in text for text in texts)
    assert not any(number in text for text in texts for number in ids)
    shown = cli("fleet", "logs", fleet.paths.path, "--role", "superlink", cwd=fleet.paths.path)
    assert shown.returncode == 0
    assert shown.stdout


def test_a_killed_superlink_is_back_within_the_time_nodes_are_held(fleet: Fleet) -> None:
    process_of(fleet.status(), "superlink").send(signal.SIGKILL)
    authority, address = fleet.paths.path / "ca.crt", fleet.file.address
    assert until(lambda: health(address, authority) is not None, 45) < 45
    assert {name: state for name, state in states(fleet).items() if name in NODES} == (
        dict.fromkeys(NODES, "online")
    )


def test_down_leaves_no_process_and_no_port_though_the_supervisor_was_killed(
    fleet: Fleet, cli: Cli
) -> None:
    supervisor = supervisor_of(fleet.paths)
    assert supervisor is not None
    os.kill(supervisor.pid, signal.SIGKILL)
    down = cli("fleet", "down", fleet.paths.path, cwd=fleet.paths.path)
    assert down.returncode == 0
    nothing_left(fleet)
    asked = cli("fleet", "status", fleet.paths.path, cwd=fleet.paths.path)
    assert asked.returncode == 1
