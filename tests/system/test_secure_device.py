"""Sealed rounds of a real server, in which some nodes are whole devices of people.

What the server releases is what plain hosts would give; every message of a device passes its send
gate, sealed; and what a person takes back between two legs stays with them.
"""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Context, Message, MessageType, RecordDict

from homebody_client.consent.egress import EgressEntry
from homebody_client.device_app import device_client_app
from homebody_client.flower_app import build_client_app
from homebody_client.host import shard
from homebody_client.secure.leg_store import LegStore, shared_memory
from homebody_client.secure.node import SecureNode
from homebody_client.secure.opening import store_key
from homebody_client.secure.person import PersonWorker
from homebody_client.secure.policy import Policy
from homebody_client.secure.shard import ShardWorker
from homebody_client.secure.worker import Worker
from homebody_models.split import Split, leave_one_out
from homebody_privacy import messages
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.legs import ENVELOPE, SEALED, Step
from homebody_privacy.sealing import read_context
from homebody_server.run_spec import MetricPlan
from homebody_simulation.datasets import load_dataset
from homebody_simulation.sealed_nodes import SealedNodes
from tests.server.world import DEVICES, Builder, Work, ledger_of, same_end, watched

from .device_village import (
    PLANTED,
    READY,
    TWELVE,
    AsInTheWorld,
    Breaks,
    Build,
    Village,
    bytes_of,
    code_of,
    villages,
    worlds,
)

WHOLE = (0, 3)
QUALITY = MetricPlan(name="quality", noise_multiplier=40.0, releases=1)
LEGS = (Step.ADVERTISE, Step.SHARE, Step.UPDATE, Step.CONFIRM, Step.UNMASK)


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


Cohort = Callable[[Work], list[Message | None]]


@dataclass(frozen=True)
class SealedVillage:
    """A village whose nodes have keys."""

    people: Village
    nodes: list[SecureNode]

    @classmethod
    def of(cls, people: Village) -> "SealedVillage":
        """Give every node of a village keys, and the server app its identity."""
        world, sealed, db = people.world, SealedNodes.make(DEVICES), shared_memory()
        sealed.home.save(world.folder.aggregator_folder)

        def worker(number: int) -> Worker:
            if number in people.devices:
                return PersonWorker(partial(people.participant, number), number)
            host = replace(world.host, devices=shard(DEVICES, number, DEVICES))
            return ShardWorker(lambda: host)

        return cls(
            people,
            [
                SecureNode(
                    identity=identity,
                    certificate=sealed.home.registered[identity.node_id],
                    pins=sealed.home.pins,
                    policy=Policy.of(world.host.config),
                    store=LegStore.in_memory(store_key(identity), db),
                    worker=lambda _, number=number: worker(number),  # type: ignore[misc]
                )
                for number, identity in enumerate(sealed.identities)
            ],
        )

    def cohort(self) -> Cohort:
        """Return the nodes behind their apps."""
        people = self.people
        apps = {
            number: device_client_app(
                partial(people.participant, number),
                number=number,
                node=lambda number=number: nullcontext(self.nodes[number]),  # type: ignore[misc]
            )
            for number in people.devices
        }
        hosts = build_client_app(node=lambda context: nullcontext(self.nodes[context.node_id - 1]))

        def cohort(work: Work) -> list[Message | None]:
            return [
                apps.get(message.metadata.dst_node_id - 1, hosts)(message, context)
                for message, context in work
            ]

        return cohort

    def entries(self, number: int) -> list[EgressEntry]:
        """Return what a device's egress log says."""
        return self.people.devices[number].egress.entries()


def step_of(message: Message | None) -> Step:
    """Return the step that an envelope says."""
    assert message is not None
    array = message.content.array_records[SEALED][ENVELOPE].numpy()
    return read_context(array.tobytes()).step


def steps_of(replies: list[Message | None]) -> dict[int, Step]:
    """Return the step each node answered with."""
    return {reply.metadata.src_node_id - 1: step_of(reply) for reply in replies if reply}


