"""CR-38 on whole nodes: a server that goes on all the same is alone, and a witness is waited for.

The nodes are the real app, opened from their folders as their processes would; so is the server.
"""

import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from homebody_privacy.approval.approvals_file import to_values
from homebody_privacy.checkpoint import ledger_public
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.cosigning import cosign, memory_of
from homebody_privacy.policy_floor import PolicyFloor
from homebody_server.fleet import Fleet
from homebody_server.secure.gatherer import Deployed
from homebody_server.secure.permit import Permit
from homebody_simulation.deploy_assign import assign
from homebody_simulation.setup import Prepared
from tests.approving import LOW, pin_reviewers, sign_off
from tests.privacy.review_world import DPO, KEYS

from .test_deploy_nodes import DEVICES, NODES, answers, begun, carried, request


@pytest.fixture
def prepared(tmp_path: Path, tiny_config: Path) -> tuple[Fleet, Prepared]:
    """Return a fleet and a run on it that is approved and not begun."""
    fleet = Fleet.create(tmp_path / "fleet", nodes=NODES, port=0)
    assign(fleet.paths.path, request(fleet.paths.path, tiny_config))
    return fleet, begun(fleet, tmp_path / "runs")


@contextmanager
def lying_server(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the server app go on whatever its own permit says."""
    with patch.context() as inner:
        inner.setattr(Permit, "demand", lambda _: None)
        inner.setattr(Deployed, "await_witness", lambda *_: None)
        yield


def joins(fleet: Fleet) -> int:
    """Return how many rounds the devices of all nodes joined: each is counted before it trains."""
    total = 0
    for node in fleet.nodes().values():
        for file in node.path.glob("joins/**/devices.sqlite"):
            with closing(sqlite3.connect(file)) as store:
                total += store.execute("SELECT count(*) FROM joins").fetchone()[0]
    return total


def refused(outcome: Mapping[str, Any], code: str, fleet: Fleet) -> None:
    """Claim that no node took part, that each said why, and that nobody waited in vain."""
    assert (outcome["ended"], outcome["exit_code"]) == ("too-few-devices", 15)
    assert outcome["message"].endswith(f"nodes declined: {code}")
    assert joins(fleet) == 0


def test_cr_38_an_unapproved_run_trains_nothing_on_nodes_whose_server_lies(
    prepared: tuple[Fleet, Prepared], monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet, run = prepared
    folder = run.folder
    kept = folder.read_json("run.json")
    folder.write_json("run.json", {**kept, "approvals": []})
    with lying_server(monkeypatch):
        refused(carried(run, fleet, answers(fleet)), "not-approved", fleet)
    config = PrivacyConfig.load(folder.config_file)
    signed = sign_off(config, enrolled=DEVICES, expires=int(time.time()) - 1, issued=0)
    folder.write_json("run.json", {**kept, "approvals": to_values(signed)})
    with lying_server(monkeypatch):
        refused(carried(run, fleet, answers(fleet)), "not-approved", fleet)
    folder.write_json("run.json", kept)
    assert carried(run, fleet, answers(fleet)) == {"ended": "finished", "rounds": 2}
    assert joins(fleet) > 0


@pytest.mark.slow
def test_cr_38_nodes_go_by_their_own_folders_whatever_was_pinned_at_the_server(
    prepared: tuple[Fleet, Prepared],
) -> None:
    fleet, run = prepared
    for node in fleet.nodes().values():
        (node.path / "reviewers.toml").unlink()
    refused(carried(run, fleet, answers(fleet)), "not-approved", fleet)
    for node in fleet.nodes().values():
        pin_reviewers(node.path, floor=PolicyFloor())
    refused(carried(run, fleet, answers(fleet)), "below-floor", fleet)
    for node in fleet.nodes().values():
        LOW.save(node.path / "floor.toml")
    assert carried(run, fleet, answers(fleet))["ended"] == "finished"


def test_cr_38_no_node_takes_part_before_a_witness_has_cosigned(
    tmp_path: Path, tiny_config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "witnessed.toml"
    text = tiny_config.read_text("utf-8")
    config.write_text(text.replace('witness = "none"', 'witness = "second_key"'), "utf-8")
    fleet = Fleet.create(tmp_path / "fleet", nodes=NODES, port=0)
    assign(fleet.paths.path, request(fleet.paths.path, config))
    run = begun(fleet, tmp_path / "runs")
    assert run.config.ledger.witness == "second_key"
    with lying_server(monkeypatch):  # it does not wait: no node takes part in a round
        outcome = carried(run, fleet, answers(fleet))
    assert outcome["ended"] == "finished"
    assert joins(fleet) == 0
    lines = run.folder.ledger_file.read_text("utf-8").splitlines()
    kinds = {json.loads(line)["entry"]["kind"] for line in lines}
    assert kinds >= {"config_approved", "void"}
    assert "release" not in kinds


@pytest.mark.slow
def test_cr_38_a_run_goes_on_once_its_witness_has_cosigned(
    tmp_path: Path, tiny_config: Path
) -> None:
    config = tmp_path / "witnessed.toml"
    text = tiny_config.read_text("utf-8")
    config.write_text(text.replace('witness = "none"', 'witness = "second_key"'), "utf-8")
    fleet = Fleet.create(tmp_path / "fleet", nodes=NODES, port=0)
    assign(fleet.paths.path, request(fleet.paths.path, config))
    run = begun(fleet, tmp_path / "runs")

    def witness() -> None:
        """Cosign, as compliance would, until the run has what it waits for."""
        key, memory = KEYS[DPO], memory_of(tmp_path / "dpo.key")
        while not ended.wait(0.3) and not (run.folder.path / "witnessed").exists():
            with suppress(FileNotFoundError):
                operator = ledger_public(run.folder.path.parent)
                now = int(time.time())
                cosign(run.folder.path, DPO, key, memory, operator=operator, now=now)

    ended = threading.Event()
    thread = threading.Thread(target=witness)
    thread.start()
    try:
        assert carried(run, fleet, answers(fleet)) == {"ended": "finished", "rounds": 2}
    finally:
        ended.set()
        thread.join()
    assert joins(fleet) > 0
