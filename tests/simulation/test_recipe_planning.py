"""What each recipe spends on what: shares of one epsilon, and constants devices can count by."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from homebody_privacy.accounting import epsilon_by_part, spent_epsilon
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.errors import InfeasibleError, PolicyViolationError, UsageError
from homebody_server.run_spec import SAMPLER_EPSILON, RunSpec
from homebody_simulation.budget_shares import Shares, budget_shares
from homebody_simulation.datasets import Dataset, load_dataset
from homebody_simulation.planning import Planned, plan_run, recipe_of
from homebody_simulation.request import Request

DEVICES, ITEMS = 40, 20
MORE = """
[metrics.quality]
purpose = "metrics"
features = ["purchases"]
noise_multiplier = 20.0
releases_per_run = 2

[metrics.active]
purpose = "metrics"
features = ["purchases"]
noise_multiplier = 30.0
releases_per_run = 1

[statistics]
recipe = "both"
"""
PRIVATE = {"tuning_data": "private", "tuning_runs": 3}
Write = Callable[..., PrivacyConfig]


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Return forty synthetic devices."""
    return load_dataset("synthetic", devices=DEVICES, items=ITEMS)


@pytest.fixture(scope="module")
def write(write_config: Callable[..., Path]) -> Write:
    """Builder of a config of recipe both: all forty are drawn, which is cheap to account."""
    plan: dict[str, Any] = {"rounds": 4, "cohort_size": DEVICES, "cohort_cap": 80, "delta": 1e-3}
    blt = {"mechanism": "blt", "min_separation": 1, "max_rounds_per_device": 4}

    def build(*, mechanism: str = "blt", more: str = MORE, **fields: Any) -> PrivacyConfig:  # noqa: ANN401 - fields of dp
        own = blt if mechanism == "blt" else {}
        return PrivacyConfig.load(write_config(**{**plan, **own, **fields}, more=more))

    return build


def planned(config: PrivacyConfig, dataset: Dataset, **changes: Any) -> Planned:  # noqa: ANN401
    """Return what a run would be."""
    return plan_run(Request(**({"data": "synthetic"} | changes)), config, dataset)


def mu(spec: RunSpec, part: str) -> float:
    """Return the squared loss of a part, without credit for sampling."""
    return math.fsum(c.squared_loss for c in spec.whole_charge() if c.part == part)


CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("statistics", "blt", {}),
    ("statistics", "blt", PRIVATE),
    ("both", "blt", {}),
    ("both", "blt", PRIVATE),
    ("both", "gaussian", PRIVATE),
]


@pytest.mark.parametrize(("recipe", "mechanism", "fields"), CASES)
def test_all_parts_of_a_recipe_spend_what_was_asked_and_hardly_less(
    write: Write, dataset: Dataset, recipe: str, mechanism: str, fields: dict[str, Any]
) -> None:
    found = planned(write(mechanism=mechanism, **fields), dataset, recipe=recipe, epsilon=3.0)
    spec = found.spec
    spent = spent_epsilon(spec.whole_charge(), spec.accounted_delta) + SAMPLER_EPSILON
    assert 3.0 - 2e-3 <= spent <= 3.0
    assert (spec.recipe, spec.rounds) == (recipe, 4 if recipe == "both" else 0)
    parts = {"statistics", "metrics"} | ({"training"} if spec.rounds else set())
    parts |= {"tuning"} if fields else set()
    by_part = epsilon_by_part(spec.whole_charge(), spec.accounted_delta)
    assert set(by_part) == parts
    assert max(by_part.values()) < spent
    assert found.noise is not None
    assert found.noise.statistics == spec.statistics


def test_the_loss_is_parted_by_the_shares_of_the_file(write: Write, dataset: Dataset) -> None:
    config = write(more=f"{MORE}popularity_share = 0.2\nrounds_share = 0.5\n")
    spec = planned(config, dataset).spec
    popularity, gram = (one.charge().squared_loss for one in spec.statistics)
    left = mu(spec, "statistics") + mu(spec, "training")
    assert popularity / left == pytest.approx(0.2, rel=1e-4)
    assert gram / left == pytest.approx(0.3, rel=1e-4)
    assert mu(spec, "training") / left == pytest.approx(0.5, rel=1e-4)


