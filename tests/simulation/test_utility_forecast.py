"""The plan of one-shot statistics: costs that are the run's, and a band that noise alone widens."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from homebody_models.split import Split, leave_one_out
from homebody_models.statistics.contribution import popularity_statistic
from homebody_privacy.config import PrivacyConfig
from homebody_simulation import laboratory_sums
from homebody_simulation.datasets import load_dataset
from homebody_simulation.forecast import Plan, make_plan
from homebody_simulation.laboratory_sums import LaboratorySums
from homebody_simulation.plan_text import plan_text
from homebody_simulation.planning import Planned, plan_run
from homebody_simulation.recipe_advice import ROUNDS_FROM, advice_for
from homebody_simulation.request import Request
from homebody_simulation.utility_forecast import UtilityForecast, least_times

DEVICES, ITEMS = 300, 120
BOTH = '\n[statistics]\nrecipe = "both"\n'
USEFUL = UtilityForecast(
    task="new",
    devices=100,
    summed=100,
    draws=5,
    mean=0.2,
    low=0.15,
    high=0.25,
    popularity=0.1,
    local_only=None,
    without_noise=0.3,
    strength=1.0,
    least_devices=None,
    least_epsilon=None,
)


@pytest.fixture(scope="module")
def config(write_config: Callable[..., Path]) -> Path:
    """Return a config of recipe both: everybody is drawn, which is cheap to account."""
    blt = {"mechanism": "blt", "min_separation": 1, "max_rounds_per_device": 4}
    return write_config(rounds=4, cohort_size=300, cohort_cap=400, delta=1e-4, **blt, more=BOTH)


def request(config: Path, **changes: Any) -> Request:  # noqa: ANN401 - fields of the request
    """Return a request over three hundred synthetic devices."""
    usual: dict[str, Any] = {"data": "synthetic", "options": {"devices": DEVICES, "items": ITEMS}}
    return Request(**(usual | {"config_file": config, "recipe": "statistics"} | changes))


@pytest.fixture(scope="module")
def world(config: Path) -> tuple[Planned, Split]:
    """Return a run of statistics alone, and the histories of its devices."""
    data = load_dataset("synthetic", devices=DEVICES, items=ITEMS)
    planned = plan_run(request(config), PrivacyConfig.load(config), data)
    return planned, leave_one_out(data.interactions)


@pytest.fixture(scope="module")
def plans(config: Path) -> dict[str, Plan]:
    """Return the plan of each recipe with statistics, at a large and a small epsilon."""
    return {
        "both": make_plan(request(config, recipe=None, epsilon=8.0)),
        "statistics": make_plan(request(config, epsilon=0.3)),
    }


def test_a_plan_of_statistics_says_what_the_run_will_release(
    plans: dict[str, Plan], world: tuple[Planned, Split]
) -> None:
    for recipe, plan in plans.items():
        statistics, spec = plan.statistics, plan.planned.spec
        assert statistics is not None
        assert spec.recipe == recipe
        for told, real in zip(statistics.passes, spec.statistics, strict=True):
            assert (told.name, told.noise_multiplier) == (real.name, real.noise_multiplier)
            assert told.up_bytes == 4 * told.entries
            assert told.epsilon < plan.parts["statistics"] <= plan.epsilon
        popularity, gram = statistics.passes
        assert (popularity.entries, popularity.down_bytes) == (ITEMS, 4)
        assert gram.down_bytes >= 4 * ITEMS
        assert (plan.rounds is not None) == (recipe == "both")
    assert set(plans["both"].parts) == {"statistics", "training"}
    assert plans["both"].seconds > plans["both"].rounds.seconds  # type: ignore[union-attr]
    # What is planned is what a run would be.
    assert world[0].spec.statistics_settings is not None


def test_a_plan_is_useful_where_its_whole_band_is_above_popularity(
    plans: dict[str, Plan],
) -> None:
    for plan in plans.values():
        assert plan.statistics is not None
        utility = plan.statistics.utility
        assert utility.low <= utility.mean <= utility.high
        assert plan.useful == utility.useful == (utility.low > utility.popularity)
        assert bool(plan.options()) != plan.useful
    assert not plans["statistics"].useful  # epsilon .3 for three hundred devices
    large = plans["both"].statistics
    assert large is not None
    assert large.utility.strength > 5.0 * plans["statistics"].statistics.utility.strength  # type: ignore[union-attr]


def test_the_text_of_a_plan_says_that_its_band_is_the_laboratorys(plans: dict[str, Plan]) -> None:
    small, both = plan_text(plans["statistics"]), plan_text(plans["both"])
    assert "NOT USEFUL: N is too small" in small
    assert "devices at this epsilon" in small or "times as many devices" in small
    for text in (small, both):
        assert "laboratory figures, read from raw data and not covered by ε" in text
        assert "statistic gram: noise multiplier" in text
    assert "one-shot statistics, then 4 gradient rounds" in both
    assert "one-shot statistics alone" in small
    assert "update SNR" in both
    assert "update SNR" not in small
    assert "cohort" not in small


def test_a_plan_of_statistics_is_one_json_object(plans: dict[str, Plan]) -> None:
    for plan in plans.values():
        found = json.loads(json.dumps(plan.to_dict(), allow_nan=False))
        assert found["recipe"] == plan.planned.spec.recipe
        assert {"low", "high", "popularity", "useful"} <= set(found["utility"])
        assert [one["name"] for one in found["statistics"]] == ["popularity", "gram"]
        assert (found["run_snr"] is None) == (plan.rounds is None)
    keys = {frozenset(plan.to_dict()) for plan in plans.values()}
    assert len(keys) == 1  # whatever the recipe, the same object


def test_popularity_is_summed_as_devices_sum_it_and_noised_as_a_run_does(
    world: tuple[Planned, Split], monkeypatch: pytest.MonkeyPatch
) -> None:
    planned, split = world
    monkeypatch.setattr(laboratory_sums, "_noise", lambda _, size: np.ones(size))
    histories = split.train
    for most, share in ((DEVICES, 1.0), (DEVICES // 2, 0.5)):
        sums = LaboratorySums.of(planned, histories, most=most)
        asked = np.unique(np.linspace(0, DEVICES - 1, most).astype(np.int64))
        expected = np.zeros(ITEMS)
        for device in asked:
            part = popularity_statistic(histories.history(int(device)))
            expected[part.places] += part.values
        assert sums.share == share
        # Half the devices against half the noise: what is seen is the signal of them all.
        assert np.abs(sums.popularity - expected - share).max() < 2e-5 * len(asked)


def test_more_devices_of_the_kind_are_the_same_sum_against_less_noise(
    world: tuple[Planned, Split], monkeypatch: pytest.MonkeyPatch
) -> None:
    planned, split = world
    sums = LaboratorySums.of(planned, split.train, most=100)
    seen: list[tuple[npt.NDArray[np.float64], float]] = []

    def fit(*args: Any, gram_sigma: float, **_: Any) -> npt.NDArray[np.float32]:  # noqa: ANN401
        seen.append((args[3], gram_sigma))
        return np.zeros(1, np.float32)

    monkeypatch.setattr(laboratory_sums, "start_parameters", fit)
    monkeypatch.setattr(laboratory_sums, "_noise", lambda _, size: np.ones(size))
    for times in (1.0, 4.0, math.inf):
        sums.start(times=times)
    noise = planned.spec.statistics[1].noise_multiplier
    for (gram, sigma), scale in zip(seen, (1 / 3, 1 / 12, 0.0), strict=True):
        assert np.allclose(gram - sums.gram, scale)
        assert sigma == pytest.approx(scale * noise)


def test_noise_of_a_band_is_drawn_anew_each_time(world: tuple[Planned, Split]) -> None:
    sums = LaboratorySums.of(*(world[0], world[1].train))
    one, two = sums.start(), sums.start()
    assert not np.array_equal(one, two)
    bare, again = sums.start(times=math.inf), sums.start(times=math.inf)
    assert np.array_equal(bare, again)


@pytest.mark.parametrize("needed", [1.5, 3.0, 40.0, 250.0])
def test_the_least_number_of_devices_is_found_to_a_fifth(needed: float) -> None:
    found = least_times(lambda times: times >= needed)
    assert found is not None
    assert needed <= found <= 1.2 * needed


def test_a_number_of_devices_out_of_reach_is_not_made_up() -> None:
    assert least_times(lambda times: times >= 257.0) is None
    far = replace(USEFUL, low=0.05, least_devices=None)
    assert "more than 256 times as many devices" in far.options()[0]


def test_options_name_devices_and_epsilon() -> None:
    assert USEFUL.useful
    assert USEFUL.options() == []
    few = replace(USEFUL, low=0.05, least_devices=4000, least_epsilon=6.5)
    assert few.options() == [
        "about 4,000 devices at this epsilon",
        "epsilon 6.5 with these devices",
    ]
    assert few.to_dict()["useful"] is False


def test_the_recipe_that_suits_follows_from_signal(world: tuple[Planned, Split]) -> None:
    spec = world[0].spec
    small = advice_for("two-tower", 4.0, spec)
    assert (small.recipe, small.signal < ROUNDS_FROM) == ("statistics", True)
    large = advice_for("two-tower", 4.0, replace(spec, devices=10**6))
    assert (large.recipe, large.signal > ROUNDS_FROM) == ("both", True)
    assert large.signal / small.signal == pytest.approx(10**6 / DEVICES)
    assert advice_for("popularity", 4.0, spec).recipe == "rounds"
