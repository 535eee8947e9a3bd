"""What a device lets itself do in a run: figures of its own config, never of a message."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from homebody_client.allowance import metric_allowance, training_allowance
from homebody_client.participation import Allowance, Join, Life
from homebody_privacy.adaptive_clip import AdaptiveClip
from homebody_privacy.blt import BltParameters, Participation, charged_sensitivity, fine_bits
from homebody_privacy.closed_form import gaussian_epsilon
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.errors import BudgetExhaustedError, PolicyViolationError

DIM = 500
STRATEGY = BltParameters(theta=(0.9,), omega=(0.4,))
PART = Participation(rounds=20, min_separation=5, max_rounds=4)
METRICS = """
[metrics.ndcg]
purpose = "metrics"
features = ["purchases"]
noise_multiplier = 10.0
releases_per_run = 3
"""
MakeConfig = Callable[..., PrivacyConfig]


@pytest.fixture(scope="module")
def gaussian(write_config: Callable[..., Path]) -> MakeConfig:
    """Builder of a config whose noise is fixed at 2, unless it is said otherwise."""

    def build(more: str = "noise_multiplier = 2.0\n", **fields: object) -> PrivacyConfig:
        return PrivacyConfig.load(write_config(more=more, **fields))

    return build


@pytest.fixture(scope="module")
def blt(gaussian: MakeConfig) -> MakeConfig:
    """Builder of a config of correlated noise; fields of ``dp`` may be given."""

    def build(**fields: Any) -> PrivacyConfig:  # noqa: ANN401 - fields of dp
        values = gaussian("").model_dump(by_alias=True)
        values["dp"] |= {
            "mechanism": "blt",
            "sampling": "none",
            "amplification": False,
            "min_separation": PART.min_separation,
            "max_rounds_per_device": PART.max_rounds,
            "noise_multiplier": 3.0,
            "blt": {"theta": STRATEGY.theta, "omega": STRATEGY.omega},
        } | fields
        return PrivacyConfig.model_validate(values)

    return build


def test_correlated_rounds_cost_a_device_the_whole_run_with_its_first(blt: MakeConfig) -> None:
    allowed = training_allowance(blt(), "autumn", DIM)
    bits = fine_bits(STRATEGY, PART, dim=DIM, lattice_bits=16)
    moved = charged_sensitivity(STRATEGY, PART, dim=DIM, lattice_bits=16, fine_bits=bits)
    assert (allowed.loss_per_run, allowed.loss_per_join) == (moved / 3.0, 0.0)
    assert (allowed.run, allowed.rounds) == ("autumn", 20)
    assert (allowed.min_separation, allowed.max_rounds) == (5, 4)
    assert (allowed.delta, allowed.epsilon_max) == (1e-5, 8.0)


def test_the_loss_of_a_correlated_run_grows_with_the_model_the_server_broadcasts(
    blt: MakeConfig,
) -> None:
    # Rounding to the fine lattice is charged by coordinate: never less for a larger model.
    small, large = (training_allowance(blt(), "r", dim).loss_per_run for dim in (1, 10**7))
    assert small <= large


def test_secret_coins_cost_a_device_each_round_it_joins(gaussian: MakeConfig) -> None:
    allowed = training_allowance(gaussian(), "r", DIM)
    assert allowed.loss_per_run == 0.0
    assert allowed.loss_per_join == pytest.approx(0.5)
    assert (allowed.rounds, allowed.min_separation, allowed.max_rounds) == (20, 1, 20)
    assert allowed.epsilon_max is None  # counted, not limited


def test_the_count_that_adapts_the_clip_norm_is_counted(gaussian: MakeConfig) -> None:
    adaptive = gaussian("noise_multiplier = 2.0\nadaptive_clip = true\n")
    count = AdaptiveClip.for_cohort(adaptive.dp.cohort_size).count_multiplier
    loss = training_allowance(adaptive, "r", DIM).loss_per_join
    assert loss == pytest.approx(math.hypot(1 / 2.0, 1 / count))
    assert loss > training_allowance(gaussian(), "r", DIM).loss_per_join


def test_the_devices_own_ceiling_goes_before_the_runs(
    gaussian: MakeConfig, blt: MakeConfig
) -> None:
    own = "noise_multiplier = 2.0\ndevice_epsilon_max = 3.0\n"
    assert training_allowance(gaussian(own), "r", DIM).epsilon_max == 3.0
    assert training_allowance(blt(device_epsilon_max=3.0), "r", DIM).epsilon_max == 3.0
    assert training_allowance(blt(epsilon_max=2.0), "r", DIM).epsilon_max == 2.0


def test_a_config_that_leaves_the_noise_open_trains_nobody(
    gaussian: MakeConfig, blt: MakeConfig
) -> None:
    for config in (gaussian(""), blt(noise_multiplier=None)):
        with pytest.raises(PolicyViolationError, match=r"dp\.noise_multiplier") as refusal:
            training_allowance(config, "r", DIM)
        assert "homebody plan" in refusal.value.fix
    with pytest.raises(PolicyViolationError, match=r"dp\.blt"):
        training_allowance(blt(blt=None), "r", DIM)


def test_each_release_of_a_figure_costs_a_device_by_itself(gaussian: MakeConfig) -> None:
    config = gaussian("noise_multiplier = 2.0\n" + METRICS)
    allowed = metric_allowance(config, "autumn", "ndcg", config.metrics["ndcg"])
    assert allowed.loss_per_run == 0.0
    assert allowed.loss_per_join == pytest.approx(0.1)
    assert (allowed.rounds, allowed.min_separation, allowed.max_rounds) == (20, 1, 3)
    assert allowed.run != training_allowance(config, "autumn", DIM).run
    other = metric_allowance(config, "autumn", "hit_rate", config.metrics["ndcg"])
    assert other.run != allowed.run


def joined(life: Life, allowance: Allowance, number: int) -> Life:
    """Return the life after one more join, which must be allowed."""
    assert life.refusal(allowance, number) is None
    return life.after(
        Join(
            device=0,
            run=allowance.run,
            round=number,
            model="a" * 64,
            terms=allowance.terms,
            square=life.cost(allowance),
        )
    )


def test_pf_17_a_device_joins_what_the_config_allows_and_no_more(blt: MakeConfig) -> None:
    allowed = training_allowance(blt(epsilon_max=1e3), "r", DIM)
    life = Life()
    for number in (1, 6, 11, 16):
        life = joined(life, allowed, number)
        assert isinstance(life.refusal(allowed, number + 4), PolicyViolationError)
    assert isinstance(life.refusal(allowed, 20), PolicyViolationError)  # early, and one too many
    assert isinstance(life.refusal(allowed, 21), PolicyViolationError)


def test_pf_15_a_devices_life_is_all_its_runs_and_figures(blt: MakeConfig) -> None:
    config = blt(noise_multiplier=3.4)
    one = training_allowance(config, "autumn", DIM)
    spent = gaussian_epsilon(one.loss_per_run, 1e-5)
    limited = blt(noise_multiplier=3.4, device_epsilon_max=1.2 * spent)
    first = training_allowance(limited, "autumn", DIM)
    life = joined(Life(), first, 3)
    assert life.epsilon(1e-5) == pytest.approx(spent, rel=1e-9)
    # A server that renames the run starts a new one, which the ceiling does not allow.
    again = training_allowance(limited, "winter", DIM)
    assert isinstance(life.refusal(again, 3), BudgetExhaustedError)


def test_cr_36_a_device_answers_no_figure_about_fewer_people_than_its_config_says(
    gaussian: MakeConfig,
) -> None:
    least = "noise_multiplier = 2.0\n[release]\nmin_k = {}\n" + METRICS
    for people, answers in ((2468, True), (2469, True), (2470, False)):
        config = gaussian(least.format(people))
        assert config.activity.population == 2469
        asked = ("run", "ndcg", config.metrics["ndcg"])
        if answers:
            assert metric_allowance(config, *asked).max_rounds == 3
        else:
            with pytest.raises(PolicyViolationError, match="fewer people"):
                metric_allowance(config, *asked)
