"""Whom the server asks, and what it makes of answers no honest device would give."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Error,
    Message,
    MetricRecord,
    RecordDict,
)
from flwr.serverapp.strategy import Strategy

from homebody_privacy import messages
from homebody_privacy.lattice import Lattice
from homebody_privacy.stream import NoiseStream, derive_key
from homebody_server.cohorts import PoissonCohorts
from homebody_server.hosts import Hosts
from homebody_server.release import Releaser
from homebody_server.replies import integers_of
from homebody_server.strategy import HomebodyStrategy, RoundStreams, parameters_record

from .world import Answer, MakeWorld

NODE = 4


def reply(asked: Message, **records: ArrayRecord | ConfigRecord | MetricRecord) -> Message:
    """Return an answer with these records."""
    return Message(RecordDict(dict(records)), reply_to=asked)


def sent(asked: Message, array: npt.NDArray[Any]) -> Message:
    """Return an answer that sends ``array`` as the contribution."""
    return reply(asked, update=ArrayRecord({messages.CONTRIBUTION: Array(array)}))


def integers(good: Message) -> npt.NDArray[Any]:
    """Return what an honest answer holds."""
    return good.content.array_records[messages.UPDATE][messages.CONTRIBUTION].numpy()


def garbage(asked: Message, good: Message) -> Message:
    """Return an answer whose array cannot be read."""
    array = Array(dtype="int32", shape=integers(good).shape, stype="numpy.ndarray", data=b"?")
    return reply(asked, update=ArrayRecord({messages.CONTRIBUTION: array}))


def strange(asked: Message, good: Message) -> Message:
    """Return an answer whose array is of another serialisation."""
    data = good.content.array_records[messages.UPDATE][messages.CONTRIBUTION].data
    array = Array(dtype="int32", shape=integers(good).shape, stype="other", data=data)
    return reply(asked, update=ArrayRecord({messages.CONTRIBUTION: array}))


BAD: dict[str, Answer] = {
    "nothing": lambda asked, _: reply(asked),
    "an error": lambda asked, _: Message(Error(code=1, reason="no"), reply_to=asked),
    "a decline": lambda asked, _: reply(asked, declined=ConfigRecord({messages.CODE: "x"})),
    "floats": lambda asked, good: sent(asked, integers(good).astype(np.float32)),
    "NaN": lambda asked, good: sent(asked, np.full(integers(good).shape, np.nan)),
    "too short": lambda asked, good: sent(asked, integers(good)[:-1]),
    "too long": lambda asked, good: sent(asked, np.append(integers(good), 0)),
    "a matrix": lambda asked, good: sent(asked, integers(good)[None]),
    "beyond the bound": lambda asked, good: sent(asked, np.full(integers(good).shape, 2**16)),
    "far beyond the bound": lambda asked, good: sent(
        asked, np.full(integers(good).shape, -(2**63), np.int64)
    ),
    "another name": lambda asked, good: reply(
        asked, update=ArrayRecord({"weights": Array(integers(good))})
    ),
    "another record": lambda asked, good: reply(
        asked, other=ArrayRecord({messages.CONTRIBUTION: Array(integers(good))})
    ),
    "a second array": lambda asked, good: reply(
        asked,
        update=ArrayRecord(
            {messages.CONTRIBUTION: Array(integers(good)), "user_vector": Array(integers(good))}
        ),
    ),
    "garbage": garbage,
    "a strange serialisation": strange,
}


@pytest.mark.parametrize("kind", sorted(BAD))
def test_an_answer_no_honest_device_gives_counts_as_zero(kind: str, make_world: MakeWorld) -> None:
    silent = make_world("silent", rounds=1)
    bad = make_world("bad", rounds=1)
    honest = make_world("honest", rounds=1)
    expected = silent.run(silent.instead(NODE, lambda _asked, _good: None)).digest()
    assert bad.run(bad.instead(NODE, BAD[kind])).digest() == expected
    assert honest.run().digest() != expected


def test_examples_and_losses_beside_a_contribution_change_nothing_pf_08(
    make_world: MakeWorld,
) -> None:
    def boastful(asked: Message, good: Message) -> Message:
        return reply(
            asked,
            update=good.content.array_records[messages.UPDATE],
            metrics=MetricRecord({"num-examples": 1e9, "loss": -1e9}),
        )

    boast, honest = make_world("boast", rounds=1), make_world("honest", rounds=1)
    assert boast.run(boast.instead(NODE, boastful)).digest() == honest.run().digest()


def stream(*labels: str | int) -> NoiseStream:
    """Return a stream of its own."""
    return NoiseStream(derive_key(bytes(32), *labels))


class Quiet:
    """A source of no noise, which counts how often it was asked."""

    def __init__(self) -> None:
        """Start before the first draw."""
        self.draws = 0

    def noise(self, dim: int) -> npt.NDArray[np.int64]:
        """Return zeros."""
        self.draws += 1
        return np.zeros(dim, np.int64)


def _strategy(
    hosts: dict[int, int],
    *,
    rate: float = 1.0,
    cap: int = 99,
    report_goal: int = 0,
    quiet: Quiet | None = None,
) -> HomebodyStrategy:
    quiet = quiet or Quiet()
    releaser = Releaser(
        [(3,)],
        np.zeros(3, np.float32),
        learning_rate=0.1,
        lattice=Lattice(0.5),
        noise_multiplier=1.0,
        expected_cohort=4,
    )

    return HomebodyStrategy(
        run="r",
        config_digest="d",
        cohorts=PoissonCohorts(hosts=Hosts.of(hosts), sampling_rate=rate, cohort_cap=cap),
        releaser=releaser,
        streams=RoundStreams(
            coins=lambda t: stream("coins", t),
            noise=lambda _t: quiet,
            counts=lambda t: stream("counts", t),
            figures=lambda name: stream("figures", name),
        ),
        deadline_s=9.0,
        report_goal=report_goal,
    )


def _asked(strategy: HomebodyStrategy, make_world: MakeWorld, number: int = 1) -> list[Message]:
    grid = make_world().grid()  # a Message needs a server that speaks
    model = parameters_record(np.zeros(3, np.float32))
    return strategy.configure_train(number, model, ConfigRecord(), grid)


def _invited(message: Message) -> messages.Invitation:
    record = message.content.config_records[messages.INVITATION]
    return messages.Invitation.from_record(record)


def test_it_is_a_flower_strategy() -> None:
    assert issubclass(HomebodyStrategy, Strategy)


def test_a_node_is_asked_once_for_all_its_devices(make_world: MakeWorld) -> None:
    asked = _asked(_strategy({0: 7, 1: 8, 2: 7, 3: 8, 5: 9}), make_world)
    assert {m.metadata.dst_node_id: _invited(m).devices for m in asked} == {
        7: (0, 2),
        8: (1, 3),
        9: (5,),
    }
    assert {m.metadata.ttl for m in asked} == {9.0}
    assert all(_invited(m).round == 1 and _invited(m).config_digest == "d" for m in asked)


def test_nodes_without_a_drawn_device_are_not_asked(make_world: MakeWorld) -> None:
    strategy = _strategy({i: i for i in range(40)}, rate=0.2)
    asked = _asked(strategy, make_world)
    assert 0 < len(asked) < 25


def test_evaluation_asks_nobody_and_claims_nothing(make_world: MakeWorld) -> None:
    strategy = _strategy({0: 1})
    grid = make_world().grid()
    model = parameters_record(np.zeros(3, np.float32))
    assert strategy.configure_evaluate(1, model, ConfigRecord(), grid) == []
    assert strategy.aggregate_evaluate(1, []) is None


def test_pf_38_a_node_that_answers_twice_counts_once(make_world: MakeWorld) -> None:
    once, twice = _strategy({0: 1, 1: 2}), _strategy({0: 1, 1: 2})
    array = np.array([40, 50, 60], np.int32)
    models = []
    for number, (strategy, times) in enumerate(((once, 1), (twice, 2))):
        (first, _second) = _asked(strategy, lambda n=number: make_world(f"w{n}"))
        record, _ = strategy.aggregate_train(1, [sent(first, array)] * times)
        assert record is not None
        models.append(record[messages.PARAMETERS].numpy().tobytes())
    assert models[0] == models[1]


def test_an_answer_of_a_node_that_was_not_asked_does_not_count(make_world: MakeWorld) -> None:
    strategy = _strategy({0: 1})
    (asked,) = _asked(strategy, make_world)
    good = sent(asked, np.array([40, 50, 60], np.int32))
    good.metadata.__dict__["_src_node_id"] = 77
    record, _ = strategy.aggregate_train(1, [good])
    assert record is not None
    assert record[messages.PARAMETERS].numpy().tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("kind", [np.int32, np.int64])
def test_integers_of_either_width_are_read(kind: type, make_world: MakeWorld) -> None:
    (asked,) = _asked(_strategy({0: 1}), make_world)
    read = integers_of(sent(asked, np.array([1, -2, 3], kind)))
    assert read is not None
    assert read.dtype == np.int64
    assert read.tolist() == [1, -2, 3]


GOOD = np.array([40, 50, 60], np.int32)
TWO_NODES = {0: 1, 1: 1, 2: 2}  # node 1 hosts two of three devices


@pytest.mark.parametrize(("goal", "void"), [(1, False), (2, False), (3, True)])
def test_pf_10_the_report_goal_counts_devices_and_not_nodes(
    make_world: MakeWorld, goal: int, *, void: bool
) -> None:
    quiet = Quiet()
    strategy = _strategy(TWO_NODES, report_goal=goal, quiet=quiet)
    first, _second = _asked(strategy, make_world)
    record, _ = strategy.aggregate_train(1, [sent(first, GOOD)])
    assert (record is None) == void
    assert quiet.draws == 1  # a void round takes its step of the noise, and no more


@pytest.mark.parametrize("kind", ["nothing", "an error", "a decline", "garbage", "too short"])
def test_an_answer_that_is_no_contribution_does_not_reach_the_report_goal(
    make_world: MakeWorld, kind: str
) -> None:
    strategy = _strategy(TWO_NODES, report_goal=3)
    first, second = _asked(strategy, make_world)
    bad = BAD[kind](second, sent(second, GOOD))
    assert bad is not None
    assert strategy.aggregate_train(1, [sent(first, GOOD), bad])[0] is None
    twice = [sent(first, GOOD), sent(first, GOOD)]
    assert strategy.aggregate_train(1, twice)[0] is None
    whole = [sent(first, GOOD), sent(second, GOOD)]
    assert strategy.aggregate_train(1, whole)[0] is not None