def test_without_rounds_the_statistics_get_the_rounds_share(write: Write, dataset: Dataset) -> None:
    both, alone = (planned(write(), dataset, recipe=r).spec for r in ("both", "statistics"))
    assert mu(both, "training") / mu(both, "statistics") == pytest.approx(1.0 / 19.0, rel=1e-3)
    for one, other in zip(alone.statistics, both.statistics, strict=True):
        assert one.noise_multiplier < other.noise_multiplier


def test_pf_20_tuning_runs_made_statistics_too(write: Write, dataset: Dataset) -> None:
    once, tuned = (
        planned(write(**fields), dataset, recipe="statistics").spec for fields in ({}, PRIVATE)
    )
    for one, other in zip(once.statistics, tuned.statistics, strict=True):
        ratio = other.noise_multiplier / one.noise_multiplier
        assert ratio == pytest.approx(2.0, rel=1e-4)  # four runs alike: the root of four


@pytest.mark.parametrize("recipe", ["statistics", "both"])
def test_pf_32_the_file_in_force_holds_what_devices_count_by(
    write: Write, dataset: Dataset, recipe: str
) -> None:
    found = planned(write(), dataset, recipe=recipe)
    own, settings = found.config.statistics, found.spec.statistics_settings
    assert own is not None
    assert settings is not None
    passes = {one.name: one.noise_multiplier for one in found.spec.statistics}
    assert passes == {"popularity": own.popularity_multiplier, "gram": own.gram_multiplier}
    assert (own.window, own.head) == (settings.window, settings.head)
    assert {one.lattice_bits for one in found.spec.statistics} == {found.config.dp.lattice_bits}
    assert found.spec.config_digest == found.config.digest()
    assert (found.config.dp.noise_multiplier is None) == (recipe == "statistics")
    # A file completed once is a run's own file: nothing is left to solve.
    again = planned(found.config, dataset, recipe=recipe)
    assert again.config == found.config
    assert replace(again.spec, config_digest="") == replace(found.spec, config_digest="")


def test_settings_of_the_file_go_before_the_rule(write: Write, dataset: Dataset) -> None:
    config = write(more=f"{MORE}window = 0.5\nhead = 7\n")
    settings = planned(config, dataset).spec.statistics_settings
    assert settings is not None
    assert (settings.window, settings.head) == (0.5, 7)
    wide = planned(write(more=f"{MORE}head = 500\n"), dataset).spec.statistics_settings
    assert wide is not None
    assert wide.head == ITEMS  # no more than there are


def test_noise_of_the_file_that_costs_more_than_asked_is_refused(
    write: Write, dataset: Dataset
) -> None:
    done = planned(write(), dataset, recipe="statistics", epsilon=3.0).config
    assert planned(done, dataset, epsilon=3.5).config == done
    with pytest.raises(PolicyViolationError, match="costs epsilon"):
        planned(done, dataset, epsilon=2.9)
    fixed = write(more=f"{MORE}popularity_multiplier = 0.1\ngram_multiplier = 0.1\n")
    with pytest.raises(InfeasibleError, match="beside training"):
        planned(fixed, dataset, epsilon=3.0)


def test_figures_that_take_the_whole_budget_leave_no_statistics(
    write: Write, dataset: Dataset
) -> None:
    config = write(more=MORE.replace("= 20.0", "= 0.5"))
    for recipe in ("statistics", "both"):
        with pytest.raises(InfeasibleError, match="whole epsilon"):
            planned(config, dataset, recipe=recipe)


@pytest.mark.parametrize("recipe", ["statistics", "rounds", "both"])
def test_a_reference_of_every_recipe_has_no_noise(
    write: Write, dataset: Dataset, recipe: str
) -> None:
    found = planned(write(), dataset, recipe=recipe, epsilon=None)
    spec = found.spec
    assert (spec.recipe, spec.ceiling, spec.noise_multiplier) == (recipe, None, 0.0)
    assert {one.noise_multiplier for one in spec.statistics} <= {0.0}
    assert found.config.recipe == recipe
    if found.config.statistics is not None:  # a device reads its window here
        assert found.config.statistics.window is not None
        assert found.config.statistics.gram_multiplier is None


