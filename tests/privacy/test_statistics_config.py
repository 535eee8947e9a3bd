"""[statistics] of privacy.toml: what is refused, and what another recipe makes of a file."""

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from homebody_privacy.blt import BltParameters
from homebody_privacy.config import PrivacyConfig, check_population
from homebody_privacy.errors import InfeasibleError, InvalidFileError, PolicyViolationError
from homebody_privacy.variants import completed, to_toml, variant

Load = Callable[..., PrivacyConfig]

PEOPLE = 6040
BOTH = '[statistics]\nrecipe = "both"\n'
ALONE = '[statistics]\nrecipe = "statistics"\n'
QUALITY = """
[metrics.quality]
purpose = "training"
features = ["ratings"]
noise_multiplier = 20.0
releases_per_run = 2
"""
FIELDS = {
    "window": 0.9,
    "head": 700,
    "popularity_share": 0.08,
    "rounds_share": 0.2,
    "popularity_multiplier": 2.5,
    "gram_multiplier": 0.8,
}
PARAMETERS = BltParameters(theta=(0.9075,), omega=(0.46736,))


def test_a_file_without_the_section_has_rounds_alone(load: Load) -> None:
    config = load()
    assert (config.statistics, config.recipe) == (None, "rounds")


def test_every_field_but_the_recipe_may_be_left_to_the_rule(load_blt: Load) -> None:
    own = load_blt(new=BOTH).statistics
    assert own is not None
    values = own.model_dump()
    assert values.pop("recipe") == "both"
    assert set(values) == set(FIELDS)
    assert set(values.values()) == {None}


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ('recipe = "rounds"', "recipe"),
        ('recipe = "both"\nsurprise = 1', "surprise"),
        ('recipe = "both"\nwindow = 0.0', "window"),
        ('recipe = "both"\nwindow = 1.01', "window"),
        ('recipe = "both"\nwindow = nan', "window"),
        ('recipe = "both"\nwindow = "0.9"', "window"),
        ('recipe = "both"\nhead = -1', "head"),
        ('recipe = "both"\nhead = 1.5', "head"),
        ('recipe = "both"\npopularity_share = 1.0', "popularity_share"),
        ('recipe = "both"\npopularity_share = 0.5\nrounds_share = 0.5', "popularity_share"),
        ('recipe = "statistics"\nrounds_share = 0.1', "rounds_share"),
        ('recipe = "both"\ngram_multiplier = 1.0', "popularity_multiplier"),
        ('recipe = "both"\npopularity_multiplier = 1.0', "gram_multiplier"),
        ('recipe = "both"\npopularity_multiplier = 0.0\ngram_multiplier = 1.0', "multiplier"),
        ("window = 0.9", "recipe"),
    ],
)
def test_a_broken_rule_of_statistics_is_refused_by_its_field(
    load_blt: Load, more: str, field: str
) -> None:
    with pytest.raises(InvalidFileError, match=field) as refusal:
        load_blt(new=f"[statistics]\n{more}\n")
    assert "statistics" in str(refusal.value)


@pytest.mark.parametrize(
    ("more", "word"),
    [
        (f"noise_multiplier = 3.0\n{ALONE}", "noise_multiplier"),
        (f"[dp.blt]\ntheta = [0.9]\nomega = [0.4]\n{ALONE}", r"dp\.blt"),
        (f"{ALONE}{QUALITY}", "releases_per_run must be 1"),
        (f"noise_multiplier = 3.0\n{BOTH}", "popularity_multiplier"),
    ],
)
def test_noise_or_releases_of_rounds_that_are_not_there_are_refused(
    load_blt: Load, more: str, word: str
) -> None:
    with pytest.raises(InvalidFileError, match=word):
        load_blt(new=more)


def test_statistics_alone_take_no_credit_for_coins(load: Load) -> None:
    with pytest.raises(InvalidFileError, match=r"dp\.mechanism must be"):
        load(new=ALONE)
    assert load(new=BOTH).recipe == "both"


