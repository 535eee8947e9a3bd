"""Ask a few devices for one round and throw the answers away: what a device costs, and says.

Nothing is released and nothing is charged. The figures come from raw data of a simulation and have
no noise: they are the laboratory's, as the curve of a run is.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MessageType, RecordDict

from homebody_client.flower_app import build_client_app
from homebody_client.host import Host
from homebody_models.interactions import Interactions
from homebody_models.split import Split
from homebody_privacy import messages
from homebody_privacy.messages import Invitation
from homebody_privacy.stream import fresh_key
from homebody_server.release import Contribution, Releaser
from homebody_server.replies import integers_of
from homebody_simulation.cost import Meter, metered
from homebody_simulation.curve import look, sample
from homebody_simulation.grid import CohortGrid, app_cohort
from homebody_simulation.planning import Planned

MOST: Final = 200
"""Devices asked: enough for a mean over pairs, few enough for seconds."""

_LEAST: Final = 20
_NUMBERS: Final = 10_000_000  # of all answers together: of a large model fewer devices are asked

_CLIPPED = 0.999  # of the bound: the lattice takes a little from an update that was clipped


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRound:
    """What a sample of devices answered at the starting model. Laboratory figures.

    Attributes:
        devices: How many were asked.
        down_bytes: Bytes to a device, mean.
        up_bytes: Bytes from a device, mean.
        cpu_s: Processor seconds of a device, mean, on this machine.
        server_s: Processor seconds of the server for a device's reply, mean, on this machine.
        look_s: Processor seconds of one look at the model for the curve, on this machine.
        square: Mean squared norm of a contribution, in clip norms squared.
        pair: Mean inner product of two devices' contributions, in clip norms squared: how far
            they agree. Not below 0 in the mean over a population.
        clip_rate: Share of updates that were clipped.
    """

    devices: int
    down_bytes: float
    up_bytes: float
    cpu_s: float
    server_s: float
    look_s: float
    square: float
    pair: float
    clip_rate: float

    def sum_norm(self, devices: float) -> float:
        """Return the expected norm of the sum over a cohort, in clip norms."""
        agreeing = max(0.0, self.pair) * devices * max(0.0, devices - 1.0)
        return float(np.sqrt(devices * self.square + agreeing))


def dry_round(
    planned: Planned,
    split: Split,
    clock: Callable[[], float] = time.process_time,
    start: npt.NDArray[np.float32] | None = None,
) -> DryRound:
    """Ask up to ``MOST`` devices, evenly spread, for a contribution to round 1.

    Args:
        planned: The run.
        split: What devices train on, and the validation items. Secret. The test stays sealed.
        clock: Processor seconds.
        start: Model before the first round; None for one that has seen nothing.
    """
    histories = split.train
    host = laboratory_host(planned, histories)
    layout = planned.model.layout
    most = min(MOST, max(_LEAST, _NUMBERS // layout.trained_size))
    asked = np.unique(np.linspace(0, histories.devices - 1, most).astype(np.int64))
    meter = Meter()

    def opener(context: Context) -> Host:
        return replace(host, devices=frozenset({int(context.node_config["partition-id"])}))

    nodes: dict[int, dict[str, Any]] = {1 + int(i): {"partition-id": int(i)} for i in asked}
    client = build_client_app(opener, shielded=False)
    grid = CohortGrid(metered(app_cohort(client), meter), nodes, {})
    if start is None:
        start = planned.model.init(np.random.default_rng(0))
    replies = grid.send_and_receive([_ask(planned, start, int(i)) for i in asked])
    found = [integers_of(reply) for reply in replies]
    integers = [v[: layout.trained_size] for v in found if v is not None]
    started = clock()
    _add_up(planned, start, integers)
    summed = clock()
    look(planned.model, start, sample(split.validation))
    looked = clock()
    each = np.array(integers, dtype=np.float64) / host.lattice.bound
    return _measured(
        each, meter, server_s=(summed - started) / len(integers), look_s=looked - summed
    )


def _add_up(
    planned: Planned, start: npt.NDArray[np.float32], integers: list[npt.NDArray[np.int64]]
) -> None:
    """Do what the server does with the replies of a round, and throw the result away."""
    spec, layout = planned.spec, planned.model.layout
    releaser = Releaser(
        layout.trained_shapes.values(),
        layout.trained(start).astype(np.float32),
        learning_rate=spec.learning_rate,
        lattice=spec.lattice,
        noise_multiplier=spec.noise_multiplier,
        expected_cohort=spec.cohort_size,
    )
    releaser.release((Contribution(v, 1) for v in integers), _Silent())


class _Silent:
    """No noise, for a sum that is thrown away."""

    def noise(self, dim: int) -> npt.NDArray[np.int64]:
        return np.zeros(dim, np.int64)


def laboratory_host(planned: Planned, histories: Interactions) -> Host:
    """Return all devices of a simulation behind one node, for answers that are thrown away."""
    spec = planned.spec
    return Host(
        config=planned.config,
        model=planned.model,
        histories=histories,
        devices=frozenset(range(histories.devices)),
        example_key=fresh_key(),
        record_key=None,
        lattice=spec.lattice,
    )


def _ask(planned: Planned, start: npt.NDArray[np.float32], device: int) -> Message:
    dp = planned.config.dp
    invitation = Invitation(
        run="plan",
        round=1,
        devices=(device,),
        config_digest=planned.config.digest(),
        clip_norm=dp.clip_norm if dp.adaptive_clip else None,
    )
    content = RecordDict(
        {
            messages.MODEL: ArrayRecord({messages.PARAMETERS: Array(start)}),
            messages.INVITATION: ConfigRecord(invitation.to_record()),
        }
    )
    return Message(content, dst_node_id=1 + device, message_type=MessageType.TRAIN)


def _measured(
    each: npt.NDArray[np.float64], meter: Meter, *, server_s: float, look_s: float
) -> DryRound:
    count = len(each)
    squares = (each**2).sum(axis=1)
    total = float((each.sum(axis=0) ** 2).sum())
    pairs = count * (count - 1)
    cost = meter.per_device() or {"down_bytes": 0.0, "up_bytes": 0.0, "cpu_s": 0.0}
    return DryRound(
        devices=count,
        square=float(squares.mean()),
        pair=(total - float(squares.sum())) / pairs if pairs else 0.0,
        clip_rate=float((np.sqrt(squares) >= _CLIPPED).mean()),
        server_s=server_s,
        look_s=look_s,
        **cost,
    )
