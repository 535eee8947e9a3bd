"""A fleet's nodes behind the real apps, in this process: what their folders say is what counts."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Context, Message, RecordDict

from homebody_client.device import Device
from homebody_client.flower_app import NODE_FOLDERS, app
from homebody_client.host import Setting
from homebody_client.secure.node_file import NodeFile
from homebody_privacy.environment import NODE
from homebody_privacy.ledger import read_ledger
from homebody_privacy.legs import ENVELOPE, SEALED
from homebody_server.fleet import Fleet
from homebody_server.flower_app import HOME, RUN_FOLDER, build_server_app
from homebody_server.spending import anchors_of
from homebody_server.statistic_files import StatisticFiles
from homebody_simulation import runtimes, setup
from homebody_simulation.datasets import load_dataset
from homebody_simulation.deploy_assign import Assignment, assign
from homebody_simulation.grid import Cohort, CohortGrid
from homebody_simulation.request import Request
from homebody_simulation.setup import Prepared, prepare
from tests.approving import approve_fleet
from tests.server.world import PowerCutError, Work

DEVICES, NODES = 40, 4
OPTIONS: dict[str, Any] = {"devices": DEVICES, "items": 20}
HOSTILE: dict[str, Setting] = {
    "privacy-file": "/nowhere/privacy.toml",
    "population": "/nowhere",
    NODE_FOLDERS: "/nowhere",
    "reference": True,
    "clip-norm": 1e9,
    "lattice-bits": 30,
    "model": "{}",
    "example-key": "00",
    "record-key": "00",
    "participation": "/nowhere",
}
"""What whoever starts a Flower run may write into its config."""


def request(folder: Path, config: Path) -> Request:
    """Return what is to be trained."""
    return Request(
        data="synthetic", options=OPTIONS, config_file=config, runtime="deploy", fleet=folder
    )


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    """Return a fleet of four nodes, none of whose processes runs."""
    return Fleet.create(tmp_path / "fleet", nodes=NODES, port=0)


def answers(fleet: Fleet) -> Cohort:
    """Return the nodes: the real app, in the environment each process of theirs would have."""
    folders = [node.path for node in fleet.nodes().values()]

    def cohort(work: Work) -> list[Message | None]:
        replies: list[Message | None] = []
        for message, context in work:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv(NODE, str(folders[message.metadata.dst_node_id - 1]))
                replies.append(app(message, context))
        return replies

    return cohort


def carried(prepared: Prepared, fleet: Fleet, cohort: Cohort) -> Mapping[str, Any]:
    """Run the real server app over some nodes and return the outcome."""
    config: dict[str, Setting] = {
        RUN_FOLDER: str(prepared.folder.path),
        HOME: str(fleet.paths.path),
    }
    grid = CohortGrid(cohort, {1 + i: {} for i in range(NODES)}, {**HOSTILE, **config})
    build_server_app()(grid=grid, context=Context(1, 0, {}, RecordDict(), config))
    return prepared.folder.read_json("outcome.json")


def begun(fleet: Fleet, runs: Path) -> Prepared:
    """Begin a run of what was assigned, once it is approved."""
    approve_fleet(fleet.paths.path)
    assignment = Assignment.load(fleet.paths.path)
    asked = assignment.request(fleet.paths.path, runs=runs, name="one")
    return prepare(asked, assignment.accept)


RUNS: list[Any] = [
    pytest.param({"mechanism": "gaussian"}, id="gaussian"),
    pytest.param({"mechanism": "blt"}, id="blt"),
    pytest.param({"recipe": "both"}, id="both", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("own", RUNS)
def test_nodes_of_a_fleet_train_the_cohorts_model_bit_for_bit(
    fleet: Fleet, tiny_config: Path, tmp_path: Path, own: dict[str, Any]
) -> None:
    asked = replace(request(fleet.paths.path, tiny_config), **own)
    assign(fleet.paths.path, asked)
    deployed = begun(fleet, tmp_path / "runs")
    assert deployed.spec.secagg
    assert carried(deployed, fleet, answers(fleet)) == {"ended": "finished", "rounds": 2}
    key = deployed.folder.read_key()
    again = replace(deployed.request, runtime="cohort", fleet=None, secagg=False, runs=tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setup, "run_key", lambda *_: key)
        cohort = prepare(again)
    initial = cohort.folder.load_state().parameters
    runtimes.run(cohort, lambda *_: None)
    released = deployed.folder.load_state().parameters
    assert np.abs(released - initial).max() > 0
    np.testing.assert_array_equal(released, cohort.folder.load_state().parameters)
    sums = [StatisticFiles(one.folder).released() for one in (deployed, cohort)]
    assert len(sums[0]) == len(deployed.spec.statistics) == 2 * ("recipe" in own)
    for name, total in sums[0].items():
        np.testing.assert_array_equal(total, sums[1][name])


@pytest.fixture
def person(fleet: Fleet, tiny_config: Path, tmp_path: Path) -> Path:
    """Give a node a person's device, who said yes to training and bought things."""
    return person_of(fleet, request(fleet.paths.path, tiny_config), tmp_path)


