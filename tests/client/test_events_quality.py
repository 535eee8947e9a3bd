"""Odd events are named and put aside, each for its own reason."""

from typing import Any

import pytest

from homebody_client.events import Event, Finding, Problem, Screen, parse_event
from homebody_client.events.quality import MOST_VIEWS, screen

from .event_examples import SEED, smallest

_START = 1_778_841_900  # of the seed's event


def _event(second: float, kind: str = "product_view", **fields: Any) -> Event:  # noqa: ANN401  # any field
    whole, part = divmod(round(second * 1_000), 1_000)
    hours, rest = divmod(whole + 10 * 3_600, 3_600)
    clock = f"{hours:02d}:{rest // 60:02d}:{rest % 60:02d}.{part:03d}"
    data = {**smallest(kind), "timestamp": f"2026-05-15T{clock}Z", **fields}
    return parse_event(data, now=4e9)


def _at(event: Event, checker: Screen | None = None) -> Problem | None:
    finding = (checker or Screen()).check(event, now=event.timestamp)
    return finding.problem if finding else None


def test_s31_a_sound_event_passes() -> None:
    assert _at(parse_event(SEED, now=4e9)) is None
    assert _at(_event(0, "purchase", price=0, quantity=2)) is None
    assert _at(_event(0, "transaction", amount=-20)) is None  # a refund


def test_s31_a_repeat_is_a_duplicate_also_from_another_source() -> None:
    checker = Screen()
    assert _at(parse_event(SEED, now=4e9), checker) is None
    assert _at(parse_event(SEED, now=4e9, source="crm"), checker) is Problem.DUPLICATE
    assert _at(_event(1), checker) is None


def test_s31_ids_are_remembered_up_to_a_bound() -> None:
    checker = Screen(remember=2)
    events = [_event(second) for second in range(3)]
    assert [_at(event, checker) for event in events] == [None, None, None]
    assert _at(events[2], checker) is Problem.DUPLICATE
    assert _at(events[0], checker) is None
    with pytest.raises(ValueError, match="remember must be at least 1"):
        Screen(remember=0)


def test_s31_a_clock_ahead_or_of_another_century_is_skewed() -> None:
    event = parse_event(SEED, now=4e9)
    assert Screen().check(event, now=_START - 300) is None
    assert Screen().check(event, now=_START - 301) == Finding(Problem.CLOCK_SKEW, _START)
    old = parse_event({**SEED, "timestamp": "1970-01-03T00:00:00Z"}, now=4e9)
    assert _at(old) is Problem.CLOCK_SKEW
    assert Screen().check(event, now=_START + 10**9) is None  # an old event is no wrong clock


def test_s31_a_negative_price_is_named() -> None:
    for kind in ("product_view", "add_to_cart", "purchase"):
        assert _at(_event(0, kind, price=-0.01)) is Problem.NEGATIVE_PRICE


def test_s31_a_thousand_views_a_minute_pass_and_one_more_does_not() -> None:
    checker = Screen()
    times = [step * 0.05 for step in range(MOST_VIEWS + 1)]  # 50 seconds
    found = [checker.check(_event(at), now=4e9) for at in times]
    assert found[:-1] == [None] * MOST_VIEWS
    last = found[-1]
    assert last is not None
    assert last.problem is Problem.TOO_MANY_VIEWS
    assert last.since == _event(0).timestamp


def test_s31_a_thousand_views_in_more_than_a_minute_pass() -> None:
    checker = Screen()
    times = [step * 0.06 for step in range(MOST_VIEWS + 200)]  # 1,000 a minute
    assert {_at(_event(at), checker) for at in times} == {None}


def test_s31_other_events_are_not_views() -> None:
    checker = Screen()
    times = [step * 0.01 for step in range(MOST_VIEWS + 5)]
    assert {_at(_event(at, "search"), checker) for at in times} == {None}


def test_s31_planted_problems_are_named_quarantined_and_out_of_training() -> None:
    sound = [_event(0), _event(100, "purchase", price=5), _event(5_000, "like")]
    planted = {
        Problem.DUPLICATE: [_event(0)],
        Problem.CLOCK_SKEW: [_event(9_000)],
        Problem.NEGATIVE_PRICE: [_event(200, "purchase", price=-5)],
        Problem.TOO_MANY_VIEWS: [_event(1_000 + step * 0.05) for step in range(MOST_VIEWS + 50)],
    }
    events = [*sound, *(event for part in planted.values() for event in part)]
    sorted_out = screen(events, now=_event(8_000).timestamp)
    assert list(sorted_out.clean) == sound
    for problem, part in planted.items():
        named = [event for event, found in sorted_out.quarantined if found is problem]
        assert named == part
        assert problem.sentence.endswith(".")


def test_findings_show_no_time_and_no_event() -> None:
    assert "2026" not in repr(Finding(Problem.DUPLICATE, 2026.0))
    assert "SKU" not in repr(screen([_event(0)], now=4e9))


def test_s31_an_event_from_ahead_makes_no_burst_of_those_that_follow() -> None:
    checker = Screen()
    times = [5_000.0, *(step * 2.0 for step in range(MOST_VIEWS + 200))]
    assert {_at(_event(at), checker) for at in times} == {None}


def test_s31_a_burst_is_seen_in_whatever_order_it_is_told() -> None:
    checker = Screen()
    times = [step * 0.05 for step in range(MOST_VIEWS + 1)]
    found = [checker.check(_event(at), now=4e9) for at in reversed(times)]
    assert found[:-1] == [None] * MOST_VIEWS
    assert found[-1] == Finding(Problem.TOO_MANY_VIEWS, _event(0).timestamp)