@pytest.mark.parametrize("mechanism", ["gaussian", "blt"])
def test_a_sealed_round_with_peoples_devices_releases_what_plain_hosts_do(
    village: Build, make_world: Builder, mechanism: str
) -> None:
    own: dict[str, Any] = {"mechanism": mechanism, "rounds": 2, "metrics": (QUALITY,)}
    own |= {"cohort_size": 6} if mechanism == "blt" else {}
    people = SealedVillage.of(village("people", WHOLE, secagg=True, **own))
    plain = make_world("plain", **own)
    sizes: dict[int, list[int]] = {number: [] for number in WHOLE}

    def see(_: Work, replies: list[Message | None]) -> None:
        for number in WHOLE:
            for reply in replies:
                if reply is not None and reply.metadata.src_node_id == number + 1:
                    record = reply.content.array_records[SEALED]
                    sizes[number].append(record[ENVELOPE].numpy().size)

    ended = people.people.world.run(watched(people.cohort(), see))
    assert same_end(ended, plain.run())
    assert ledger_of(people.people.world).answers == ledger_of(plain).answers
    for number in WHOLE:
        entries = people.entries(number)
        assert [entry.bytes for entry in entries] == sizes[number]  # each message, and no other
        assert all(entry.sent for entry in entries)
        work = [entry for entry in entries if entry.kind != "query"]
        assert {entry.kind for entry in work} <= {"update", "metric"}
        assert all("masked and sealed" in entry.summary for entry in work)
        assert people.people.joins(number) >= len([e for e in work if e.kind == "update"])
    if mechanism == "gaussian":
        updates = [e.round for e in people.entries(3) if e.kind == "update"]
        assert updates == [1, 2]


@pytest.mark.parametrize("step", LEGS)
def test_what_is_withdrawn_between_two_legs_stops_that_device_and_no_other(
    village: Build, make_world: Builder, step: Step
) -> None:
    people = SealedVillage.of(village("people", secagg=True, rounds=2))
    device = people.people.devices[3]
    honest, done = people.cohort(), list[Step]()
    before: list[int] = []
    answers: dict[Step, Step] = {}

    def cohort(work: Work) -> list[Message | None]:
        leg = step_of(work[0][0])
        if leg is step and not done:
            done.append(leg)
            before.append(len([entry for entry in people.entries(3) if entry.sent]))
            device.consent.withdraw("training")
        replies = honest(work)
        told = steps_of(replies)
        if 3 in told:
            answers[leg] = told[3]
        return replies

    ended = people.people.world.run(cohort)
    late = LEGS.index(step) > LEGS.index(Step.UPDATE)
    assert answers[step] is Step.DECLINE
    assert [entry for entry in people.entries(3) if entry.sent][before[0] :] == []
    assert people.people.joins(3) == (1 if late else 0)
    assert ledger_of(people.people.world).released == 2
    plain = make_world("plain", rounds=2)

    def silent(asked: Message, good: Message) -> Message | None:
        training = asked.metadata.message_type == MessageType.TRAIN
        gone = asked.metadata.group_id == "2" or not late
        return None if training and gone and asked.metadata.dst_node_id == 4 else good

    assert same_end(ended, plain.run(plain.answering(silent)))
    assert people.nodes[3].store.get(people.people.world.spec.run_id or "people", "session") is None


def test_what_is_withdrawn_while_training_runs_stops_at_the_send_gate(village: Build) -> None:
    people = SealedVillage.of(village(secagg=True, rounds=1))
    device, made = people.people.devices[3], list[Any]()

    def during() -> None:
        device.consent.withdraw("training")

    people.people.models[3] = AsInTheWorld(people.people.world.host, 3, during, made)
    told: dict[Step, Step] = {}

    def see(work: Work, replies: list[Message | None]) -> None:
        told.update({step_of(work[0][0]): t for n, t in steps_of(replies).items() if n == 3})

    people.people.world.run(watched(people.cohort(), see))
    assert told[Step.UPDATE] is Step.DECLINE
    assert Step.CONFIRM not in told
    assert not made[0].any()  # overwritten
    assert people.people.joins(3) == 0
    assert [e for e in people.entries(3) if e.kind == "update" and e.sent] == []
    assert ledger_of(people.people.world).released == 1


