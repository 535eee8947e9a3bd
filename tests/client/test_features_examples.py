"""Point in time: an example never holds what happened after it."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homebody_client.events import parse_event, row_time, row_values
from homebody_client.features import DEFAULT_SPECS, compute, example_at, known_from

from .event_examples import NOW, SEED
from .feature_rows import DAY, T0, Kept, row, spec, streams

_FULL = {"category": "4711-signal", "price": 4_711.0, "role": "4711-role", "device": "watch"}


def _planted(at: float) -> list[Kept]:
    """Return one event of each kind that a default feature reads, at a time."""
    kinds = sorted({kind for wanted in DEFAULT_SPECS for kind in wanted.events})
    return [row((at - T0) / DAY, kind, **_FULL) for kind in kinds]


def test_s30_a_planted_future_signal_is_not_seen() -> None:
    t = T0 + 20.3 * DAY
    past = [row(1, "purchase", category="tea", price=3.0), row(19, category="bread")]
    clean = example_at(DEFAULT_SPECS, past, t)
    assert clean.keys() == {wanted.name for wanted in DEFAULT_SPECS}
    for later in (t + 0.001, t + 60, t + 400 * DAY):
        assert example_at(DEFAULT_SPECS, [*_planted(later), *past], t) == clean
    seen = example_at(DEFAULT_SPECS, [*past, *_planted(t)], t)
    assert all(seen[name] != clean[name] for name in clean)


@settings(max_examples=100)
@given(streams(), st.floats(0, 30 * DAY))
def test_s30_nothing_after_t_changes_an_example(rows: list[Kept], second: float) -> None:
    t = T0 + second
    past = [kept for kept in rows if kept.at <= t]
    assert example_at(DEFAULT_SPECS, rows, t) == example_at(DEFAULT_SPECS, past, t)


@pytest.mark.parametrize(
    ("fields", "unknown_for_s"),
    [
        (["product_id", "category", "timestamp"], 0.0),
        (["product_id", "category", "hour"], 15 * 60),  # from 10:45 to the end of the hour
        (["product_id", "category", "day"], 13 * 3_600 + 15 * 60),
        (["product_id", "category"], 13 * 3_600 + 15 * 60),
    ],
)
def test_s30_a_row_counts_once_the_time_it_is_kept_to_is_over(
    fields: list[str], unknown_for_s: float
) -> None:
    event = parse_event({**SEED, "category": "tea"}, now=NOW)
    kept = Kept(row_time(event, fields), row_values(event, fields))
    known = event.timestamp + unknown_for_s
    assert known_from(kept) == known
    views = spec("frequency", "product_view")
    assert example_at([views], [kept], known) == {"frequency": 1.0}
    assert example_at([views], [kept], known - 1) == {"frequency": 0.0}


_LISTS = st.sets(st.sampled_from(["timestamp", "hour", "day", "device", "price"]), max_size=3)


@settings(max_examples=100)
@given(
    st.lists(st.tuples(st.integers(0, 6 * 86_400), _LISTS), max_size=12),
    st.integers(0, 6 * 86_400),
)
def test_s30_whatever_a_group_lists_an_example_holds_nothing_that_happened_later(
    events: list[tuple[int, set[str]]], second: int
) -> None:
    """Judged by when things happened, which a row kept to the day does not tell any more."""
    t = T0 + second
    kept: list[tuple[float, Kept]] = []
    for after, listed in events:
        moment = datetime.fromtimestamp(T0 + after, UTC)
        said = {**SEED, "category": "tea", "price": 3, "timestamp": f"{moment:%Y-%m-%dT%H:%M:%SZ}"}
        event = parse_event(said, now=NOW)
        fields = ["product_id", "category", *sorted(listed)]
        kept.append((event.timestamp, Kept(row_time(event, fields), row_values(event, fields))))
    every = [made for _, made in kept]
    past = [made for happened, made in kept if happened <= t]
    assert example_at(DEFAULT_SPECS, every, t) == example_at(DEFAULT_SPECS, past, t)


def test_s30_an_evening_kept_as_a_day_is_not_in_an_example_of_noon() -> None:
    evening = parse_event({**SEED, "timestamp": "2026-05-15T20:00:00Z"}, now=NOW)
    kept = Kept(
        row_time(evening, ["product_id", "day"]), row_values(evening, ["product_id", "day"])
    )
    noon = T0 + DAY / 2
    views = spec("frequency", "product_view")
    assert compute(views, [kept], noon) == 1.0  # its time says midnight
    assert example_at([views], [kept], noon) == {"frequency": 0.0}