def person_of(fleet: Fleet, asked: Request, tmp_path: Path) -> Path:
    """Give a node a person's device, for a run."""
    profile = tmp_path / "person"
    hosted = NodeFile(
        kind="device",
        config_sha256="0" * 64,
        population=1,
        number=0,
        profile=str(profile),
        idle=True,
        charging=True,
        unmetered=True,
    )
    assign(fleet.paths.path, asked, {"n2": hosted})
    profile.mkdir()
    (profile / "privacy.toml").write_bytes((fleet.paths.path / "privacy.toml").read_bytes())
    with Device.open(profile) as device:
        device.consent.set_age_band("18_plus")
        for purpose in ("recommend", "training"):
            device.consent.grant(purpose, features=["purchases"])
        bought = {"user_id": "1", "event": "purchase", "timestamp": "2026-05-15T10:45:00Z"}
        for product in load_dataset("synthetic", **OPTIONS).interactions.catalog.ids[3:9]:
            assert device.record({**bought, "product_id": product})
    return profile


def test_a_node_may_host_a_person_and_everything_leaves_by_their_gate(
    fleet: Fleet, person: Path, tmp_path: Path
) -> None:
    deployed = begun(fleet, tmp_path / "runs")
    seen: dict[int, list[int]] = {}
    nodes = answers(fleet)

    def watched(work: Work) -> list[Message | None]:
        replies = nodes(work)
        for reply in replies:
            assert reply is not None
            size = reply.content.array_records[SEALED][ENVELOPE].numpy().size
            seen.setdefault(reply.metadata.src_node_id, []).append(size)
        return replies

    assert carried(deployed, fleet, watched) == {"ended": "finished", "rounds": 2}
    ledger, _ = read_ledger(deployed.folder.ledger_file, anchors_of(deployed.spec))
    assert (ledger.released, ledger.voids) == (2, 0)
    with Device.open(person) as device:
        left = [entry for entry in device.egress.entries() if entry.sent]
        assert [entry.round for entry in left if entry.kind == "update"] == [1, 2]
        assert sorted(entry.bytes for entry in left) == sorted(seen[2])
        joined: Any = device.export_data()["joined"]
        assert [run["rounds"] for run in joined] == [2]


@pytest.mark.slow
def test_a_person_is_asked_once_for_each_statistic_and_never_again(
    fleet: Fleet, tiny_config: Path, tmp_path: Path
) -> None:
    asked = replace(request(fleet.paths.path, tiny_config), recipe="both")
    person = person_of(fleet, asked, tmp_path)
    deployed = begun(fleet, tmp_path / "runs")
    nodes, trained = answers(fleet), list[int]()

    def stopping(work: Work) -> list[Message | None]:
        replies = nodes(work)
        if work[0][0].metadata.message_type == "train":
            trained.append(len(work))
            if len(trained) == 2:
                raise PowerCutError
        return replies

    with pytest.raises(PowerCutError):
        carried(deployed, fleet, stopping)
    for _ in range(2):
        outcome = carried(deployed, fleet, nodes)
        assert (outcome["ended"], outcome["exit_code"]) == ("too-few-devices", 15)
        assert "statistics/gram was not summed (interrupted)" in outcome["message"]
    ledger, _ = read_ledger(deployed.folder.ledger_file, anchors_of(deployed.spec))
    assert list(ledger.statistics) == ["statistics/popularity"]
    assert ledger.unanswered == {"statistics/gram": "interrupted"}
    assert ledger.opened == 0
    with Device.open(person) as device:
        left = [entry for entry in device.egress.entries() if entry.kind == "update"]
        assert [entry.summary.split(",")[0] for entry in left] == [
            "popularity counts of this device",
            "which products this device chose close together",
        ]
        joined: Any = device.export_data()["joined"]
        assert [run["rounds"] for run in joined] == [1, 1]


def test_a_person_who_takes_training_back_is_in_no_sum(
    fleet: Fleet, person: Path, tmp_path: Path
) -> None:
    deployed = begun(fleet, tmp_path / "runs")
    nodes = answers(fleet)
    trained: list[int] = []

    def changing(work: Work) -> list[Message | None]:
        if work and work[0][0].metadata.message_type == "train":
            if not trained:
                with Device.open(person) as device:
                    device.consent.withdraw("training")
            trained.append(len(work))
        return nodes(work)

    assert carried(deployed, fleet, changing)["ended"] == "finished"
    assert len(trained) >= 2
    with Device.open(person) as device:
        assert not [e for e in device.egress.entries() if e.sent and e.kind == "update"]
    ledger, _ = read_ledger(deployed.folder.ledger_file, anchors_of(deployed.spec))
    assert ledger.closed == 2
    assert ledger.released == 2, "three of four nodes make a sum"
