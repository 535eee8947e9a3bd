"""Charges: validation, merging, parts, their JSON form, and rounding up."""

import json
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from homebody_privacy.adaptive_clip import sum_multiplier
from homebody_privacy.charges import (
    PARTS,
    Charge,
    CorrelatedRun,
    GaussianReleases,
    PoissonRounds,
    charge_from_dict,
    merged,
    of_part,
    round_up,
)

Build = Callable[..., PoissonRounds]
BuildRun = Callable[..., CorrelatedRun]
MULTIPLIERS = st.floats(0, allow_infinity=False)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("population", 99),
        ("cohort_size", 0),
        ("cohort_size", 6041),
        ("cohort_cap", 99),
        ("noise_multiplier", -0.1),
        ("noise_multiplier", math.nan),
        ("noise_multiplier", math.inf),
        ("rounds", -1),
    ],
)
def test_a_charge_without_meaning_is_refused(charge: Build, field: str, value: float) -> None:
    with pytest.raises(ValueError, match="must be"):
        charge(**{field: value})


def test_the_sampling_rate_is_cohort_over_population(charge: Build) -> None:
    assert charge(population=400, cohort_size=100).sampling_rate == 0.25


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("noise_multiplier", -0.1),
        ("noise_multiplier", math.nan),
        ("noise_multiplier", math.inf),
        ("sensitivity", 0.0),
        ("sensitivity", math.inf),
        ("sensitivity", math.nan),
        ("rounds", 0),
        ("min_separation", 0),
        ("max_rounds", 0),
        ("runs", -1),
        ("theta", ()),
        ("part", "models"),
    ],
)
def test_a_run_without_meaning_is_refused(
    correlated: BuildRun, field: str, value: float | str | tuple[float, ...]
) -> None:
    with pytest.raises(ValueError, match=field):
        correlated(**{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [("noise_multiplier", math.nan), ("releases", -1), ("part", "")],
)
def test_releases_without_meaning_are_refused(field: str, value: float | str) -> None:
    usual: dict[str, Any] = {"noise_multiplier": 1.0}
    with pytest.raises(ValueError, match=field):
        GaussianReleases(**(usual | {field: value}))


@pytest.mark.parametrize("count", [-1.0, math.nan, math.inf])
def test_a_count_without_meaning_is_refused(charge: Build, count: float) -> None:
    with pytest.raises(ValueError, match="noise_multiplier"):
        charge(count_multiplier=count)


def test_a_charge_pays_for_one_of_the_parts(charge: Build) -> None:
    assert PARTS == ("statistics", "training", "clipping", "metrics", "tuning")
    assert charge().with_part("tuning").part == "tuning"
    with pytest.raises(ValueError, match="part must be one of statistics, training"):
        charge().with_part("models")  # type: ignore[arg-type]


@st.composite
def charges(draw: st.DrawFn) -> Charge:
    part, times = draw(st.sampled_from(PARTS)), draw(st.integers(0, 10**6))
    noise = draw(MULTIPLIERS)
    match draw(st.sampled_from(["poisson", "correlated", "gaussian"])):
        case "poisson":
            return PoissonRounds(
                population=10,
                cohort_size=5,
                cohort_cap=6,
                noise_multiplier=noise,
                rounds=times,
                count_multiplier=draw(st.none() | MULTIPLIERS),
                part=part,
            )
        case "correlated":
            buffers = draw(st.integers(1, 4))
            decays = st.lists(st.floats(0, 1), min_size=buffers, max_size=buffers).map(tuple)
            return CorrelatedRun(
                noise_multiplier=noise,
                sensitivity=draw(st.floats(5e-324, allow_infinity=False)),
                rounds=draw(st.integers(1, 10**6)),
                min_separation=draw(st.integers(1, 10**6)),
                max_rounds=draw(st.integers(1, 10**6)),
                theta=draw(decays),
                omega=draw(decays),
                runs=times,
                part=part,
            )
        case _:
            return GaussianReleases(noise_multiplier=noise, releases=times, part=part)


@given(charges())
def test_a_charge_of_every_kind_survives_canonical_json(charge: Charge) -> None:
    # Canonical JSON writes 1.0 as 1, and the ledger is canonical.
    again = charge_from_dict(json.loads(rfc8785.dumps(charge.to_dict())))
    assert again == charge
    assert type(again) is type(charge)
    assert again.squared_loss == charge.squared_loss


@given(charges())
def test_a_loss_is_never_negative_and_never_no_number(charge: Charge) -> None:
    assert charge.squared_loss >= 0.0
    if charge.noise_multiplier == 0.0:
        times = getattr(charge, "rounds", 1) if isinstance(charge, PoissonRounds) else 1
        times = getattr(charge, "runs", getattr(charge, "releases", times))
        assert charge.squared_loss == (math.inf if times else 0.0)


@pytest.mark.parametrize(
    "change",
    [
        {"rounds": "1"},
        {"rounds": 1.0},
        {"population": True},
        {"noise_multiplier": None},
        {"noise_multiplier": True},
        {"noise_multiplier": "1"},
        {"count_multiplier": "1"},
        {"extra": 1},
        {"rounds": -1},
        {"kind": "poisson"},
        {"kind": None},
        {"part": 1},
        {"part": None},
        {"kind": "gaussian-releases"},
    ],
)
def test_a_damaged_charge_is_refused(charge: Build, change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"charge|rounds|part"):
        charge_from_dict(charge().to_dict() | change)


@pytest.mark.parametrize(
    "change",
    [
        {"theta": (0.5,)},
        {"theta": "0.5"},
        {"theta": [True]},
        {"omega": ["0.5"]},
        {"omega": [None]},
        {"omega": []},
        {"sensitivity": [1.0]},
        {"runs": 1.5},
    ],
)
def test_a_damaged_run_is_refused(correlated: BuildRun, change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"charge|theta"):
        charge_from_dict(correlated().to_dict() | change)


@pytest.mark.parametrize("missing", ["kind", "part", "count_multiplier", "rounds"])
def test_a_charge_with_a_field_missing_is_refused(charge: Build, missing: str) -> None:
    values = charge().to_dict()
    del values[missing]
    with pytest.raises(ValueError, match="a charge has"):
        charge_from_dict(values)


def test_a_whole_multiplier_is_a_number_too(charge: Build) -> None:
    values = charge().to_dict() | {"noise_multiplier": 2}
    assert charge_from_dict(values) == charge(noise_multiplier=2.0)


def test_losses_are_those_of_the_gaussian_mechanism(charge: Build, correlated: BuildRun) -> None:
    assert charge(noise_multiplier=2.0, rounds=8).squared_loss == 2.0
    assert correlated(sensitivity=3.0, noise_multiplier=2.0, runs=4).squared_loss == 9.0
    assert GaussianReleases(noise_multiplier=4.0, releases=16).squared_loss == 1.0


def test_a_count_costs_as_a_further_coordinate_of_one_release(charge: Build) -> None:
    adaptive = charge(noise_multiplier=3.0, count_multiplier=4.0)
    assert adaptive.effective_multiplier == pytest.approx(2.4)  # 1 / sqrt(1/9 + 1/16)
    assert adaptive.squared_loss == pytest.approx(1 / 9 + 1 / 16)
    assert charge(noise_multiplier=3.0, count_multiplier=0.0).effective_multiplier == 0.0
    assert charge(noise_multiplier=0.0, count_multiplier=4.0).effective_multiplier == 0.0


@given(st.floats(0.3, 50.0), st.floats(0.2, 200.0))
def test_sum_and_count_together_cost_what_theorem_1_of_1905_03871_says(
    effective: float, share: float
) -> None:
    # The paper: z_sum = (z**-2 - (2 s)**-2)**-1/2 for noise s on the sum of b - 1/2; ours is on
    # the sum of votes 2 b - 1, with deviation 2 s.
    deviation = effective * (0.5 + share)
    in_paper = (effective**-2 - (2.0 * deviation) ** -2) ** -0.5
    ours = sum_multiplier(effective, 2.0 * deviation)
    assert ours == pytest.approx(in_paper)
    assert ours > effective
    charged = PoissonRounds(
        population=10,
        cohort_size=5,
        cohort_cap=6,
        noise_multiplier=ours,
        count_multiplier=2.0 * deviation,
        rounds=1,
    )
    assert charged.effective_multiplier == pytest.approx(effective, rel=1e-9)


@given(MULTIPLIERS, st.none() | MULTIPLIERS)
def test_the_effective_multiplier_is_no_more_than_either(noise: float, count: float | None) -> None:
    both = PoissonRounds(
        population=10,
        cohort_size=5,
        cohort_cap=6,
        noise_multiplier=noise,
        count_multiplier=count,
        rounds=1,
    ).effective_multiplier
    assert 0.0 <= both <= min(noise, math.inf if count is None else count) * (1 + 1e-12)


def test_a_round_that_adapts_is_training_by_its_sum_and_clipping_by_its_count(
    charge: Build, correlated: BuildRun
) -> None:
    adaptive = charge(noise_multiplier=3.0, count_multiplier=4.0, rounds=7)
    tuned = charge(rounds=5).with_part("tuning")
    figures = GaussianReleases(noise_multiplier=9.0)
    run = correlated().with_part("tuning")
    known: list[Charge] = [adaptive, tuned, figures, run]
    assert of_part(known, "training") == [charge(noise_multiplier=3.0, rounds=7)]
    assert of_part(known, "clipping") == [
        charge(noise_multiplier=4.0, rounds=7).with_part("clipping")
    ]
    assert of_part(known, "tuning") == [tuned, run]
    assert of_part(known, "metrics") == [figures]
    assert of_part([tuned], "clipping") == []


def test_the_count_of_a_tuning_run_is_clipping_too(charge: Build) -> None:
    tuned = charge(count_multiplier=4.0).with_part("tuning")
    assert of_part([tuned], "training") == []
    assert of_part([tuned], "tuning") == [charge().with_part("tuning")]
    assert of_part([tuned], "clipping") == [charge(noise_multiplier=4.0).with_part("clipping")]


def test_merging_adds_rounds_of_equal_charges_and_drops_empty_ones(charge: Build) -> None:
    charges = [charge(rounds=3), charge(noise_multiplier=1.0), charge(rounds=4), charge(rounds=0)]
    assert merged(charges) == [charge(rounds=7), charge(noise_multiplier=1.0)]
    assert merged([charge(rounds=0)]) == []


def test_merging_looks_at_the_cost_and_not_at_what_it_paid_for(charge: Build) -> None:
    counted = charge(count_multiplier=4.0)
    charges = [charge(rounds=3), charge(rounds=2).with_part("tuning"), counted]
    assert merged(charges) == [charge(rounds=5), counted]


@given(st.floats(0, 1e9), st.integers(0, 6))
def test_rounding_never_goes_down(x: float, digits: int) -> None:
    printed = Fraction(repr(round_up(x, digits)))  # the decimal that is shown
    assert 0 <= printed - Fraction(x) < Fraction(1, 10**digits)


def test_infinity_stays_infinite() -> None:
    assert round_up(math.inf, 2) == math.inf


def test_numbers_too_large_for_decimals_stay_themselves() -> None:
    assert round_up(2.0**200, 6) == 2.0**200
