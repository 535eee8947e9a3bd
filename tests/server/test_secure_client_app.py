"""The real ClientApp, with keys, against this server: what it adds is what it adds in clear."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
from flwr.app import Context, Message

from homebody_client.flower_app import build_client_app
from homebody_client.host import Host, shard
from homebody_client.secure.leg_store import LegStore
from homebody_client.secure.node import SecureNode
from homebody_client.secure.opening import store_key
from homebody_client.secure.policy import Policy
from homebody_client.secure.shard import ShardWorker
from homebody_privacy.errors import TooFewDevicesError
from homebody_privacy.legs import Step
from homebody_server.flower_app import run_rounds
from homebody_server.run_folder import TrainState
from homebody_server.run_spec import MetricPlan
from homebody_simulation.grid import Cohort, CohortGrid, app_cohort

from .secure_time import Time
from .secure_world import Fleet, nodes_of, step_of
from .world import DEVICES, Builder, PowerCutError, Work, entries, ledger_of, same_end

PARTS = 4
QUALITY = MetricPlan(name="quality", noise_multiplier=4.0, releases=1)


def real(fleet: Fleet) -> Cohort:
    """Return the ClientApps of a fleet's nodes, with what they keep in memory."""
    world = fleet.world
    policy = Policy.of(world.host.config, reference=world.spec.ceiling is None)
    apps: dict[int, Cohort] = {}
    for number in fleet.nodes:
        host = replace(world.host, devices=shard(DEVICES, number - 1, len(fleet.nodes)))
        apps[number] = app_of(secure_node(fleet, number, host, policy), host)

    def cohort(work: Work) -> list[Message | None]:
        return [apps[message.metadata.dst_node_id]([(message, c)])[0] for message, c in work]

    return cohort


def secure_node(fleet: Fleet, number: int, host: Host, policy: Policy) -> SecureNode:
    """Return the node of a number with the keys of the fleet's own."""
    node = fleet.nodes[number]
    return SecureNode(
        identity=node.identity,
        certificate=node.certificate,
        pins=fleet.home.pins,
        policy=policy,
        store=LegStore.in_memory(store_key(node.identity)),
        worker=lambda _: ShardWorker(lambda: host),
        clock=fleet.time.now,
        shielded=False,
    )


def app_of(node: SecureNode, host: Host) -> Cohort:
    """Return the ClientApp of one node."""

    def opener(_: Context) -> Host:
        return host

    return app_cohort(build_client_app(opener, node=lambda _: nullcontext(node), shielded=False))


def run(fleet: Fleet, cohort: Cohort) -> TrainState:
    """Run what is left of a run over a cohort that keeps its own contexts."""
    nodes: dict[int, dict[str, Any]] = {number: {} for number in fleet.nodes}
    grid = CohortGrid(cohort, nodes, {})
    return run_rounds(grid, fleet.world.folder, lambda *_: None, pace=fleet.time.pace())


WORLDS: dict[str, dict[str, Any]] = {
    "gaussian, few drawn, and a figure": {"cohort_size": 4, "metrics": (QUALITY,)},
    "a clip norm that adapts and is whole": {"count_multiplier": 2.0, "clip_norm": 1.0},
    "blt": {"mechanism": "blt", "min_separation": 2},
}


@pytest.mark.parametrize("kind", WORLDS)
def test_the_real_nodes_add_what_they_add_in_clear(make_world: Builder, kind: str) -> None:
    own = {"rounds": 2} | WORLDS[kind]
    clear, sealed = make_world("clear", **own), make_world("sealed", secagg=True, **own)
    fleet = nodes_of(sealed, PARTS, Time())
    assert same_end(run(fleet, real(fleet)), clear.run())
    assert entries(sealed)[1:] == entries(clear)[1:]
    assert fleet.time.slept == []  # nobody had to be asked twice


def repeating(cohort: Cohort) -> Cohort:
    """Return nodes that get each message twice, and whose first reply is lost."""

    def doubled(work: Work) -> list[Message | None]:
        cohort(work)
        return cohort(work)

    return doubled


def flaky(cohort: Cohort) -> Callable[[Work], list[Message | None]]:
    """Return nodes every second of whose messages is lost on its way back."""
    count = 0

    def losing(work: Work) -> list[Message | None]:
        nonlocal count
        count += 1
        replies = cohort(work)
        return [None if (count + i) % 2 else reply for i, reply in enumerate(replies)]

    return losing


@pytest.mark.parametrize("road", [repeating, flaky], ids=["doubled", "lossy"])
def test_a_message_that_comes_twice_is_answered_alike_and_counts_once(
    make_world: Builder, road: Callable[[Cohort], Cohort]
) -> None:
    own: dict[str, Any] = {"rounds": 2, "mechanism": "blt", "min_separation": 2}
    clear, sealed = make_world("clear", **own), make_world("sealed", secagg=True, **own)
    fleet = nodes_of(sealed, PARTS, Time())
    assert same_end(run(fleet, road(real(fleet))), clear.run())
    assert ledger_of(sealed).voids == 0


def test_a_server_that_died_is_answered_by_nodes_that_lived(make_world: Builder) -> None:
    own: dict[str, Any] = {"rounds": 2, "mechanism": "blt", "min_separation": 2}
    clear, sealed = make_world("clear", **own), make_world("sealed", secagg=True, **own)
    fleet = nodes_of(sealed, PARTS, Time())
    nodes, deaths = real(fleet), [Step.SHARE, Step.UPDATE, Step.UNMASK, Step.CONFIRM]

    def cohort(work: Work) -> list[Message | None]:
        replies = nodes(work)
        if deaths and step_of(work[0][0]) is deaths[0]:
            deaths.pop(0)
            raise PowerCutError
        return replies

    while deaths:
        with pytest.raises(PowerCutError):
            run(fleet, cohort)
    assert same_end(run(fleet, cohort), clear.run())
    assert entries(sealed)[1:] == entries(clear)[1:]


def test_pf_28_a_sealed_node_answers_nothing_in_clear(make_world: Builder) -> None:
    clear = make_world("clear", rounds=1)
    fleet = nodes_of(make_world("sealed", secagg=True, rounds=1), DEVICES, Time())
    plain_asked: list[Message | None] = []
    nodes = real(fleet)

    def asking_plainly(work: Work) -> list[Message | None]:
        replies = nodes(work)
        plain_asked.extend(replies)
        return replies

    grid = CohortGrid(asking_plainly, {n: {} for n in fleet.nodes}, {})
    spec = replace(clear.spec, deadline_s=0.2)
    clear.folder.write_json("run.json", {"spec": spec.to_dict()})
    with pytest.raises(TooFewDevicesError, match="not complete"):
        run_rounds(grid, clear.folder, lambda *_: None)
    for reply in plain_asked:
        assert reply is not None
        assert set(reply.content) == {"declined"}
