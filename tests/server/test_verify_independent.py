"""Epsilon from raw ledger lines: by other code, against brute force, vectors and what was spent."""

import ast
import itertools
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homebody_privacy.blt import BltParameters, Participation, sensitivity
from homebody_privacy.charges import Charge, CorrelatedRun, GaussianReleases, PoissonRounds
from homebody_privacy.closed_form import epsilon_unamplified
from homebody_privacy.environment import DATA
from homebody_privacy.errors import IntegrityError
from homebody_server.evidence import independent, independent_lines, independent_patterns
from homebody_server.evidence.independent import Loss, Sampled, composed_epsilon, recompute
from homebody_server.evidence.independent_lines import RawLedger, parse_ledger
from homebody_server.evidence.independent_patterns import (
    MOST_SEARCHED,
    first_column,
    gram_matrix,
    most_moved,
    worst_sensitivity,
)

Rows = dict[str, list[dict[str, Any]]]
_HEADER = {"kind": "header", "delta": 1e-5, "carried": []}
QUICK = (19, 44)
SOME = [pytest.param(i, marks=() if i in QUICK else (pytest.mark.slow,)) for i in range(60)]


@pytest.fixture(scope="module")
def rows() -> Rows:
    folder = os.environ.get(DATA)
    path = Path(folder, "..", "vectors", "accounting.json") if folder else None
    if path is None or not path.is_file():
        pytest.skip("data set accounting.json not found: set HOMEBODY_DATA")
    loaded: Rows = json.loads(path.read_text("utf-8"))
    return loaded


def ledger_of(*entries: dict[str, Any], **header: object) -> RawLedger:
    lines = [{**_HEADER, **header}, *entries]
    return parse_ledger(b"".join(json.dumps({"entry": one}).encode() + b"\n" for one in lines))


def bought(name: str, charge: Charge) -> dict[str, Any]:
    return {"kind": "purchase", "name": name, "charge": charge.to_dict()}


def test_no_code_that_spends_is_loaded_by_the_code_that_recomputes() -> None:
    own = {m.__name__.rpartition(".")[2] for m in (independent_lines, independent_patterns)}
    allowed = {"homebody_privacy.errors", "dp_accounting", "numpy", "functools", "math", "json"}
    allowed |= {"collections.abc", "dataclasses", "typing", "numpy.typing"}
    allowed |= {"dp_accounting.pld", "dp_accounting.privacy_accountant"}
    for module in (independent, independent_lines, independent_patterns):
        for node in ast.walk(ast.parse(Path(str(module.__file__)).read_text("utf-8"))):
            if isinstance(node, ast.Import):
                assert {name.name for name in node.names} <= allowed
            elif isinstance(node, ast.ImportFrom):
                assert node.module in (own if node.level else allowed)


def by_brute_force(gram: np.ndarray, separation: int, joins: int) -> float:
    rounds = gram.shape[0]
    best = 0.0
    for count in range(1, joins + 1):
        for pattern in itertools.combinations(range(rounds), count):
            if all(b - a >= separation for a, b in itertools.pairwise(pattern)):
                best = max(best, float(gram[np.ix_(pattern, pattern)].sum()))
    return math.sqrt(best)


@given(
    theta=st.lists(st.floats(0.01, 0.99), min_size=2, max_size=2),
    omega=st.lists(st.floats(0.001, 0.5), min_size=2, max_size=2),
    rounds=st.integers(1, 9),
    separation=st.integers(1, 5),
    joins=st.integers(1, 4),
)
@settings(max_examples=40)
def test_the_search_finds_what_brute_force_over_all_patterns_finds(
    theta: list[float], omega: list[float], rounds: int, separation: int, joins: int
) -> None:
    gram = gram_matrix(first_column(tuple(theta), tuple(omega), rounds))
    found = most_moved(gram, separation, joins)
    assert found == pytest.approx(by_brute_force(gram, separation, joins), rel=1e-12)


def test_the_search_is_a_bound_where_columns_rise() -> None:
    rng = np.random.default_rng(8)
    for _ in range(20):
        gram = gram_matrix(rng.random(8))
        assert most_moved(gram, 2, 3) >= by_brute_force(gram, 2, 3) * (1.0 - 1e-12)


