"""One leg over a bad road: sent again with longer and longer waits, answered once, never late."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from flwr.app import ConfigRecord, Error, Message, RecordDict
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homebody_server.secure.courier import Exchange, Letter
from homebody_server.secure.pace import Pace
from homebody_simulation.grid import CohortGrid

from .secure_time import Time
from .world import MakeWorld, Work

DEADLINE_S = 100.0
FAILS = -1e-4  # an error, at once


class Road(CohortGrid):
    """A grid whose replies take time: each copy of a letter has a fate of its own.

    Args:
        time: The clock.
        fate: Seconds until the reply to the n-th copy (from 1) of a node's letter is there; None
            for never, a negative number for an error after so many seconds.
    """

    def __init__(self, time: Time, fate: Callable[[int, int], float | None]) -> None:
        """Start with empty roads."""
        super().__init__(self._answer, {node: {} for node in range(1, 9)}, {})
        self._time, self._fate = time, fate
        self.copies: dict[int, list[float]] = {}
        self._there: dict[str, float] = {}

    def _answer(self, work: Work) -> list[Message | None]:
        replies: list[Message | None] = []
        for message, _ in work:
            node = message.metadata.dst_node_id
            times = self.copies.setdefault(node, [])
            times.append(self._time.passed)
            fate = self._fate(node, len(times))
            self._there[message.metadata.message_id] = (
                float("inf") if fate is None else self._time.passed + abs(fate)
            )
            content = RecordDict({"copy": ConfigRecord({"number": len(times)})})
            bad = fate is None or fate < 0.0
            replies.append(
                Message(Error(5), reply_to=message) if bad else Message(content, reply_to=message)
            )
        return replies

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Return the replies that are there by now."""
        now = self._time.passed
        return super().pull_messages([one for one in message_ids if self._there[one] <= now])


Fate = Callable[[int, int], float | None]


@pytest.fixture(autouse=True)
def speaking(make_world: MakeWorld) -> None:
    """Let this process make messages, as a server does."""
    make_world().grid()


def exchange(
    fate: Fate,
    nodes: int = 1,
    accept: Callable[[int, Message], bool] | None = None,
    **own: Any,  # noqa: ANN401 - fields of a pace
) -> tuple[dict[int, list[int]], Road, Time]:
    """Run one leg; return which copies of each node were taken, the road, and the time."""
    time = Time()
    road = Road(time, fate)
    taken: dict[int, list[int]] = {}

    def take(node: int, reply: Message) -> bool:
        if accept is not None and not accept(node, reply):
            return False
        copy = reply.content.config_records["copy"]["number"]
        assert isinstance(copy, int)
        taken.setdefault(node, []).append(copy)
        return True

    letter = Letter(content=RecordDict(), message_type="query.x", group_id="1")
    letters = dict.fromkeys(range(1, nodes + 1), letter)
    Exchange(road, letters, take, deadline_s=DEADLINE_S, pace=time.pace(**own)).run()
    return taken, road, time


def test_where_all_answer_at_once_each_is_sent_one_letter_and_nobody_waits() -> None:
    taken, road, time = exchange(lambda _node, _copy: 0.0, nodes=5)
    assert taken == {node: [1] for node in range(1, 6)}
    assert {len(copies) for copies in road.copies.values()} == {1}
    assert time.slept == []


def test_an_error_is_answered_with_another_copy_each_after_a_longer_wait() -> None:
    taken, road, _ = exchange(lambda _node, copy: 0.0 if copy == 5 else FAILS)
    assert taken == {1: [5]}
    waits = [b - a for a, b in zip(road.copies[1], road.copies[1][1:], strict=False)]
    # The bounds are 0.5, 1, 2, 4 s; this clock draws the middle.
    assert waits == pytest.approx([0.25, 0.5, 1.0, 2.0], abs=0.1)


