"""What may not be trained on a fleet does not begin, says why, and leaves nothing behind."""

import http.server
import json
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from homebody.cli import run
from homebody_server.fleet import Fleet

DEVICES = "40"

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def homebody(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runner of the command line in this process: exit code, output, errors."""
    monkeypatch.setenv("COLUMNS", "400")

    def do(*words: str | Path) -> tuple[int, str, str]:
        code = run([str(word) for word in words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return do


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    """Return the folder of a fleet that is down."""
    Fleet.create(tmp_path / "fleet", nodes=4, port=0)
    return tmp_path / "fleet"


def assigned(homebody: Run, fleet: Path, config: Path) -> str:
    """Assign a small data set and return what was said."""
    plan = ["--data", "synthetic", "--devices", DEVICES, "-c", config]
    code, out, error = homebody("fleet", "assign", fleet, *plan, "--format", "json")
    assert code == 0, error
    return out


def test_assign_says_what_the_nodes_host(homebody: Run, fleet: Path, tiny_config: Path) -> None:
    facts = json.loads(assigned(homebody, fleet, tiny_config))
    assert (facts["nodes"], facts["devices"]) == (4, 40)
    pins = {(fleet / "nodes" / n / "node.toml").read_text("utf-8") for n in ("n1", "n4")}
    assert len(pins) == 1
    assert facts["config"] in pins.pop()
    plan = ["--data", "synthetic", "--devices", DEVICES, "-c", tiny_config]
    code, out, _ = homebody("fleet", "assign", fleet, *plan)
    assert code == 0
    assert "homebody train --fleet" in out


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--seed", "1"], 10, "--seed"),
        (["--no-secagg"], 10, "secure aggregation"),
        (["--data", "complete-journey"], 2, "host 'synthetic'"),
        (["--deadline", "0"], 2, "--deadline"),
        (["--format", "yaml"], 2, "--format"),
        ([], 1, "it is not up"),
        (["--resume", "one"], 2, r"run.json"),
    ],
    ids=str,
)
def test_a_run_that_is_refused_leaves_nothing(
    homebody: Run,
    fleet: Path,
    tiny_config: Path,
    tmp_path: Path,
    words: list[str],
    code: int,
    says: str,
) -> None:
    assigned(homebody, fleet, tiny_config)
    before = sorted(fleet.rglob("*"))
    ended, out, error = homebody("train", "--fleet", fleet, "--runs", tmp_path / "runs", *words)
    assert (ended, out) == (code, "")
    assert says in error
    assert not (tmp_path / "runs").exists()
    assert sorted(fleet.rglob("*")) == before


def test_a_fleet_whose_nodes_host_nothing_is_not_trained(
    homebody: Run, fleet: Path, tmp_path: Path
) -> None:
    code, _, error = homebody("train", "--fleet", fleet, "--runs", tmp_path / "runs")
    assert code == 2
    assert "host nothing yet" in error
    code, _, error = homebody("train", "--fleet", tmp_path, "--runs", tmp_path / "runs")
    assert code == 2


def test_who_has_another_certificate_is_not_the_fleet(
    homebody: Run, fleet: Path, tiny_config: Path, tmp_path: Path
) -> None:
    assigned(homebody, fleet, tiny_config)
    stranger = Fleet.create(tmp_path / "stranger", nodes=3, port=0).paths.path
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(stranger / "server.crt", stranger / "server.key")
    address = ("127.0.0.1", Fleet.open(fleet).file.port)
    with http.server.HTTPServer(address, http.server.BaseHTTPRequestHandler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            code, _, error = homebody("train", "--fleet", fleet, "--runs", tmp_path / "runs")
        finally:
            server.shutdown()
            thread.join()
    assert code == 1
    assert "does not have its certificate" in error
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("pair", ["n1", "=profile", "n1=", "n9=profile"])
def test_a_person_is_given_to_a_node_there_is(
    homebody: Run, fleet: Path, tiny_config: Path, pair: str
) -> None:
    plan = ["--data", "synthetic", "--devices", DEVICES, "-c", tiny_config]
    code, _, error = homebody("fleet", "assign", fleet, *plan, "--person", pair)
    assert code == 2
    assert "NODE=PROFILE" in error or "n9" in error
    assert not (fleet / "assignment.json").exists()


def test_a_simulation_is_not_continued_on_a_fleet_nor_the_other_way_round(
    homebody: Run, fleet: Path, tiny_config: Path, tmp_path: Path
) -> None:
    plan = ["--data", "synthetic", "--devices", DEVICES, "--config", tiny_config]
    runs = ["--runs", tmp_path / "runs"]
    assert homebody("simulate", *plan, *runs, "--rounds", "1", "--name", "one")[0] == 0
    (tmp_path / "runs" / "one" / "run.key").write_bytes(bytes(32))  # as if it were open
    (tmp_path / "runs" / "one" / "report.json").unlink()
    code, _, error = homebody("train", "--fleet", fleet, *runs, "--resume", "one")
    assert code == 2
    assert "homebody simulate --resume" in error
    file = tmp_path / "runs" / "one" / "run.json"
    file.write_text(file.read_text("utf-8").replace('"cohort",\n', '"deploy",\n'), "utf-8")
    code, _, error = homebody("simulate", *runs, "--resume", "one")
    assert code == 2
    assert "homebody train --fleet" in error
