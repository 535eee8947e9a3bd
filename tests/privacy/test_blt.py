"""The BLT strategy: its sensitivity, its error, what rounding adds."""

import itertools
import json
import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import solve_triangular, toeplitz

from homebody_privacy.blt import (
    BUFFER_LIMIT,
    MOST_MULTIPLIER,
    BltParameters,
    Participation,
    charged_sensitivity,
    fine_bits,
    inverse_column,
    prefix_error,
    rounding_gain,
    sensitivity,
)
from homebody_privacy.closed_form import gaussian_epsilon
from homebody_privacy.lattice import BITS

Array = npt.NDArray[np.float64]
Row = dict[str, Any]

DIM = 250_000
TWO = BltParameters(theta=(0.9, 0.4), omega=(0.3, 0.3))
FOUR = BltParameters(theta=(0.99, 0.8, 0.5, 0.1), omega=(0.1, 0.2, 0.3, 0.2))
ONE_JOIN = Participation(rounds=12, min_separation=12, max_rounds=1)


@st.composite
def strategies(draw: st.DrawFn) -> BltParameters:
    """One to four buffers, the weights adding up to at most 1."""
    number = draw(st.integers(1, 4))
    theta = draw(st.lists(st.floats(1e-6, 1 - 1e-6), min_size=number, max_size=number))
    parts = draw(st.lists(st.floats(1e-3, 1.0), min_size=number, max_size=number))
    total = draw(st.floats(1e-3, 1.0 - 1e-9))
    omega = tuple(total * part / math.fsum(parts) for part in parts)
    return BltParameters(theta=tuple(theta), omega=omega)


@st.composite
def participations(draw: st.DrawFn, most: int = 9) -> Participation:
    """Any rules of a run of at most ``most`` rounds."""
    rounds = draw(st.integers(1, most))
    return Participation(
        rounds=rounds,
        min_separation=draw(st.integers(1, rounds)),
        max_rounds=draw(st.integers(1, rounds + 1)),
    )


def patterns(part: Participation) -> Iterator[tuple[int, ...]]:
    """List every set of rounds, from 0, in which one device may join."""
    for joins in range(part.max_rounds + 1):
        for rounds in itertools.combinations(range(part.rounds), joins):
            if all(b - a >= part.min_separation for a, b in itertools.pairwise(rounds)):
                yield rounds


def exact_column(p: BltParameters, rounds: int) -> list[Fraction]:
    """Return c by its definition, without rounding."""
    pairs = [(Fraction(t), Fraction(w)) for t, w in zip(p.theta, p.omega, strict=True)]
    later = [sum((w * t**i for t, w in pairs), Fraction(0)) for i in range(rounds - 1)]
    return [Fraction(1), *later]


def worst_square(p: BltParameters, part: Participation) -> Fraction:
    """Return the exact square of the sensitivity by trying every pattern."""
    c = exact_column(p, part.rounds)

    def square(joins: tuple[int, ...]) -> Fraction:
        rows = [sum((c[t - j] for j in joins if j <= t), Fraction(0)) for t in range(part.rounds)]
        return sum((row * row for row in rows), Fraction(0))

    return max(square(joins) for joins in patterns(part))


def matrix(p: BltParameters, rounds: int) -> Array:
    column = np.array([float(c) for c in exact_column(p, rounds)])
    return np.asarray(toeplitz(column, np.zeros(rounds)))


def mu_of(epsilon: float, delta: float) -> float:
    """Invert the closed form by bisection."""
    low, high = 0.0, 64.0
    for _ in range(100):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if gaussian_epsilon(middle, delta) < epsilon else (low, middle)
    return low


def of_row(row: Row) -> tuple[BltParameters, Participation]:
    part = Participation(
        rounds=row["rounds"],
        min_separation=row["min_separation"],
        max_rounds=row["participations"],
    )
    return BltParameters(theta=tuple(row["theta"]), omega=tuple(row["omega"])), part


def test_sensitivity_agrees_with_every_stored_row(vectors: dict[str, list[Row]]) -> None:
    for row in vectors["blt"]:
        assert sensitivity(*of_row(row)) == pytest.approx(row["sensitivity"], abs=1e-4)


