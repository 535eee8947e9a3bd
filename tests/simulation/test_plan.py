"""The forecast of a run: its figures are those of the run, and nothing happens before it."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from homebody_privacy.accounting import spent_epsilon
from homebody_privacy.blt import BltParameters, prefix_error
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.environment import STATE
from homebody_privacy.errors import InfeasibleError, PolicyViolationError
from homebody_simulation.api import simulate
from homebody_simulation.datasets import load_dataset
from homebody_simulation.dry_round import DryRound
from homebody_simulation.forecast import Plan, make_plan
from homebody_simulation.plan_text import plan_text
from homebody_simulation.planning import plan_run
from homebody_simulation.request import Request
from homebody_simulation.rounds_forecast import LEAST_SNR, RoundsForecast, noise_error

METRIC = """
[metrics.hit_rate]
purpose = "training"
features = ["purchases"]
noise_multiplier = 5.0
releases_per_run = 2
"""


@pytest.fixture(scope="module")
def config(write_config: Callable[..., Path]) -> Path:
    """Return a config for small populations, with a metric."""
    return write_config(rounds=6, cohort_size=40, cohort_cap=80, delta=1e-4, more=METRIC)


@pytest.fixture(scope="module")
def bare(write_config: Callable[..., Path]) -> Path:
    """Return the same config without a metric."""
    return write_config(rounds=6, cohort_size=40, cohort_cap=80, delta=1e-4)


def plan_of(config: Path, **changes: Any) -> Plan:  # noqa: ANN401 - fields of the request
    """Forecast a run over two hundred synthetic devices."""
    usual: dict[str, Any] = {
        "data": "synthetic",
        "options": {"devices": 200, "items": 30},
        "config_file": config,
        "epsilon": 4.0,
        "mechanism": "blt",
    }
    return make_plan(Request(**(usual | changes)))


def rounds_of(plan: Plan) -> RoundsForecast:
    """Return the forecast of the rounds there are."""
    assert plan.rounds is not None
    return plan.rounds


@pytest.fixture(scope="module")
def plans(config: Path) -> dict[str, Plan]:
    """Return the plan of each mechanism."""
    return {name: plan_of(config, mechanism=name) for name in ("blt", "gaussian")}


def test_a_plan_writes_nothing_and_charges_nothing(config: Path, tmp_path: Path) -> None:
    plan_of(config, runs=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("mechanism", ["blt", "gaussian"])
def test_the_total_is_the_epsilon_asked_for_and_each_part_costs_less(
    plans: dict[str, Plan], mechanism: str
) -> None:
    plan = plans[mechanism]
    assert 3.99 < plan.epsilon <= 4.0
    assert set(plan.parts) == {"training", "metrics"}
    assert max(plan.parts.values()) < plan.epsilon < sum(plan.parts.values())


@pytest.mark.parametrize("mechanism", ["blt", "gaussian"])
def test_the_noise_planned_is_the_noise_of_the_run(
    config: Path, plans: dict[str, Plan], mechanism: str
) -> None:
    request = Request(
        data="synthetic",
        options={"devices": 200, "items": 30},
        config_file=config,
        mechanism=mechanism,  # type: ignore[arg-type]
    )
    data = load_dataset("synthetic", devices=200, items=30)
    again = plan_run(request, PrivacyConfig.load(config), data)
    plan = plans[mechanism]
    assert again.spec.noise_multiplier == rounds_of(plan).own.noise_multiplier
    assert again.config.digest() == plan.planned.config.digest()
    charges = again.spec.whole_charge()
    assert (
        spent_epsilon(charges, again.spec.accounted_delta)
        <= plan.epsilon
        == rounds_of(plan).own.epsilon
    )


def test_each_plan_tells_what_the_other_mechanism_would_need(plans: dict[str, Plan]) -> None:
    for own, other in (("blt", "gaussian"), ("gaussian", "blt")):
        told, real = rounds_of(plans[own]).other, rounds_of(plans[other]).own
        assert told is not None
        assert told == real
    assert plans["blt"].epsilon_unamplified == plans["blt"].epsilon
    assert plans["gaussian"].epsilon_unamplified > plans["gaussian"].epsilon


def test_a_mechanism_that_cannot_be_had_is_named_with_its_reason(bare: Path) -> None:
    # A cohort of 80 passes a cap of 80 half the time: no secret coins for it.
    rounds = rounds_of(plan_of(bare, cohort=80))
    assert rounds.other is None
    assert "cohort_cap" in str(rounds.other_reason)


def test_a_cohort_above_the_population_has_no_plan(bare: Path) -> None:
    with pytest.raises((InfeasibleError, PolicyViolationError)):
        plan_of(bare, cohort=201)


def test_the_error_of_running_sums_is_that_of_the_strategy(plans: dict[str, Plan]) -> None:
    spec = plans["blt"].planned.spec
    mean, last = prefix_error(BltParameters(theta=spec.theta, omega=spec.omega), spec.rounds)
    assert rounds_of(plans["blt"]).own.error_mean == pytest.approx(mean * spec.noise_multiplier)
    assert rounds_of(plans["blt"]).own.error_last == pytest.approx(last * spec.noise_multiplier)
    noise = rounds_of(plans["gaussian"]).own.noise_multiplier
    assert rounds_of(plans["gaussian"]).own.error_last == pytest.approx(noise * math.sqrt(6))
    assert rounds_of(plans["gaussian"]).own.error_mean == pytest.approx(noise * math.sqrt(3.5))
    with pytest.raises(ValueError, match="training"):
        noise_error([], 6)


@pytest.mark.slow
def test_more_epsilon_is_more_signal_and_the_option_named_is_enough(bare: Path) -> None:
    poor = plan_of(bare, epsilon=0.3, rounds=2)
    rich = plan_of(bare, epsilon=8.0, rounds=2)
    assert rounds_of(poor).run_snr < rounds_of(rich).run_snr
    assert not poor.useful
    assert rich.useful
    assert rich.options() == []
    (asked,) = [float(o.split()[1]) for o in poor.options() if o.startswith("epsilon")]
    assert 0.3 < asked < 8.0
    assert rounds_of(plan_of(bare, epsilon=asked, rounds=2)).run_snr >= 0.95 * LEAST_SNR


def test_the_sum_of_a_cohort_is_measured_on_devices(plans: dict[str, Plan]) -> None:
    dry = rounds_of(plans["blt"]).dry
    assert dry.devices == 200
    assert 0.0 < dry.square <= 1.0
    assert dry.pair <= dry.square
    assert dry.up_bytes > 4 * plans["blt"].planned.model.layout.size
    assert dry.cpu_s > 0.0
    assert dry.sum_norm(40) >= math.sqrt(40 * dry.square)


@pytest.mark.parametrize(("pair", "expected"), [(1.0, 10.0), (0.0, math.sqrt(10)), (-0.1, 10**0.5)])
def test_devices_that_agree_add_up_and_others_scatter(pair: float, expected: float) -> None:
    dry = DryRound(
        devices=10,
        down_bytes=1.0,
        up_bytes=1.0,
        cpu_s=1.0,
        server_s=1.0,
        look_s=1.0,
        square=1.0,
        pair=pair,
        clip_rate=0.0,
    )
    assert dry.sum_norm(10) == pytest.approx(expected)


def test_the_text_holds_every_figure_of_the_forecast(plans: dict[str, Plan]) -> None:
    for plan in plans.values():
        text = plan_text(plan)
        figures = plan.to_dict()
        assert f"total ε {figures['mechanism']['epsilon']:g}" in text
        assert f"{figures['snr']:.3g} a round" in text
        assert f"{figures['run_snr']:.3g} over the run" in text
        assert "kB down" in text
        assert "estimate" in text
        assert f"{figures['other_mechanism']['noise_multiplier']:.4g}" in text
        assert np.isfinite(figures["seconds"])
    assert "amplification none claimed" in plan_text(plans["blt"])
    assert "amplification claimed" in plan_text(plans["gaussian"])
    bare = replace(rounds_of(plans["blt"]), other=None, other_reason="no noise does it")
    assert "cannot be had: no noise does it" in plan_text(replace(plans["blt"], rounds=bare))


def test_a_lifetime_shows_what_was_spent_and_whether_the_run_fits(
    write_config: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STATE, str(tmp_path / "state"))
    config = write_config(
        rounds=2,
        cohort_size=40,
        cohort_cap=80,
        delta=1e-3,
        epsilon_max=5.0,
        budget_scope="lifetime",
    )
    runs = tmp_path / "runs"
    usual: dict[str, Any] = {"options": {"devices": 40, "items": 20}, "runs": runs, "cohort": 20}
    fresh = plan_of(config, **usual)
    assert fresh.life is not None
    assert (fresh.life.spent, fresh.life.after) == (0.0, fresh.epsilon)
    assert fresh.life.fits
    run = simulate(
        "synthetic",
        devices=40,
        items=20,
        cohort=20,
        config=config,
        mechanism="blt",
        epsilon=3.0,
        runs=runs,
    )
    assert run.epsilon is not None
    later = plan_of(config, **usual)
    assert later.life is not None
    assert later.life.spent == pytest.approx(run.epsilon["user"]["spent"], abs=2e-3)
    assert later.life.after > later.epsilon
    assert not later.life.fits
    assert "the budget would stop it (exit 11)" in plan_text(later)
    assert later.to_dict()["life"]["ceiling"] == 5.0
    assert plan_of(config, **(usual | {"epsilon": 0.5})).life is not None


def test_a_run_without_privacy_has_no_plan(config: Path) -> None:
    with pytest.raises(PolicyViolationError, match="forecasts privacy"):
        plan_of(config, epsilon=None)
