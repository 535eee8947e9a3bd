"""Who hosts whom, and which answers are waited for: before a cohort is drawn."""

from collections.abc import Iterable
from typing import Any

import pytest
from flwr.app import ConfigRecord, Message, MessageType, RecordDict
from flwr.serverapp import Grid

from homebody_privacy import messages
from homebody_privacy.errors import IntegrityError, TooFewDevicesError
from homebody_server.gathering import collect, enrol
from homebody_simulation.grid import Cohort, CohortGrid

from .world import DEVICES, MakeWorld, Work


class Clock:
    """Seconds that pass by being read."""

    def __init__(self) -> None:
        """Start at zero."""
        self.now = 0.0

    def __call__(self) -> float:
        """Return the time, one second later each time."""
        self.now += 1.0
        return self.now


class LateGrid(CohortGrid):
    """A grid whose answers from one node come at the third look."""

    late = 3
    looks = 0

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Hold the late node's answer back."""
        self.looks += 1
        ids = list(message_ids)
        held = [i for i in ids if self.looks < 3 and self._inbox_node(i) == self.late]
        return super().pull_messages([i for i in ids if i not in held])

    def _inbox_node(self, message_id: str) -> int:
        return self._inbox[message_id].metadata.src_node_id


def _queries(grid: Grid) -> list[Message]:
    kind = f"{MessageType.QUERY}.{messages.ENROL}"
    return [
        Message(RecordDict(), dst_node_id=node, message_type=kind, ttl=9.0)
        for node in grid.get_node_ids()
    ]


@pytest.mark.parametrize(("deadline_s", "answers"), [(1.5, DEVICES - 1), (60.0, DEVICES)])
def test_pf_38_an_answer_after_the_deadline_is_never_read(
    make_world: MakeWorld, deadline_s: float, answers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("homebody_server.gathering._POLL_S", 0.0)
    nodes: dict[int, dict[str, Any]] = {1 + i: {"partition-id": i} for i in range(DEVICES)}
    grid = LateGrid(make_world().honest, nodes, {})
    replies = collect(grid, _queries(grid), deadline_s, Clock())
    assert len(replies) == answers
    ids = [reply.metadata.src_node_id for reply in replies]
    assert ids == sorted(ids)


def test_enrolment_finds_each_device_on_its_node(make_world: MakeWorld) -> None:
    assert enrol(make_world().grid(), DEVICES, 5.0) == {i: i + 1 for i in range(DEVICES)}


def claiming(honest: Cohort, node: int, devices: list[int]) -> Cohort:
    """Return the devices with one node that enrols others than its own."""

    def cohort(work: Work) -> list[Message | None]:
        replies = honest(work)
        for place, (message, _) in enumerate(work):
            if message.metadata.dst_node_id == node:
                record = ConfigRecord({messages.DEVICES: devices})
                replies[place] = Message(RecordDict({messages.ENROL: record}), reply_to=message)
        return replies

    return cohort


@pytest.mark.parametrize("devices", [[5], [0, 0], [0, DEVICES]], ids=str)
def test_a_device_enrolled_twice_or_outside_the_population_is_refused(
    make_world: MakeWorld, devices: list[int]
) -> None:
    world = make_world()
    with pytest.raises(IntegrityError, match="enrolled twice or outside"):
        enrol(world.grid(claiming(world.honest, 1, devices)), DEVICES, 5.0)


def test_cr_35_a_population_that_does_not_come_is_too_few(make_world: MakeWorld) -> None:
    world = make_world()
    with pytest.raises(TooFewDevicesError):
        enrol(world.grid(), DEVICES + 1, 0.1)


def test_a_malformed_enrolment_is_a_refusal_with_a_code(make_world: MakeWorld) -> None:
    world = make_world()
    with pytest.raises((IntegrityError, TooFewDevicesError)):
        enrol(world.grid(claiming(world.honest, 1, [-1])), DEVICES, 0.1)
