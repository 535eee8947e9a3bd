"""``homebody device`` as a process: it serves, keeps others out, ends on Ctrl-C, leaves nothing."""

import http.client
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from homebody.cli import run
from homebody_client.demo.shop import Shop, write_shop

_Validator = importlib.import_module("jsonschema").Draft202012Validator  # it ships no types
_START_S: Final = 60.0
_END_S: Final = 20.0
_ASKED: Final = "/recommendations?user_id=12345"
"""The request of the seed."""


@pytest.fixture(scope="module", autouse=True)
def _no_key_store() -> Iterator[None]:
    """Keep keys in files of the test, in children too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
        yield


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Return the made-up shop, as of now: the children have the machine's clock."""
    return write_shop(tmp_path_factory.mktemp("shop"), now=int(time.time()) - 60)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, shop: Shop) -> Path:
    """Return a folder whose ``profile`` was begun with everything the shop has."""
    made = tmp_path_factory.mktemp("device")
    given = f"--bundle {shop.bundle} --catalog {shop.catalog} --key {shop.key}"
    here(f"init --config {shop.config} {given}", made)
    here("consent grant recommend --features purchases", made)
    return made


def here(line: str, folder: Path, *words: str) -> int:
    """Run a command on the profile of a folder in this process; return its exit code."""
    name, *rest = line.split()
    profile = str(folder / "profile")
    place = [profile] if name == "init" else ["--profile", profile]
    return run(["device", name, *rest, *words, *place])


def environ(**more: str) -> dict[str, str]:
    return {**os.environ, "COLUMNS": "400", "NO_COLOR": "1", "OMP_NUM_THREADS": "1", **more}


def homebody(
    *words: str | Path, cwd: Path, code: int = 0, **more: str
) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    ended = subprocess.run(
        [sys.executable, "-m", "homebody", *map(str, words)],
        cwd=cwd,
        env=environ(**more),
        capture_output=True,
        text=True,
        timeout=_START_S,
        check=False,
    )
    assert ended.returncode == code, ended.stderr
    assert "Traceback" not in ended.stderr
    return ended


