"""A run's one-shot sums: what they cost, and where they stand among its rounds and figures."""

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homebody_models.statistics.settings import StatisticsSettings
from homebody_privacy.charges import GaussianReleases
from homebody_privacy.closed_form import gaussian_epsilon
from homebody_privacy.mechanisms import GaussianMechanism, NoNoise
from homebody_server.run_spec import MetricPlan, RunSpec
from homebody_server.statistic_plan import StatisticPass

PASSES = (
    StatisticPass(name="popularity", noise_multiplier=2.0, lattice_bits=18),
    StatisticPass(name="gram", noise_multiplier=0.7, lattice_bits=18),
)
SETTINGS = StatisticsSettings(window=0.9, head=10, history_decay=0.8)
BLT: dict[str, Any] = {
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
    "mechanism": "blt",
    "sensitivity": 2.5,
    "theta": (0.9, 0.4),
    "omega": (0.3, 0.3),
    "statistics": PASSES,
    "statistics_settings": SETTINGS,
}
GAUSSIAN = BLT | {"mechanism": "gaussian", "theta": (), "omega": (), "sensitivity": 1.0}
USUAL: dict[str, Any] = {"name": "gram", "noise_multiplier": 1.0, "lattice_bits": 18}
NO_ROUNDS = BLT | {"rounds": 0, "noise_multiplier": 0.0, "theta": (), "omega": ()}
ONCE = MetricPlan(name="quality", noise_multiplier=9.0, releases=1)


@pytest.mark.parametrize(
    "values",
    [BLT, GAUSSIAN, NO_ROUNDS, BLT | {"frozen": ("V",)}],
    ids=["blt", "gaussian", "alone", "frozen"],
)
def test_a_spec_with_statistics_survives_json(values: dict[str, Any]) -> None:
    spec = RunSpec(**values)
    assert RunSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_the_recipe_follows_from_what_is_there() -> None:
    plain = BLT | {"statistics": (), "statistics_settings": None}
    recipes = [RunSpec(**values).recipe for values in (plain, NO_ROUNDS, BLT)]
    assert recipes == ["rounds", "statistics", "both"]


def test_a_pass_is_charged_as_one_gaussian_release_that_is_not_amplified() -> None:
    charge = PASSES[1].charge()
    assert charge == GaussianReleases(noise_multiplier=0.7, releases=1, part="statistics")
    noise = PASSES[1].mechanism()
    assert isinstance(noise, GaussianMechanism)
    assert noise.epsilon(1e-5) == gaussian_epsilon(math.sqrt(charge.squared_loss), 1e-5)
    assert noise.tau == 0.7 * 2**18
    assert isinstance(replace(PASSES[1], noise_multiplier=0.0).mechanism(), NoNoise)
    assert [one.purchase for one in PASSES] == ["statistics/popularity", "statistics/gram"]


@pytest.mark.parametrize("values", [BLT, GAUSSIAN], ids=["blt", "gaussian"])
def test_the_whole_charge_has_both_passes_beside_the_rounds(values: dict[str, Any]) -> None:
    spec = RunSpec(**values, metrics=(ONCE,))
    passes = [one.charge() for one in PASSES]
    assert spec.whole_charge() == [*passes, spec.training_charge(), ONCE.charge()]
    assert [name for name, _ in spec.before_first_round()] == ["run"] * (spec.mechanism == "blt")


def test_a_run_without_rounds_charges_no_training() -> None:
    spec = RunSpec(**NO_ROUNDS, metrics=(ONCE,))
    assert spec.whole_charge() == [*(one.charge() for one in PASSES), ONCE.charge()]
    assert (spec.training_charge().squared_loss, spec.training_charge().part) == (0.0, "training")
    assert (spec.run_charge(), spec.round_charge()) == (None, None)
    assert spec.before_first_round() == []


@pytest.mark.parametrize("values", [BLT, GAUSSIAN, NO_ROUNDS], ids=["blt", "gaussian", "alone"])
def test_pf_20_tuning_runs_made_the_same_statistics(values: dict[str, Any]) -> None:
    once, tuned = RunSpec(**values), RunSpec(**(values | {"tuning_runs": 3}))
    bought = [charge for _, charge in tuned.tuning_charges()]
    assert {charge.part for charge in bought} == {"tuning"}
    lost = math.fsum(charge.squared_loss for charge in once.whole_charge())
    assert math.fsum(charge.squared_loss for charge in bought) == pytest.approx(3 * lost)
    names = [name for name, _ in tuned.before_first_round()]
    assert names[:2] == ["tuning/popularity", "tuning/gram"]
    assert len(set(names)) == len(names)


def test_a_figure_of_two_releases_asks_about_the_start_and_the_end() -> None:
    spec = RunSpec(**BLT)
    assert spec.figure_rounds(replace(ONCE, releases=2)) == [0, 5]
    assert spec.figure_rounds(ONCE) == [5]
    assert RunSpec(**NO_ROUNDS).figure_rounds(ONCE) == [0]


@given(st.integers(1, 60), st.data())
def test_figures_from_the_start_on_are_as_many_as_they_say(
    rounds: int, data: st.DataObject
) -> None:
    releases = data.draw(st.integers(2, rounds + 1))
    plan = MetricPlan(name="ndcg", noise_multiplier=1.0, releases=releases)
    after = plan.rounds(rounds, 0)
    assert (len(set(after)), after[0], after[-1]) == (releases, 0, rounds)
    gaps = np.diff(after)
    assert gaps.max() - gaps.min() <= 1


@pytest.mark.parametrize(
    "change",
    [
        {"statistics_settings": None},
        {"statistics": ()},
        {"statistics": PASSES[::-1]},
        {"statistics": PASSES[:1]},
        {"statistics": (replace(PASSES[0], noise_multiplier=0.0), PASSES[1])},
        {"rounds": -1},
        {"ceiling": None, "noise_multiplier": 0.0},
        NO_ROUNDS | {"mechanism": "gaussian"},
        NO_ROUNDS | {"metrics": (replace(ONCE, releases=2),)},
    ],
    ids=str,
)
def test_statistics_no_run_can_have_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must be|exactly when"):
        RunSpec(**(BLT | change))


def test_rounds_leave_what_is_frozen_and_contribute_the_rest() -> None:
    spec = RunSpec(**(BLT | {"frozen": ("V",)}))
    assert (spec.frozen_size, spec.trained_size) == (6, 3)
    assert (RunSpec(**BLT).frozen_size, RunSpec(**BLT).trained_size) == (0, 9)
    for wrong in (("b",), ("b", "V"), ("W",)):
        with pytest.raises(ValueError, match="frozen must be"):
            RunSpec(**(BLT | {"frozen": wrong}))


def test_a_laboratory_reference_has_statistics_without_noise() -> None:
    bare = tuple(replace(one, noise_multiplier=0.0) for one in PASSES)
    spec = RunSpec(**(NO_ROUNDS | {"ceiling": None, "statistics": bare}))
    assert (spec.recipe, spec.ceiling) == ("statistics", None)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "mean"},
        {"noise_multiplier": -1.0},
        {"noise_multiplier": math.inf},
        {"noise_multiplier": math.nan},
        {"lattice_bits": 15},
    ],
    ids=str,
)
def test_a_pass_that_cannot_be_released_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        StatisticPass(**(USUAL | change))
