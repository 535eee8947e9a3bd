"""The workload on Flower's simulation runtime: its message API, its strategies, Ray below.

Flower's ``FedAvg`` in ``DifferentialPrivacyServerSideFixedClipping``; two nodes' apps at a time,
one processor each. A client trains with the few numpy calls of ``epoch``, keeps its user vector in
its context, and its process maps the data once: as little beside the runtime as can be. Started
with this folder and the one above it on ``PYTHONPATH``, which Ray's actors inherit.
"""

import logging
import time
import warnings
from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np
from epoch import clipped, distance, oracle, train
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import DifferentialPrivacyServerSideFixedClipping, FedAvg
from job import Clock, Job, answer, read_job
from world import CLIP_NORM, NOISE_MULTIPLIER, World, cohort, device_keys, round_key

_TABLE = "table"
_START_S = 180.0
_BOUND = 2e-5  # float32, as everywhere


@cache
def _data() -> tuple[Job, World]:
    """Return the job and the world; once a process."""
    job = read_job()
    return job, job.world()


def client(message: Message, context: Context) -> Message:
    """Train the device that the message names, with the vector its node keeps."""
    job, world = _data()
    asked = message.content["config"]
    device = int(asked["device"])
    table = message.content["arrays"][_TABLE].numpy().copy()
    kept = context.state.get("user")
    user = world.users[device].copy() if kept is None else kept[_TABLE].numpy().copy()
    key = int(device_keys(round_key(int(asked["number"])), np.array([device]))[0])
    train(table, user, world.history(device), key, job.rates)
    context.state["user"] = ArrayRecord({_TABLE: Array(user)})
    content = {
        "arrays": ArrayRecord({_TABLE: Array(table)}),
        "metrics": MetricRecord({"num-examples": 1}),
    }
    return Message(RecordDict(content), reply_to=message)


class ByCohort(FedAvg):
    """Federated averaging over the workload's cohorts: node k of the sorted nodes is device k."""

    def __init__(self, world: World, size: int, nodes: list[int]) -> None:
        """Sample so many of the world's devices a round."""
        super().__init__(fraction_evaluate=0.0)
        self._world = world
        self._size = size
        self._nodes = nodes

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Return a message for each device of the round's cohort."""
        del config, grid
        number = server_round - 1
        messages = []
        for device in cohort(self._world, number, self._size).tolist():
            own = ConfigRecord({"device": device, "number": number})
            content = RecordDict({"arrays": arrays, "config": own})
            messages.append(Message(content, self._nodes[device], "train"))
        return messages


def _nodes(grid: Grid, count: int) -> list[int]:
    """Return all nodes, once they are there."""
    end = time.monotonic() + _START_S
    while time.monotonic() < end:
        nodes = sorted(grid.get_node_ids())
        if len(nodes) == count:
            return nodes
        time.sleep(0.5)
    raise RuntimeError(f"Flower did not bring up {count} nodes within {_START_S:.0f} s")


def _check(job: Job, world: World, replies: list[Message]) -> None:
    """Refuse replies that are not the workload's; their average in float32 is coarser."""
    total = np.zeros(world.table.shape)
    for reply in replies:
        total += clipped(reply.content["arrays"][_TABLE].numpy().astype(np.float64) - world.table)
    apart = distance(total, oracle(world, cohort(world, 0, job.cohort), job.rates))
    if apart > _BOUND:
        raise RuntimeError(f"the sum of the replies is off by {apart:.1e}")


def server(grid: Grid, context: Context) -> None:
    """Run the job's rounds."""
    del context
    job, world = _data()
    strategy = DifferentialPrivacyServerSideFixedClipping(
        ByCohort(world, job.cohort, _nodes(grid, world.devices)),
        noise_multiplier=0.0 if job.check else NOISE_MULTIPLIER,
        clipping_norm=CLIP_NORM,
        num_sampled_clients=job.cohort,
    )
    arrays = ArrayRecord({_TABLE: Array(np.array(world.table))})
    clock = Clock(job.warm)
    clock.start()
    for number in range(1, job.all_rounds + 1):
        messages = strategy.configure_train(number, arrays, ConfigRecord(), grid)
        replies = list(grid.send_and_receive(messages))
        if job.check:
            _check(job, world, replies)
        released, _ = strategy.aggregate_train(number, replies)
        if released is None:
            raise RuntimeError("a client failed: Flower released nothing")
        arrays = released
        clock.lap()
    total = None
    if job.check:
        total = (arrays[_TABLE].numpy().astype(np.float64) - world.table) * job.cohort
    answer(job, clock.found(), total, ("flwr", "ray"))


def main() -> None:
    """Run both apps."""
    from flwr.simulation import run_simulation  # noqa: PLC0415 - the actors do without

    warnings.simplefilter("ignore")
    logging.getLogger("flwr").setLevel(logging.ERROR)
    job, world = _data()
    server_app, client_app = ServerApp(), ClientApp()
    server_app.main()(server)
    client_app.train()(client)
    backend: dict[str, Any] = {
        "init_args": {"num_cpus": job.workers, "include_dashboard": False, "log_to_driver": False},
        "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
    }
    run_simulation(server_app, client_app, world.devices, backend_config=backend)


if __name__ == "__main__":
    # Under its own name: the actors import what they run, and __main__ is another file there.
    import flower_worker

    flower_worker.main()
