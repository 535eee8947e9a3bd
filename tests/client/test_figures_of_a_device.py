"""A device's part of a figure: the rank of its own latest event, bounded, counted, refused."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MessageType, RecordDict
from hypothesis import given, settings
from hypothesis import strategies as st

from homebody_client.figures import figure_contribution
from homebody_client.flower_app import build_client_app
from homebody_client.host import Host
from homebody_client.participation_store import ParticipationStore
from homebody_models.device_metrics import DEVICE_METRICS, figure_names
from homebody_models.interactions import Catalog, Interactions
from homebody_models.zoo import ModelSpec
from homebody_privacy import messages
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.lattice import FIGURES
from homebody_privacy.messages import Question
from homebody_simulation.grid import CohortGrid, app_cohort

ITEMS = 40
CATALOG = Catalog(
    ids=tuple(f"item{i}" for i in range(ITEMS)),
    titles=("",) * ITEMS,
    categories=("",) * ITEMS,
    features=np.zeros((ITEMS, 0), np.float32),
    feature_names=(),
)
HISTORIES = [[0, 1, 2, 3], [], [4, 5, 6], [7, 8, 9, 10, 11], [12], [13, 14]]
HELD_OUT = [20, 21, -1, 22, 23, 24]
METRICS = """noise_multiplier = 2.0