def test_error_of_running_sums_agrees_with_every_stored_row(vectors: dict[str, list[Row]]) -> None:
    for row in vectors["blt"]:
        p, part = of_row(row)
        sigma = sensitivity(p, part) / mu_of(row["epsilon"], row["delta"])
        mean, last = (sigma * error for error in prefix_error(p, part.rounds))
        assert mean == pytest.approx(row["prefix_noise_rmse_mean"], abs=0.02)
        assert last == pytest.approx(row["prefix_noise_rmse_last"], abs=0.02)


def test_the_stored_brute_force_row_is_met_by_formula_and_by_enumeration(
    vectors: dict[str, list[Row]],
) -> None:
    for row in vectors["blt_brute_force"]:
        p, part = of_row(row)
        assert sensitivity(p, part) == pytest.approx(row["sensitivity"], abs=1e-5)
        assert math.sqrt(worst_square(p, part)) == pytest.approx(row["sensitivity"], abs=1e-5)


@settings(max_examples=150)
@given(strategies(), participations())
def test_sensitivity_is_the_maximum_over_all_patterns_and_never_below_it(
    p: BltParameters, part: Participation
) -> None:
    exact = worst_square(p, part)
    found = sensitivity(p, part)
    assert Fraction(found) ** 2 >= exact
    assert found == pytest.approx(math.sqrt(exact), rel=1e-12)


@given(strategies(), participations(), st.data())
def test_no_directions_or_lengths_of_the_contributions_move_more_than_the_sensitivity(
    p: BltParameters, part: Participation, data: st.DataObject
) -> None:
    joins = data.draw(st.sampled_from(list(patterns(part))))
    entry = st.floats(-1.0, 1.0)
    moved = np.zeros((part.rounds, 3))
    for t in joins:
        vector = np.array(data.draw(st.tuples(entry, entry, entry)))
        moved[t] = vector / max(1.0, float(np.linalg.norm(vector)))
    change = float(np.linalg.norm(matrix(p, part.rounds) @ moved))
    assert change <= sensitivity(p, part) * (1 + 1e-12)


@given(strategies(), participations(most=40))
def test_sensitivity_grows_with_joins_and_rounds_and_falls_with_separation(
    p: BltParameters, part: Participation
) -> None:
    def at(rounds: int, separation: int, most: int) -> float:
        rules = Participation(rounds=rounds, min_separation=separation, max_rounds=most)
        return sensitivity(p, rules) * (1 + 1e-12)

    t, b, k = part.rounds, part.min_separation, part.max_rounds
    here = sensitivity(p, part)
    assert here <= at(t, b, k + 1)
    assert here <= at(t + 1, b, k)
    assert b == 1 or here <= at(t, b - 1, k)
    assert math.sqrt(part.joins) <= here


@given(strategies(), st.integers(1, 60))
def test_coefficients_follow_their_definition_and_never_rise(p: BltParameters, n: int) -> None:
    c = p.coefficients(n)
    assert c.shape == (n,)
    assert c.dtype == np.float64
    assert c == pytest.approx([float(x) for x in exact_column(p, n)], rel=1e-13, abs=1e-300)
    assert (c >= 0).all()
    assert (np.diff(c) <= 1e-15).all()


@given(strategies(), st.integers(1, 60))
def test_the_inverse_column_is_that_of_the_inverse_matrix(p: BltParameters, n: int) -> None:
    impulse = np.eye(n)[0]
    expected = solve_triangular(matrix(p, n), impulse, lower=True)
    assert inverse_column(p, n) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(strategies())
def test_the_inverse_column_is_the_recursion_on_a_unit_impulse(p: BltParameters) -> None:
    buffers = np.zeros(len(p.theta))
    found = []
    for z in np.eye(300)[0]:
        y = z - float(np.array(p.omega) @ buffers)
        buffers = np.array(p.theta) * buffers + y
        found.append(y)
    assert inverse_column(p, 300) == pytest.approx(found, rel=1e-8, abs=1e-12)