def test_a_figure_of_both_may_ask_once_more_than_there_are_rounds(load_blt: Load) -> None:
    many = QUALITY.replace("per_run = 2", "per_run = 101")
    assert load_blt(new=BOTH + many).metrics["quality"].releases_per_run == 101
    with pytest.raises(InvalidFileError, match=r"at most dp\.rounds \+ 1"):
        load_blt(new=BOTH + many.replace("101", "102"))
    with pytest.raises(InvalidFileError, match=r"at most dp\.rounds$"):
        load_blt(new=many)


def test_a_recipe_without_rounds_needs_no_cohort(load_blt: Load) -> None:
    check_population(load_blt(new=ALONE), 50)
    with pytest.raises(InfeasibleError, match="cohort_size"):
        check_population(load_blt(new=BOTH), 50)
    with pytest.raises(PolicyViolationError, match="delta"):
        check_population(load_blt(new=ALONE), 10**6)


@pytest.mark.parametrize("recipe", ["statistics", "rounds", "both"])
@pytest.mark.parametrize(
    ("mechanism", "own"),
    [("blt", ""), ("blt", BOTH), ("blt", ALONE), ("gaussian", ""), ("gaussian", BOTH)],
)
def test_a_file_can_be_asked_for_every_recipe_and_reads_back(
    tmp_path: Path, load: Load, load_blt: Load, mechanism: str, recipe: str, own: str
) -> None:
    config = (load if mechanism == "gaussian" else load_blt)(new=own)
    changed = variant(config, population=PEOPLE, recipe=recipe)  # type: ignore[arg-type]
    assert changed.recipe == recipe
    assert (changed is config) == (recipe == config.recipe)
    kept = "blt" if recipe == "statistics" else config.dp.mechanism
    assert changed.dp.mechanism == kept
    (tmp_path / "v.toml").write_text(to_toml(changed), "utf-8")
    assert PrivacyConfig.load(tmp_path / "v.toml").digest() == changed.digest()


def test_noise_of_another_recipes_budget_is_taken_out(load_blt: Load) -> None:
    done = completed(
        load_blt(new=BOTH + QUALITY), noise_multiplier=3.0, parameters=PARAMETERS, statistics=FIELDS
    )
    assert done.statistics is not None
    assert done.statistics.model_dump() == {"recipe": "both", **FIELDS}
    rounds = variant(done, population=PEOPLE, recipe="rounds")
    assert rounds.statistics is None
    assert rounds.dp == done.dp  # made for the same rounds: alone they cost less
    again = variant(rounds, population=PEOPLE, recipe="both")
    assert (again.statistics, again.dp.noise_multiplier) == (load_blt(new=BOTH).statistics, None)
    alone = variant(done, population=PEOPLE, recipe="statistics")
    assert alone.statistics is not None
    assert alone.statistics.model_dump(exclude_none=True) == {
        "recipe": "statistics",
        "window": 0.9,
        "head": 700,
    }
    assert (alone.dp.noise_multiplier, alone.dp.blt) == (None, None)
    assert alone.metrics["quality"].releases_per_run == 1


def test_figures_that_are_not_released_leave_the_file(load_blt: Load) -> None:
    config = load_blt(new=BOTH + QUALITY)
    assert variant(config, population=PEOPLE, without=["quality"]).metrics == {}
    assert variant(config, population=PEOPLE, without=["active"]) is config


def test_pf_32_what_was_found_by_rule_stands_in_the_file_devices_read(
    tmp_path: Path, load_blt: Load
) -> None:
    config = load_blt(new=ALONE)
    found = {name: value for name, value in FIELDS.items() if name != "rounds_share"}
    done = completed(config, noise_multiplier=None, parameters=None, statistics=found)
    assert done.digest() != config.digest()
    (tmp_path / "run.toml").write_text(to_toml(done), "utf-8")
    written = tomllib.loads((tmp_path / "run.toml").read_text("utf-8"))["statistics"]
    assert written == {"recipe": "statistics", **found}
    assert completed(done, noise_multiplier=None, parameters=None, statistics=found) is done