def test_a_strategy_with_negative_products_is_refused() -> None:
    with pytest.raises(ValueError, match="negative entry"):
        most_moved(gram_matrix(np.array([1.0, -0.5, 0.0])), 1, 2)


def test_the_column_is_that_of_the_formula() -> None:
    theta, omega = (0.97837, 0.58627), (0.24613, 0.25922)
    own = first_column(theta, omega, 300)
    assert own == pytest.approx(BltParameters(theta=theta, omega=omega).coefficients(300))


def test_beyond_the_search_the_closest_pattern_is_taken() -> None:
    theta, omega, rounds = (0.99435, 0.80593), (0.13118, 0.32894), MOST_SEARCHED + 1
    part = Participation(rounds=rounds, min_separation=400, max_rounds=5)
    spent = sensitivity(BltParameters(theta=theta, omega=omega), part)
    assert worst_sensitivity(theta, omega, rounds, 400, 5) == pytest.approx(spent, rel=1e-9)
    with pytest.raises(ValueError, match="rises"):
        worst_sensitivity((0.9,), (2.0,), rounds, 400, 5)


def test_cr_31_the_searched_sensitivity_is_that_of_the_vectors(rows: Rows) -> None:
    for row in [*rows["blt"], *rows["blt_brute_force"]]:
        found = worst_sensitivity(
            tuple(row["theta"]),
            tuple(row["omega"]),
            row["rounds"],
            row["min_separation"],
            row["participations"],
        )
        assert found == pytest.approx(row["sensitivity"], abs=1e-4)


@pytest.mark.parametrize("index", SOME)
def test_cr_31_poisson_rounds_are_worth_what_the_vectors_say(rows: Rows, index: int) -> None:
    row = rows["poisson"][index]
    one = Sampled(
        row["population"],
        row["cohort"],
        row["population"],
        row["noise_multiplier"],
        row["rounds"],
    )
    found = composed_epsilon(Loss((one,)), row["delta"])
    assert found == pytest.approx(row["epsilon_pld"], abs=0.002, rel=1e-3)


@pytest.mark.slow
def test_cr_31_caps_are_worth_what_the_vectors_say(rows: Rows) -> None:
    for row in rows["truncated_poisson"]:
        one = Sampled(
            row["population"],
            row["expected_cohort"],
            row["cap"],
            row["noise_multiplier"],
            row["rounds"],
        )
        found = composed_epsilon(Loss((one,)), row["delta"])
        assert found == pytest.approx(row["epsilon_pld"], abs=0.002)


def test_cr_31_gaussian_releases_are_worth_what_the_vectors_say(rows: Rows) -> None:
    for row in rows["closed_form_gaussian"][::3]:
        found = composed_epsilon(Loss(squares=float(row["mu"]) ** 2), float(row["delta"]))
        assert found == pytest.approx(float(row["epsilon"]), rel=1e-6)


def correlated(**fields: Any) -> CorrelatedRun:  # noqa: ANN401 - one of the fields' types
    usual: dict[str, Any] = {
        "noise_multiplier": 20.0,
        "sensitivity": 3.98036,
        "rounds": 500,
        "min_separation": 100,
        "max_rounds": 5,
        "theta": (0.97837, 0.58627),
        "omega": (0.24613, 0.25922),
    }
    return CorrelatedRun(**(usual | fields))


def test_what_earlier_runs_carried_in_is_part_of_the_sum() -> None:
    charges: tuple[Charge, ...] = (
        correlated(),
        GaussianReleases(noise_multiplier=60.0, releases=8),
        GaussianReleases(noise_multiplier=80.0, releases=4),
    )
    carried = [one.to_dict() for one in charges for _ in range(4)]
    entries = [bought(f"x/{i}", one) for i, one in enumerate(charges)]
    found = recompute(ledger_of(*entries, carried=carried, delta=1e-7))
    spent = epsilon_unamplified([one for one in charges for _ in range(5)], 1e-7 * 0.999)
    assert found.epsilon == found.unamplified == pytest.approx(spent, rel=1e-6)
    alone = recompute(ledger_of(*entries, delta=1e-7))
    assert alone.epsilon == pytest.approx(0.962, abs=1e-3)
    assert set(alone.parts) == {"training", "metrics"}


