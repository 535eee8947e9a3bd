"""Who is there: as often as the conditions say, each device on its own, and the same again."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from homebody_simulation.availability import Attendees, Conditions

MANY = np.arange(20_000, dtype=np.int64)


def attendees(key: bytes = bytes(32), **own: float) -> Attendees:
    return Attendees(Conditions(**own), key)  # type: ignore[arg-type]  # rounds_per_day is an int


def fits(flags: npt.NDArray[np.bool_], chance: float) -> bool:
    """Tell whether so many come up at a chance, at one in a thousand."""
    return bool(stats.binomtest(int(flags.sum()), flags.size, chance).pvalue > 1e-3)


def test_reliable_devices_always_answer() -> None:
    assert Conditions().reliable
    assert not Conditions(slow=0.01).reliable
    assert attendees().answering(MANY, 3).all()


def test_chances_are_those_of_the_conditions_and_others_are_noticed() -> None:
    some = attendees(availability=0.7, drop_out=0.2, slow=0.1)
    for number in (1, 2, 40):
        online, delivering = some.online(MANY, number), some.delivering(MANY, number)
        assert fits(online, 0.7)
        assert not fits(online, 0.68)
        assert fits(delivering[online], 0.8 * 0.9)  # online or not says nothing about it
        assert fits(delivering[~online], 0.8 * 0.9)
        both = some.answering(MANY, number)
        assert (both == (online & delivering)).all()
        assert fits(both, some.conditions.answering)
    assert fits(attendees(drop_out=0.3).answering(MANY, 1), 0.7)
    assert fits(attendees(slow=0.3).answering(MANY, 1), 0.7)


def test_rounds_questions_neighbours_and_runs_do_not_depend_on_each_other() -> None:
    half = attendees(availability=0.5)
    one = half.online(MANY, 1)
    others = (
        half.online(MANY, 2),
        half.online(MANY, 1, "quality"),
        half.online(MANY + 1, 1),
        half.online(MANY + 64, 1),
        attendees(b"k" * 32, availability=0.5).online(MANY, 1),
    )
    for other in others:
        assert fits(one == other, 0.5)
    assert not fits(one == half.online(MANY, 1), 0.5)
    groups = one.reshape(-1, 20).sum(axis=1)  # of twenty devices: binomial, not regular
    counts = np.bincount(groups, minlength=21)[6:15]
    expected = stats.binom.pmf(np.arange(6, 15), 20, 0.5)
    assert stats.chisquare(counts, expected / expected.sum() * counts.sum()).pvalue > 1e-3


@given(st.lists(st.integers(0, 2**40), max_size=30, unique=True), st.integers(0, 99), st.data())
def test_a_device_is_there_or_not_whoever_else_is_asked(
    devices: list[int], number: int, data: st.DataObject
) -> None:
    some = attendees(availability=0.6, drop_out=0.1, slow=0.2, rounds_per_day=5)
    order = data.draw(st.permutations(devices))
    together = some.answering(np.array(order, np.int64), number, "gram")
    alone = [bool(some.answering(np.array([d], np.int64), number, "gram")[0]) for d in order]
    assert together.tolist() == alone


@pytest.mark.parametrize("mean", [0.3, 0.5, 0.8])
def test_a_day_has_the_same_mean_and_each_device_its_own_time(mean: float) -> None:
    day = 8
    some = attendees(availability=mean, rounds_per_day=day)
    online = np.array([some.online(MANY, number) for number in range(10 * day)])
    for flags in online:  # all over the world it is always the same
        assert fits(flags, mean)
    by_hour = online.reshape(10, day, -1).sum(axis=0)
    shares = np.sort(by_hour / 10, axis=0)
    flat = attendees(availability=mean)
    plain = np.array([flat.online(MANY, number) for number in range(10 * day)])
    no_rhythm = np.sort(plain.reshape(10, day, -1).sum(axis=0) / 10, axis=0)
    assert (shares[-1] - shares[0]).mean() > (no_rhythm[-1] - no_rhythm[0]).mean() + 0.1
    assert (by_hour == np.roll(by_hour, 1, axis=0)).mean() < 0.5


WRONG = [
    {"availability": 0.0},
    {"availability": 1.1},
    {"availability": float("nan")},
    {"drop_out": 1.0},
    {"drop_out": -0.1},
    {"slow": 1.0},
    {"slow": float("nan")},
    {"rounds_per_day": 1},
    {"rounds_per_day": -4},
]


@pytest.mark.parametrize("own", WRONG, ids=str)
def test_conditions_that_are_no_chances_are_refused(own: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(own))):
        Conditions(**own)  # type: ignore[arg-type]  # wrong on purpose
