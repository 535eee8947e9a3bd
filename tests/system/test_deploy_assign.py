"""Each node of a fleet gets its own rows and the approved config, and goes by nothing else."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from homebody_client.check_in import Participant
from homebody_client.device import Device
from homebody_client.host import Host
from homebody_client.secure.node_file import NodeFile
from homebody_client.secure.node_home import NodeHome
from homebody_client.training import shard_contribution
from homebody_models.split import leave_one_out
from homebody_privacy.certificate import Certificate
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.errors import (
    HomebodyError,
    InfeasibleError,
    IntegrityError,
    InvalidFileError,
    PolicyViolationError,
    UsageError,
)
from homebody_privacy.identity import NodeIdentity
from homebody_privacy.legs import Announcement
from homebody_privacy.messages import Invitation
from homebody_privacy.node_folder import NodeFolder, Pins
from homebody_privacy.signing import SigningKey
from homebody_simulation.datasets import load_dataset
from homebody_simulation.deploy_assign import Assignment, assign, own_rows
from homebody_simulation.planning import plan_run
from homebody_simulation.request import Request
from homebody_simulation.setup import prepare
from tests.approving import approve_fleet

DEVICES, NODES = 40, 4
OPTIONS: dict[str, Any] = {"devices": DEVICES, "items": 20}
PERSON = NodeFile(
    kind="device", config_sha256="0" * 64, population=1, number=0, profile="filled in later"
)


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    """Return the folder of a fleet whose nodes host nothing yet."""
    authority = SigningKey.generate()
    pins = Pins(fleet="here", authority=authority.public, aggregator=SigningKey.generate().public)
    for number in range(NODES):
        identity = NodeIdentity.generate()
        certificate = Certificate.issue(
            authority,
            fleet="here",
            signing=identity.signing.public,
            recipient=identity.recipient.public,
            not_after=2**40,
        )
        NodeFolder.create(
            tmp_path / "fleet" / "nodes" / f"n{number}",
            identity=identity,
            certificate=certificate,
            pins=pins,
        )
    return tmp_path / "fleet"


@pytest.fixture
def asked(tiny_config: Path, tmp_path: Path) -> Request:
    """Return what is to be trained."""
    return Request(
        data="synthetic", options=OPTIONS, config_file=tiny_config, runs=tmp_path / "runs"
    )


def node(fleet: Path, number: int) -> NodeFolder:
    """Return a node's folder."""
    return NodeFolder(fleet / "nodes" / f"n{number}")


def announced(fleet: Path, **changes: Any) -> Announcement:  # noqa: ANN401 - its fields
    """Return what an honest aggregator says of a run of what was assigned."""
    config, given = PrivacyConfig.load(fleet / "privacy.toml"), Assignment.load(fleet)
    data = load_dataset("synthetic", **OPTIONS)
    spec = plan_run(given.request(fleet, runs=fleet, name=None), config, data)
    usual: dict[str, Any] = {
        "run": "a run",
        "session": 1,
        "recipient": "00" * 1216,
        "config_sha256": config.digest(),
        "devices": DEVICES,
        "model": {"name": spec.model_spec.name, "options": dict(spec.model_spec.options)},
        "clip_norm": config.dp.clip_norm,
        "lattice_bits": config.dp.lattice_bits,
        "example_key": bytes(range(32)).hex(),
        "not_after": 2**40,
    }
    return Announcement(**(usual | changes))


@contextmanager
def opened(fleet: Path, number: int, **changes: Any) -> Iterator[Host | Participant]:  # noqa: ANN401
    """Open what a node works with."""
    with NodeHome.open(node(fleet, number)) as home:
        announcement = announced(fleet, **changes)
        home.worker(announcement)
        if home.file.kind == "device":
            yield home.participant(announcement)
        else:
            yield home.host(announcement)


def test_every_device_is_hosted_once_and_its_rows_lie_nowhere_else(
    fleet: Path, asked: Request
) -> None:
    assert assign(fleet, asked).nodes == NODES
    train = leave_one_out(load_dataset("synthetic", **OPTIONS).interactions).train
    hosted: list[int] = []
    for number in range(NODES):
        with opened(fleet, number) as host:
            assert isinstance(host, Host)
            hosted += host.devices
            for device in range(DEVICES):
                own = [*train.history(device)] if device in host.devices else []
                assert [*host.histories.history(device)] == own
                assert device in host.devices or host.held_out_item(device) is None
            assert host.record_key is None
    assert sorted(hosted) == list(range(DEVICES))


def test_the_nodes_add_up_to_the_host_of_a_simulation(fleet: Path, asked: Request) -> None:
    assign(fleet, asked)
    one = announced(fleet)
    train = leave_one_out(load_dataset("synthetic", **OPTIONS).interactions).train
    total: Any = 0
    everyone: Host | None = None
    for number in range(NODES):
        with opened(fleet, number) as host:
            assert isinstance(host, Host)
            parameters = host.model.init(np.random.default_rng(1))
            total = total + shard_contribution(host, tuple(sorted(host.devices)), parameters, 1)
            everyone = replace(
                host,
                histories=train,
                devices=frozenset(range(DEVICES)),
                example_key=bytes.fromhex(one.example_key),
                participation=None,
            )
    assert everyone is not None
    whole = shard_contribution(everyone, tuple(range(DEVICES)), parameters, 1)
    assert np.abs(whole).sum() > 0
    np.testing.assert_array_equal(total, whole)