def test_a_stated_sensitivity_below_the_worst_pattern_is_not_believed() -> None:
    honest = recompute(ledger_of(bought("run", correlated())))
    lowered = recompute(ledger_of(bought("run", correlated(sensitivity=2.0))))
    assert honest.understated == ()
    assert lowered.understated == ("run",)
    assert lowered.epsilon == pytest.approx(honest.epsilon, rel=1e-5)


ROUND = PoissonRounds(
    population=400,
    cohort_size=20,
    cohort_cap=60,
    noise_multiplier=4.0,
    count_multiplier=16.0,
    rounds=1,
)


@pytest.mark.parametrize(
    ("reason", "credit"), [("interrupted", True), ("report-goal", False), (None, False)]
)
def test_a_round_void_for_who_came_ends_the_credit_for_coins(
    reason: str | None, *, credit: bool
) -> None:
    found = recompute(
        ledger_of(
            {"kind": "intent", "round": 1, "charge": ROUND.to_dict()},
            {"kind": "void", "round": 1, "reason": reason},
        )
    )
    assert found.is_amplified is credit
    assert (found.epsilon < found.unamplified) is credit
    assert set(found.parts) == {"training", "clipping"}


def test_a_cap_that_binds_is_charged_for() -> None:
    loose, tight = Sampled(400, 20, 60, 4.0, 1), Sampled(400, 20, 21, 4.0, 1)
    assert composed_epsilon(Loss((tight,)), 1e-5) > 1.1 * composed_epsilon(Loss((loose,)), 1e-5)


def test_next_to_no_noise_is_worth_no_figure() -> None:
    bare = GaussianReleases(noise_multiplier=0.01)
    assert recompute(ledger_of(bought("a", bare))).epsilon == math.inf
    assert recompute(ledger_of()).epsilon == 0.0


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "free"},
        {"part": "fun"},
        {"noise_multiplier": None},
        {"noise_multiplier": True},
        {"noise_multiplier": -1},
        {"theta": 0.5},
        {"theta": []},
        {"theta": ["0.5", "0.5"]},
        {"rounds": 0},
        {"rounds": 2.5},
        {"rounds": 10**9},
        {"omega": [-0.4, -0.1]},
        {"max_rounds": "5"},
    ],
    ids=str,
)
def test_a_charge_that_is_none_is_damage(change: dict[str, Any]) -> None:
    values = {**correlated().to_dict(), **change}
    with pytest.raises(IntegrityError, match="ledger"):
        recompute(ledger_of({"kind": "purchase", "name": "run", "charge": values}))


@pytest.mark.parametrize(
    "change",
    [{"cohort_size": 500}, {"cohort_cap": 1}, {"rounds": 10**7}, {"count_multiplier": "8"}],
    ids=str,
)
def test_a_round_that_is_none_is_damage(change: dict[str, Any]) -> None:
    values = {**ROUND.to_dict(), **change}
    with pytest.raises(IntegrityError, match="ledger"):
        recompute(ledger_of({"kind": "intent", "round": 1, "charge": values}))


@pytest.mark.parametrize("header", [{"delta": 1.0}, {"delta": "1e-5"}, {"carried": 3}], ids=str)
def test_a_header_that_is_none_is_damage(header: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError, match="ledger"):
        recompute(ledger_of(**header))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "line 1 is missing"),
        (b'{"entry":{"kind":"void"}}\n', "no header"),
        (b"\xff\n", "not UTF-8"),
        (b"{\n", "no JSON"),
        (b"[]\n", "one entry"),
        (b'{"entry":[]}\n', "one entry"),
        (b'{"entry":{"kind":7}}\n', "one entry"),
        (b'{"entry":{"kind":"a","kind":"b"}}\n', "twice"),
        (b'{"entry":{"kind":"header","delta":NaN}}\n', "NaN is no number"),
        (b"[" * 100_000 + b"\n", "line 1 cannot be read"),
    ],
    ids=range(10),
)
def test_a_line_that_is_none_is_named(content: bytes, why: str) -> None:
    with pytest.raises(IntegrityError, match=why):
        parse_ledger(content)


def test_a_last_line_cut_short_is_told_and_charged_nothing() -> None:
    whole = b'{"entry":{"kind":"header","delta":0.1}}\n'
    assert parse_ledger(whole).is_whole
    cut = parse_ledger(whole + b'{"entry":{"ki')
    assert not cut.is_whole
    assert len(cut.entries) == 1
