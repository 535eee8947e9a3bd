"""The least noise that pays for training, count, figures and tuning out of one epsilon."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from homebody_privacy.accounting import spent_epsilon
from homebody_privacy.blt import BltParameters, prefix_error
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.errors import InfeasibleError, InvalidFileError, PolicyViolationError
from homebody_server.run_spec import SAMPLER_EPSILON, accounted_delta
from homebody_simulation.noise_plan import (
    NoisePlan,
    metrics_of,
    plan_noise,
    planned_charges,
    run_sensitivity,
)

DIM, DELTA = 300, 1e-4
ALL = 200  # as many devices as a cohort expects: everybody is drawn, which is cheap to account

QUALITY = {"quality": 20.0, "hit_rate": 30.0}
BLT: dict[str, Any] = {
    "mechanism": "blt",
    "min_separation": 5,
    "max_rounds_per_device": 4,
}
STRATEGY = {"theta": (0.9, 0.4), "omega": (0.3, 0.3)}
MakeConfig = Callable[..., PrivacyConfig]


@pytest.fixture(scope="module")
def make_config(write_config: Callable[..., Path]) -> MakeConfig:
    """Builder of a config: metrics by name and noise, then fields of ``dp``."""
    base = write_config(rounds=20, cohort_size=200, cohort_cap=300, delta=DELTA)
    blt = write_config(rounds=20, cohort_size=200, cohort_cap=300, delta=DELTA, **BLT)

    def build(
        metrics: Mapping[str, float] | None = None,
        **fields: Any,  # noqa: ANN401 - fields of dp
    ) -> PrivacyConfig:
        file = blt if fields.get("mechanism") == "blt" else base
        values = PrivacyConfig.load(file).model_dump(by_alias=True)
        values["dp"] |= fields
        values["metrics"] = {
            name: {
                "purpose": "metrics",
                "features": ("purchases",),
                "noise_multiplier": noise,
                "releases_per_run": 2,
            }
            for name, noise in (metrics or {}).items()
        }
        return PrivacyConfig.model_validate(values)

    return build


def planned(config: PrivacyConfig, epsilon: float = 2.0, population: int = ALL) -> NoisePlan:
    """Return the plan for a population."""
    return plan_noise(config, epsilon=epsilon, population=population, dim=DIM)


def total(config: PrivacyConfig, plan: NoisePlan, population: int = ALL) -> float:
    """Return what everything a run of the plan charges comes to."""
    charges = planned_charges(config.dp, plan, population)
    return spent_epsilon(charges, accounted_delta(DELTA)) + SAMPLER_EPSILON


CASES: dict[str, tuple[dict[str, float], dict[str, Any]]] = {
    "blt": ({}, dict(BLT)),
    "blt, figures": (QUALITY, dict(BLT)),
    "blt, all": (QUALITY, BLT | {"tuning_data": "private", "tuning_runs": 3}),
    "gaussian": ({}, {}),
    "gaussian, figures": (QUALITY, {}),
    "gaussian, adaptive": ({}, {"adaptive_clip": True}),
    "gaussian, tuning": ({}, {"tuning_data": "private", "tuning_runs": 3}),
    "gaussian, all": (
        QUALITY,
        {"adaptive_clip": True, "tuning_data": "private", "tuning_runs": 2},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_everything_together_spends_what_was_asked_and_hardly_less(
    make_config: MakeConfig, case: str
) -> None:
    metrics, fields = CASES[case]
    config = make_config(metrics, **fields)
    plan = planned(config)
    assert 2.0 - 1e-3 <= total(config, plan) <= 2.0
    assert (plan.count_multiplier is not None) == config.dp.adaptive_clip
    assert (plan.parameters is not None) == (config.dp.mechanism == "blt")
    assert {metric.name: metric.noise_multiplier for metric in plan.metrics} == metrics


def test_secret_coins_pay_for_a_part_of_the_noise(make_config: MakeConfig) -> None:
    config = make_config(QUALITY, adaptive_clip=True)
    sampled = planned(config, population=1000)
    assert 2.0 - 1e-3 <= total(config, sampled, 1000) <= 2.0
    assert sampled.noise_multiplier < 0.5 * planned(config).noise_multiplier


@pytest.mark.parametrize("fields", [dict(BLT), {}], ids=["blt", "gaussian"])
def test_whatever_is_paid_besides_training_raises_its_noise(
    make_config: MakeConfig, fields: dict[str, Any]
) -> None:
    alone = planned(make_config(**fields)).noise_multiplier
    private = {"tuning_data": "private", "tuning_runs": 2}
    assert planned(make_config(QUALITY, **fields)).noise_multiplier > alone
    assert planned(make_config(**fields, **private)).noise_multiplier > alone
    # Tuning on public data reads nobody's: it costs nothing.
    public = make_config(**fields, tuning_data="public", tuning_runs=50)
    assert planned(public).noise_multiplier == alone


def test_pf_20_tuning_runs_on_private_data_cost_what_runs_cost(make_config: MakeConfig) -> None:
    config = make_config(**BLT, tuning_data="private", tuning_runs=3)
    ratio = planned(config).noise_multiplier / planned(make_config(**BLT)).noise_multiplier
    assert ratio == pytest.approx(2.0, abs=1e-3)  # four runs alike: the root of four


def test_sum_and_count_of_an_adaptive_round_share_its_noise(make_config: MakeConfig) -> None:
    fixed, adaptive = (make_config(adaptive_clip=on) for on in (False, True))
    plan = planned(adaptive)
    assert plan.count_multiplier == 20.0  # a tenth of the cohort, in votes
    together = 1.0 / math.hypot(1.0 / plan.noise_multiplier, 1.0 / 20.0)
    assert together == pytest.approx(planned(fixed).noise_multiplier, rel=1e-3)


def test_a_strategy_of_the_config_is_used_and_otherwise_the_best_is_found(
    make_config: MakeConfig,
) -> None:
    own = make_config(**BLT, blt=STRATEGY)
    plan, best = planned(own), planned(make_config(**BLT))
    assert plan.parameters == BltParameters(**STRATEGY)
    assert best.parameters is not None
    assert plan.parameters is not None
    errors = [prefix_error(p.parameters, 20)[0] * p.noise_multiplier for p in (plan, best)]  # type: ignore[arg-type]
    assert errors[1] <= errors[0]
    for config, found in ((own, plan), (make_config(**BLT), best)):
        assert found.parameters is not None
        assert found.sensitivity == run_sensitivity(config.dp, found.parameters, DIM)
    assert planned(make_config()).sensitivity == 1.0


@pytest.mark.parametrize("fields", [BLT | {"blt": STRATEGY}, {}], ids=["blt", "gaussian"])
def test_noise_the_config_fixes_is_used_and_checked(
    make_config: MakeConfig, fields: dict[str, Any]
) -> None:
    least = planned(make_config(**fields)).noise_multiplier
    more = make_config(**fields, noise_multiplier=1.1 * least)
    assert planned(more).noise_multiplier == 1.1 * least
    less = make_config(**fields, noise_multiplier=0.99 * least)
    with pytest.raises(PolicyViolationError, match="costs epsilon") as refusal:
        planned(less)
    assert refusal.value.exit_code == 10
    assert planned(less, epsilon=2.5).noise_multiplier == 0.99 * least
    # What else is released counts against it.
    with pytest.raises(PolicyViolationError, match="costs epsilon"):
        planned(make_config({"ndcg": 3.0}, **fields, noise_multiplier=1.01 * least))


def test_a_figure_nobody_can_compute_is_refused(make_config: MakeConfig) -> None:
    config = make_config({"loss": 9.0})
    for call in (lambda: metrics_of(config), lambda: planned(config)):
        with pytest.raises(InvalidFileError, match=r"metrics\.loss") as refusal:
            call()
        assert "quality" in refusal.value.fix


def test_figures_keep_the_purpose_they_are_sent_under(make_config: MakeConfig) -> None:
    (quality, hits) = metrics_of(make_config(QUALITY))
    assert (quality.purpose, quality.releases) == ("metrics", 2)
    assert (hits.name, hits.noise_multiplier) == ("hit_rate", 30.0)
    assert metrics_of(make_config()) == ()


@pytest.mark.parametrize("fields", [dict(BLT), {}], ids=["blt", "gaussian"])
def test_figures_that_take_the_whole_budget_leave_nothing_to_train_with(
    make_config: MakeConfig, fields: dict[str, Any]
) -> None:
    with pytest.raises(InfeasibleError, match="beside training") as refusal:
        planned(make_config({"ndcg": 1.0}, **fields))
    assert refusal.value.exit_code == 12


def test_a_count_noisier_than_the_round_may_be_is_refused(make_config: MakeConfig) -> None:
    config = make_config(adaptive_clip=True, cohort_size=5, cohort_cap=20)
    with pytest.raises(InfeasibleError, match="count that adapts") as refusal:
        planned(config, epsilon=0.05, population=5)
    assert "adaptive_clip" in refusal.value.fix
