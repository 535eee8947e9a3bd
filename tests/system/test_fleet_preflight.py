"""What ``homebody fleet preflight`` finds, each fault made for real, and how the command ends."""

import datetime as dt
import json
import os
import socket
import sqlite3
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from homebody_privacy.environment import FLEET, QUIET
from homebody_privacy.node_folder import Pins
from homebody_privacy.signing import SigningKey
from homebody_server.fleet import check_machine
from homebody_server.fleet.create import create_fleet, issue_node
from homebody_server.fleet.enrol import join_fleet
from homebody_server.fleet.finding import Finding, Severity, exit_code_of
from homebody_server.fleet.layout import FleetFile, FleetPaths, NodePaths, Versions, open_folder
from homebody_server.fleet.preflight import examine, repair
from homebody_server.fleet.processes import of_folder
from homebody_server.fleet.registry import Registry
from homebody_server.fleet.roles import program
from homebody_server.fleet.rotate import rotate_fleet
from homebody_server.fleet.tls import Issued, issue_server, make_authority

from .conftest import Cli

NOW = dt.datetime.now(dt.UTC)
DAY = dt.timedelta(days=1)


@pytest.fixture
def paths(tmp_path: Path) -> FleetPaths:
    """Return a fleet of one node that is down."""
    return create_fleet(tmp_path / "home", name="home", nodes=1, port=0)


def faults(paths: FleetPaths | NodePaths, **given: object) -> list[Finding]:
    """Return what is not as it should be, but strays of other tests."""
    found = examine(paths, **given)  # type: ignore[arg-type]
    return [f for f in found if f.severity is not Severity.OK and f.check != "stray-superlink"]


def the_only_fault(paths: FleetPaths | NodePaths, check: str, **given: object) -> Finding:
    """Return the one fault, which says what, why and what helps."""
    found = faults(paths, **given)
    assert [fault.check for fault in found] == [check]
    assert found[0].what
    assert found[0].why
    assert found[0].fix
    return found[0]


def test_a_new_fleet_has_no_fault_and_the_command_ends_with_0(paths: FleetPaths, cli: Cli) -> None:
    assert faults(paths) == []
    asked = cli("fleet", "preflight", paths.path, "--format", "json", cwd=paths.path)
    answer = json.loads(asked.stdout)
    assert asked.returncode == 0
    assert answer["ok"]
    assert {line["check"] for line in answer["findings"]} == {
        *("rights", "guard", "authority-certificate", "server-certificate", "versions", "disk"),
        *("runtime-certificate", "node-certificate", "database", "port", "stray-superlink"),
        *("telemetry", "clock", "exposure"),
    }


def test_a_port_that_is_taken_is_found_and_the_command_ends_with_1(
    paths: FleetPaths, cli: Cli
) -> None:
    port = paths.read().port
    with socket.create_server(("127.0.0.1", port)):
        assert str(port) in the_only_fault(paths, "port").what
        asked = cli("fleet", "preflight", paths.path, cwd=paths.path)
    assert asked.returncode == 1
    assert f"FAIL port  port {port} of superlink is taken" in asked.stdout
    assert "fix: end that process" in asked.stdout


def test_a_nodes_port_that_is_taken_is_found(paths: FleetPaths) -> None:
    port = paths.nodes()[0].runtime().port
    with socket.create_server(("127.0.0.1", port)):
        assert f"port {port} of n1.supernode" in the_only_fault(paths, "port").what


def _serve(
    paths: FleetPaths, begun: dt.datetime, *, names: tuple[str, ...] = (), days: float = 365
) -> None:
    """Put another certificate of the fleet's own authority in the server's place."""
    authority = Issued.load(paths.path / "ca.crt", paths.path / "ca.key")
    server = issue_server(authority, names or paths.read().names, begun, days=days)
    (paths.path / "server.crt").write_bytes(server.certificate_pem)
    (paths.path / "server.key").write_bytes(server.key_pem)


