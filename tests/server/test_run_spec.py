"""A run's constants: JSON and back, and nothing a run cannot do."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homebody_privacy.charges import GaussianReleases
from homebody_privacy.mechanisms import BltMechanism, GaussianMechanism, NoNoise
from homebody_server.run_spec import MetricPlan, RunSpec

USUAL: dict[str, Any] = {
    "rounds": 5,
    "devices": 100,
    "cohort_size": 10,
    "cohort_cap": 30,
    "clip_norm": 0.5,
    "lattice_bits": 16,
    "noise_multiplier": 1.5,
    "ceiling": 4.0,
    "delta": 1e-4,
    "learning_rate": 0.02,
    "server_optimizer": "tensor-adam",
    "tensors": {"V": (3, 2), "b": (3,)},
    "config_digest": "a" * 64,
    "population": "b" * 64,
    "lifetime": False,
    "deadline_s": 60.0,
}


METRICS = (
    MetricPlan(name="ndcg", noise_multiplier=9.0, releases=2),
    MetricPlan(name="hit_rate", noise_multiplier=8.0, releases=5, purpose="quality"),
)
BLT: dict[str, Any] = {
    "mechanism": "blt",
    "min_separation": 2,
    "max_rounds_per_device": 3,
    "sensitivity": 2.5,
    "theta": (0.9, 0.4),
    "omega": (0.3, 0.3),
}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"count_multiplier": 1.2, "metrics": METRICS, "tuning_runs": 3, "seeded": True},
        BLT | {"report_goal": 4, "run_id": "abc", "runtime": "ray"},
        {"secagg": True, "max_corrupt": 0.2, "max_dropout": 0.0, "min_nodes": 9},
    ],
    ids=["plain", "adaptive, with figures", "blt", "sealed"],
)
def test_a_spec_survives_json(more: dict[str, Any]) -> None:
    spec = RunSpec(**(USUAL | more))
    assert RunSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_the_charge_is_one_round_of_what_is_done() -> None:
    charge = RunSpec(**USUAL).round_charge()
    assert charge is not None
    assert (charge.population, charge.cohort_size, charge.cohort_cap) == (100, 10, 30)
    assert (charge.noise_multiplier, charge.rounds, charge.part) == (1.5, 1, "training")
    assert charge.count_multiplier is None
    adaptive = RunSpec(**(USUAL | {"count_multiplier": 1.2})).round_charge()
    assert adaptive == replace(charge, count_multiplier=1.2)


def test_a_correlated_run_is_charged_whole_and_by_no_round() -> None:
    spec = RunSpec(**(USUAL | BLT))
    whole = spec.run_charge()
    assert spec.round_charge() is None
    assert whole is not None
    assert (whole.noise_multiplier, whole.sensitivity, whole.runs) == (1.5, 2.5, 1)
    assert (whole.rounds, whole.min_separation, whole.max_rounds) == (5, 2, 3)
    assert (whole.theta, whole.omega) == ((0.9, 0.4), (0.3, 0.3))
    assert spec.before_first_round() == [("run", whole)]
    assert spec.training_charge() == whole


def test_a_gaussian_run_is_charged_round_by_round() -> None:
    spec = RunSpec(**USUAL)
    one = spec.round_charge()
    assert one is not None
    assert spec.run_charge() is None
    assert spec.before_first_round() == []
    assert spec.training_charge() == replace(one, rounds=5)


@pytest.mark.parametrize("more", [{}, BLT], ids=["gaussian", "blt"])
def test_pf_20_tuning_runs_are_charged_like_the_run_before_its_first_round(
    more: dict[str, Any],
) -> None:
    spec = RunSpec(**(USUAL | more | {"tuning_runs": 3, "metrics": METRICS}))
    bought = dict(spec.before_first_round())
    assert bought["tuning"].part == "tuning"
    assert bought["tuning"].squared_loss == pytest.approx(3 * spec.training_charge().squared_loss)
    figures = [GaussianReleases(noise_multiplier=m, releases=n) for m, n in ((9.0, 2), (8.0, 5))]
    assert spec.whole_charge() == [spec.training_charge(), bought["tuning"], *figures]


def test_figures_are_released_evenly_to_the_last_round_and_named_by_it() -> None:
    assert METRICS[0].rounds(5) == [3, 5]
    assert METRICS[1].rounds(5) == [1, 2, 3, 4, 5]
    assert METRICS[0].purchase(3) == "metrics/ndcg/3"


@given(st.integers(1, 60), st.data())
def test_a_figure_is_released_as_often_as_it_says(rounds: int, data: st.DataObject) -> None:
    releases = data.draw(st.integers(1, rounds))
    after = MetricPlan(name="ndcg", noise_multiplier=1.0, releases=releases).rounds(rounds)
    assert len(set(after)) == releases
    assert (after[0] >= 1, after[-1]) == (True, rounds)
    gaps = np.diff([0, *after])
    assert gaps.max() - gaps.min() <= 1


def test_composition_and_sampler_share_delta() -> None:
    spec = RunSpec(**USUAL)
    assert spec.accounted_delta + spec.sampler_delta == pytest.approx(spec.delta, rel=1e-12)
    assert 0.0 < spec.sampler_delta < spec.accounted_delta < spec.delta


def test_the_learning_rate_falls_in_equal_steps_to_the_last_round() -> None:
    spec = RunSpec(**(USUAL | {"final_learning_rate": 0.01}))
    rates = [spec.learning_rate_at(number) for number in range(1, 6)]
    assert rates == pytest.approx([0.02, 0.0175, 0.015, 0.0125, 0.01])


def test_without_a_final_learning_rate_it_stays() -> None:
    assert {RunSpec(**USUAL).learning_rate_at(number) for number in range(1, 6)} == {0.02}


@pytest.mark.parametrize(
    "change",
    [
        {"final_learning_rate": 0.0},
        {"rounds": 0},
        {"cohort_size": 0},
        {"cohort_size": 101},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"deadline_s": 0.0},
        {"ceiling": None},
        {"noise_multiplier": 0.0},
        {"mechanism": "tree"},
        BLT | {"theta": (), "omega": ()},
        {"min_nodes": 2},
        {"max_dropout": 1.0},
        {"max_corrupt": -0.1},
        {"max_corrupt": float("nan")},
        {"secagg": True, "cohort_cap": 2**15},
    ],
    ids=str,
)
def test_what_no_run_can_do_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must be|exactly when|needs theta|would not fit"):
        RunSpec(**(USUAL | change))


def test_the_largest_cohort_of_a_secure_sum_fits_its_words() -> None:
    assert RunSpec(**(USUAL | {"secagg": True, "cohort_cap": 2**15 - 1})).secagg
    assert not RunSpec(**(USUAL | {"cohort_cap": 2**15})).secagg  # in clear nodes are summed apart


def test_pf_10_no_decision_may_depend_on_a_secret_count() -> None:
    with pytest.raises(ValueError, match="report_goal"):
        RunSpec(**(USUAL | {"report_goal": 1}))
    assert RunSpec(**(USUAL | BLT | {"report_goal": 1})).report_goal == 1


def test_the_mechanism_is_the_one_that_is_charged() -> None:
    plain = RunSpec(**USUAL).mechanism_for(9)
    assert isinstance(plain, GaussianMechanism)
    assert plain.noise_multiplier == 1.5
    correlated = RunSpec(**(USUAL | BLT)).mechanism_for(9)
    assert isinstance(correlated, BltMechanism)
    assert correlated.noise_multiplier == 1.5
    silent = RunSpec(**(USUAL | {"ceiling": None, "noise_multiplier": 0.0})).mechanism_for(9)
    assert isinstance(silent, NoNoise)


@pytest.mark.parametrize("drop", sorted(USUAL))
def test_a_missing_field_is_refused(drop: str) -> None:
    with pytest.raises(ValueError, match="missing or unknown"):
        RunSpec.from_dict({k: v for k, v in USUAL.items() if k != drop})


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(ValueError, match="missing or unknown"):
        RunSpec.from_dict(USUAL | {"weights": "by examples"})
