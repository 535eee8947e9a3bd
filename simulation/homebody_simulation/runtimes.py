"""Run the two Flower apps: in this process (``cohort``), on Ray (``ray``), on a fleet (``deploy``).

The apps are the same; only who carries the messages differs.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import lru_cache
from typing import Final

from flwr.app import Context, RecordDict

from homebody_client.flower_app import build_client_app
from homebody_client.host import Host, shard
from homebody_client.node_app import NodeOpener
from homebody_server.flower_app import RUN_FOLDER, build_server_app
from homebody_server.rounds import Observer
from homebody_server.stages import DEVICES
from homebody_simulation.cohort.choice import answers
from homebody_simulation.cohort.shard import with_engine
from homebody_simulation.cost import Answered, Meter, metered
from homebody_simulation.deploy_run import run_deploy
from homebody_simulation.grid import CohortGrid, app_cohort
from homebody_simulation.hosting import host_of, own_records
from homebody_simulation.ray_run import run_ray
from homebody_simulation.sealed_nodes import SealedNodes
from homebody_simulation.setup import Prepared

_SHARDS: Final = 16
_HOSTS: Final = 4096  # kept ready; more are opened again when a message needs them


def run(prepared: Prepared, observe: Observer, answered: Answered | None = None) -> Meter:
    """Train until the run ends, whatever ends it; the outcome stands in the run's folder.

    Args:
        prepared: The run.
        observe: Called with each release that is seen.
        answered: Told how many devices answered a statistic, where that can be seen.

    Returns:
        What the devices' part cost; empty where the runtime cannot measure it.
    """
    if prepared.request.runtime == "cohort":
        return run_cohort(prepared, observe, answered)
    return (run_ray if prepared.request.runtime == "ray" else run_deploy)(prepared, observe)


def run_cohort(
    prepared: Prepared,
    observe: Observer,
    answered: Answered | None = None,
    *,
    apart: bool | None = None,
) -> Meter:
    """Run both apps in this process: one node a device, or shards that an engine trains at once.

    What a shard answers is the sum of its devices, each bounded on its own, so that a large
    population needs no message, no array and no object of each device. A secure sum keeps the
    devices apart, and so do short runs of rounds alone: the server then bounds each reply, and an
    audit sees what one device can add. The sums are the same either way.

    Args:
        prepared: The run.
        observe: Called with each release that is seen.
        answered: Told how many devices answered a statistic.
        apart: Whether each device has a node of its own; None decides as above.
    """
    spec, stages, meter = prepared.spec, prepared.stages, Meter()
    with own_records(prepared, host_of(prepared)) as plain:
        request = prepared.request
        everyone = with_engine(
            plain, request.engine, answers=answers(spec), threads=request.threads
        )
        if apart is None:
            few = everyone.engine is None and not spec.statistics and spec.devices <= _HOSTS
            apart = spec.secagg or few
        nodes = spec.devices if apart else min(spec.devices, _SHARDS)

        @lru_cache(maxsize=_HOSTS)
        def host(number: int) -> Host:
            return replace(everyone, devices=shard(spec.devices, number, nodes))

        app = build_client_app(
            lambda context: host(_number(context)),
            node=_sealed(prepared, host) if spec.secagg else None,
            shielded=False,
        )
        grid = CohortGrid(
            stages.timed(DEVICES, metered(app_cohort(app), meter, answered=answered)),
            {1 + i: {"partition-id": i, "num-partitions": nodes} for i in range(nodes)},
            {RUN_FOLDER: str(prepared.folder.path)},
        )
        context = Context(1, 0, {}, RecordDict(), {RUN_FOLDER: str(prepared.folder.path)})
        build_server_app(observe, stages)(grid=grid, context=context)
    return meter


def _number(context: Context) -> int:
    return int(context.node_config["partition-id"])


def _sealed(prepared: Prepared, host: Callable[[int], Host]) -> NodeOpener:
    """Give every device keys of its own for the run, and the server app its identity."""
    sealed = SealedNodes.make(prepared.spec.devices)
    sealed.introduce(prepared)
    nodes = sealed.in_process(prepared, host)
    return lambda context: nullcontext(nodes[_number(context)])
