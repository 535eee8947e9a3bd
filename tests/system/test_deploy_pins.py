"""A fleet and its nodes pin what they rely on, and take approvals that were signed later."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from homebody.cli import run
from homebody_client.secure.node_home import FLOOR, REVIEWERS, NodeHome
from homebody_privacy.approval.approvals_file import approvals_path, read_approvals, to_values
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.errors import InvalidFileError, NotApprovedError, PolicyViolationError
from homebody_privacy.policy_floor import PolicyFloor
from homebody_server.fleet import Fleet, pinning
from homebody_server.fleet.check_approvals import APPROVALS
from homebody_server.fleet.preflight import examine
from homebody_simulation.deploy_assign import Assignment, Pinned, assign
from homebody_simulation.setup import prepare, reopen
from tests.approving import LOW, approve_file, approve_fleet
from tests.privacy.review_world import DPO, keys_text

from .test_deploy_nodes import DEVICES, NODES, begun, request


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    """Return a fleet whose nodes host nothing yet."""
    return Fleet.create(tmp_path / "fleet", nodes=NODES, port=0)


@pytest.fixture
def pins(tmp_path: Path) -> Pinned:
    """Return files of reviewers, of a floor, and of a firm's policy."""
    files = {name: tmp_path / f"{name}.toml" for name in ("reviewers", "floor", "policy")}
    files["reviewers"].write_text(keys_text(), "utf-8")
    LOW.save(files["floor"])
    rules = {"schema": "policy/1", "name": "A firm", "rule": []}
    files["policy"].write_text(tomli_w.dumps(rules), "utf-8")
    return Pinned(**files)


def test_assign_pins_reviewers_floor_and_policy_where_they_are_looked_for(
    fleet: Fleet, tiny_config: Path, pins: Pinned
) -> None:
    assert (pinning.REVIEWERS, pinning.FLOOR) == (REVIEWERS, FLOOR)
    folder = fleet.paths.path
    assign(folder, request(folder, tiny_config), pinned=pins)
    assert (folder / "reviewers.toml").read_text("utf-8") == keys_text()
    assert (folder / "policy.toml").exists()
    for node in fleet.nodes().values():
        with NodeHome.open(node.folder) as home:
            guard = home.guard()
        assert guard.floor == LOW
        assert set(guard.reviewers.approvers) >= {DPO}
        assert (node.path / "reviewers.toml").stat().st_mode & 0o077 == 0
    assign(folder, request(folder, tiny_config))  # what is pinned stays; a policy is named anew
    assert (folder / "reviewers.toml").exists()
    assert not (folder / "policy.toml").exists()


def test_a_node_that_pinned_nothing_has_the_usual_floor_and_trusts_nobody(
    fleet: Fleet, tiny_config: Path
) -> None:
    folder = fleet.paths.path
    assign(folder, request(folder, tiny_config))
    node = next(iter(fleet.nodes().values()))
    with NodeHome.open(node.folder) as home:
        guard = home.guard()
    assert (guard.floor, dict(guard.reviewers.approvers)) == (PolicyFloor(), {})


@pytest.mark.parametrize("name", ["reviewers", "floor", "policy"])
def test_a_pin_that_is_none_assigns_nothing(
    fleet: Fleet, tiny_config: Path, pins: Pinned, name: str, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text('schema = "none/1"', "utf-8")
    before = sorted(fleet.paths.path.rglob("*"))
    changes: dict[str, Any] = {name: bad}
    with pytest.raises(InvalidFileError):
        assign(
            fleet.paths.path,
            request(fleet.paths.path, tiny_config),
            pinned=replace(pins, **changes),
        )
    assert sorted(fleet.paths.path.rglob("*")) == before


def test_cr_35_a_config_without_secret_sums_is_not_assigned(
    fleet: Fleet, write_config: Callable[..., Path]
) -> None:
    more = "[aggregation]\nsecagg = false\n"
    open_ = write_config(rounds=2, cohort_size=DEVICES, cohort_cap=80, delta=1e-3, more=more)
    with pytest.raises(PolicyViolationError, match="secagg"):
        assign(fleet.paths.path, request(fleet.paths.path, open_))
    assert not (fleet.paths.path / "assignment.json").exists()


def test_what_was_signed_of_a_complete_config_comes_along(
    fleet: Fleet, tiny_config: Path, pins: Pinned, tmp_path: Path
) -> None:
    folder = fleet.paths.path
    assign(folder, request(folder, tiny_config), pinned=pins)
    complete = tmp_path / "complete.toml"
    complete.write_bytes((folder / "privacy.toml").read_bytes())
    approve_file(complete, enrolled=DEVICES)
    assign(folder, request(folder, complete), pinned=replace(pins, policy=None))
    signed = read_approvals(approvals_path(folder / "privacy.toml"))
    assert signed == read_approvals(approvals_path(complete))
    assignment = Assignment.load(folder)
    asked = assignment.request(folder, runs=tmp_path / "runs", name="one")
    run_ = prepare(asked, assignment.accept).folder.read_json("run.json")
    assert run_["approvals"] == to_values(signed)


def test_preflight_says_how_approvals_stand_and_up_does_not_ask_for_them(
    fleet: Fleet, tiny_config: Path
) -> None:
    folder = fleet.paths.path

    def found() -> list[tuple[int, str]]:
        return [(f.exit_code, f.what) for f in examine(fleet.paths) if f.check == APPROVALS]

    assert found() == []
    assign(folder, request(folder, tiny_config))
    ((code, what),) = found()
    assert code == 10
    assert "no reviewers' keys are pinned" in what
    approve_fleet(folder)
    assert found() == [(0, "privacy.toml: 2 of 2 approvals: may run")]


def test_a_run_that_goes_on_takes_what_was_signed_meanwhile(
    fleet: Fleet, tiny_config: Path, tmp_path: Path
) -> None:
    folder = fleet.paths.path
    assign(folder, request(folder, tiny_config))
    prepared = begun(fleet, tmp_path / "runs")
    file = folder / "privacy.toml"
    before = prepared.folder.read_json("run.json")["approvals"]
    approve_file(file, enrolled=DEVICES)
    renewed = to_values(read_approvals(approvals_path(file)))
    reopen(tmp_path / "runs", "one", folder)
    after = prepared.folder.read_json("run.json")["approvals"]
    assert after == renewed
    assert len(after) == len(before)
    assert PrivacyConfig.load(file).digest() == prepared.spec.config_digest


def test_a_run_of_another_config_than_the_approved_is_not_prepared(
    fleet: Fleet, tiny_config: Path, tmp_path: Path
) -> None:
    folder = fleet.paths.path
    assign(folder, request(folder, tiny_config))
    approve_fleet(folder)
    approvals_path(folder / "privacy.toml").unlink()
    assignment = Assignment.load(folder)
    with pytest.raises(NotApprovedError, match="0 of 2 approvals"):
        prepare(assignment.request(folder, runs=tmp_path / "runs", name="x"), assignment.accept)
    assert not (tmp_path / "runs").exists()


def test_init_and_join_refuse_pins_that_are_none_before_they_make_a_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = str(tmp_path / "none.toml")
    for words in (["fleet", "init", str(tmp_path / "f")], ["fleet", "join", str(tmp_path / "n")]):
        for option in ("--reviewers", "--floor"):
            assert run([*words, option, missing]) == 2
    said = capsys.readouterr().err.replace("│", "")  # a panel breaks a long path
    assert "none.toml" in "".join(said.split())
    assert not (tmp_path / "f").exists()
    assert not (tmp_path / "n").exists()