[metrics.quality]
purpose = "metrics"
features = ["purchases"]
noise_multiplier = 10.0
releases_per_run = 2
"""


@pytest.fixture(scope="module")
def config(write_config: Callable[..., Path]) -> PrivacyConfig:
    """Return a config that lists one metric, twice a run."""
    return PrivacyConfig.load(write_config(more=METRICS))


def host_of(
    config: PrivacyConfig,
    histories: list[list[int]],
    held_out: list[int] | None,
    *,
    repeats: bool = False,
    store: ParticipationStore | None = None,
) -> Host:
    """Return a node that hosts these devices."""
    items = np.array([item for history in histories for item in history], np.int32)
    return Host(
        config=config,
        model=ModelSpec("two-tower", {"dim": 8}).build(CATALOG),
        histories=Interactions(
            ptr=np.cumsum([0, *map(len, histories)]).astype(np.int64),
            items=items,
            times=np.arange(len(items), dtype=np.int64),
            values=np.ones(len(items), np.float32),
            repeats=repeats,
            catalog=CATALOG,
        ),
        devices=frozenset(range(len(histories))),
        example_key=bytes(32),
        record_key=None,
        lattice=FIGURES,
        participation=store,
        held_out=None if held_out is None else np.array(held_out, np.int32),
    )


def start(host: Host, seed: int = 0) -> npt.NDArray[np.float32]:
    """Return a model that likes some items more than others."""
    rng = np.random.default_rng(seed)
    size = host.model.layout.size
    return (host.model.init(rng) + rng.normal(size=size)).astype(np.float32)


def rank_by_hand(scores: npt.NDArray[np.floating], target: int, hidden: set[int]) -> float:
    """Count, item by item, what stands before the target; ties count a half."""
    before = 0.0
    for item, score in enumerate(scores.tolist()):
        if item in hidden or item == target:
            continue
        before += 1.0 if score > scores[target] else 0.5 if score == scores[target] else 0.0
    return before


@pytest.mark.parametrize("repeats", [False, True])
def test_a_devices_part_is_its_hit_and_its_gain_over_the_root_of_two(
    config: PrivacyConfig, *, repeats: bool
) -> None:
    foreseen = 0
    for seed in range(12):
        host = host_of(config, HISTORIES, HELD_OUT, repeats=repeats)
        model = start(host, seed)
        for device in (0, 3, 4, 5):
            history, target = HISTORIES[device], HELD_OUT[device]
            scores = host.model.scores(model, [np.array(history, np.int32)])[0]
            rank = rank_by_hand(scores, target, set() if repeats else set(history))
            expected = [1.0, 1.0 / np.log2(rank + 2.0)] if rank < 10 else [0.0, 0.0]
            found = FIGURES.decode(figure_contribution(host, device, model, "quality"))
            assert found * np.sqrt(2.0) == pytest.approx(expected, abs=1e-4)
            foreseen += rank < 10
    assert 4 < foreseen < 44  # both outcomes were seen


@pytest.mark.parametrize("device", [1, 2])
def test_a_device_that_holds_nothing_back_or_knows_nothing_adds_zeros(
    config: PrivacyConfig, device: int
) -> None:
    host = host_of(config, HISTORIES, HELD_OUT)
    assert not figure_contribution(host, device, start(host), "quality").any()


def test_without_held_out_events_every_device_adds_zeros(config: PrivacyConfig) -> None:
    host = host_of(config, HISTORIES, None)
    for device in range(len(HISTORIES)):
        assert not figure_contribution(host, device, start(host), "ndcg").any()


@settings(max_examples=60)
@given(
    history=st.lists(st.integers(0, ITEMS - 1), max_size=12),
    target=st.integers(-1, ITEMS - 1),
    metric=st.sampled_from(sorted(DEVICE_METRICS)),
    scale=st.sampled_from([0.0, 1.0, 1e6, 1e38, np.nan, np.inf]),
    repeats=st.booleans(),
)
def test_a_devices_part_is_bounded_whatever_it_holds(
    config: PrivacyConfig,
    history: list[int],
    target: int,
    metric: str,
    scale: float,
    *,
    repeats: bool,
) -> None:
    host = host_of(config, [history], [target], repeats=repeats)
    with np.errstate(all="ignore"):
        model = (start(host) * np.float32(scale)).astype(np.float32)
        added = figure_contribution(host, 0, model, metric)
    assert added.dtype == np.int32
    assert added.shape == (len(figure_names(metric)),)
    assert sum(int(v) ** 2 for v in added) <= FIGURES.bound**2
    assert (added >= 0).all()


def test_a_device_that_has_its_latest_event_already_does_not_stop_the_others(
    config: PrivacyConfig,
) -> None:
    host = host_of(config, [[5, 6, 7], [8, 9]], [6, 20])
    added = figure_contribution(host, 0, start(host), "quality")
    scores = host.model.scores(start(host), [np.array([5, 6, 7], np.int32)])[0]
    rank = rank_by_hand(scores, 6, {5, 7})
    assert bool(added.any()) == (rank < 10)


def test_an_unknown_metric_or_a_device_of_another_node_is_refused(config: PrivacyConfig) -> None:
    host = host_of(config, HISTORIES, HELD_OUT)
    with pytest.raises(ValueError, match="no metric"):
        figure_contribution(host, 0, start(host), "loss")
    with pytest.raises(ValueError, match="not hosted"):
        figure_contribution(replace(host, devices=frozenset({1})), 0, start(host), "ndcg")


@pytest.fixture
def counting(config: PrivacyConfig, tmp_path: Path) -> Iterator[Host]:
    """Return a node whose devices keep their own record."""
    with ParticipationStore.open(tmp_path / "devices.sqlite", anchors=None) as store:
        yield host_of(config, HISTORIES, HELD_OUT, repeats=True, store=store)


def ask(host: Host, model: npt.NDArray[np.float32], **changes: Any) -> RecordDict:  # noqa: ANN401
    """Ask the real app for a figure and return its answer."""
    fields: dict[str, Any] = {
        "run": "r",
        "round": 1,
        "metric": "quality",
        "devices": (0, 3),
        "config_digest": host.config_digest,
    }
    question = Question(**(fields | changes))
    grid = CohortGrid(app_cohort(build_client_app(lambda _context: host)), {7: {}}, {})
    content = RecordDict(
        {
            messages.MODEL: ArrayRecord({messages.PARAMETERS: Array(model)}),
            messages.QUESTION: ConfigRecord(question.to_record()),
        }
    )
    asked = Message(content, dst_node_id=7, message_type=MessageType.EVALUATE)
    (answer,) = grid.send_and_receive([asked])
    return answer.content


def integers_in(content: RecordDict) -> npt.NDArray[np.int64]:
    """Return the integers of an answer."""
    integers: npt.NDArray[np.int64] = content.array_records[messages.UPDATE][
        messages.CONTRIBUTION
    ].numpy()
    return integers


def liked(host: Host) -> npt.NDArray[np.float32]:
    """Return a model that foresees what device 0 or 3 did."""
    for seed in range(100):
        model = start(host, seed)
        if all(figure_contribution(host, d, model, "quality").any() for d in (0, 3)):
            return model
    raise AssertionError("no such model")


def test_the_app_answers_with_the_sum_of_the_asked(counting: Host) -> None:
    model = liked(counting)
    sent = integers_in(ask(counting, model))
    each = [figure_contribution(counting, d, model, "quality") for d in (0, 3)]
    assert sent.tolist() == np.sum(each, axis=0).tolist()


def test_pf_17_each_question_counts_and_one_too_many_is_answered_with_zeros(
    counting: Host,
) -> None:
    model = liked(counting)
    first = integers_in(ask(counting, model, devices=(0,)))
    assert integers_in(ask(counting, model, devices=(0,))).tolist() == first.tolist()  # a repeat
    assert integers_in(ask(counting, model, devices=(0,), round=5)).any()
    assert not integers_in(ask(counting, model, devices=(0,), round=9)).any()
    # The cap is each device's own, and its training is counted apart.
    assert integers_in(ask(counting, model, devices=(0, 3), round=9)).any()
    store = counting.participation
    assert isinstance(store, ParticipationStore)
    assert [store.joins(device, "r|quality") for device in (0, 3)] == [2, 1]
    assert store.spent(0, 1e-5) > store.spent(3, 1e-5) > 0.0
    assert store.joins(0, "r") == 0


def test_a_question_asked_again_with_another_model_is_answered_with_zeros(counting: Host) -> None:
    model = liked(counting)
    ask(counting, model, devices=(0,))
    content = ask(counting, model + np.float32(1.0), devices=(0,))
    answer = content.array_records[messages.UPDATE][messages.CONTRIBUTION].numpy()
    assert not answer.any()


@pytest.mark.parametrize(
    "change",
    [{"metric": "ndcg"}, {"metric": "loss"}, {"config_digest": "0" * 64}],
    ids=["not listed", "unknown", "another config"],
)
def test_pf_18_a_device_declines_a_figure_its_config_does_not_list(
    counting: Host, change: dict[str, str]
) -> None:
    content = ask(counting, liked(counting), **change)
    assert not content.array_records
    (record,) = content.config_records.values()
    assert dict(record) == {messages.CODE: "policy-violation"}
    assert isinstance(counting.participation, ParticipationStore)
    assert counting.participation.spent(0, 1e-5) == 0.0
