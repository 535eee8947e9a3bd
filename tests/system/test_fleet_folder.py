"""What ``homebody fleet init`` makes: whose it is, what it opens, and what it never overwrites."""

import datetime as dt
import random
import socket
import ssl
import stat
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from flwr.supercore.constant import TASK_TYPE_TO_COMMAND
from flwr.supercore.primitives.asymmetric import uses_nist_ec_curve
from hypothesis import given
from hypothesis import strategies as st

from homebody.cli import run
from homebody_privacy.environment import FLEET, NODE, QUIET
from homebody_privacy.errors import InvalidFileError, MissingExtraError, UsageError
from homebody_server.fleet import check_files, guard
from homebody_server.fleet.backoff import HELD_S, Ended, pause_s
from homebody_server.fleet.create import create_fleet
from homebody_server.fleet.launch import app_log, scrub
from homebody_server.fleet.layout import FleetPaths, open_folder
from homebody_server.fleet.logs import rotate, tail
from homebody_server.fleet.registry import Registry
from homebody_server.fleet.roles import Kind, environment, fleet_roles, node_roles
from homebody_server.fleet.tls import Issued, issue_server, load_certificate, make_authority

NOW = dt.datetime.now(dt.UTC)
FEW = 2


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> FleetPaths:
    """Return a fleet of two nodes; read only."""
    folder = tmp_path_factory.mktemp("made") / "home"
    return create_fleet(folder, name="home", nodes=FEW, host="::1", port=0, names=["fleet.example"])


def test_everything_is_its_owners_alone(paths: FleetPaths) -> None:
    for file in (paths.path, *paths.path.rglob("*")):
        mode = stat.S_IMODE(file.lstat().st_mode)
        program = file.is_dir() or file.parent.name == "guard"
        assert mode == (0o700 if program else 0o600), file


def test_what_was_promised_is_there(paths: FleetPaths) -> None:
    own = {file.name for file in paths.path.iterdir()}
    assert own == {
        *("fleet.toml", "authority.key", "aggregator.key", "ca.key", "ca.crt", "server.key"),
        *("server.crt", "superexec.secret", "registry", "guard", "nodes", "flwr", "cli"),
        *("logs", "pids"),
    }
    for node in paths.nodes():
        assert {file.name for file in node.path.iterdir()} == {
            *("identity.key", "certificate.bin", "pins.json", "runtime.toml", "ca.crt"),
            *("supernode.key", "supernode.key.pub", "runtime.key", "runtime.crt"),
            *("runtime.ca.crt", "superexec.secret", "guard", "flwr", "logs", "pids"),
        }


def test_no_two_secrets_are_the_same(paths: FleetPaths) -> None:
    files = [*paths.secrets, *(file for node in paths.nodes() for file in node.secrets)]
    assert len({file.read_bytes() for file in files}) == len(files) == 5 + 4 * FEW


def test_a_node_trusts_the_fleet_and_the_fleet_knows_the_node(paths: FleetPaths) -> None:
    known = Registry(paths.path / "registry").certificates()
    for node in paths.nodes():
        folder = node.folder
        certificate, pins = folder.certificate(), folder.pins()
        certificate.check(pins.authority, "home", NOW.timestamp())
        assert certificate.node_id == folder.identity().node_id
        assert known[certificate.node_id] == certificate.to_bytes()
    assert len(known) == FEW


def test_nothing_is_made_over_anything(paths: FleetPaths) -> None:
    before = {file: file.read_bytes() for file in paths.path.rglob("*") if file.is_file()}
    with pytest.raises(UsageError, match="is not empty"):
        create_fleet(paths.path, name="other", nodes=1)
    assert {file: file.read_bytes() for file in before} == before


def test_a_fleet_that_could_not_be_made_whole_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("homebody_server.fleet.create.make_supernode_key", broken)
    with pytest.raises(OSError, match="no space"):
        create_fleet(tmp_path / "home", name="home", nodes=1)
    assert list(tmp_path.iterdir()) == []


def _handshake(server: Issued, authority: Path, name: str, folder: Path) -> None:
    """Shake hands over a real socket, as strictly as OpenSSL can check.

    Raises:
        ssl.SSLError: If the client refuses the server.
    """
    pem = folder / "served.pem"
    pem.write_bytes(server.key_pem + server.certificate_pem)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(pem)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            accepted, _ = listener.accept()
            with accepted, suppress(OSError):
                serving.wrap_socket(accepted, server_side=True).close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            context = ssl.create_default_context(cafile=str(authority))
            context.verify_flags |= ssl.VERIFY_X509_STRICT
            with (
                socket.create_connection(listener.getsockname()) as plain,
                context.wrap_socket(plain, server_hostname=name) as wrapped,
            ):
                assert wrapped.version() == "TLSv1.3"
        finally:
            thread.join()