def test_the_config_is_complete_and_a_run_of_it_is_the_one_that_was_planned(
    fleet: Path, asked: Request, tmp_path: Path
) -> None:
    assignment = assign(fleet, asked)
    config = PrivacyConfig.load(fleet / "privacy.toml")
    assert config.dp.noise_multiplier is not None
    assert config.digest() == assignment.config_sha256
    approve_fleet(fleet)
    prepared = prepare(
        assignment.request(fleet, runs=tmp_path / "runs", name="one"), assignment.accept
    )
    assert prepared.spec.config_digest == assignment.config_sha256
    assert (prepared.spec.runtime, prepared.spec.seeded) == ("deploy", False)
    stored = (prepared.folder.path / "run.json").read_text("utf-8")
    assert str(fleet) not in stored


@pytest.mark.parametrize(
    "changes",
    [
        {"config_sha256": "0" * 64},
        {"clip_norm": 5.0},
        {"lattice_bits": 12},
        {"devices": DEVICES + 1},
        {"model": {"name": "three-tower", "options": {}}},
        {"model": {"name": "two-tower"}},
        {"model": {"name": "two-tower", "options": {"colour": 1}}},
    ],
    ids=str,
)
def test_a_node_refuses_a_run_its_own_folder_does_not_say(
    fleet: Path, asked: Request, changes: dict[str, Any]
) -> None:
    assign(fleet, asked)
    with pytest.raises(PolicyViolationError), opened(fleet, 0, **changes):
        pass


def test_a_config_put_in_the_place_of_the_approved_one_is_refused(
    fleet: Path, asked: Request, write_config: Callable[..., Path]
) -> None:
    assign(fleet, asked)
    other = write_config(rounds=2, cohort_size=DEVICES, cohort_cap=80, delta=1e-3, clip_norm=9.0)
    (node(fleet, 1).path / "privacy.toml").write_bytes(other.read_bytes())
    with pytest.raises(IntegrityError, match=r"privacy\.toml"):
        NodeHome.open(node(fleet, 1))


@pytest.mark.parametrize("name", ["shard", "node.toml", "privacy.toml", "shard/devices.npy"])
def test_a_node_without_its_files_trains_nothing(fleet: Path, asked: Request, name: str) -> None:
    assign(fleet, asked)
    (node(fleet, 0).path / name).rename(fleet / "taken")
    with pytest.raises(InvalidFileError), opened(fleet, 0):
        pass


def test_joins_of_a_run_are_counted_when_the_folder_is_opened_again(
    fleet: Path, asked: Request
) -> None:
    assign(fleet, asked)
    device = 0
    with opened(fleet, 0) as host:
        assert isinstance(host, Host)
        assert host.participation is not None
        device = min(host.devices)
        from homebody_client.allowance import training_allowance  # noqa: PLC0415

        allowance = training_allowance(host.config, "a run", 7)
        assert host.admitted((device,), allowance, 1, "ab" * 32).tolist() == [device]
    with opened(fleet, 0) as again:
        assert isinstance(again, Host)
        assert again.admitted((device,), allowance, 1, "cd" * 32).tolist() == []
    with opened(fleet, 0, run="another run") as other:
        assert isinstance(other, Host)
        assert other.admitted((device,), allowance, 1, "cd" * 32).tolist() == [device]


def test_a_node_may_host_one_person(fleet: Path, asked: Request, tmp_path: Path) -> None:
    profile = tmp_path / "person"
    person = replace(PERSON, profile=str(profile), idle=True, charging=True, unmetered=True)
    assignment = assign(fleet, asked, {"n2": person})
    with Device.open(profile, config=fleet / "privacy.toml") as device:
        device.consent.set_age_band("18_plus")
        for purpose in ("recommend", "training"):
            device.consent.grant(purpose, features=["purchases"])
        bought = {"user_id": "1", "event": "purchase", "timestamp": "2026-05-15T10:45:00Z"}
        for product in load_dataset("synthetic", **OPTIONS).interactions.catalog.ids[3:9]:
            assert device.record({**bought, "product_id": product})
    number = NodeFile.load(node(fleet, 2).node_file).number
    assert number == DEVICES - 1
    (profile / "privacy.toml").write_bytes((fleet / "privacy.toml").read_bytes())
    with opened(fleet, 2) as participant:
        assert isinstance(participant, Participant)
        assert participant.enrol(number) == number
        parameters = _initial(fleet)
        asked_of = Invitation(
            run="a run", round=1, devices=(number,), config_digest=assignment.config_sha256
        )
        assert participant.update(asked_of, parameters).any()
        with pytest.raises(UsageError, match="profile"):
            Device.open(profile)
    Device.open(profile).close()
    for other in (0, 1, 3):
        with opened(fleet, other) as host:
            assert isinstance(host, Host)
            assert number not in host.devices
            assert not host.histories.history(number).any()