def test_a_person_who_shut_training_is_not_enrolled_and_sends_nothing(village: Build) -> None:
    people = SealedVillage.of(village(secagg=True, rounds=1))
    people.people.devices[3].consent.withdraw("training")
    honest, replies = people.cohort(), list[Message | None]()

    class EnoughError(Exception):
        pass

    def once(work: Work) -> list[Message | None]:
        replies.extend(honest(work))
        raise EnoughError

    with pytest.raises(EnoughError):
        people.people.world.run(once)
    assert steps_of(replies)[3] is Step.DECLINE
    assert people.entries(3) == []


def test_a_device_that_is_not_ready_declines_before_it_makes_a_key(village: Build) -> None:
    people = SealedVillage.of(village(secagg=True, rounds=1))
    people.people.devices[3].check_in(**{**READY, "charging": False})
    told: dict[Step, Step] = {}

    def see(work: Work, replies: list[Message | None]) -> None:
        told.update({step_of(work[0][0]): t for n, t in steps_of(replies).items() if n == 3})

    people.people.world.run(watched(people.cohort(), see))
    assert told == {Step.ENROL: Step.ENROL, Step.ADVERTISE: Step.DECLINE}
    assert people.people.joins(3) == 0


def test_a_device_asked_too_early_adds_zeros_that_look_like_an_update(village: Build) -> None:
    people = SealedVillage.of(village("run", mechanism="blt", cohort_size=12, secagg=True))
    numbers: list[int] = []
    worker = PersonWorker(partial(people.people.participant, 3), 3)
    invitation = messages.Invitation(
        run="autumn",
        round=1,
        devices=(3,),
        config_digest=people.people.world.host.config.digest(),
    )
    model = np.zeros(people.people.world.host.model.layout.size, np.float32)

    def protect(vector: Any) -> bytes:  # noqa: ANN401 - integers
        numbers.append(int(np.abs(vector).sum()))
        return b"sealed"

    assert worker.train(invitation, model, protect) == b"sealed"
    assert worker.train(replace(invitation, round=2), model, protect) == b"sealed"
    assert numbers[0] > 0
    assert numbers[1] == 0  # the round after: too early
    assert people.people.joins(3) == 1
    assert worker.train(replace(invitation, round=4, devices=()), model, protect) == b"sealed"
    assert numbers[2] == 0  # nobody was asked: a sum of zeros, and no join
    assert people.people.joins(3) == 1
    assert [entry.bytes for entry in people.entries(3)] == [len(b"sealed")] * 3


@pytest.mark.parametrize("action", ["query.enrol", "train", "evaluate"])
def test_a_device_with_keys_refuses_what_is_not_sealed(village: Build, action: str) -> None:
    people = SealedVillage.of(village(secagg=True))
    app = people.cohort()
    people.people.world.grid()
    message = Message(RecordDict(), dst_node_id=4, message_type=action)
    message.metadata.__dict__["_message_id"] = "m1"
    (reply,) = app([(message, Context(1, 4, {}, RecordDict(), {}))])
    assert code_of(reply) == "policy-violation"
    assert people.entries(3) == []


def test_a_device_without_keys_answers_no_sealed_message(village: Build) -> None:
    people = village(secagg=True)
    message = Message(RecordDict(), dst_node_id=4, message_type="query.secagg_share")
    message.metadata.__dict__["_message_id"] = "m1"
    (reply,) = people.cohort()([(message, Context(1, 4, {}, RecordDict(), {}))])
    assert code_of(reply) == "policy-violation"


def test_a_defect_of_a_device_says_nothing_of_its_rows(village: Build) -> None:
    people = SealedVillage.of(village(secagg=True, rounds=1))
    people.people.models[3] = Breaks(people.people.world.host, 3)
    told: list[bytes] = []

    def see(_: Work, replies: list[Message | None]) -> None:
        told.extend(bytes_of(reply) for reply in replies if reply is not None)

    people.people.world.run(watched(people.cohort(), see))
    bought = [name.encode() for name in people.people.world.host.histories.catalog.ids]
    sent = b"".join(told)
    assert not [name for name in bought if name in sent]
    kept = [f.read_bytes() for f in people.people.world.folder.path.rglob("*") if f.is_file()]
    assert not [word for word in PLANTED if word.encode() in sent + b"".join(kept)]
    assert ledger_of(people.people.world).released == 1
