"""Histories in columns: the same events as in a list, for every way to ask for them."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homebody_models.history import HistoryWindow, normalised
from homebody_models.history_columns import Histories

ITEMS = 9
HISTORIES = st.lists(
    st.lists(st.integers(0, ITEMS - 1), max_size=12).map(lambda own: np.array(own, np.int32)),
    max_size=7,
)


def lists(histories: Sequence[npt.NDArray[np.integer]]) -> list[list[int]]:
    """Return histories as lists."""
    return [own.tolist() for own in histories]


@settings(max_examples=60)
@given(HISTORIES, st.data())
def test_columns_are_the_histories_they_were_made_of(
    histories: list[npt.NDArray[np.integer]], data: st.DataObject
) -> None:
    columns = Histories.of(histories)
    assert lists(columns) == lists(histories)
    assert columns.lengths.tolist() == [len(own) for own in histories]
    assert [columns[i].tolist() for i in range(len(columns))] == lists(histories)
    assert Histories.of(columns) is columns
    part = slice(data.draw(st.integers(0, 7)), data.draw(st.integers(0, 7)))
    assert lists(columns[part]) == lists(histories[part])
    some = np.array(data.draw(st.lists(st.integers(0, max(len(histories) - 1, 0)))), np.int64)
    some = some[: len(histories) * len(some)]  # of nobody, nobody
    again = Histories.rows(
        np.concatenate(([0], columns.stops)).astype(np.int64), columns.items, some
    )
    assert lists(again) == lists(columns[some]) == [histories[i].tolist() for i in some]


@settings(max_examples=60)
@given(histories=HISTORIES, count=st.integers(1, 14), turned=st.booleans())
def test_every_way_to_ask_gives_what_a_loop_gives(
    histories: list[npt.NDArray[np.integer]], count: int, *, turned: bool
) -> None:
    columns = Histories.of(histories)
    if turned:  # no longer next to each other
        columns, histories = columns[np.arange(len(columns))[::-1]], histories[::-1]
    owners, items = columns.events()
    assert owners.tolist() == [i for i, own in enumerate(histories) for _ in own]
    assert items.tolist() == [item for own in histories for item in own]
    assert columns.ages().tolist() == [age for own in histories for age in range(len(own))[::-1]]
    assert lists(columns.newest(count)) == [own[-count:].tolist() for own in histories]
    assert lists(columns.distinct()) == [np.unique(own).tolist() for own in histories]
    padded = [[0] * (count - len(own)) + own[-count:].tolist() for own in histories]
    assert columns.slots(count).tolist() == padded
    became = np.array([-1, 3, 0, -1, 7, 1, 1, 8, 2])
    known = [[int(became[i]) for i in own if became[i] >= 0] for own in histories]
    assert lists(columns.known(became)) == known
    gone = np.arange(len(histories)) % ITEMS
    left = [own[own != item].tolist() for own, item in zip(histories, gone, strict=True)]
    assert lists(columns.without(gone)) == left


def shares_one_by_one(
    window: HistoryWindow, histories: Sequence[npt.NDArray[np.integer]]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Return items and weights of each history, one after another."""
    shape = (len(histories), window.history_max)
    items, weights = np.zeros(shape, np.int64), np.zeros(shape, np.float32)
    for row, history in enumerate(histories):
        newest, weight = window.slots(history)
        if len(newest):
            items[row, -len(newest) :] = newest
            weights[row, -len(newest) :] = normalised(weight)
    return items, weights


@settings(max_examples=60)
@given(HISTORIES, st.integers(1, 64), st.floats(0.01, 1.0))
def test_shares_of_many_are_those_of_each_to_the_bit(
    histories: list[npt.NDArray[np.integer]], most: int, decay: float
) -> None:
    window = HistoryWindow(most, decay)
    wanted = shares_one_by_one(window, histories)
    for asked in (histories, Histories.of(histories)):
        got = window.shares(asked)
        assert [part.tobytes() for part in got] == [part.tobytes() for part in wanted]


@settings(max_examples=40)
@given(HISTORIES, st.integers(1, 14), st.integers(1, 3))
def test_by_length_every_history_with_events_comes_once_with_its_own_slots(
    histories: list[npt.NDArray[np.integer]], longest: int, most: int
) -> None:
    window, seen = HistoryWindow(longest, 0.7), []
    for rows, items, weights in window.by_length(histories, most):
        assert 1 <= len(rows) <= most
        for row, own in zip(rows, items, strict=True):
            newest, powers = window.slots(histories[row])
            assert (own.tolist(), weights.tobytes()) == (newest.tolist(), powers.tobytes())
        seen += rows.tolist()
    assert sorted(seen) == [row for row, own in enumerate(histories) if len(own)]


def test_places_of_other_devices_are_refused() -> None:
    with pytest.raises(ValueError, match="same length"):
        Histories(np.zeros(3, np.int32), np.zeros(2, np.int64), np.zeros(1, np.int64))
