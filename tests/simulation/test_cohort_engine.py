"""The reference engine is the app, device by device; every other engine is held against it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MessageType, RecordDict
from hypothesis import given, settings
from hypothesis import strategies as st

from homebody_client.flower_app import build_client_app
from homebody_client.host import Host
from homebody_client.training import shard_contribution
from homebody_models.zoo import ModelSpec
from homebody_privacy import messages
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.lattice import Lattice
from homebody_privacy.messages import Invitation
from homebody_simulation.cohort.engine import Status
from homebody_simulation.cohort.reference import ReferenceEngine
from homebody_simulation.cohort.shard import CohortShard
from homebody_simulation.datasets import load_dataset
from homebody_simulation.grid import CohortGrid, app_cohort

DEVICES = 10
ROWS = st.lists(st.integers(0, DEVICES - 1), unique=True)


@pytest.fixture(scope="session")
def host(write_config: Callable[..., Path]) -> Host:
    """Return a node that hosts the whole population."""
    data = load_dataset("synthetic", devices=DEVICES, items=12).interactions
    return Host(
        config=PrivacyConfig.load(write_config()),
        model=ModelSpec("two-tower", {"dim": 4, "cuts": 2}).build(data.catalog),
        histories=data,
        devices=frozenset(range(DEVICES)),
        example_key=bytes(32),
        record_key=bytes(32),
        lattice=Lattice(0.5),
    )


@pytest.fixture(scope="session")
def parameters(host: Host) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """Return a model to train."""
    return host.model.init(np.random.default_rng(0)).reshape(-1)


@settings(max_examples=25, deadline=None)
@given(rows=ROWS)
def test_the_sum_is_that_of_each_device(
    host: Host, parameters: np.ndarray[tuple[int], np.dtype[np.float32]], rows: list[int]
) -> None:
    numbers = np.array(rows, np.int64)
    result = ReferenceEngine(host).run(parameters, numbers, 3, per_device=True)
    assert result.each is not None
    assert result.each.shape == (len(rows), len(parameters))
    assert result.sum.dtype == np.int64
    assert result.sum.tolist() == result.each.sum(axis=0, dtype=np.int64).tolist()
    for row, own in zip(rows, result.each, strict=True):
        alone = ReferenceEngine(host).run(parameters, np.array([row]), 3)
        assert alone.sum.tolist() == own.tolist()
        assert host.lattice.is_within_bound(own)


@settings(max_examples=15, deadline=None)
@given(rows=ROWS, data=st.data())
def test_the_order_of_rows_does_not_matter(
    host: Host,
    parameters: np.ndarray[tuple[int], np.dtype[np.float32]],
    rows: list[int],
    data: st.DataObject,
) -> None:
    turned = data.draw(st.permutations(rows))
    engine = ReferenceEngine(host)
    first = engine.run(parameters, np.array(rows, np.int64), 1)
    second = engine.run(parameters, np.array(turned, np.int64), 1)
    assert first.sum.tobytes() == second.sum.tobytes()
    assert sorted(first.status.tolist()) == sorted(second.status.tolist())


def test_it_equals_the_app_path_exactly(
    host: Host, parameters: np.ndarray[tuple[int], np.dtype[np.float32]]
) -> None:
    rows = (1, 4, 7, 8)
    invitation = Invitation(
        run="r", round=2, devices=rows, config_digest=host.config.digest()
    ).to_record()
    grid = CohortGrid(app_cohort(build_client_app(lambda _context: host)), {1: {}}, {})
    content = RecordDict(
        {
            messages.MODEL: ArrayRecord({messages.PARAMETERS: Array(parameters)}),
            messages.INVITATION: ConfigRecord(invitation),
        }
    )
    asked = Message(content, dst_node_id=1, message_type=MessageType.TRAIN)
    (answer,) = grid.send_and_receive([asked])
    sent = answer.content.array_records[messages.UPDATE][messages.CONTRIBUTION].numpy()
    engine = ReferenceEngine(host).run(parameters, np.array(rows), 2)
    assert sent.tolist() == engine.sum.tolist()
    assert sent.any()
    other = ReferenceEngine(host).run(parameters, np.array(rows), 3)
    assert sent.tolist() != other.sum.tolist()


def test_devices_that_add_nothing_are_marked_and_counted(
    host: Host, parameters: np.ndarray[tuple[int], np.dtype[np.float32]]
) -> None:
    # At a softmax that is already certain and right, or overflowed, there is no gradient.
    broken = np.full_like(parameters, np.nan)
    with np.errstate(all="ignore"):
        result = ReferenceEngine(host).run(broken, np.arange(3), 1, per_device=True)
    assert result.status.tolist() == [Status.EMPTY] * 3
    assert not result.sum.any()
    fine = ReferenceEngine(host).run(parameters, np.arange(3), 1)
    assert fine.status.tolist() == [Status.OK] * 3
    assert fine.each is None


def test_an_engine_trains_no_device_of_another_node(
    host: Host, parameters: np.ndarray[tuple[int], np.dtype[np.float32]]
) -> None:
    shard = CohortShard(host, ReferenceEngine(host))  # it sees everybody
    node = replace(host, devices=range(0, DEVICES, 2), engine=shard)
    own = shard_contribution(node, [0, 2], parameters, 1)
    assert own.tolist() == shard_contribution(host, [0, 2], parameters, 1).tolist()
    with pytest.raises(ValueError, match="not hosted"):
        shard_contribution(node, [0, 1], parameters, 1)
