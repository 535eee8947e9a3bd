"""A simulation is checked like a deployment, says what fails, and goes on; its folder keeps it."""

import json
import shutil
import tomllib
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from homebody_privacy.approval.approvals_file import approvals_path, envelopes_of
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.errors import IntegrityError, InvalidFileError
from homebody_simulation.compliance import policy_line, policy_summary
from homebody_simulation.request import Request
from homebody_simulation.setup import Prepared, prepare, reopen
from tests.approving import approve_file
from tests.privacy.review_world import keys_text

DEVICES = 40


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory, small_config: Path) -> Path:
    """Return a config that needs nothing filled in: what is approved is what runs."""
    root = tmp_path_factory.mktemp("complete")
    first = prepare(asked(small_config, root / "runs", name="first"))
    file = root / "privacy.toml"
    text = first.folder.config_file.read_text("utf-8")
    assert "population = 2469" in text
    file.write_text(text.replace("population = 2469", f"population = {DEVICES}"), "utf-8")
    return file


def asked(config: Path, runs: Path, **own: Any) -> Request:  # noqa: ANN401 - fields of a request
    """Return a request for a run of a few devices."""
    usual: dict[str, Any] = {
        "data": "synthetic",
        "options": {"devices": DEVICES, "items": 20},
        "config_file": config,
        "runs": runs,
        "name": "one",
        "rounds": 2,
        "cohort": DEVICES,
    }
    return Request(**{**usual, **own})


def kept(prepared: Prepared) -> dict[str, Any]:
    """Return what the run's folder keeps."""
    found: dict[str, Any] = dict(prepared.folder.read_json("run.json"))
    return found


def test_a_simulation_goes_on_where_a_fleet_would_not_and_says_so(
    complete: Path, tmp_path: Path
) -> None:
    prepared = prepare(asked(complete, tmp_path))
    run = kept(prepared)
    assert run["approvals"] == []
    assert run["policy"] is None
    failed = {one["rule"] for one in run["check"]["findings"] if one["level"] == "fail"}
    assert failed >= {"DP-002", "DP-006"}
    assert run["check"]["failed"] >= 2
    line = policy_line(run["check"])
    assert line.startswith("policy: ")
    assert "DP-006" in line
    assert "a fleet would not begin" in line
    summary = policy_summary(run["check"])
    assert summary is not None
    assert line in summary["line"]


def test_approvals_and_waivers_beside_the_config_go_into_the_run(
    complete: Path, tmp_path: Path
) -> None:
    config = tmp_path / "privacy.toml"
    shutil.copy(complete, config)
    approve_file(config, enrolled=DEVICES)
    keys = tmp_path / "reviewers.toml"
    keys.write_text(keys_text(), "utf-8")
    run = kept(prepare(asked(config, tmp_path / "runs", reviewers=keys)))
    beside = json.loads(approvals_path(config).read_text("utf-8"))["envelopes"]
    assert run["approvals"] == beside
    assert len(envelopes_of(run["approvals"])) == len(beside)
    assert run["check"]["approvals"] == "2 of 2 approvals: may run"
    waived = [one for one in run["check"]["findings"] if one["waived"]]
    assert run["check"]["failed"] == 0
    assert len(waived) == run["check"]["waived"] > 0


def test_approvals_of_another_config_are_not_the_runs(complete: Path, tmp_path: Path) -> None:
    config = tmp_path / "privacy.toml"
    text = complete.read_text("utf-8")
    config.write_text(text, "utf-8")
    approve_file(config, enrolled=DEVICES)
    config.write_text(text.replace("revision = 3", "revision = 4"), "utf-8")
    assert PrivacyConfig.load(config).revision == 4
    assert kept(prepare(asked(config, tmp_path / "runs")))["approvals"] == []


def test_the_firms_policy_adds_rules_and_lies_in_the_runs_folder(
    complete: Path, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.toml"
    rule = {"id": "DP-002", "path": "dp.epsilon_max", "op": "<=", "value": 0.5, "why": "ours"}
    text = tomli_w.dumps({"schema": "policy/1", "name": "A firm", "rule": [rule]})
    policy.write_text(text, "utf-8")
    prepared = prepare(asked(complete, tmp_path / "runs", policy=policy))
    run = kept(prepared)
    assert run["policy"]["name"] == "A firm"
    assert (prepared.folder.path / "policy.toml").read_text("utf-8") == text
    assert any(one["source"] == "A firm" for one in run["check"]["findings"])
    assert str(tmp_path) not in json.dumps(run)


def test_the_words_people_were_shown_lie_in_the_runs_folder_and_no_other_file(
    complete: Path, tmp_path: Path
) -> None:
    shown, elsewhere = tmp_path / "shop" / "notices" / "en.md", tmp_path / "secret.md"
    shown.parent.mkdir(parents=True)
    for file in (shown, elsewhere):
        file.write_text("What is sent is added up and noised.", "utf-8")
    digest = sha256(shown.read_bytes()).hexdigest()
    values = tomllib.loads(complete.read_text("utf-8"))
    values["consent"]["notices"] = {
        "en": {"file": "notices/en.md", "sha256": digest},
        "de": {"file": "../secret.md", "sha256": digest},
        "fr": {"file": "notices/en.md", "sha256": "0" * 64},
    }
    config = tmp_path / "shop" / "privacy.toml"
    config.write_text(tomli_w.dumps(values), "utf-8")
    folder = prepare(asked(config, tmp_path / "runs")).folder.path
    assert (folder / "notices" / "en.md").read_bytes() == shown.read_bytes()
    assert [file.name for file in folder.parent.rglob("*.md")] == ["en.md"]


@pytest.mark.parametrize("option", ["policy", "reviewers"])
def test_a_policy_or_reviewers_file_that_is_none_begins_nothing(
    complete: Path, tmp_path: Path, option: str
) -> None:
    (tmp_path / "none.toml").write_text('schema = "none/1"', "utf-8")
    with pytest.raises(InvalidFileError):
        prepare(asked(complete, tmp_path / "runs", **{option: tmp_path / "none.toml"}))
    assert not (tmp_path / "runs").exists()


def test_a_damaged_file_of_approvals_begins_nothing(complete: Path, tmp_path: Path) -> None:
    config = tmp_path / "privacy.toml"
    shutil.copy(complete, config)
    approvals_path(config).write_text("{}", "utf-8")
    with pytest.raises(IntegrityError, match="holds no approvals"):
        prepare(asked(config, tmp_path / "runs"))


def test_a_run_is_reopened_with_what_it_keeps(complete: Path, tmp_path: Path) -> None:
    first = prepare(asked(complete, tmp_path))
    again = reopen(tmp_path, "one")
    assert kept(again) == kept(first)
    assert replace(again.request, config_file=complete).policy is None


def test_a_run_of_before_there_were_checks_says_nothing() -> None:
    assert policy_line(None) == ""
    assert policy_summary(None) is None
