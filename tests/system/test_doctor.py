"""``homebody doctor`` says what is there and what would get in the way."""

import json
from pathlib import Path

import pytest

from homebody.cli import run
from homebody.doctor import Finding, examine
from homebody_privacy.environment import DATA, QUIET, silence


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switch telemetry off for each test, and back afterwards."""
    for name, value in QUIET.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv(DATA, raising=False)


def process(proc: Path, number: int, *words: str) -> None:
    """Add a process to a list of processes."""
    folder = proc / str(number)
    folder.mkdir()
    (folder / "cmdline").write_bytes(b"\0".join(word.encode() for word in words) + b"\0")


def finding(what: str, proc: Path) -> tuple[str, bool, str]:
    """Return what was found, whether it is in order, and the fix."""
    (found,) = [f for f in examine(proc) if f.what == what]
    return found.found, found.ok, found.fix


def test_a_machine_in_order_has_no_fix(tmp_path: Path) -> None:
    findings = examine(tmp_path)
    assert [f.what for f in findings if not f.ok or f.fix] == []
    assert {"Python", "homebody", "cores", "telemetry"} <= {f.what for f in findings}


def test_a_stray_superlink_is_named_with_what_ends_it(tmp_path: Path) -> None:
    process(tmp_path, 41, "/usr/bin/python3", "/venv/bin/flower-superlink", "--insecure")
    process(tmp_path, 42, "vim", "flower-superlink.md")
    process(tmp_path, 43, "grep", "-r", "flower-superlink")
    assert finding("stray SuperLink", tmp_path) == ("process 41", False, "end it: kill 41")


def test_telemetry_that_is_on_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLWR_TELEMETRY_ENABLED", "1")
    found, ok, fix = finding("telemetry", tmp_path)
    assert (found, ok) == ("on: FLWR_TELEMETRY_ENABLED", False)
    assert fix


def test_silence_switches_everything_off() -> None:
    environ = {"FLWR_TELEMETRY_ENABLED": "1", "OTHER": "x"}
    silence(environ)
    assert environ == {**QUIET, "OTHER": "x"}


@pytest.mark.parametrize(("exists", "ok"), [(True, True), (False, False)])
def test_a_data_folder_that_is_none_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, exists: bool, ok: bool
) -> None:
    monkeypatch.setenv(DATA, str(tmp_path if exists else tmp_path / "absent"))
    found = finding(DATA, tmp_path)
    assert found[1] == ok
    assert bool(found[2]) == (not ok)


def test_the_command_answers_in_json_and_in_words(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fine = Finding(what="stray SuperLink", found="none", ok=True)  # others may run some here
    monkeypatch.setattr("homebody.doctor._superlinks", lambda _proc: fine)
    assert run(["doctor", "--format", "json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"]
    assert all(set(f) == {"what", "found", "ok", "fix"} for f in answer["findings"])
    assert run(["doctor"]) == 0
    assert "homebody" in capsys.readouterr().out
    assert run(["doctor", "--format", "xml"]) == 2


def test_the_command_fails_where_something_is_wrong(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(DATA, str(tmp_path / "absent"))
    assert run(["doctor", "--format", "json"]) == 1
