"""A shard with silent devices is to the server what as many single devices would be."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict

from homebody_client.flower_app import build_client_app
from homebody_client.host import Host, shard
from homebody_client.participation_store import ParticipationStore
from homebody_client.secure.shard import ShardWorker
from homebody_privacy import messages
from homebody_privacy.errors import TooFewDevicesError
from homebody_privacy.messages import STATISTICS, Invitation
from homebody_server.flower_app import run_rounds
from homebody_server.replies import Replies
from homebody_server.run_folder import TrainState
from homebody_server.statistic_files import StatisticFiles
from homebody_simulation.availability import Attendees, Conditions
from homebody_simulation.grid import Cohort, CohortGrid, app_cohort

from .statistics_world import ALONE, statistics
from .world import DEVICES, Builder, World, entries, ledger_of, same_end

SHARDS = 3
FEW = Attendees(Conditions(availability=0.6, drop_out=0.3, slow=0.1), b"k" * 32)


def run_in(world: World, nodes: int, cohort: Cohort | None = None) -> TrainState:
    """Run a world whose devices are dealt out to so many nodes."""

    def opener(context: Context) -> Host:
        return replace(
            world.host, devices=shard(DEVICES, int(context.node_config["partition-id"]), nodes)
        )

    configs: dict[int, dict[str, Any]] = {1 + i: {"partition-id": i} for i in range(nodes)}
    grid = CohortGrid(cohort or app_cohort(build_client_app(opener)), configs, {})
    return run_rounds(grid, world.folder, lambda _number, _parameters: None)


def alone(world: World, attendance: Attendees) -> Cohort:
    """Return single devices of which those that are not there leave messages unanswered."""
    honest = world.honest

    def cohort(work: list[tuple[Message, Context]]) -> list[Message | None]:
        return [honest([one])[0] if _is_there(one[0], attendance) else None for one in work]

    return cohort


def _is_there(message: Message, attendance: Attendees) -> bool:
    records = message.content.config_records
    if messages.INVITATION not in records:
        return True
    asked = Invitation.from_record(records[messages.INVITATION])
    device = np.array(asked.devices, np.int64)
    return bool(attendance.answering(device, asked.round, asked.statistic or "")[0])


BLT: dict[str, Any] = {
    "mechanism": "blt",
    "rounds": 6,
    "cohort_size": 5,
    "max_rounds_per_device": 3,
}


@pytest.mark.parametrize("goal", [0, 3])
def test_shards_with_silent_devices_release_what_single_devices_do(
    make_world: Builder, goal: int
) -> None:
    own = BLT | {"report_goal": goal}
    single, shards = (make_world(name, counted=False, **own) for name in ("single", "shards"))
    expected = run_in(single, DEVICES, alone(single, FEW))
    silent = replace(shards, host=replace(shards.host, attendance=FEW))
    assert same_end(run_in(silent, SHARDS), expected)
    assert entries(shards)[1:] == entries(single)[1:]  # the same rounds were void
    assert 0 < ledger_of(shards).voids < 6 if goal else ledger_of(shards).voids == 0


def test_silent_devices_are_zeros_of_a_statistic(make_world: Builder) -> None:
    single, shards = (statistics(make_world, name, **ALONE) for name in ("single", "shards"))
    single.run(alone(single, FEW))
    silent = replace(shards, host=replace(shards.host, attendance=FEW))
    run_in(silent, SHARDS)
    found, expected = (StatisticFiles(w.folder).released() for w in (silent, single))
    assert [found[name].tobytes() for name in STATISTICS] == [
        expected[name].tobytes() for name in STATISTICS
    ]


@dataclass(frozen=True, slots=True)
class Some:
    """Attendance by name."""

    hearing: AbstractSet[int]
    heard: AbstractSet[int]

    def online(
        self, devices: npt.NDArray[np.int64], number: int, about: str = ""
    ) -> npt.NDArray[np.bool_]:
        """Tell who hears."""
        del number, about
        return np.isin(devices, list(self.hearing))

    def delivering(
        self, devices: npt.NDArray[np.int64], number: int, about: str = ""
    ) -> npt.NDArray[np.bool_]:
        """Tell who is heard."""
        del number, about
        return np.isin(devices, list(self.heard))


def test_who_drops_out_has_joined_and_who_is_offline_has_not(make_world: Builder) -> None:
    world = make_world(**BLT)
    host = replace(world.host, attendance=Some({0, 1}, {0, 2}))
    worker = ShardWorker(lambda: host)
    asked = Invitation(
        run="run", round=1, devices=(0, 1, 2), config_digest=world.spec.config_digest
    )
    parameters = world.folder.load_state().parameters
    total = worker.train(asked, parameters, lambda integers: integers.tobytes())
    only = ShardWorker(lambda: replace(world.host, participation=None))
    first = only.train(
        replace(asked, devices=(0,)), parameters, lambda integers: integers.tobytes()
    )
    assert total == first
    store = world.host.participation
    assert isinstance(store, ParticipationStore)
    assert [store.joins(device, "run") for device in range(3)] == [1, 1, 0]


def test_a_sealed_node_that_nobody_is_at_sends_no_sum(make_world: Builder) -> None:
    world = make_world(**BLT)
    worker = ShardWorker(lambda: replace(world.host, attendance=Some({1}, set())))
    asked = Invitation(run="run", round=1, devices=(1,), config_digest=world.spec.config_digest)
    parameters = world.folder.load_state().parameters
    with pytest.raises(TooFewDevicesError):
        worker.train(asked, parameters, lambda integers: integers.tobytes())
    nobody = replace(asked, devices=())  # asked for nothing, it adds zeros as ever
    assert not np.frombuffer(
        worker.train(nobody, parameters, lambda i: i.tobytes()), np.int64
    ).any()


SAID = [(None, 4), (0, 0), (-1, 0), (3, 3), (4, 4), (5, 4), (2**62, 4), (1.0, 4), (True, 4)]


@pytest.mark.parametrize(("said", "devices"), SAID, ids=str)
def test_a_node_may_say_fewer_devices_and_never_more(
    make_world: Builder,
    said: Any,  # noqa: ANN401 - a node may say anything
    devices: int,
) -> None:
    make_world().grid()  # a Message needs a server that speaks
    asked = Message(RecordDict(), dst_node_id=7, message_type="train", group_id="1")
    array = Array(np.array([1, 2], np.int64))
    content = RecordDict({messages.UPDATE: ArrayRecord({messages.CONTRIBUTION: array})})
    if said is not None:
        content[messages.ANSWERED] = ConfigRecord({messages.DEVICES: said})
    reply = Message(content, reply_to=asked)
    found = [one.devices for one in Replies({(7, "1"): 4}, [reply], 2)]
    assert found == ([devices] if devices else [])
