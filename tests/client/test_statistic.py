"""What devices answer to a one-shot statistic: bounded, once, by their own config, or a code."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MessageType, RecordDict
from hypothesis import given, settings
from hypothesis import strategies as st

from homebody_client.allowance import metric_allowance, statistics_allowance
from homebody_client.flower_app import build_client_app
from homebody_client.host import Host
from homebody_client.local_model import DeviceModel
from homebody_client.participation_store import ParticipationStore
from homebody_client.secure.policy import Policy
from homebody_client.shard_answers import shard_update
from homebody_client.statistic import Statistic, statistic_of
from homebody_models.statistics.contribution import Sparse
from homebody_models.statistics.settings import StatisticsSettings
from homebody_models.statistics.start import gram_broadcast, space_of
from homebody_privacy import messages
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.errors import IntegrityError, PolicyViolationError
from homebody_privacy.lattice import Lattice
from homebody_privacy.messages import STATISTICS, Invitation, StatisticName
from homebody_simulation.grid import CohortGrid

from .test_training import BOUND, CATALOG, ITEMS, SOME, Histories, host_of

SECTION = """
noise_multiplier = 3.0

[statistics]
recipe = "both"
window = 0.8
head = 3
popularity_multiplier = 2.0
gram_multiplier = 1.5
"""
METRIC = """
[metrics.quality]
purpose = "metrics"
features = ["purchases"]
noise_multiplier = 10.0
releases_per_run = 2
"""
NOTHING = np.zeros(1, np.float32)
SETTINGS = StatisticsSettings(window=0.8, head=3, history_decay=1.0)
FEATURES = np.eye(ITEMS, 2, dtype=np.float32)
GRAM = gram_broadcast(SETTINGS, FEATURES, np.arange(ITEMS, 0.0, -1.0), 0.0)  # head: a, b, c
SENT: dict[StatisticName, npt.NDArray[np.float32]] = {"popularity": NOTHING, "gram": GRAM}


@pytest.fixture(scope="module")
def config(write_config: Callable[..., Path]) -> PrivacyConfig:
    """Return a config that lists statistics."""
    return PrivacyConfig.load(write_config(more=SECTION + METRIC))


def node_of(config: PrivacyConfig, histories: Histories = SOME) -> Host:
    """Return a node whose items have public content."""
    host = host_of(config, histories)
    catalog = replace(CATALOG, features=FEATURES, feature_names=("x", "y"))
    return replace(host, histories=replace(host.histories, catalog=catalog))


@pytest.fixture
def host(config: PrivacyConfig) -> Host:
    """Return a node that hosts five devices, one of them without history."""
    return node_of(config)


@pytest.fixture
def counted(host: Host, tmp_path: Path) -> Iterator[Host]:
    """Return the node with its devices' own record."""
    with ParticipationStore.open(tmp_path / "joins.sqlite", anchors=None, durable=False) as store:
        yield replace(host, participation=store)


def ask(host: Host, name: StatisticName, *devices: int, **own: Any) -> Invitation:  # noqa: ANN401
    """Return an invitation for a statistic."""
    usual: dict[str, Any] = {"run": "autumn", "round": 0, "config_digest": host.config_digest}
    return Invitation(devices=devices, statistic=name, **{**usual, **own})


@settings(max_examples=60)
@given(
    st.lists(st.lists(st.integers(0, ITEMS - 1), max_size=12), min_size=1, max_size=4),
    st.sampled_from(STATISTICS),
)
def test_a_shards_answer_is_the_sum_of_its_devices_parts_each_within_the_bound(
    config: PrivacyConfig, histories: Histories, name: StatisticName
) -> None:
    node = node_of(config, histories)
    devices = range(len(histories))
    total = shard_update(node, ask(node, name, *devices), SENT[name])
    each = [shard_update(node, ask(node, name, device), SENT[name]) for device in devices]
    assert total.dtype == np.int64
    assert (total == sum(each)).all()
    for history, part in zip(histories, each, strict=True):
        squares = sum(int(value) ** 2 for value in part)
        assert squares <= BOUND**2
        assert part.any() == bool(history) or name == "gram"
        assert not part.any() or squares > (0.9 * BOUND) ** 2 or name == "gram"


def test_popularity_is_the_distinct_items_over_their_norm(host: Host) -> None:
    total = shard_update(host, ask(host, "popularity", 3), NOTHING)  # 5, 5, 5, 1, 2
    expected = Lattice(1.0).contribution(np.array([0, 1, 1, 0, 0, 1]) / np.sqrt(3.0))
    assert (total == expected).all()


