"""Parts of the devices: who is in which, and what two models do for each of them."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homebody_models.interactions import Interactions
from homebody_models.metrics import Ranked, rank_task
from homebody_models.popularity import Popularity, popularity_baseline
from homebody_models.segments import (
    Part,
    compare,
    parts_by_label,
    parts_by_length,
    parts_by_target,
)
from homebody_models.split import Task, leave_one_out

Make = Callable[..., Interactions]


def task_of(interactions: Make, histories: list[list[int]], *, n_items: int = 12) -> Task:
    """Return the validation task of some histories."""
    return leave_one_out(interactions(histories, n_items=n_items)).validation


def ranked(*ranks: float) -> Ranked:
    """Return what a model did that put each target at a rank; its lists hold item 0 alone."""
    return Ranked(ranks=np.array(ranks), top=np.zeros((len(ranks), 10), np.int64))


def members(parts: list[Part]) -> dict[str, list[int]]:
    """Return the devices of each part."""
    return {part.name: np.flatnonzero(part.rows).tolist() for part in parts}


def test_devices_are_parted_by_the_events_they_rank_with(interactions: Make) -> None:
    task = task_of(interactions, [[0] * 7, [0] * 8, [0] * 102, [0] * 103])
    assert members(parts_by_length(task)) == {"cold": [0], "warm": [1, 2], "hot": [3]}


def test_labels_are_those_of_the_devices_that_are_evaluated(interactions: Make) -> None:
    task = task_of(interactions, [[0, 1, 2], [0], [0, 1, 2], [0, 1, 2]])  # the second has no task
    labels = np.array(["b", "x", "a", ""])
    assert members(parts_by_label(task, labels)) == {"unknown": [2], "a": [1], "b": [0]}


def test_head_middle_and_tail_hold_a_third_of_the_events_each(interactions: Make) -> None:
    train = [0] * 6 + [1, 1, 1] + [2, 2, 2] + [3, 3, 4, 4, 5, 5]  # 18 events: 6, 6 and 6
    histories = [[*train, target, 7] for target in (0, 1, 2, 3, 5, 9)]
    task = task_of(interactions, histories)
    assert members(parts_by_target(task)) == {"head": [0], "middle": [1, 2], "tail": [3, 4, 5]}


@settings(max_examples=50)
@given(st.lists(st.lists(st.integers(0, 11), min_size=1, max_size=9), min_size=1, max_size=8))
def test_every_device_is_in_exactly_one_part(
    interactions: Make, histories: list[list[int]]
) -> None:
    task = task_of(interactions, histories)
    labels = np.array([str(i % 3) for i in range(len(histories))])
    for parts in (parts_by_length(task), parts_by_label(task, labels), parts_by_target(task)):
        rows = [part.rows for part in parts]
        assert (np.sum(rows, axis=0) == np.ones(len(task))).all() or not len(task)


def test_the_difference_is_paired_by_device(interactions: Make) -> None:
    task = task_of(interactions, [[0, 1, 2]] * 40)
    # The two differ by the same on every device, however far devices lie apart.
    near, far = [0.0, 2.0] * 20, [2.0, 6.0] * 20
    everyone = Part(name="all", words="", rows=np.ones(40, bool))
    (row,) = compare(ranked(*near), ranked(*far), task, [everyone], np.random.default_rng(0))
    gains = [1.0 - 0.5, 0.5 - 1 / 3]
    assert row.gain.mean == pytest.approx(np.mean(gains))
    assert row.own.mean - row.other.mean == pytest.approx(row.gain.mean)
    assert row.gain.high - row.gain.low < row.own.high - row.own.low
    assert row.gain.low > 0.0


def test_a_part_is_judged_by_its_own_devices_alone(interactions: Make) -> None:
    rng = np.random.default_rng(3)
    data = interactions([rng.integers(0, 12, 8).tolist() for _ in range(30)], n_items=12)
    split = leave_one_out(data)
    task, shelf = split.validation, popularity_baseline(split.train)
    whole = rank_task(Popularity(12), shelf, task)
    rows = np.arange(30) % 3 == 0
    part = Part(name="third", words="", rows=rows)
    (row,) = compare(whole, whole, task, [part], np.random.default_rng(0))
    alone = Task(
        data=task.data, devices=task.devices[rows], targets=task.targets[rows], kind=task.kind
    )
    expected = rank_task(Popularity(12), shelf, alone).ndcg()
    assert row.own.mean == pytest.approx(expected.mean())
    assert (row.own.n, row.gain.mean, row.gain.high) == (10, 0.0, 0.0)
    assert row.coverage == 10 / 12
    assert math.isfinite(row.novelty)


def test_a_part_of_one_device_has_no_row(interactions: Make) -> None:
    task = task_of(interactions, [[0, 1, 2]] * 3)
    parts = parts_by_label(task, np.array(["a", "a", "b"]))
    one = ranked(0.0, 1.0, 2.0)
    rows = compare(one, one, task, parts, np.random.default_rng(0))
    assert [row.name for row in rows] == ["a"]


def test_models_that_ranked_for_others_are_refused(interactions: Make) -> None:
    task = task_of(interactions, [[0, 1, 2]] * 2)
    with pytest.raises(ValueError, match="same devices"):
        compare(ranked(0.0, 1.0), ranked(0.0), task, [], np.random.default_rng(0))