def test_equal_decays_are_no_special_case() -> None:
    twice = BltParameters(theta=(0.7, 0.7), omega=(0.2, 0.3))
    once = BltParameters(theta=(0.7,), omega=(0.5,))
    assert inverse_column(twice, 50) == pytest.approx(inverse_column(once, 50), abs=1e-15)


@given(strategies(), st.integers(1, 40))
def test_prefix_error_is_that_of_the_running_sum_matrix(p: BltParameters, n: int) -> None:
    running = np.tril(np.ones((n, n))) @ np.linalg.inv(matrix(p, n))
    variances = (running**2).sum(axis=1)
    mean, last = prefix_error(p, n)
    assert mean == pytest.approx(math.sqrt(variances.mean()), rel=1e-9)
    assert last == pytest.approx(math.sqrt(variances[-1]), rel=1e-9)


def test_prefix_error_without_correlation_is_that_of_independent_noise() -> None:
    none = BltParameters(theta=(0.5,), omega=(1e-12,))
    expected = (math.sqrt(101 / 2), 10.0)  # the root of the mean square, not the mean of roots
    assert prefix_error(none, 100) == pytest.approx(expected, rel=1e-9)


@given(strategies())
def test_rounding_gain_is_no_less_than_rounding_twice_and_not_much_more(p: BltParameters) -> None:
    memory = sum(Fraction(w) / (1 - Fraction(t)) for t, w in zip(p.theta, p.omega, strict=True))
    assert 1 + Fraction(len(p.theta), 4) + Fraction(5, 4) * memory <= Fraction(rounding_gain(p))
    assert rounding_gain(p) < 2 * float(1 + memory)


