"""A run that asks for other figures runs under a file of its own, with every rule kept."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homebody_privacy.blt import BltParameters
from homebody_privacy.config import PrivacyConfig, check_population
from homebody_privacy.errors import InfeasibleError, PolicyViolationError
from homebody_privacy.variants import completed, to_toml, variant

Load = Callable[..., PrivacyConfig]
PARAMETERS = BltParameters(theta=(0.9075,), omega=(0.46736,))
STRATEGY = "[dp.blt]\ntheta = [0.9075]\nomega = [0.46736]\n"
GOAL = "[aggregation]\nreport_goal = 60\n"
PEOPLE = 6040


@pytest.mark.parametrize("asked", [{}, {"rounds": 100}, {"cohort_size": 100}])
def test_what_changes_nothing_is_the_file_itself(
    load: Load, load_blt: Load, asked: dict[str, Any]
) -> None:
    config = load()
    assert variant(config, population=PEOPLE, **asked) is config
    assert variant(config, population=PEOPLE, mechanism="gaussian", **asked) is config
    other = load_blt()
    assert variant(other, population=PEOPLE, mechanism="blt", **asked) is other


@pytest.mark.parametrize(
    "asked", [{"rounds": 50}, {"cohort_size": 90}, {"mechanism": "blt"}, {"mechanism": "gaussian"}]
)
def test_pf_32_another_run_has_another_digest(
    load: Load, load_blt: Load, asked: dict[str, Any]
) -> None:
    for config in (load(), load_blt()):
        changed = variant(config, population=PEOPLE, **asked)
        same = asked.get("mechanism") == config.dp.mechanism
        assert (changed.digest() == config.digest()) == same


def test_a_file_of_secret_coins_gets_the_premises_of_correlated_noise(load: Load) -> None:
    config = load(new="adaptive_clip = true\nnoise_multiplier = 1.5\n")
    dp = variant(config, population=PEOPLE, mechanism="blt").dp
    assert (dp.mechanism, dp.sampling, dp.amplification) == ("blt", "none", False)
    assert dp.min_separation == 60  # 6040 // 100: the widest the cohort allows
    assert dp.max_rounds_per_device == 2
    assert not dp.adaptive_clip
    assert dp.noise_multiplier is None  # it was solved for the other mechanism
    assert dp.cohort_cap == 150


def test_a_file_of_correlated_noise_gets_the_premises_of_secret_coins(load_blt: Load) -> None:
    config = load_blt("cohort_cap = 150", "cohort_cap = 100\nnoise_multiplier = 3.5")
    with_goal = PrivacyConfig.model_validate(
        config.model_dump(by_alias=True)
        | {"aggregation": config.aggregation.model_dump() | {"report_goal": 60, "min_nodes": 4}}
        | {"dp": config.dp.model_dump() | {"blt": PARAMETERS.to_dict()}}
    )
    changed = variant(with_goal, population=PEOPLE, mechanism="gaussian")
    dp = changed.dp
    assert (dp.mechanism, dp.sampling, dp.amplification) == ("gaussian", "poisson", True)
    assert (dp.min_separation, dp.max_rounds_per_device) == (1, 100)
    assert dp.cohort_cap == 150  # 100 + 5 * sqrt(100)
    assert (dp.noise_multiplier, dp.blt) == (None, None)
    assert (changed.aggregation.report_goal, changed.aggregation.min_nodes) == (None, 4)


def test_the_cap_of_secret_coins_is_the_files_and_is_kept_to(load: Load) -> None:
    assert variant(load(), population=PEOPLE, cohort_size=90).dp.cohort_cap == 150
    with pytest.raises(PolicyViolationError, match="cohort_cap: must be at least 157") as refusal:
        variant(load(), population=PEOPLE, cohort_size=105)
    assert refusal.value.exit_code == 10


def test_a_shorter_correlated_run_joins_as_often_as_its_separation_allows(load_blt: Load) -> None:
    shorter = variant(load_blt(new=STRATEGY), population=PEOPLE, rounds=60).dp
    assert (shorter.min_separation, shorter.max_rounds_per_device) == (25, 3)
    assert shorter.blt is None  # the strategy was for another length
    shortest = variant(load_blt(), population=PEOPLE, rounds=10).dp
    assert (shortest.min_separation, shortest.max_rounds_per_device) == (10, 1)


def test_another_cohort_keeps_separation_cap_and_strategy(load_blt: Load) -> None:
    asked = load_blt(new=STRATEGY)
    wider = variant(asked, population=PEOPLE, cohort_size=200).dp
    assert (wider.min_separation, wider.max_rounds_per_device) == (25, 4)
    assert wider.blt == asked.dp.blt
    assert wider.cohort_cap == 200


def test_a_separation_of_the_file_is_never_narrowed(load_blt: Load) -> None:
    # People were promised 25 rounds between two joins: a cohort too large for that cannot run.
    large = variant(load_blt(), population=PEOPLE, cohort_size=1000)
    assert (large.dp.min_separation, large.dp.max_rounds_per_device) == (25, 4)
    with pytest.raises(InfeasibleError, match=r"dp\.min_separation = 25"):
        check_population(large, PEOPLE)


def test_noise_that_was_solved_for_other_figures_is_solved_anew(load: Load, load_blt: Load) -> None:
    for config in (load(new="noise_multiplier = 1.5\n"), load_blt(new="noise_multiplier = 3.5\n")):
        for asked in ({"rounds": 60}, {"cohort_size": 90}):
            assert variant(config, population=PEOPLE, **asked).dp.noise_multiplier is None  # type: ignore[arg-type]


def test_a_goal_keeps_its_share_of_another_cohort(load_blt: Load) -> None:
    goals = {
        size: variant(load_blt(new=GOAL), population=PEOPLE, cohort_size=size).aggregation
        for size in (1, 50, 100, 200)
    }
    assert {size: goal.report_goal for size, goal in goals.items()} == {
        1: 1, 50: 30, 100: 60, 200: 120,
    }  # fmt: skip


def test_more_rounds_than_the_file_allows_are_refused(load: Load) -> None:
    with pytest.raises(PolicyViolationError, match=r"--rounds 101 is above dp\.rounds = 100"):
        variant(load(), population=PEOPLE, rounds=101)


@pytest.mark.parametrize("asked", [{"rounds": 0}, {"rounds": -1}, {"cohort_size": 0}])
def test_no_rounds_or_no_cohort_are_refused(load: Load, asked: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be at least 1"):
        variant(load(), population=PEOPLE, **asked)


def expected_separation(config: PrivacyConfig, changed: PrivacyConfig, population: int) -> int:
    """Return the separation a variant must have."""
    if changed.dp.mechanism == "gaussian":
        return 1
    if config.dp.mechanism == "blt":
        return min(config.dp.min_separation, changed.dp.rounds)
    return min(population // changed.dp.cohort_size, changed.dp.rounds)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    blt=st.booleans(),
    to_blt=st.booleans(),
    rounds=st.integers(1, 100),
    cohort_size=st.integers(1, 150),
    population=st.integers(150, 10**5 - 1),
)
def test_every_variant_reads_back_and_one_with_new_premises_fits_its_population(
    tmp_path: Path,
    load: Load,
    load_blt: Load,
    *,
    blt: bool,
    to_blt: bool,
    rounds: int,
    cohort_size: int,
    population: int,
) -> None:
    config = (load_blt if blt else load)()
    try:
        changed = variant(
            config,
            population=population,
            mechanism="blt" if to_blt else "gaussian",
            rounds=rounds,
            cohort_size=cohort_size,
        )
    except PolicyViolationError as refusal:
        assert "cohort_cap" in str(refusal)  # noqa: PT017 - a refusal may have no other reason
        assert not blt
        return
    assert (changed.dp.rounds, changed.dp.cohort_size) == (rounds, cohort_size)
    assert changed.dp.min_separation == expected_separation(config, changed, population)
    if not (blt and to_blt):
        check_population(changed, population)
    (tmp_path / "v.toml").write_text(to_toml(changed), "utf-8")
    again = PrivacyConfig.load(tmp_path / "v.toml")
    assert again == changed
    assert again.digest() == changed.digest()
    # What is promised to people is not what a run may ask to be otherwise.
    for name in ("unit", "clip_norm", "epsilon_max", "delta", "budget_scope", "tuning_data"):
        assert getattr(changed.dp, name) == getattr(config.dp, name)
    assert changed.purposes == config.purposes


def test_the_noise_of_a_run_is_written_into_its_file(tmp_path: Path, load_blt: Load) -> None:
    config = load_blt()
    done = completed(config, noise_multiplier=3.41, parameters=PARAMETERS)
    assert done.dp.noise_multiplier == 3.41
    assert done.dp.blt is not None
    assert done.dp.blt.parameters() == PARAMETERS
    assert done.digest() != config.digest()
    (tmp_path / "run.toml").write_text(to_toml(done), "utf-8")
    assert PrivacyConfig.load(tmp_path / "run.toml").digest() == done.digest()
    assert completed(done, noise_multiplier=3.41, parameters=PARAMETERS) is done
    assert completed(config, noise_multiplier=3.42, parameters=PARAMETERS) != done


def test_independent_noise_is_written_without_a_strategy(load: Load) -> None:
    done = completed(load(), noise_multiplier=1.25, parameters=None)
    assert (done.dp.noise_multiplier, done.dp.blt) == (1.25, None)
