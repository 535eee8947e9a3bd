"""Ranking against sampled items is its own thing: same ties, no part of the headline."""

from collections.abc import Callable
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homebody_models.interactions import Interactions
from homebody_models.metrics import Evaluation
from homebody_models.sampled import Sampled, outside_history, sampled, sampled_ranks
from homebody_models.split import Task

Make = Callable[..., Interactions]


def task_of(data: Interactions, targets: list[int]) -> Task:
    return Task(data=data, devices=np.arange(len(targets)), targets=np.array(targets, np.int32),
                kind="new")  # fmt: skip


@given(st.data())
def test_a_rank_counts_better_negatives_and_half_of_ties(
    interactions: Make, data: st.DataObject
) -> None:
    scores = np.array(
        [data.draw(st.lists(st.sampled_from([0.0, 1.0, 2.0]), min_size=9, max_size=9))]
    )
    negatives = data.draw(st.lists(st.integers(0, 8), min_size=1, max_size=8, unique=True))
    target = data.draw(st.integers(0, 8))
    others = [scores[0, item] for item in negatives if item != target]
    own = scores[0, target]
    slow = sum(s > own for s in others) + 0.5 * sum(s == own for s in others)
    task = task_of(interactions([[0]], n_items=9), [target])
    assert sampled_ranks(lambda _: scores, task, np.array([negatives])).tolist() == [slow]


def test_negatives_belong_to_the_devices_of_the_data(interactions: Make) -> None:
    data = interactions([[0], [1], [2]], n_items=5)
    task = Task(data=data, devices=np.array([2]), targets=np.array([3], np.int32), kind="new")
    negatives = np.array([[3], [3], [4]])
    scores = np.array([[0.0, 0.0, 0.0, 1.0, 2.0]])
    assert sampled_ranks(lambda _: scores, task, negatives).tolist() == [1.0]
    with pytest.raises(ValueError, match="3 rows"):
        sampled_ranks(lambda _: scores, task, negatives[:2])


def test_a_score_that_is_no_number_is_refused(interactions: Make) -> None:
    task = task_of(interactions([[0]], n_items=2), [1])
    with pytest.raises(ValueError, match="finite"):
        sampled_ranks(lambda _: np.array([[np.nan, 1.0]]), task, np.array([[0]]))


def test_drawn_negatives_lie_outside_the_whole_history(interactions: Make) -> None:
    data = interactions([[0, 1, 2], [5, 5, 5]], n_items=8)
    drawn = outside_history(data, 5, seed=1)
    assert set(drawn[0].tolist()) == {3, 4, 5, 6, 7}
    assert 5 not in drawn[1]
    assert all(len(set(row.tolist())) == 5 for row in drawn)
    assert np.array_equal(drawn, outside_history(data, 5, seed=1))


def test_sampled_figures_are_no_part_of_an_evaluation(interactions: Make) -> None:
    task = task_of(interactions([[0], [1]], n_items=4), [2, 3])
    found = sampled(
        lambda hs: np.tile(np.arange(4.0), (len(hs), 1)), task, np.array([[3], [2]]),
        rng=np.random.default_rng(0),
    )  # fmt: skip
    assert (found.negatives, found.hit.mean) == (1, 1.0)
    assert found.ndcg.mean == pytest.approx((1 / np.log2(3) + 1) / 2)
    shared = {field.name for field in fields(Sampled)} & {
        field.name for field in fields(Evaluation)
    }
    assert not shared