def test_products_of_the_largest_buffers_are_within_the_eighth_that_the_gain_allows() -> None:
    for theta in (0.1, 0.3, 0.999, 1 - 2.0**-53):
        for s in (BUFFER_LIMIT, BUFFER_LIMIT - 1, BUFFER_LIMIT // 3):
            assert abs(Fraction(theta * s) - Fraction(theta) * s) <= Fraction(1, 8)


def test_rounding_adds_less_than_a_ten_thousandth_at_every_stored_row(
    vectors: dict[str, list[Row]],
) -> None:
    for (p, part), bits in itertools.product(map(of_row, vectors["blt"]), BITS):
        fine = fine_bits(p, part, dim=DIM, lattice_bits=bits)
        s = sensitivity(p, part)
        charged = charged_sensitivity(p, part, dim=DIM, lattice_bits=bits, fine_bits=fine)
        assert s < charged <= s * (1 + 1.001e-4)
        if fine > 0:
            coarser = charged_sensitivity(p, part, dim=DIM, lattice_bits=bits, fine_bits=fine - 1)
            assert coarser > s * (1 + 1e-4)


@given(strategies(), participations(most=50), st.integers(1, 10**6), st.sampled_from(BITS))
def test_the_charge_is_the_sensitivity_and_what_rounding_adds(
    p: BltParameters, part: Participation, dim: int, bits: int
) -> None:
    fine = fine_bits(p, part, dim=dim, lattice_bits=bits)
    charged = charged_sensitivity(p, part, dim=dim, lattice_bits=bits, fine_bits=fine)
    added = rounding_gain(p) * math.sqrt(dim * part.rounds) / 2 ** (bits + fine)
    assert charged >= sensitivity(p, part) + added
    assert charged == pytest.approx(sensitivity(p, part) + added, rel=1e-11)


def test_a_lattice_that_needs_no_finer_one_gets_none() -> None:
    assert fine_bits(TWO, ONE_JOIN, dim=1, lattice_bits=20) == 0


def test_fine_bits_stop_where_a_buffer_could_overflow() -> None:
    slow = BltParameters(theta=(1 - 1e-9,), omega=(1e-9,))  # it sums all it is given
    part = Participation(rounds=2000, min_separation=2000, max_rounds=1)
    fine = fine_bits(slow, part, dim=DIM, lattice_bits=16)
    largest = 13.02 * MOST_MULTIPLIER * 2000  # times 2**bits: all draws of one sign
    assert largest * 2 ** (16 + fine) < BUFFER_LIMIT < largest * 2 ** (16 + fine + 2)
    charged = charged_sensitivity(slow, part, dim=DIM, lattice_bits=16, fine_bits=fine)
    assert charged > sensitivity(slow, part) * 1.0005  # what could not be avoided is charged


def test_fine_bits_stay_within_the_noise_that_can_be_drawn() -> None:
    part = Participation(rounds=2, min_separation=2, max_rounds=1)
    fast = BltParameters(theta=(0.001,), omega=(0.001,))
    assert fine_bits(fast, part, dim=10**15, lattice_bits=16) == 45 - 9 - 16


@pytest.mark.parametrize(
    "change", [{"dim": 0}, {"lattice_bits": 15}, {"lattice_bits": 21}, {"fine_bits": -1}]
)
def test_a_lattice_without_meaning_is_refused(change: dict[str, int]) -> None:
    usual = {"dim": 3, "lattice_bits": 16, "fine_bits": 4} | change
    with pytest.raises(ValueError, match=next(iter(change))):
        charged_sensitivity(TWO, ONE_JOIN, **usual)


@pytest.mark.parametrize(
    ("theta", "omega"),
    [
        ((), ()),
        ((0.5,) * 5, (0.1,) * 5),
        ((0.5, 0.4), (0.3,)),
        ((1.0,), (0.5,)),
        ((0.0,), (0.5,)),
        ((math.nan,), (0.5,)),
        ((0.5,), (0.0,)),
        ((0.5,), (-0.1,)),
        ((0.5,), (math.nan,)),
        ((0.5,), (1.0000001,)),
        ((0.5, 0.4), (0.6, 0.5)),
    ],
)
def test_a_strategy_that_the_theorem_does_not_cover_is_refused(
    theta: tuple[float, ...], omega: tuple[float, ...]
) -> None:
    with pytest.raises(ValueError, match=r"theta|omega"):
        BltParameters(theta=theta, omega=omega)


@pytest.mark.parametrize(("rounds", "separation", "most"), [(0, 1, 1), (5, 0, 1), (5, 6, 1)])
def test_a_separation_outside_of_the_run_is_refused(
    rounds: int, separation: int, most: int
) -> None:
    with pytest.raises(ValueError, match="min_separation"):
        Participation(rounds=rounds, min_separation=separation, max_rounds=most)


def test_a_cap_of_no_rounds_is_refused() -> None:
    with pytest.raises(ValueError, match="max_rounds"):
        Participation(rounds=5, min_separation=1, max_rounds=0)


@given(participations())
def test_joins_is_the_longest_pattern(part: Participation) -> None:
    assert part.joins == max(map(len, patterns(part)))


@given(strategies())
def test_parameters_survive_canonical_json(p: BltParameters) -> None:
    assert BltParameters.from_dict(json.loads(rfc8785.dumps(p.to_dict()))) == p


def test_a_weight_of_one_survives_canonical_json_that_writes_it_as_an_integer() -> None:
    p = BltParameters(theta=(0.5,), omega=(1.0,))
    assert BltParameters.from_dict({"theta": [0.5], "omega": [1]}) == p


@pytest.mark.parametrize(
    "values",
    [
        {"omega": [0.5]},
        {"theta": [0.5], "omega": [0.5], "extra": 1},
        {"theta": "0.5", "omega": [0.5]},
        {"theta": [0.5], "omega": ["0.5"]},
        {"theta": [0.5], "omega": [True]},
        {"theta": [0.5], "omega": 0.5},
        {"theta": [0.5], "omega": [0.5, 0.1]},
    ],
    ids=["missing", "unknown", "text", "text-inside", "truth", "no-list", "length"],
)
def test_values_of_another_shape_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"theta|omega"):
        BltParameters.from_dict(values)


def test_four_buffers_keep_all_promises_over_a_long_run() -> None:
    part = Participation(rounds=400, min_separation=40, max_rounds=7)
    column = np.zeros(400)
    for join in range(part.joins):
        column[40 * join :] += FOUR.coefficients(400 - 40 * join)
    assert part.joins == 7
    assert sensitivity(FOUR, part) == pytest.approx(float(np.linalg.norm(column)), rel=1e-12)
