"""The hour a message is welcome: found on the device, never in the quiet ones."""

import numpy as np
import pytest

from homebody_client.features import best_send_time
from homebody_client.features.send_time import SendTime

from .feature_rows import DAY, T0, Kept, row

_NOW = T0 + 60 * DAY


def _evenings(seed: int, *, stray: float = 0.3) -> list[Kept]:
    """Return two months of a person active from 19 to 21 h, and now and then at any hour."""
    rng = np.random.default_rng(seed)
    rows = []
    for day in range(60):
        for _ in range(int(rng.poisson(2))):
            hour = rng.uniform(0, 24) if rng.random() < stray else rng.uniform(19, 21)
            rows.append(row(day + hour / 24, hour=int(hour)))
    return rows


def test_s04_a_person_of_the_evening_is_met_in_the_evening() -> None:
    found = [best_send_time(_evenings(seed), now=_NOW) for seed in range(100)]
    hits = sum(time is not None and time.hour in (19, 20) for time in found)
    assert hits >= 95


def test_s04_a_person_without_a_rhythm_has_no_such_hour() -> None:
    found = [best_send_time(_evenings(seed, stray=1.0), now=_NOW) for seed in range(40)]
    hits = sum(time is not None and time.hour in (19, 20) for time in found)
    assert hits <= 20


@pytest.mark.parametrize("quiet", [(22, 8), (18, 9), (19, 22), (8, 19), (23, 0), (0, 12)])
def test_s04_quiet_hours_are_never_chosen(quiet: tuple[int, int]) -> None:
    silent = {(quiet[0] + step) % 24 for step in range((quiet[1] - quiet[0]) % 24)}
    for seed in range(20):
        time = best_send_time(_evenings(seed), now=_NOW, quiet=quiet)
        assert time is None or time.hour not in silent


def test_s04_a_person_of_the_night_alone_is_not_written_to() -> None:
    rows = [row(day + 0.125, hour=3) for day in range(30)]
    assert best_send_time(rows, now=_NOW) is None
    awake = best_send_time(rows, now=_NOW, quiet=(0, 0))
    assert awake is not None
    assert awake.hour == 3


def test_s04_a_closed_gate_leaves_nothing_to_read_and_no_hour() -> None:
    assert best_send_time([], now=_NOW) is None


def test_s04_three_days_are_the_least_to_know_somebody() -> None:
    rows = [row(day + 0.5, hour=12) for day in (50, 51)] * 20
    assert best_send_time(rows, now=_NOW) is None
    assert best_send_time([*rows, row(52.5, hour=12)], now=_NOW) == SendTime(12, 0.5)


def test_s04_one_long_evening_does_not_decide() -> None:
    binge = [row(59 + 0.8 + step / 2_000, hour=19) for step in range(80)]
    noons = [row(day + 0.5, hour=12) for day in range(50, 59)]
    time = best_send_time([*binge, *noons], now=_NOW)
    assert time is not None
    assert time.hour == 12


def test_s04_newer_habits_count_more() -> None:
    old = [row(day + 0.5, hour=12) for day in range(30)]
    new = [row(day + 0.7, hour=17) for day in range(40, 60)]
    time = best_send_time([*old, *new], now=_NOW)
    assert time is not None
    assert time.hour == 17


def test_s04_the_future_and_rows_without_an_hour_do_not_count() -> None:
    later = [row(61 + day, hour=12) for day in range(10)]
    days = [Kept(T0 + day * DAY, {"event": "purchase", "day": 1}) for day in range(10)]
    assert best_send_time([*later, *days], now=_NOW) is None


def test_s04_hours_that_no_clock_shows_are_refused() -> None:
    for quiet in ((24, 8), (-1, 8), (22, 24)):
        with pytest.raises(ValueError, match="quiet hours must be from 0 to 23"):
            best_send_time([], now=_NOW, quiet=quiet)


def test_a_send_time_is_not_shown() -> None:
    assert repr(SendTime(19, 0.4)) == "SendTime()"