def test_figures_ask_about_the_start_and_the_end_of_both(write: Write, dataset: Dataset) -> None:
    both, alone, rounds = (
        planned(write(), dataset, recipe=recipe).spec for recipe in ("both", "statistics", "rounds")
    )
    asked = [
        {m.name: spec.figure_rounds(m) for m in spec.metrics} for spec in (both, alone, rounds)
    ]
    assert asked[0] == {"quality": [0, 4], "active": [4]}
    assert asked[1] == {"quality": [0], "active": [0]}
    assert asked[2] == {"quality": [2, 4], "active": [4]}


def test_a_refit_asks_no_figure_about_an_item_it_does_not_hold_back(
    write: Write, dataset: Dataset
) -> None:
    found = planned(write(), dataset, recipe="statistics", refit=True)
    assert [metric.name for metric in found.spec.metrics] == ["active"]
    assert set(found.config.metrics) == {"active"}
    with pytest.raises(UsageError, match="--refit"):
        planned(write(), dataset, refit=True)  # the file says both, which chooses


def test_statistics_make_one_model_of_the_width_that_was_fixed(
    write: Write, dataset: Dataset
) -> None:
    alone = planned(write(), dataset, recipe="statistics")
    settings = alone.spec.statistics_settings
    assert settings is not None
    assert alone.model.name == "two-tower"
    assert alone.spec.tensors == {"V": (ITEMS, settings.rank), "b": (ITEMS,)}
    both = planned(write(), dataset, recipe="both")
    assert both.model.name == "core-tower"
    assert tuple(both.spec.tensors) == ("V", "b", "M")
    assert both.spec.frozen == ("V", "b")
    assert both.spec.trained_size == settings.rank * (settings.rank + 1) // 2


def test_other_models_have_rounds_alone(write: Write, dataset: Dataset) -> None:
    assert planned(write(), dataset, model="popularity").spec.recipe == "rounds"
    assert recipe_of(Request(), write()) == "both"
    with pytest.raises(UsageError, match="--recipe both"):
        Request(model="popularity", recipe="both")
    assert Request(model="popularity", recipe="rounds")


@pytest.mark.parametrize("asked", [{"rounds": 3}, {"cohort": 9}, {"mechanism": "gaussian"}])
def test_what_is_for_rounds_is_refused_where_there_are_none(
    write: Write, dataset: Dataset, asked: dict[str, Any]
) -> None:
    with pytest.raises(UsageError, match="for rounds") as refusal:
        Request(recipe="statistics", **asked)
    assert refusal.value.exit_code == 2
    alone = planned(write(), dataset, recipe="statistics").config
    with pytest.raises(UsageError, match="for rounds"):
        planned(alone, dataset, **asked)


def test_a_recipe_nobody_knows_is_refused() -> None:
    with pytest.raises(UsageError, match="--recipe must be one of statistics, rounds, both"):
        Request(recipe="soup")  # type: ignore[arg-type]


def test_statistics_need_no_cohort_that_fits(write: Write) -> None:
    few = load_dataset("synthetic", devices=30, items=ITEMS)
    with pytest.raises(InfeasibleError, match="cohort_size"):
        planned(write(), few, recipe="both")
    assert planned(write(), few, recipe="statistics").spec.devices == 30


def test_a_delta_too_small_for_so_large_a_sum_is_refused(write: Write, dataset: Dataset) -> None:
    with pytest.raises(InfeasibleError, match=r"dp\.delta"):
        planned(write(delta=1e-17), dataset, recipe="statistics")


@pytest.mark.parametrize("recipe", ["statistics", "both"])
def test_shares_read_nothing_private_and_add_up(recipe: Any) -> None:  # noqa: ANN401
    shares = budget_shares(recipe, mu=1.0, devices=6040, items=3706)
    assert shares.popularity + shares.gram + shares.rounds == pytest.approx(1.0)
    assert (shares.rounds > 0.0) == (recipe == "both")
    assert shares.popularity / (1.0 - shares.rounds) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("popularity", "rounds"), [(0.0, 0.0), (1.0, 0.0), (0.5, 0.5), (0.1, -0.1)]
)
def test_shares_that_leave_nothing_are_refused(popularity: float, rounds: float) -> None:
    with pytest.raises(ValueError, match="shares"):
        Shares(popularity=popularity, rounds=rounds)