@pytest.mark.parametrize("name", ["fleet.example", "127.0.0.1", "::1", "localhost"])
def test_the_server_is_taken_for_every_name_it_has(
    paths: FleetPaths, name: str, tmp_path: Path
) -> None:
    server = Issued.load(paths.path / "server.crt", paths.path / "server.key")
    _handshake(server, paths.path / "ca.crt", name, tmp_path)


@pytest.mark.parametrize("name", ["fleet.example.org", "127.0.0.2"])
def test_the_server_is_taken_for_no_other_name(
    paths: FleetPaths, name: str, tmp_path: Path
) -> None:
    server = Issued.load(paths.path / "server.crt", paths.path / "server.key")
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        _handshake(server, paths.path / "ca.crt", name, tmp_path)


@pytest.mark.parametrize("shift_days", [-400, 30])
def test_a_server_whose_time_is_over_or_has_not_come_is_refused(
    shift_days: int, tmp_path: Path
) -> None:
    authority = make_authority("home", NOW - dt.timedelta(days=500))
    (tmp_path / "ca.crt").write_bytes(authority.certificate_pem)
    server = issue_server(authority, ["localhost"], NOW + dt.timedelta(days=shift_days))
    with pytest.raises(ssl.SSLCertVerificationError, match=r"expired|not yet valid"):
        _handshake(server, tmp_path / "ca.crt", "localhost", tmp_path)


def test_a_server_of_another_fleet_is_refused(paths: FleetPaths, tmp_path: Path) -> None:
    other = issue_server(make_authority("home", NOW), ["localhost"], NOW)
    with pytest.raises(ssl.SSLCertVerificationError):
        _handshake(other, paths.path / "ca.crt", "localhost", tmp_path)


def test_a_nodes_loopback_authority_can_sign_nothing_more(paths: FleetPaths) -> None:
    node = paths.nodes()[0]
    authority = load_certificate(node.path / "runtime.ca.crt").public_key()
    for file in node.path.glob("*.key"):
        if file.name not in {"identity.key", "supernode.key"}:
            with pytest.raises(InvalidFileError):
                Issued.load(node.path / "runtime.ca.crt", file)
    assert authority != load_certificate(node.path / "runtime.crt").public_key()


def test_flower_takes_a_supernodes_key(paths: FleetPaths) -> None:
    key = load_ssh_private_key((paths.nodes()[0].path / "supernode.key").read_bytes(), None)
    assert uses_nist_ec_curve(key.public_key())  # type: ignore[arg-type]


def test_the_guard_answers_for_every_program_flower_could_start(paths: FleetPaths) -> None:
    assert set(guard.PROGRAMS) == set(TASK_TYPE_TO_COMMAND.values())
    for folder, allowed in (
        (paths.path, "flwr-serverapp"),
        (paths.nodes()[0].path, "flwr-clientapp"),
    ):
        for name in set(guard.PROGRAMS) - {allowed}:
            ended = subprocess.run(
                [folder / "guard" / name, "--token", "x"],
                capture_output=True,
                text=True,
                check=False,
            )
            assert (ended.returncode, ended.stderr) == (
                1,
                f"this machine does not run {name}\n",
            )


def test_the_tested_versions_of_flower_are_the_wheels() -> None:
    assert str(check_files.tested_flwr()) in {">=1.41,<1.43", "<1.43,>=1.41"}


def test_a_process_gets_nothing_from_the_shell_that_could_betray_it(paths: FleetPaths) -> None:
    shell = {
        "HOME": "/root",
        "LC_ALL": "C",
        "HOMEBODY_STATE": "/state",
        NODE: "/another/node",
        "SSLKEYLOGFILE": "/tmp/keys",  # noqa: S108 a name
        "HTTPS_PROXY": "http://proxy",
        "PYTHONPATH": "/evil",
        "FLWR_INTERNAL_GRPC_CONTROL_API": "1",
        "FLWR_TELEMETRY_ENABLED": "1",
    }
    found = environment(paths.path, paths.path / "flwr", "/guard:/bin", shell)
    assert found == {
        **QUIET,
        "HOME": "/root",
        "LC_ALL": "C",
        "HOMEBODY_STATE": "/state",
        "FLWR_HOME": str(paths.path / "flwr"),
        "PATH": "/guard:/bin",
        "PYTHONUNBUFFERED": "1",
        FLEET: str(paths.path),
    }


