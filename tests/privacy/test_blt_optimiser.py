"""The optimiser: as good as the stored rows, near what any strategy can reach, never harmful."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homebody_privacy.blt import BltParameters, Participation, prefix_error, sensitivity
from homebody_privacy.blt_optimiser import INDEPENDENT, loss, optimise
from homebody_privacy.closed_form import gaussian_epsilon

Row = dict[str, Any]


def of_row(row: Row) -> Participation:
    return Participation(
        rounds=row["rounds"],
        min_separation=row["min_separation"],
        max_rounds=row["participations"],
    )


def independent_loss(part: Participation) -> float:
    return math.log(math.sqrt((part.rounds + 1) / 2 * part.joins))


@pytest.mark.parametrize("number", range(4))
def test_the_error_is_no_worse_than_the_stored_row(
    vectors: dict[str, list[Row]], number: int
) -> None:
    row = vectors["blt"][number]
    part = of_row(row)
    p = optimise(part)
    error = row["prefix_noise_rmse_mean"] * 1.001
    multiplier = error / prefix_error(p, part.rounds)[0]  # what that error leaves for noise
    assert gaussian_epsilon(sensitivity(p, part) / multiplier, row["delta"]) <= row["epsilon"]


@pytest.mark.parametrize("number", range(4))
def test_the_loss_is_no_worse_than_that_of_the_stored_strategy(
    vectors: dict[str, list[Row]], number: int
) -> None:
    row = vectors["blt"][number]
    stored = BltParameters(theta=tuple(row["theta"]), omega=tuple(row["omega"]))
    part = of_row(row)
    assert loss(optimise(part), part) <= loss(stored, part) + 1e-6


@settings(max_examples=25)
@given(st.data())
def test_the_result_is_never_worse_than_independent_noise(data: st.DataObject) -> None:
    rounds = data.draw(st.integers(1, 60))
    part = Participation(
        rounds=rounds,
        min_separation=data.draw(st.integers(1, rounds)),
        max_rounds=data.draw(st.integers(1, 2 * rounds)),
    )
    assert loss(optimise(part), part) <= independent_loss(part) + 1e-11 * rounds


@pytest.mark.parametrize(
    ("rounds", "separation", "most"),
    [(1, 1, 1), (2, 1, 2), (3, 1, 3), (3, 1, 50), (10, 1, 10), (100, 1, 100)],
)
def test_independent_noise_is_chosen_where_correlation_only_harms(
    rounds: int, separation: int, most: int
) -> None:
    part = Participation(rounds=rounds, min_separation=separation, max_rounds=most)
    assert optimise(part) == INDEPENDENT
    assert loss(INDEPENDENT, part) == pytest.approx(independent_loss(part), abs=1e-10)


@pytest.mark.parametrize(("rounds", "most_ratio"), [(2, 1.0001), (10, 1.01), (60, 1.02)])
def test_with_one_join_the_result_is_near_what_any_strategy_can_reach(
    rounds: int, most_ratio: float
) -> None:
    part = Participation(rounds=rounds, min_separation=rounds, max_rounds=1)
    running = np.tril(np.ones((rounds, rounds)))
    # any factorisation B C of it with columns of C at most 1 has an error of at least this
    least = float(np.linalg.svd(running, compute_uv=False).sum()) / rounds
    reached = math.exp(loss(optimise(part), part))
    assert least * (1 - 1e-12) <= reached
    roots = np.cumprod([1.0, *((2 * i - 1) / (2 * i) for i in range(1, rounds))])  # of 1/(1 - x)
    square_root = float(np.linalg.norm(roots)) * math.sqrt(float(np.cumsum(roots**2).mean()))
    assert reached <= square_root * most_ratio
    assert square_root < math.exp(independent_loss(part))


@pytest.mark.parametrize(("separation", "most"), [(1, 3), (25, 4), (100, 1)])
def test_no_single_buffer_of_a_grid_is_better(separation: int, most: int) -> None:
    part = Participation(rounds=100, min_separation=separation, max_rounds=most)
    grid = itertools.product(np.linspace(0.02, 0.985, 30), np.linspace(0.02, 1.0, 30))
    best = min(loss(BltParameters(theta=(float(t),), omega=(float(w),)), part) for t, w in grid)
    one = optimise(part, buffers=[1])
    assert len(one.theta) == 1
    assert loss(one, part) <= best


@settings(max_examples=60)
@given(st.lists(st.floats(-0.2, 0.2), min_size=4, max_size=4))
def test_no_strategy_nearby_is_better(steps: list[float]) -> None:
    part = Participation(rounds=60, min_separation=30, max_rounds=2)
    p = optimise_once(part)
    theta = [1 - (1 - t) * math.exp(s) for t, s in zip(p.theta, steps[:2], strict=True)]
    omega = [w * math.exp(s) for w, s in zip(p.omega, steps[2:], strict=True)]
    if all(0 < t < 1 for t in theta) and sum(omega) <= 1:
        near = BltParameters(theta=tuple(theta), omega=tuple(omega))
        assert loss(near, part) >= loss(p, part) - 1e-6


FOUND: dict[Participation, BltParameters] = {}


def optimise_once(part: Participation) -> BltParameters:
    return FOUND.setdefault(part, FOUND.get(part) or optimise(part))


def test_the_same_question_gets_the_same_answer() -> None:
    part = Participation(rounds=80, min_separation=20, max_rounds=3)
    assert optimise(part) == optimise(part)


def test_a_second_buffer_must_earn_its_memory() -> None:
    wasted = Participation(rounds=2000, min_separation=10, max_rounds=200)
    assert len(optimise(wasted).theta) == 1
    useful = Participation(rounds=500, min_separation=100, max_rounds=5)
    two, one = optimise(useful), optimise(useful, buffers=[1])
    assert (len(two.theta), len(one.theta)) == (2, 1)
    assert loss(two, useful) < loss(one, useful) - 1e-4
    assert two.theta[0] > two.theta[1]


@pytest.mark.parametrize("buffers", [[], [0], [3], [1, 5]])
def test_other_numbers_of_buffers_are_refused(buffers: list[int]) -> None:
    with pytest.raises(ValueError, match="buffers"):
        optimise(Participation(rounds=5, min_separation=1, max_rounds=1), buffers=buffers)
