"""Row by row gives what all rows at once give, to 1e-6, however late a row comes."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homebody_client.features import DEFAULT_SPECS, KINDS, Incremental, Value, compute

from .feature_rows import DAY, T0, Kept, row, spec, streams

_ALL = ("product_view", "purchase", "like", "dislike", "dismiss", "rating")
_SPECS = (
    spec("recency"),
    spec("frequency", *_ALL),
    spec("monetary", "purchase", "rating"),
    spec("category_affinity", *_ALL),
    spec("category_affinity", *_ALL, name="fading", half_life_days=0.5),
    spec("category_affinity", *_ALL, name="day", window_days=1, ttl_days=1, half_life_days=3),
    spec("session", *_ALL),
    spec("session", *_ALL, name="sessions_of_a_day", window_days=1, ttl_days=1),
    spec("time_of_day", *_ALL),
    spec("price_band", *_ALL),
    spec("device", *_ALL),
    spec("role", *_ALL),
)


def _close(one: Any, other: Any) -> bool:  # noqa: ANN401  # a number or a tree of them
    if isinstance(one, Mapping):
        same = isinstance(other, Mapping) and list(one) == list(other)
        return same and all(_close(one[name], other[name]) for name in one)
    return bool(abs(one - other) <= 1e-6 * max(1.0, abs(other)))


def _check(running: Incremental, rows: Iterable[Kept], at: float) -> None:
    known = list(rows)
    for wanted in _SPECS:
        value: Value = running.value(wanted.name, at)
        assert _close(value, compute(wanted, known, at)), wanted.name


@settings(max_examples=100)
@given(streams(), st.lists(st.floats(0, 45 * DAY), max_size=6))
def test_s28_rows_in_any_order_give_what_all_at_once_give(
    rows: list[Kept], times: list[float]
) -> None:
    running = Incremental(_SPECS)
    for kept in rows:
        running.update(kept)
    for second in [*sorted(times), 50 * DAY]:
        _check(running, rows, T0 + second)


@settings(max_examples=100)
@given(streams(), st.floats(0, 20 * DAY), st.data())
def test_s28_rows_that_come_between_questions_and_late_count_too(
    rows: list[Kept], late: float, data: st.DataObject
) -> None:
    """A row arrives up to ``late`` seconds after it happened; values are asked in between."""
    running = Incremental(_SPECS)
    arrivals = sorted(
        (kept.at + data.draw(st.floats(0, late)), place) for place, kept in enumerate(rows)
    )
    seen: list[Kept] = []
    for at, place in arrivals:
        running.update(rows[place])
        seen.append(rows[place])
        _check(running, seen, at)


@settings(max_examples=50)
@given(streams(days=300), st.floats(0.5, 3))
def test_s28_after_many_windows_nothing_old_is_left(rows: list[Kept], step: float) -> None:
    running = Incremental(_SPECS)
    for kept in sorted(rows, key=lambda kept: kept.at):
        running.update(kept)
    at = T0
    while at < T0 + 320 * DAY:
        at += step * 10 * DAY
        _check(running, rows, at)


def test_s28_a_year_of_many_rows_stays_within_a_millionth() -> None:
    rng = np.random.default_rng(7)
    specs = [wanted for wanted in DEFAULT_SPECS if wanted.kind != "role"]
    running = Incremental(specs)
    rows: list[Kept] = []
    for second in np.sort(rng.uniform(0, 365 * DAY, 5_000)):
        values = {
            "category": str(rng.choice(["a", "b", "c", "d"])),
            "price": float(np.exp(rng.normal(2, 2))),
            "currency": "EUR",
            "hour": int(rng.integers(24)),
            "device": str(rng.choice(["mobile", "tv"])),
        }
        kind = str(rng.choice(["product_view", "purchase", "like", "dislike"]))
        rows.append(row(second / DAY, kind, **values))
        running.update(rows[-1])
        if len(rows) % 500 == 0:
            for wanted in specs:
                value = running.value(wanted.name, rows[-1].at)
                assert _close(value, compute(wanted, rows, rows[-1].at)), wanted.name


def test_s28_a_like_and_its_dislike_leave_no_crumb_row_by_row() -> None:
    wanted = spec("category_affinity", "like", "dislike", half_life_days=1.7)
    running = Incremental([wanted])
    running.update(row(0.3, "like", category="tea"))
    for step in range(50):  # each question moves the sum on, and rounds it
        running.value("category_affinity", T0 + (0.4 + step / 700) * DAY)
    running.update(row(0.3, "dislike", category="tea"))
    for days in (0.5, 3.1, 7.7):
        assert running.value("category_affinity", T0 + days * DAY) == {}


def test_of_two_roles_of_one_moment_the_later_row_holds() -> None:
    running = Incremental([spec("role")])
    rows = [row(1, role="marketer"), row(2, role="sales_rep"), row(2, role="marketer")]
    for kept in rows:
        running.update(kept)
    at = T0 + 3 * DAY
    assert running.value("role", at) == compute(spec("role"), rows, at) == {"marketer": 1.0}


def test_rows_later_than_the_question_wait() -> None:
    running = Incremental([spec("frequency")])
    running.update(row(5))
    assert running.value("frequency", T0 + 4 * DAY) == 0.0
    assert running.value("frequency", T0 + 5 * DAY) == 1.0
    assert running.value("frequency", T0 + 15 * DAY) == 0.0


def test_time_does_not_go_back() -> None:
    running = Incremental([spec("frequency"), spec("device")])
    running.value("frequency", T0 + DAY)
    running.value("device", T0)  # each feature has its own time
    with pytest.raises(ValueError, match="time must not go back"):
        running.value("frequency", T0)
    with pytest.raises(ValueError, match="time must not go back"):
        running.value("frequency", float("nan"))


def test_a_feature_that_is_not_declared_is_not_computed() -> None:
    running = Incremental([spec("frequency")])
    with pytest.raises(ValueError, match="no feature of that name"):
        running.value("4711", T0)
    with pytest.raises(ValueError, match="two specs have one name"):
        Incremental([spec("frequency"), spec("recency", name="frequency")])


class _Counted(dict[str, Any]):
    """Values that count how often they are read."""

    reads = 0

    def get(self, *wanted: Any) -> Any:  # noqa: ANN401  # as a dictionary does
        """Return a value, and count."""
        _Counted.reads += 1
        return super().get(*wanted)


@pytest.mark.parametrize("kind", KINDS)
def test_asking_after_each_row_does_not_read_the_log_again(kind: str) -> None:
    running = Incremental([spec(kind, window_days=365, ttl_days=10)])
    full: dict[str, Any] = {"category": "tea", "price": 3.0, "hour": 4, "device": "tv", "role": "r"}
    reads = []
    for step in range(400):
        kept = row(step / 20, **full)
        _Counted.reads = 0
        running.update(Kept(kept.at, _Counted(kept.values)))
        running.value(kind, kept.at)
        reads.append(_Counted.reads)
    assert max(reads[300:]) <= max(reads[:10]) <= 12