def test_a_person_whose_machine_is_not_ready_is_not_asked(
    fleet: Path, asked: Request, tmp_path: Path
) -> None:
    assign(fleet, asked, {"n2": replace(PERSON, profile=str(tmp_path / "person"))})
    with Device.open(tmp_path / "person", config=fleet / "privacy.toml"):
        pass
    (tmp_path / "person" / "privacy.toml").write_bytes((fleet / "privacy.toml").read_bytes())
    with opened(fleet, 2) as participant:
        assert isinstance(participant, Participant)
        condition = participant.condition()
        assert condition is not None
        assert set(condition.missing()) == {"not-idle", "not-charging", "metered-network"}


def _initial(fleet: Path) -> Any:  # noqa: ANN401 - parameters
    with opened(fleet, 0) as host:
        assert isinstance(host, Host)
        return host.model.init(np.random.default_rng(1))


REFUSED: list[tuple[dict[str, Any], dict[str, NodeFile], type[HomebodyError], str]] = [
    ({"epsilon": None}, {}, PolicyViolationError, "epsilon inf"),
    ({"epsilon": 9.0}, {}, PolicyViolationError, "epsilon_max"),
    ({"rounds": 3}, {}, PolicyViolationError, r"dp\.rounds"),
    ({"data": "movielens"}, {}, UsageError, "no data set"),
    ({}, {"n9": PERSON}, UsageError, "n9"),
    ({}, {f"n{n}": PERSON for n in range(NODES)}, InfeasibleError, "dealt out"),
]


@pytest.mark.parametrize(
    ("change", "people", "error", "match"), REFUSED, ids=[str(row[0]) + row[3] for row in REFUSED]
)
def test_what_is_refused_assigns_nothing(
    fleet: Path,
    asked: Request,
    change: dict[str, Any],
    people: dict[str, NodeFile],
    error: type[HomebodyError],
    match: str,
) -> None:
    before = sorted(fleet.rglob("*"))
    with pytest.raises(error, match=match):
        assign(fleet, replace(asked, **change), people)
    assert sorted(fleet.rglob("*")) == before
    with pytest.raises(InvalidFileError, match="host nothing"):
        Assignment.load(fleet)


def test_a_fleet_of_two_nodes_is_refused(fleet: Path, asked: Request) -> None:
    for number in (2, 3):
        node(fleet, number).path.rename(fleet / f"left-{number}")
    with pytest.raises(InfeasibleError, match="2 nodes"):
        assign(fleet, asked)


def test_a_run_of_other_data_than_the_nodes_have_is_refused(
    fleet: Path, asked: Request, tmp_path: Path
) -> None:
    assignment = assign(fleet, asked)
    other = replace(assignment, options={"devices": DEVICES, "items": 21})
    for what in (other, replace(assignment, config_sha256="0" * 64)):
        with pytest.raises(IntegrityError, match="assigned"):
            prepare(what.request(fleet, runs=tmp_path / "runs", name="x"), what.accept)
    assert not (tmp_path / "runs").exists()


def test_an_assignment_that_is_none_is_refused(fleet: Path, asked: Request) -> None:
    assign(fleet, asked)
    file = fleet / "assignment.json"
    values = json.loads(file.read_text("utf-8"))
    for text in ("", "[]", "{}", json.dumps({**values, "schema": "assignment/2"})):
        file.write_text(text, "utf-8")
        with pytest.raises(InvalidFileError):
            Assignment.load(fleet)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "idle"},
        {"config_sha256": "00"},
        {"population": 0},
        {"population": "40"},
        {"number": 1},
        {"profile": "x"},
        {"idle": 1},
        {"colour": "red"},
    ],
    ids=str,
)
def test_a_node_file_says_what_a_node_can_be(tmp_path: Path, change: dict[str, Any]) -> None:
    good = {"kind": "shard", "config_sha256": "0" * 64, "population": 40}
    file = tmp_path / "node.toml"
    file.write_text("\n".join(f"{k} = {json.dumps(v)}" for k, v in (good | change).items()))
    with pytest.raises(InvalidFileError):
        NodeFile.load(file)


def test_a_node_file_reads_back_as_it_was_written(tmp_path: Path) -> None:
    for file in (
        NodeFile(kind="shard", config_sha256="ab" * 32, population=40),
        replace(PERSON, profile='a "strange"\\ place/ü', idle=True),
    ):
        file.save(tmp_path / "node.toml")
        assert NodeFile.load(tmp_path / "node.toml") == file


def test_a_shard_without_devices_has_no_row() -> None:
    train = load_dataset("synthetic", **OPTIONS).interactions
    assert own_rows(train, frozenset()).ptr.tolist() == [0] * (DEVICES + 1)