def test_the_gram_matrix_lies_in_the_space_of_the_devices_own_settings(host: Host) -> None:
    space = space_of(SETTINGS, FEATURES, GRAM)
    total = shard_update(host, ask(host, "gram", 0, 3), GRAM)
    assert total.shape == (space.length,)
    assert total.any()
    wider = {"statistics": host.config.statistics.model_copy(update={"head": 4})}  # type: ignore[union-attr]
    other = replace(host, config=host.config.model_copy(update=wider))
    assert len(shard_update(other, ask(other, "gram", 0), GRAM)) > len(total)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_pf_06_a_part_that_is_not_finite_is_zeros_and_the_others_stay(bad: float) -> None:
    parts = {0: [bad, 0.1], 1: [0.5, 0.25], 2: [3.0, 4.0]}

    def of(history: npt.NDArray[np.integer]) -> Sparse:
        return Sparse(np.array([1, 3]), np.array(parts[int(history[0])]))

    statistic = Statistic(length=5, lattice=Lattice(1.0), of=of)
    total = statistic.total(np.array([number]) for number in parts)
    long = Lattice(1.0).contribution([0.6, 0.8])  # clipped to norm 1
    assert total.tolist() == [0, int(BOUND / 2 * (1 - 2**-30)) + long[0], 0,
                              int(BOUND / 4 * (1 - 2**-30)) + long[1], 0]  # fmt: skip


