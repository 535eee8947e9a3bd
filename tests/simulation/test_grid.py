"""The in-process grid carries messages as Flower's does: copies, each answer once, state kept."""

from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MessageType, RecordDict
from flwr.clientapp import ClientApp

from homebody_privacy.messages import INVITATION, Invitation
from homebody_simulation.cost import Meter, metered, record_bytes
from homebody_simulation.grid import Cohort, CohortGrid, app_cohort

NODES: dict[int, dict[str, Any]] = {n: {"partition-id": n - 1} for n in (3, 1, 2)}


def echo(work: list[tuple[Message, Context]]) -> list[Message | None]:
    """Answer with what came, and who the node is."""
    return [
        Message(
            RecordDict({**message.content, "node": ConfigRecord(dict(context.node_config))}),
            reply_to=message,
        )
        for message, context in work
    ]


def train(node: int, content: RecordDict | None = None) -> Message:
    """Return a training message to a node."""
    return Message(content or RecordDict(), dst_node_id=node, message_type=MessageType.TRAIN)


def grid(cohort: Cohort = echo) -> CohortGrid:
    """Return a grid of three nodes."""
    return CohortGrid(cohort, NODES, {"setting": 5})


def test_nodes_are_listed_in_order() -> None:
    assert list(grid().get_node_ids()) == [1, 2, 3]


def test_each_node_gets_its_own_message_and_answers_in_its_name() -> None:
    built = grid()
    ids = list(built.push_messages([train(2), train(3)]))
    answers = list(built.pull_messages(ids))
    assert [a.metadata.src_node_id for a in answers] == [2, 3]
    assert [a.metadata.reply_to_message_id for a in answers] == ids
    assert [a.content.config_records["node"]["partition-id"] for a in answers] == [1, 2]


def test_an_answer_is_given_once() -> None:
    built = grid()
    ids = list(built.push_messages([train(1)]))
    assert len(list(built.pull_messages([*ids, "m999"]))) == 1
    assert not list(built.pull_messages(ids))


def test_a_node_that_does_not_answer_is_an_error_message() -> None:
    (answer,) = grid(lambda work: [None] * len(work)).send_and_receive([train(1)])
    assert answer.has_error()
    assert not answer.has_content()


def test_what_one_node_does_to_its_message_no_other_sees() -> None:
    shared = RecordDict({"m": ArrayRecord({"p": Array(np.zeros(2, np.float32))})})

    def greedy(work: list[tuple[Message, Context]]) -> list[Message | None]:
        seen = [sorted(message.content.array_records["m"]) for message, _ in work]
        work[0][0].content.array_records["m"]["q"] = Array(np.ones(1, np.float32))
        assert sorted(work[1][0].content.array_records["m"]) == seen[1] == ["p"]
        return echo(work)

    list(grid(greedy).send_and_receive([train(1, shared), train(2, shared)]))
    assert sorted(shared.array_records["m"]) == ["p"]


def test_a_nodes_state_lives_as_long_as_the_grid_and_is_its_own() -> None:
    app = ClientApp()

    @app.train()
    def counting(message: Message, context: Context) -> Message:
        before = context.state.config_records.get("count", ConfigRecord({"n": 0}))["n"]
        assert isinstance(before, int)
        context.state["count"] = ConfigRecord({"n": before + 1})
        assert context.run_config["setting"] == 5
        return Message(RecordDict({"count": context.state["count"]}), reply_to=message)

    calls: list[Message] = []
    built = grid(app_cohort(app, on_call=calls.append))
    counts = []
    for node in (1, 1, 2, 1):
        (answer,) = built.send_and_receive([train(node)])
        counts.append(answer.content.config_records["count"]["n"])
    assert counts == [1, 2, 1, 3]
    assert len(calls) == 4


def test_an_exception_of_the_app_is_seen() -> None:
    app = ClientApp()

    @app.train()
    def broken(message: Message, context: Context) -> Message:
        del message, context
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        grid(app_cohort(app)).push_messages([train(1)])


def test_a_push_of_nothing_calls_nobody() -> None:
    def nobody(_work: list[tuple[Message, Context]]) -> list[Message | None]:
        pytest.fail("a node was called")

    assert not list(grid(nobody).push_messages([]))


def test_the_meter_adds_up_all_legs_of_a_secure_sum_as_one_reply() -> None:
    meter = Meter()
    ticks = iter(range(100))
    built = grid(metered(echo, meter, clock=lambda: float(next(ticks))))
    content = RecordDict({"m": ArrayRecord({"p": Array(np.zeros(8, np.float32))})})
    for kind in ("advertise", "share", "confirm", "unmask"):
        leg = Message(content, dst_node_id=1, message_type=f"query.secagg_{kind}")
        list(built.send_and_receive([leg]))
    list(built.send_and_receive([train(1, content)]))
    cost = meter.per_device()
    assert cost is not None
    assert meter.replies == 1
    assert cost["cpu_s"] == 5.0
    assert cost["down_bytes"] == 5 * record_bytes(content)


def test_the_meter_counts_the_devices_of_a_shard_as_if_each_had_a_message() -> None:
    meter = Meter()
    built = grid(metered(echo, meter))
    asked = Invitation(run="r", round=1, devices=(0, 1, 2), config_digest="c")
    model = ArrayRecord({"p": Array(np.zeros(1000, np.float32))})
    invitation = ConfigRecord(asked.to_record())
    content = RecordDict({"m": model, INVITATION: invitation})
    list(built.send_and_receive([train(1, content)]))
    cost = meter.per_device()
    assert cost is not None
    assert meter.replies == 3
    assert cost["down_bytes"] == record_bytes(content)


def test_the_meter_adds_up_training_alone() -> None:
    meter = Meter()
    ticks = iter(range(100))
    built = grid(metered(echo, meter, clock=lambda: float(next(ticks))))
    content = RecordDict({"m": ArrayRecord({"p": Array(np.zeros(8, np.float32))})})
    assert meter.per_device() is None
    query = Message(RecordDict(), dst_node_id=1, message_type="query.enrol")
    list(built.send_and_receive([query]))
    assert meter.replies == 0
    list(built.send_and_receive([train(1, content), train(2, content)]))
    cost = meter.per_device()
    assert cost is not None
    assert cost["cpu_s"] == 0.5
    assert cost["down_bytes"] == record_bytes(content) >= 32
    assert cost["up_bytes"] > cost["down_bytes"]


def test_the_meter_keeps_statistics_apart_from_rounds_with_their_legs() -> None:
    meter, told = Meter(), list[tuple[str, int]]()
    built = grid(metered(echo, meter, answered=lambda name, n: told.append((name, n))))
    model = ArrayRecord({"p": Array(np.zeros(100, np.float32))})

    def ask(kind: str, statistic: str | None) -> int:
        asked = ConfigRecord({"run": "r", "devices": [0], "config-digest": "c"})
        if statistic:
            asked["statistic"] = statistic
        content = RecordDict({"m": model, INVITATION: asked})
        list(built.send_and_receive([Message(content, dst_node_id=1, message_type=kind)]))
        return record_bytes(content)

    early, late = "query.secagg_advertise", "query.secagg_unmask"
    sums = [ask(early, None), ask(MessageType.TRAIN, "gram"), ask(late, None)]
    rounds = [ask(early, None), ask(MessageType.TRAIN, None), ask(late, None)]
    assert meter.statistics["gram"].down_bytes == sum(sums)
    assert meter.down_bytes == sum(rounds)
    assert (meter.replies, meter.statistics["gram"].replies) == (1, 1)
    assert told == [("gram", 1)]