@pytest.mark.parametrize(
    ("begun", "names", "said"),
    [
        (NOW - 400 * DAY, (), "it ended on"),
        (NOW + 2 * DAY, (), "it begins on"),
        (NOW, ("fleet.example", "localhost"), "it is not for 127.0.0.1"),
    ],
)
def test_a_server_certificate_that_would_be_refused_is_found(
    paths: FleetPaths, begun: dt.datetime, names: tuple[str, ...], said: str
) -> None:
    _serve(paths, begun, names=names)
    fault = the_only_fault(paths, "server-certificate")
    assert said in fault.what
    assert "homebody fleet rotate" in fault.fix
    assert exit_code_of([fault]) == 2
    rotate_fleet(paths)
    assert faults(paths) == []


def test_a_server_certificate_near_its_end_is_a_warning(paths: FleetPaths) -> None:
    _serve(paths, NOW, days=10)
    fault = the_only_fault(paths, "server-certificate")
    assert fault.severity is Severity.WARNING
    assert exit_code_of([fault]) == 0


def test_a_server_certificate_of_another_authority_is_found(paths: FleetPaths) -> None:
    other = issue_server(make_authority("home", NOW), paths.read().names, NOW)
    (paths.path / "server.crt").write_bytes(other.certificate_pem)
    (paths.path / "server.key").write_bytes(other.key_pem)
    assert "not signed by the authority" in the_only_fault(paths, "server-certificate").what


def test_a_key_of_another_certificate_is_found(paths: FleetPaths) -> None:
    other = issue_server(make_authority("home", NOW), ["localhost"], NOW)
    (paths.path / "server.key").write_bytes(other.key_pem)
    assert "does not belong to server.crt" in the_only_fault(paths, "server-certificate").what


def test_an_expired_authority_is_found(paths: FleetPaths) -> None:
    found = faults(paths, now=NOW + 3700 * DAY)
    assert {fault.check for fault in found} == {
        *("authority-certificate", "server-certificate", "runtime-certificate"),
        "node-certificate",
    }
    assert exit_code_of(found) == 2


def test_a_node_certificate_that_ended_is_found(paths: FleetPaths) -> None:
    node = paths.nodes()[0].folder
    signer = SigningKey.load(paths.path / "authority.key")
    node.replace_certificate(issue_node(signer, "home", node.identity(), NOW - 366 * DAY))
    assert exit_code_of([the_only_fault(paths, "node-certificate")]) == 2


def test_a_node_that_trusts_another_server_or_other_keys_is_found(paths: FleetPaths) -> None:
    node = paths.nodes()[0]
    (node.path / "ca.crt").write_bytes(make_authority("home", NOW).certificate_pem)
    the_only_fault(paths, "node-authority")
    (node.path / "ca.crt").write_bytes((paths.path / "ca.crt").read_bytes())
    pins = node.folder.pins()
    other = Pins(fleet="home", authority=pins.authority, aggregator=bytes(32))
    node.folder.pins_file.write_bytes(other.to_bytes())
    the_only_fault(paths, "node-pins")