BROKEN: dict[str, tuple[StatisticName, npt.NDArray[np.float32]]] = {
    "something for the first": ("popularity", np.ones(1, np.float32)),
    "not a number for the first": ("popularity", np.full(1, np.nan, np.float32)),
    "more for the first": ("popularity", np.zeros(2, np.float32)),
    "nothing for the second": ("gram", np.zeros(0, np.float32)),
    "too short": ("gram", GRAM[:-1]),
    "too long": ("gram", np.append(GRAM, np.float32(0))),
    "more columns than content": ("gram", np.append(GRAM, np.ones(30, np.float32))),
    "a popularity of zero": ("gram", np.append(np.zeros(1, np.float32), GRAM[1:])),
    "a popularity below zero": ("gram", np.append(np.full(1, -1, np.float32), GRAM[1:])),
    "a popularity that is no number": ("gram", np.append(np.full(1, np.nan, np.float32), GRAM[1:])),
    "an infinite weight": ("gram", np.append(GRAM[:-1], np.float32(np.inf))),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_malformed_broadcast_is_declined_with_a_code_and_nothing_is_counted(
    counted: Host, broken: str
) -> None:
    name, sent = BROKEN[broken]
    reply = answer(counted, ask(counted, name, 0), sent)
    assert code_of(reply) == "integrity-failure"
    assert not reply.content.array_records
    assert isinstance(counted.participation, ParticipationStore)
    assert counted.participation.life(0).square == 0.0


@pytest.mark.parametrize("scale", [1e-30, 1e30, 3e38])
def test_pf_05_a_hostile_broadcast_moves_no_sum_by_more_than_the_bound(
    host: Host, scale: float
) -> None:
    sent = (GRAM.astype(np.float64) / GRAM.max() * scale).astype(np.float32)
    for history in (SOME[0], SOME[3]):
        node = node_of(host.config, [history])
        part = shard_update(node, ask(node, "gram", 0), sent)
        assert sum(int(value) ** 2 for value in part) <= BOUND**2


def answer(host: Host, asked: Invitation, sent: npt.NDArray[np.float32]) -> Message:
    """Return what a node's app answers in clear."""
    CohortGrid(lambda work: [None for _ in work], {7: {}}, {})  # this process speaks as a server
    content = RecordDict(
        {
            messages.MODEL: ArrayRecord({messages.PARAMETERS: Array(sent)}),
            messages.INVITATION: ConfigRecord(asked.to_record()),
        }
    )
    message = Message(content, dst_node_id=7, message_type=MessageType.TRAIN)
    message.metadata.__dict__["_message_id"] = "m1"
    app = build_client_app(lambda _: host)
    return app(message, Context(1, 7, {}, RecordDict(), {}))


def code_of(reply: Message) -> str:
    """Return the code of a decline."""
    return str(reply.content.config_records[messages.DECLINED][messages.CODE])


@pytest.mark.parametrize("name", STATISTICS)
def test_a_reply_is_whole_and_of_four_bytes_an_entry(host: Host, name: StatisticName) -> None:
    for devices in ((), (1,), (0, 3)):
        reply = answer(host, ask(host, name, *devices), SENT[name])
        array = reply.content.array_records[messages.UPDATE][messages.CONTRIBUTION].numpy()
        assert array.dtype == np.int32
        assert len(array) == statistic_of(host, name, SENT[name]).length
        assert array.any() == (devices == (0, 3))  # device 1 has no history


@pytest.mark.parametrize("name", STATISTICS)
def test_a_device_whose_config_lists_no_statistics_declines(
    write_config: Callable[..., Path], name: StatisticName
) -> None:
    node = node_of(PrivacyConfig.load(write_config()))
    assert code_of(answer(node, ask(node, name, 0), SENT[name])) == "policy-violation"
    assert not Policy.of(node.config).statistics
    with pytest.raises(PolicyViolationError, match="does not list statistics"):
        statistics_allowance(node.config, "autumn", name, again=False)


def test_a_device_declines_under_another_config(host: Host) -> None:
    asked = ask(host, "popularity", 0, config_digest="d" * 64)
    assert code_of(answer(host, asked, NOTHING)) == "policy-violation"


@pytest.mark.parametrize("open_field", ["window", "head", "popularity_multiplier"])
def test_a_config_that_leaves_open_what_a_device_needs_is_refused(
    counted: Host, open_field: str
) -> None:
    section = counted.config.statistics
    assert section is not None
    left_open = {"statistics": section.model_copy(update={open_field: None})}
    node = replace(counted, config=counted.config.model_copy(update=left_open))
    with pytest.raises(PolicyViolationError, match=f"does not fix statistics.{open_field}|head"):
        shard_update(node, ask(node, "popularity", 0), NOTHING)


# Once.


@pytest.mark.parametrize("name", STATISTICS)
def test_pf_17_a_second_invitation_for_a_statistic_gets_zeros(
    counted: Host, name: StatisticName
) -> None:
    real = replace(counted, record_key=None)
    assert shard_update(real, ask(real, name, 0), SENT[name]).any()
    assert not shard_update(real, ask(real, name, 0), SENT[name]).any()
    both = shard_update(real, ask(real, name, 0, 3), SENT[name])
    alone = node_of(real.config, [SOME[3]])
    assert (both == shard_update(alone, ask(alone, name, 0), SENT[name])).all()


def test_pf_03_a_simulated_device_answers_again_after_a_crash_for_the_same_broadcast_alone(
    counted: Host,
) -> None:
    first = shard_update(counted, ask(counted, "gram", 0), GRAM)
    assert first.any()
    assert (shard_update(counted, ask(counted, "gram", 0), GRAM) == first).all()
    other = GRAM.copy()
    other[:ITEMS] *= 2.0
    assert not shard_update(counted, ask(counted, "gram", 0), other).any()


def test_a_join_costs_the_noise_of_its_own_statistic_and_a_life_has_one_ceiling(
    counted: Host,
) -> None:
    real = replace(counted, record_key=None)
    for name in STATISTICS:
        shard_update(real, ask(real, name, 0), SENT[name])
    assert isinstance(real.participation, ParticipationStore)
    life = real.participation.life(0)
    assert life.square == pytest.approx(1 / 2.0**2 + 1 / 1.5**2)
    assert set(life.runs) == {"autumn|statistics/popularity", "autumn|statistics/gram"}
    dp = real.config.dp.model_copy(update={"device_epsilon_max": life.epsilon(1e-5)})
    full = replace(real, config=real.config.model_copy(update={"dp": dp}))
    assert not shard_update(full, ask(full, "popularity", 0, run="winter"), NOTHING).any()
    assert shard_update(full, ask(full, "popularity", 3, run="winter"), NOTHING).any()


def test_figures_of_the_start_are_for_runs_with_statistics_alone(
    config: PrivacyConfig, write_config: Callable[..., Path]
) -> None:
    alone = PrivacyConfig.load(write_config(more=METRIC))
    for one, first in ((config, 0), (alone, 1)):
        assert metric_allowance(one, "autumn", "quality", one.metrics["quality"]).first == first


# One real device.


def test_a_persons_device_counts_what_it_chose_and_skips_what_it_does_not_know(
    host: Host,
) -> None:
    model = DeviceModel(
        config=host.config,
        model=host.model,
        catalog=host.histories.catalog,
        example_key=bytes(32),
    )
    for name in STATISTICS:
        asked = ask(host, name, 0)
        own = model.update(["b", "?", "c", "a", "d"], SENT[name], asked)
        alone = node_of(host.config, [[1, 2, 0]])  # the latest is held back for the metric
        assert own.dtype == np.int32
        assert (own == shard_update(alone, ask(alone, name, 0), SENT[name])).all()
        assert not model.update([], SENT[name], asked).any()
    with pytest.raises(IntegrityError):
        model.update(["b"], GRAM[:-1], ask(host, "gram", 0))
