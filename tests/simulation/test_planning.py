"""What a run would be, found out without touching anything; seeds where nobody is at risk."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from homebody_privacy.accounting import spent_epsilon
from homebody_privacy.blt import BltParameters
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.errors import InfeasibleError, PolicyViolationError, UsageError
from homebody_privacy.mechanisms import BltMechanism
from homebody_server.run_spec import SAMPLER_EPSILON, RunSpec
from homebody_simulation.datasets import Dataset, load_dataset
from homebody_simulation.planning import Planned, check_request, plan_run
from homebody_simulation.request import Request
from homebody_simulation.setup import run_key

DEVICES = 40
METRIC = """
[metrics.quality]
purpose = "metrics"
features = ["purchases"]
noise_multiplier = 20.0
releases_per_run = 2
"""
GOAL = "\n[aggregation]\nreport_goal = 4\n"


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Return forty synthetic devices."""
    return load_dataset("synthetic", devices=DEVICES, items=20)


@pytest.fixture(scope="module")
def gaussian(write_config: Callable[..., Path]) -> PrivacyConfig:
    """Return a config on secret coins that releases figures."""
    plan: dict[str, Any] = {"rounds": 6, "cohort_size": 10, "cohort_cap": 40, "delta": 1e-3}
    return PrivacyConfig.load(write_config(**plan, more=METRIC))


@pytest.fixture(scope="module")
def blt(write_config: Callable[..., Path]) -> PrivacyConfig:
    """Return a config of correlated noise with a report goal."""
    rules = {"mechanism": "blt", "min_separation": 3, "max_rounds_per_device": 2}
    plan: dict[str, Any] = {"rounds": 6, "cohort_size": 10, "cohort_cap": 40, "delta": 1e-3}
    return PrivacyConfig.load(write_config(**plan, **rules, more=METRIC + GOAL))


def planned(config: PrivacyConfig, dataset: Dataset, **changes: Any) -> Planned:  # noqa: ANN401
    """Return what a run would be."""
    return plan_run(Request(**({"data": "synthetic"} | changes)), config, dataset)


@pytest.mark.parametrize("name", ["gaussian", "blt"])
def test_the_spec_charges_what_the_plan_promised(
    name: str, dataset: Dataset, request: pytest.FixtureRequest
) -> None:
    config: PrivacyConfig = request.getfixturevalue(name)
    found = planned(config, dataset, epsilon=4.0)
    spec = found.spec
    spent = spent_epsilon(spec.whole_charge(), spec.accounted_delta) + SAMPLER_EPSILON
    assert 4.0 - 2e-3 <= spent <= 4.0
    assert (spec.mechanism, spec.rounds, spec.cohort_size) == (name, 6, 10)
    assert (spec.ceiling, spec.lifetime, spec.seeded) == (4.0, False, False)
    assert [metric.name for metric in spec.metrics] == ["quality"]
    assert found.noise is not None
    assert found.noise.noise_multiplier == spec.noise_multiplier


def test_the_config_in_force_is_the_file_completed_by_the_noise(
    blt: PrivacyConfig, dataset: Dataset
) -> None:
    found = planned(blt, dataset)
    dp = found.config.dp
    assert dp.noise_multiplier == found.spec.noise_multiplier
    assert dp.blt is not None
    assert (dp.blt.theta, dp.blt.omega) == (found.spec.theta, found.spec.omega)
    assert found.spec.config_digest == found.config.digest() != blt.digest()
    assert dp.model_copy(update={"noise_multiplier": None, "blt": None}) == blt.dp


def test_a_blt_spec_holds_the_rules_devices_keep(blt: PrivacyConfig, dataset: Dataset) -> None:
    found = planned(blt, dataset)
    spec = found.spec
    assert (spec.min_separation, spec.max_rounds_per_device, spec.report_goal) == (3, 2, 4)
    mechanism = spec.mechanism_for(found.model.layout.size)
    assert isinstance(mechanism, BltMechanism)
    assert mechanism.sensitivity == spec.sensitivity
    assert BltParameters(theta=spec.theta, omega=spec.omega)


def test_the_mechanism_asked_for_goes_before_the_files(
    gaussian: PrivacyConfig, dataset: Dataset
) -> None:
    spec = planned(gaussian, dataset, mechanism="blt").spec
    assert spec.mechanism == "blt"
    assert spec.min_separation == 4  # the widest that cohorts of ten out of forty allow
    assert spec.participation.joins == 2


def test_a_lifetime_budget_has_the_files_ceiling(
    write_config: Callable[..., Path], dataset: Dataset
) -> None:
    file = write_config(
        rounds=2, cohort_size=10, cohort_cap=40, delta=1e-3, budget_scope="lifetime"
    )
    spec = planned(PrivacyConfig.load(file), dataset, epsilon=1.0).spec
    assert (spec.ceiling, spec.lifetime) == (8.0, True)
    assert spent_epsilon(spec.whole_charge(), spec.accounted_delta) <= 1.0


def test_a_reference_has_no_noise_and_is_bound_by_no_budget(
    blt: PrivacyConfig, dataset: Dataset
) -> None:
    found = planned(blt, dataset, epsilon=None, rounds=9)
    assert found.noise is None
    assert found.config is blt
    spec = found.spec
    assert (spec.ceiling, spec.noise_multiplier, spec.rounds) == (None, 0.0, 9)
    assert (spec.metrics, spec.report_goal, spec.mechanism) == ((), 0, "gaussian")


def test_a_cohort_that_cannot_keep_its_separation_is_infeasible(
    blt: PrivacyConfig, dataset: Dataset
) -> None:
    assert planned(blt, dataset, cohort=13).spec.min_separation == 3
    few = load_dataset("synthetic", devices=29, items=20)
    for devices, cohort in ((dataset, 14), (few, None)):
        with pytest.raises(InfeasibleError, match="min_separation") as refusal:
            planned(blt, devices, cohort=cohort)
        assert refusal.value.exit_code == 12


def test_planning_is_a_function_of_its_arguments(blt: PrivacyConfig, dataset: Dataset) -> None:
    one, two = (planned(blt, dataset) for _ in range(2))
    assert one.spec == two.spec
    assert RunSpec.from_dict(one.spec.to_dict()) == one.spec


def test_an_epsilon_above_the_files_is_refused_before_data_is_read(blt: PrivacyConfig) -> None:
    check_request(Request(epsilon=8.0), blt)
    check_request(Request(epsilon=None), blt)
    with pytest.raises(PolicyViolationError, match="epsilon_max"):
        check_request(Request(epsilon=8.01), blt)


def test_pf_01_a_deployed_run_is_never_seeded() -> None:
    for call in (
        lambda: Request(runtime="deploy", seed=0),
        lambda: run_key("deploy", 0),
    ):
        with pytest.raises(PolicyViolationError, match="--seed") as refusal:
            call()
        assert refusal.value.exit_code == 10
    with pytest.raises(UsageError, match="deploy"):
        Request(runtime="deploy")


def test_pf_01_keys_are_fresh_unless_a_simulation_is_seeded() -> None:
    assert run_key("cohort", 3) == run_key("ray", 3) != run_key("cohort", 4)
    keys = {run_key(runtime, None) for runtime in ("cohort", "ray", "deploy") for _ in range(4)}
    assert len(keys) == 12
    assert {len(key) for key in keys} == {32}


@pytest.mark.parametrize("seed", [None, 0, 3])
def test_a_seeded_run_says_so(blt: PrivacyConfig, dataset: Dataset, seed: int | None) -> None:
    assert planned(blt, dataset, seed=seed).spec.seeded == (seed is not None)
