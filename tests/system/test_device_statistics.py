"""One-shot statistics of a real server, which some of the devices of people are asked for."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Message

from homebody_client.local_model import DeviceModel
from homebody_models.split import Split, leave_one_out
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.messages import STATISTICS, Invitation
from homebody_server.statistic_files import StatisticFiles
from homebody_simulation.datasets import load_dataset
from tests.server.world import DEVICES, PASSES, Builder, Work, sent_by, watched

from .device_village import (
    PLANTED,
    TWELVE,
    WHOLE,
    Build,
    Village,
    code_of,
    of_rounds,
    unpaid,
    villages,
    worlds,
)

ALONE: dict[str, Any] = {
    "statistics": PASSES,
    "rounds": 0,
    "mechanism": "blt",
    "noise_multiplier": 0.0,
}


@pytest.fixture(scope="module")
def split() -> Split:
    """Return the events of twelve devices, the last of each held out; read only."""
    return leave_one_out(load_dataset("synthetic", devices=DEVICES, items=20).interactions)


@pytest.fixture
def make_world(
    tmp_path: Path, write_config: Callable[..., Path], split: Split
) -> Iterator[Builder]:
    """Builder of a world in a fresh folder."""
    with worlds(PrivacyConfig.load(write_config(**TWELVE)), split, tmp_path) as build:
        yield build


@pytest.fixture
def village(make_world: Builder, split: Split, tmp_path: Path) -> Iterator[Build]:
    """Builder of a village; its people have said yes to everything."""
    with villages(make_world, split, tmp_path) as build:
        yield build


def real(people: Village) -> Village:
    """Return the village with the local model that real devices have."""
    host = people.world.host
    for number in people.devices:
        people.models[number] = DeviceModel(
            config=host.config,
            model=host.model,
            catalog=host.histories.catalog,
            example_key=bytes(32),
        )
    return people


def test_statistics_with_devices_of_people_are_those_of_plain_hosts_bit_for_bit(
    village: Build, make_world: Builder
) -> None:
    people, plain = real(village("people", WHOLE, **ALONE)), make_world("plain", **ALONE)
    answered: dict[str, set[int]] = {}

    def see(work: Work, replies: list[Message | None]) -> None:
        sent = {number for number, own in sent_by(replies).items() if own.any()}
        answered[work[0][0].metadata.group_id] = sent

    assert people.world.run(watched(people.cohort(), see)).digest() == plain.run().digest()
    assert answered["0/popularity/0"].issuperset(WHOLE)
    sums = [StatisticFiles(one.folder).released() for one in (people.world, plain)]
    assert all((sums[0][name] == sums[1][name]).all() for name in STATISTICS)
    for number, device in people.devices.items():
        left = of_rounds(device)
        assert [(entry.kind, entry.purpose, entry.sent, entry.round) for entry in left] == [
            ("update", "training", True, None)
        ] * 2
        assert [entry.summary for entry in left] == [
            "popularity counts of this device, never alone",
            "which products this device chose close together, never alone",
        ]
        assert [entry.bytes for entry in left] == [4 * len(sums[0][name]) for name in STATISTICS]
        assert people.joins(number) == 2
        assert [entry.charge for entry in left] == ["statistics/popularity", "statistics/gram"]
        assert unpaid(device, people.world) == []  # S73
        assert not any(word.encode() in device.egress.path.read_bytes() for word in PLANTED)


def test_cn_07_cr_07_a_device_that_withdrew_between_two_statistics_declines_the_second(
    village: Build,
) -> None:
    people = real(village("people", **ALONE))
    codes: dict[str, str] = {}

    def see(work: Work, replies: list[Message | None]) -> None:
        group = work[0][0].metadata.group_id
        if group.startswith("0/"):
            codes[group] = code_of(replies[3])
            people.devices[3].consent.withdraw("training")

    people.world.run(watched(people.cohort(), see))
    assert codes == {"0/popularity/0": "", "0/gram/0": "consent-missing"}
    assert [entry.sent for entry in of_rounds(people.devices[3])] == [True]
    assert list(StatisticFiles(people.world.folder).released()) == list(STATISTICS)


def test_a_person_adds_to_a_statistic_once(village: Build) -> None:
    people = real(village("people", **ALONE))
    asked = Invitation(
        run="autumn",
        round=0,
        devices=(3,),
        config_digest=people.world.host.config.digest(),
        statistic="popularity",
    )
    nothing = np.zeros(1, np.float32)
    assert people.participant(3).update(asked, nothing).any()
    again = people.participant(3).update(asked, nothing)
    assert again.shape == (20,)
    assert not again.any()
    assert people.joins(3) == 1