def test_a_command_line_holds_no_secret_and_a_node_knows_its_folder(paths: FleetPaths) -> None:
    secrets = [file.read_bytes() for file in paths.secrets]
    secrets += [file.read_bytes() for node in paths.nodes() for file in node.secrets]
    for role in fleet_roles(paths):
        words = " ".join([*role.command, *role.environ.values()]).encode()
        assert not any(secret in words for secret in secrets)
        assert role.environ.get(NODE) == (None if role.node is None else str(role.node))
        assert "--insecure" not in role.command


def test_what_is_no_fleet_is_said_so(tmp_path: Path, paths: FleetPaths) -> None:
    with pytest.raises(InvalidFileError, match="neither the folder of a fleet nor of a node"):
        open_folder(tmp_path)
    text = paths.file.read_text()
    for old, new in (('"home"', '"Home sweet"'), ("port = ", "ports = "), ("[", "[[[")):
        (tmp_path / "fleet.toml").write_text(text.replace(old, new, 1))
        with pytest.raises(InvalidFileError, match=r"fleet\.toml"):
            FleetPaths(tmp_path).read()


@given(
    seed=st.integers(0, 2**32), quick=st.integers(0, 10_000), code=st.none() | st.integers(-15, 3)
)
def test_a_lost_supernode_waits_until_it_is_not_held_and_others_never_so_long(
    seed: int, quick: int, code: int | None
) -> None:
    rng = random.Random(seed)  # noqa: S311 jitter
    for kind in Kind:
        pause = pause_s(Ended(kind=kind, code=code, quick=quick), rng)
        if kind is Kind.SUPERNODE and code != 0:
            assert HELD_S < pause <= HELD_S + 20
        else:
            assert 0 <= pause <= 20  # a SuperLink is back within HELD_S


def test_processes_that_fell_together_do_not_come_back_together() -> None:
    ended = Ended(kind=Kind.SUPERNODE, code=-9, quick=0)
    rng = random.Random(1)  # noqa: S311 jitter
    assert len({round(pause_s(ended, rng), 1) for _ in range(50)}) > 30


@given(
    number=st.integers(10**15, 2**64 - 1),
    address=st.ip_addresses(v=4).filter(lambda a: not a.is_loopback and int(a)),
    longer=st.ip_addresses(v=6),
)
def test_a_log_line_keeps_no_id_and_no_address(
    number: int, address: object, longer: object
) -> None:
    for value in (number, -number, address, longer, f"{address}:51234", f"[{longer}]:51234"):
        for line in ("node_id={},", "ID: {}", "from {} -", "({})", "'{}'", "{}", "node_{}"):
            assert scrub(line.format(value)).startswith(line.format("[").rstrip(",-)' "))


def test_a_log_line_keeps_what_helps() -> None:
    line = "2026-11-25T19:37:40.826Z INFO flwr 1.42.0 on 127.0.0.1:28443 exit code 305"
    assert scrub(line) == line


def test_a_long_log_is_set_aside_while_its_writer_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "superlink.log"
    with log.open("ab", buffering=0) as writer:
        for number in range(5):
            writer.write(f"round {number} ".encode() * 10 + b"\n")
            assert rotate(log, most_bytes=50)
            assert log.stat().st_size == 0
        writer.write(b"last\n")
    assert not rotate(log, most_bytes=50)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        *("superlink.log", "superlink.log.1", "superlink.log.2", "superlink.log.3")
    ]
    assert [line[:7] for line in tail(log, 2)] == ["round 4", "last"]
    assert stat.S_IMODE((tmp_path / "superlink.log.1").stat().st_mode) == 0o600


def test_an_app_writes_into_a_log_of_its_own_place(paths: FleetPaths) -> None:
    logs = paths.path / "logs"
    found = {role.name: app_log(role.environ) for role in fleet_roles(paths)}
    assert found["superexec"] == logs / "serverapp.log"
    assert found["n2.superexec"] == logs / "n2.clientapp.log"
    node = paths.nodes()[0]
    assert app_log(node_roles(node)[1].environ) == node.path / "logs" / "clientapp.log"


def test_without_flower_the_command_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("homebody_server.fleet.cli.find_spec", lambda _: None)
    assert run(["fleet", "status", "fleet"]) == MissingExtraError.exit_code
    assert 'pip install "homebody[server]"' in capsys.readouterr().err


def test_the_guard_and_the_launcher_load_without_the_rest_of_the_fleet() -> None:
    code = (
        "import sys, homebody_server.fleet.launch as l\n"
        "print(sorted(m for m in sys.modules if m.split('.')[0] in ('flwr', 'torch', 'numpy')))\n"
    )
    said = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == "[]"
    words = guard.programs(Path("/x"), "client")["flwr-clientapp"].decode().split()
    assert Path(words[2]).is_absolute()