class _Late(BaseHTTPRequestHandler):
    """Answers as a SuperLink whose clock is off."""

    shift_s = 0.0

    def do_GET(self) -> None:
        """Say that all is well."""
        self.send_response_only(200)
        self.send_header("Date", formatdate(time.time() + self.shift_s, usegmt=True))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def _answering(paths: FleetPaths, server: Issued, shift_s: float) -> Iterator[None]:
    """Answer on the fleet's port while the block lasts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pem = paths.path.with_name("served.pem")
    pem.write_bytes(server.key_pem + server.certificate_pem)
    context.load_cert_chain(pem)
    handler = type("Shifted", (_Late,), {"shift_s": shift_s})
    with HTTPServer(("127.0.0.1", paths.read().port), handler) as served:
        served.handle_error = lambda *_: None  # type: ignore[method-assign]
        served.socket = context.wrap_socket(served.socket, server_side=True)
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield
        finally:
            served.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("shift_s", "severity"),
    [(0, None), (-20, Severity.WARNING), (600, Severity.ERROR), (-600, Severity.ERROR)],
)
def test_a_clock_that_is_off_is_found_on_a_node(
    paths: FleetPaths, tmp_path: Path, shift_s: float, severity: Severity | None
) -> None:
    join_fleet(tmp_path / "far", server=paths.read().address, authority=paths.path / "ca.crt")
    server = Issued.load(paths.path / "server.crt", paths.path / "server.key")
    with _answering(paths, server, shift_s):
        found = faults(NodePaths(tmp_path / "far"))
    clocks = [fault for fault in found if fault.check == "clock"]
    assert [fault.severity for fault in clocks] == ([] if severity is None else [severity])


def test_a_server_with_another_certificate_is_found(paths: FleetPaths) -> None:
    other = issue_server(make_authority("home", NOW), ["localhost"], NOW)
    with _answering(paths, other, 0):
        assert {fault.check for fault in faults(paths)} == {"port", "server"}


@pytest.mark.parametrize("own", [True, False])
def test_a_stray_superlink_is_found(paths: FleetPaths, own: bool) -> None:  # noqa: FBT001 a case
    environ = {**os.environ, **QUIET, "FLWR_HOME": str(paths.path.with_name("flwr"))}
    database = paths.database if own else paths.path.with_name("other.db")
    stray = subprocess.Popen(
        [program("flower-superlink"), "--insecure", "--database", database, "--port", "1"],
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        found = [f for f in examine(paths) if f.check == "stray-superlink"]
    finally:
        stray.kill()
        stray.wait()
    mine = [fault for fault in found if f"process {stray.pid} " in fault.what]
    assert [fault.severity for fault in mine] == [Severity.ERROR if own else Severity.WARNING]
    assert f"kill {stray.pid}" in mine[0].fix


def _record(paths: FleetPaths, **versions: str) -> None:
    fleet = paths.read()
    changed = fleet.versions.model_copy(update=versions)
    FleetFile.model_validate(fleet.model_copy(update={"versions": changed})).save(paths.file)


def test_versions_that_differ_are_found(paths: FleetPaths) -> None:
    _record(paths, flwr="1.41.0")
    assert the_only_fault(paths, "versions").severity is Severity.WARNING
    _record(paths, flwr=Versions.installed().flwr, homebody="0.0.9")
    assert "0.0.9" in the_only_fault(paths, "versions").what


def test_an_untested_flower_is_an_error(paths: FleetPaths) -> None:
    found = faults(paths, installed=Versions(homebody="0.1.0", flwr="1.43.0"))
    assert found[0].severity is Severity.ERROR
    assert "homebody is tested with" in found[0].what


def test_a_node_of_another_version_is_a_warning(paths: FleetPaths) -> None:
    other = Versions(homebody="0.0.9", flwr="1.41.0")
    Registry(paths.path / "registry").change("n1", versions=other)
    assert "n1 has homebody 0.0.9 and flwr 1.41.0" in the_only_fault(paths, "versions").what


def test_a_database_that_a_newer_flower_opened_is_found(paths: FleetPaths) -> None:
    _record(paths, flwr="1.99.0")
    found = {fault.check: fault for fault in faults(paths)}
    assert "opened by flwr 1.99.0" in found["database"].what
    assert exit_code_of(found.values()) == 2


def test_a_database_of_an_unknown_schema_or_none_is_found(paths: FleetPaths) -> None:
    with sqlite3.connect(paths.database) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("INSERT INTO alembic_version VALUES ('ffffffffffff')")
    connection.close()
    assert "ffffffffffff" in the_only_fault(paths, "database").what
    paths.database.write_bytes(b"not a database" * 100)
    assert exit_code_of([the_only_fault(paths, "database")]) == 2


def _loosen_key(paths: FleetPaths) -> None:
    (paths.path / "authority.key").chmod(0o640)


def _loosen_folder(paths: FleetPaths) -> None:
    paths.nodes()[0].path.chmod(0o755)


def _drop_guard(paths: FleetPaths) -> None:
    (paths.nodes()[0].path / "guard" / "flwr-clientapp").unlink()


def _change_guard(paths: FleetPaths) -> None:
    with (paths.path / "guard" / "flwr-simulation").open("a") as file:
        file.write("exec flwr-simulation\n")


def _link_guard(paths: FleetPaths) -> None:
    file = paths.nodes()[0].path / "guard" / "flwr-clientapp"
    file.rename(paths.path / "logs" / "kept")
    file.symlink_to(paths.path / "logs" / "kept")


def _add_to_guard(paths: FleetPaths) -> None:
    (paths.nodes()[0].path / "guard" / "python3").touch()


@pytest.mark.parametrize(
    ("spoil", "check"),
    [
        (_loosen_key, "rights"),
        (_loosen_folder, "rights"),
        (_drop_guard, "guard"),
        (_change_guard, "guard"),
        (_link_guard, "guard"),
        (_add_to_guard, "guard"),
    ],
)
def test_loose_rights_and_a_guard_with_a_hole_are_found_and_repaired(
    paths: FleetPaths, spoil: Callable[[FleetPaths], None], check: str
) -> None:
    spoil(paths)
    assert exit_code_of([the_only_fault(paths, check)]) == 10
    repair(paths)
    assert faults(paths) == []


def test_a_fleet_with_a_fault_is_not_started(paths: FleetPaths, cli: Cli) -> None:
    _drop_guard(paths)
    up = cli("fleet", "up", paths.path, cwd=paths.path)
    assert up.returncode == 10
    assert "a run could bring its own code" in up.stderr
    assert of_folder(paths.path) == []
    repaired = cli("fleet", "preflight", paths.path, "--repair", cwd=paths.path)
    assert repaired.returncode == 0


def test_a_process_with_telemetry_on_is_found(paths: FleetPaths) -> None:
    loud = {**QUIET, FLEET: str(paths.path), "FLWR_TELEMETRY_ENABLED": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], env=loud, stdin=subprocess.PIPE
    ) as process:
        fault = the_only_fault(paths, "telemetry")
        process.kill()
    assert f"process {process.pid}" in fault.what
    assert exit_code_of([fault]) == 10
    assert faults(paths) == []


@pytest.mark.parametrize("host", ["0.0.0.0", "fleet.example", "192.0.2.1"])  # noqa: S104 a case
def test_a_server_that_more_than_this_machine_reaches_is_a_warning(
    tmp_path: Path, host: str
) -> None:
    paths = create_fleet(tmp_path / "open", name="open", nodes=0, host=host, port=0)
    found = list(check_machine.exposure(paths.read().host))
    assert [fault.severity for fault in found] == [Severity.WARNING]
    assert "Control API" in found[0].why


def test_a_full_disk_is_found(paths: FleetPaths) -> None:
    assert exit_code_of([the_only_fault(paths, "disk", least_free_bytes=2**62)]) == 1


def test_a_missing_key_is_found(paths: FleetPaths) -> None:
    (paths.path / "superexec.secret").unlink()
    assert exit_code_of([the_only_fault(paths, "rights")]) == 2


def test_a_node_that_was_not_answered_is_not_started(
    paths: FleetPaths, tmp_path: Path, cli: Cli
) -> None:
    far = tmp_path / "far"
    join_fleet(far, server=paths.read().address, authority=paths.path / "ca.crt")
    assert "has not answered" in the_only_fault(open_folder(far), "node-certificate").what
    assert cli("fleet", "up", far, cwd=tmp_path).returncode == 2