@contextmanager
def serving(
    *words: str, cwd: Path, **more: str
) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """Start a command that serves, and return it with what it printed; end it if it still runs."""
    child = subprocess.Popen(
        [sys.executable, "-m", "homebody", "device", *words, "--port", "0", "--format", "json"],
        cwd=cwd,
        env=environ(**more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with child:
        try:
            assert child.stdout is not None
            yield child, json.loads(child.stdout.readline())
        finally:
            if child.poll() is None:
                child.kill()


def end(child: subprocess.Popen[str], by: signal.Signals) -> str:
    """End a child and return what it said on stderr; it must end by itself, with 0."""
    child.send_signal(by)
    _, said = child.communicate(timeout=_END_S)
    assert child.returncode == 0, said
    return said


def get(address: str, target: str, token: str = "") -> tuple[int, bytes]:
    """Return status and body of a GET."""
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=_END_S)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with closing(connection):
        connection.request("GET", target, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()


@pytest.mark.parametrize(
    ("engine", "by"), [("standard", signal.SIGINT), ("fastapi", signal.SIGTERM)]
)
def test_run_serves_the_seeds_request_to_who_holds_the_token_and_ends_when_told(
    folder: Path, engine: str, by: signal.Signals
) -> None:
    with serving("run", "--engine", engine, cwd=folder) as (child, said):
        assert said["engine"] == engine
        assert said["page"].startswith(said["address"])
        token = (folder / said["token_file"]).read_text()
        code, body = get(said["address"], _ASKED, token)
        assert code == 200
        assert len(json.loads(body)["recommended_products"]) == 10
        assert get(said["address"], _ASKED)[0] == 401
        assert get(said["address"], _ASKED, token[::-1])[0] == 401
        assert token not in json.dumps(said)

        locked = homebody("device", "knows", cwd=folder, code=2)
        assert "usage (exit 2)" in locked.stderr
        assert "another process has this profile open" in locked.stderr
        assert "local API" in locked.stderr
        assert locked.stdout == ""
        assert here("egress", folder) == 0  # needs no key, and does not wait
        assert end(child, by) == ""
    assert here("knows", folder) == 0


def test_a_taken_port_ends_with_2(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving("run", "--engine", "standard", cwd=folder) as (child, said):
        assert here("init", tmp_path) == 0
        port = said["address"].rpartition(":")[2]
        capsys.readouterr()
        assert here(f"run --port {port}", tmp_path) == 2
        refused = capsys.readouterr()
        assert f"port {port} is taken" in refused.err
        assert refused.out == ""
        end(child, signal.SIGINT)


def test_a_demo_serves_three_devices_touches_nothing_and_removes_everything(
    tmp_path: Path,
) -> None:
    state, temporary = tmp_path / "state", tmp_path / "tmp"
    temporary.mkdir()
    more = {"TMPDIR": str(temporary), "HOMEBODY_STATE": str(state)}
    with serving("demo", "--engine", "standard", cwd=tmp_path, **more) as (child, said):
        (folder,) = temporary.iterdir()
        assert len(list((folder / "profiles").iterdir())) == 3
        address, _, token = said["page"].partition("/#")
        code, shell = get(address, "/")
        assert code == 200
        assert b"Ada, who bakes" in shell
        assert b"simulated" in shell.lower()
        assert len(token) == 43
        assert get(address, "/recommendations?profile=0")[0] == 401
        assert end(child, signal.SIGTERM) == ""
    assert list(temporary.iterdir()) == []
    assert not state.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["tmp"]


def test_without_jinja2_run_serves_the_api_and_serve_names_the_extra(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "jinja2.py").write_text("raise ImportError('hidden by the test')\n")
    more = {"PYTHONPATH": str(tmp_path)}
    with serving("run", "--engine", "standard", cwd=folder, **more) as (child, said):
        assert said["page"] is None
        end(child, signal.SIGINT)
    refused = homebody("device", "serve", "--port", "0", cwd=folder, code=1, **more)
    assert "missing-extra (exit 1)" in refused.stderr
    assert "homebody[device]" in refused.stderr
    assert refused.stdout == ""


def test_a_refusal_of_a_device_is_one_panel_with_its_exit_code(
    tmp_path: Path, shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    event = {
        "user_id": "12345",
        "event": "product_view",
        "product_id": "TEA-01",
        "timestamp": "2026-05-15T10:45:00Z",
    }
    other = json.dumps({**event, "user_id": "999"})
    assert here(f"init --config {shop.config}", tmp_path) == 0
    assert here("record", tmp_path, json.dumps(event)) == 0  # nothing is open: no error
    assert "kept: no" in capsys.readouterr().out
    assert here("consent grant training --features purchases", tmp_path) == 13
    assert "consent-missing (exit 13)" in capsys.readouterr().err
    assert here("consent grant recommend --features purchases", tmp_path) == 0
    assert here("record", tmp_path, json.dumps(event)) == 0
    capsys.readouterr()
    assert here("record", tmp_path, other) == 10
    refused = capsys.readouterr()
    assert "policy-violation (exit 10)" in refused.err
    assert refused.out == ""
    assert here("record", tmp_path, "no event") == 2
    receipts = tmp_path / "profile" / "receipts.jsonl"
    receipts.write_bytes(receipts.read_bytes().replace(b"Given", b"Taken"))
    assert here("receipts --verify", tmp_path) == 14
    assert "integrity-failure (exit 14)" in capsys.readouterr().err


def test_the_schema_of_events_is_one_that_the_seeds_event_meets(
    capsys: pytest.CaptureFixture[str],
) -> None:
    event = {
        "user_id": "12345",
        "event": "product_view",
        "product_id": "SKU-987",
        "timestamp": "2026-05-15T10:45:00Z",
        "device": "mobile",
    }
    for words, takes_more in ((), False), (("--mode", "lax"), True):
        assert run(["export", "schema", "events", *words]) == 0
        schema = json.loads(capsys.readouterr().out)
        _Validator.check_schema(schema)
        assert _Validator(schema).is_valid(event)
        assert _Validator(schema).is_valid({**event, "campaign": "x"}) is takes_more


def test_the_schema_of_consent_records_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["export", "schema", "consent-record"]) == 0
    schema = json.loads(capsys.readouterr().out)
    _Validator.check_schema(schema)
    assert not _Validator(schema).is_valid({})


def test_the_commands_load_what_they_need_when_they_run() -> None:
    code = "import sys, homebody_client.device_cli; print(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"cryptography", "jinja2", "numpy", "pydantic", "sqlite3", "uvicorn"}
    assert not heavy & set(ended.stdout.split())