def test_waits_are_drawn_from_nothing_to_the_bound() -> None:
    asked: list[float] = []

    def least(bound: float) -> float:
        asked.append(bound)
        return 0.0

    exchange(lambda _node, _copy: FAILS, below=least)
    assert asked == [0.5, 1.0, 2.0, 4.0]
    draws = [Pace().backoff_s(3) for _ in range(300)]
    assert all(0.0 <= one <= 2.0 for one in draws)
    assert min(draws) < 0.4
    assert max(draws) > 1.6
    assert Pace(below=lambda bound: bound).backoff_s(99) == 16.0


def test_a_node_whose_every_copy_fails_is_given_up_long_before_the_deadline() -> None:
    taken, road, time = exchange(lambda _node, _copy: FAILS)
    assert taken == {}
    assert len(road.copies[1]) == 5
    assert time.passed < 10.0


def test_silence_is_answered_with_copies_until_the_deadline_and_no_longer() -> None:
    taken, road, time = exchange(lambda _node, _copy: None)
    assert taken == {}
    assert road.copies[1] == pytest.approx([0.0, 50.0, 75.0, 87.5, 93.75], abs=1.0)
    assert DEADLINE_S <= time.passed < DEADLINE_S + 0.6


def test_a_slow_reply_is_taken_and_its_second_copy_is_not() -> None:
    taken, road, time = exchange(lambda _node, copy: 60.0 if copy == 1 else 1.0)
    assert taken == {1: [2]}
    assert len(road.copies[1]) == 2
    assert time.passed < 52.0


def test_a_reply_after_the_deadline_is_never_read() -> None:
    taken, _, time = exchange(lambda node, _copy: DEADLINE_S + 1.0 if node == 1 else 1.0, nodes=2)
    assert taken == {2: [1]}
    assert time.passed < DEADLINE_S + 0.6


def test_a_reply_that_is_none_counts_as_none_and_another_copy_is_sent() -> None:
    taken, road, _ = exchange(
        lambda _node, _copy: 0.0,
        accept=lambda _node, reply: reply.content.config_records["copy"]["number"] == 3,
    )
    assert taken == {1: [3]}
    assert len(road.copies[1]) == 3


def test_a_refused_push_is_pushed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = CohortGrid.push_messages, []

    def refusing(grid: CohortGrid, messages: Iterable[Message]) -> Iterable[str]:
        calls.append(1)
        if len(calls) == 1:
            return []  # as Flower does where the SuperLink refuses the size
        ids = list(real(grid, messages))
        return [""] * len(ids) if len(calls) == 2 else ids  # a node that is not known yet

    monkeypatch.setattr(CohortGrid, "push_messages", refusing)
    taken, _, time = exchange(lambda _node, _copy: 0.0, nodes=3)
    assert sorted(taken) == [1, 2, 3]
    assert time.passed < 2.0


def test_nobody_to_write_to_takes_no_time() -> None:
    _, road, time = exchange(lambda _node, _copy: 0.0, nodes=0)
    assert (road.copies, time.slept) == ({}, [])


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    fates=st.lists(
        st.lists(st.one_of(st.none(), st.floats(-120.0, 120.0)), min_size=5, max_size=5),
        min_size=1,
        max_size=6,
    )
)
def test_whatever_the_road_does_each_node_counts_once_and_the_leg_ends_in_time(
    fates: list[list[float | None]],
) -> None:
    taken, road, time = exchange(lambda node, copy: fates[node - 1][copy - 1], nodes=len(fates))
    assert all(len(copies) == 1 for copies in taken.values())
    assert all(len(copies) <= 5 for copies in road.copies.values())
    assert time.passed < DEADLINE_S + 0.6
    for node, own in enumerate(fates, start=1):
        if own[0] is not None and 0.0 <= own[0] < 49.0:
            assert taken[node] == [1]
        if all(fate is None or fate < 0.0 for fate in own):
            assert node not in taken


def test_a_pace_sends_at_least_one_copy() -> None:
    with pytest.raises(ValueError, match="attempts"):
        Pace(attempts=0)
    _, road, _ = exchange(lambda _node, _copy: FAILS, attempts=1)
    assert len(road.copies[1]) == 1
