"""What a sweep runs: every combination once, under names that stay."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homebody_privacy.config import PrivacyConfig
from homebody_privacy.errors import HomebodyError, PolicyViolationError, UsageError
from homebody_privacy.protection import Mechanism, Recipe
from homebody_simulation.sweep_grid import (
    Grid,
    check_tuning,
    in_order,
    parse_epsilons,
    parse_names,
    parse_seeds,
)

EPSILONS = st.lists(
    st.one_of(st.none(), st.integers(1, 64).map(lambda i: i / 4)), min_size=1, unique=True
)

Mechanisms = tuple[Mechanism | None, ...]
Recipes = tuple[Recipe | None, ...]
MECHANISMS: list[Mechanisms] = [(None,), ("blt",), ("blt", "gaussian")]
RECIPES: list[Recipes] = [(None,), ("rounds",), ("statistics", "both")]


@given(
    EPSILONS.filter(lambda values: values != [None]),
    st.lists(st.integers(0, 99), min_size=1, max_size=4, unique=True),
    st.sampled_from(MECHANISMS),
    st.sampled_from(RECIPES),
)
def test_every_point_has_a_name_of_its_own_and_is_a_run(
    epsilons: list[float | None], seeds: list[int], mechanisms: Mechanisms, recipes: Recipes
) -> None:
    grid = Grid(
        epsilons=in_order(epsilons), seeds=tuple(seeds), mechanisms=mechanisms, recipes=recipes
    )
    points = grid.points()
    assert len({point.name for point in points}) == len(points)
    for point in points:
        request = grid.request(point, config=Path("c"), runs=Path("r"))
        assert (request.name, request.seed) == (point.name, point.seed)
    finite = {point.epsilon for point in points if point.epsilon is not None}
    assert finite == {epsilon for epsilon in epsilons if epsilon is not None}


@given(EPSILONS.filter(lambda values: values != [None]))
def test_a_grid_is_read_as_it_was_written(epsilons: list[float | None]) -> None:
    grid = Grid(epsilons=in_order(epsilons), options={"devices": 30}, rounds=3)
    assert Grid.from_dict(grid.to_dict()) == grid


def test_public_data_has_a_reference_without_noise_and_private_data_has_none() -> None:
    public = Grid(epsilons=(1.0, 8.0), seeds=(0,))
    private = Grid(epsilons=(1.0, 8.0), seeds=(0,), tuning="private")
    assert [point.epsilon for point in public.points()] == [1.0, 8.0, None]
    assert [point.epsilon for point in private.points()] == [1.0, 8.0]


def test_a_reference_is_run_once_whatever_the_mechanisms() -> None:
    points = Grid(epsilons=(8.0, None), mechanisms=("blt", "gaussian"), seeds=(0,)).points()
    assert [point.name for point in points] == [
        "eps8-two-tower-blt-s0",
        "eps8-two-tower-gaussian-s0",
        "epsinf-two-tower-s0",
    ]


def test_statistics_have_neither_rounds_nor_a_mechanism() -> None:
    grid = Grid(recipes=("statistics", "rounds"), mechanisms=("blt", "gaussian"), rounds=3)
    alone = {point for point in grid.points() if point.recipe == "statistics"}
    assert {point.mechanism for point in alone} == {None}
    assert len(alone) == 5 * 3


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"epsilons": ()}, "--epsilon"),
        ({"epsilons": (None,)}, "besides inf"),
        ({"epsilons": (4.0, 1.0)}, "ascending"),
        ({"epsilons": (1.0, 1.0)}, "each once"),
        ({"epsilons": (1.0, 1.0 + 1e-12)}, "read the same"),
        ({"epsilons": (-1.0,)}, "greater than 0"),
        ({"seeds": ()}, "--seeds"),
        ({"seeds": (-1,)}, "--seeds"),
        ({"models": ("no-such",)}, "--model"),
        ({"mechanisms": ("tree",)}, "--mechanism"),
        ({"recipes": ("soup",)}, "--recipe"),
        ({"models": ("popularity",), "recipes": ("statistics",)}, "--recipe"),
        ({"rounds": 0}, "--rounds"),
        ({"tuning": "perhaps"}, "--tuning"),
        ({"seeds": tuple(range(900))}, "more than 2,000"),
        ({"tuning": "private", "epsilons": (1.0, None)}, "cannot be charged"),
    ],
)
def test_what_cannot_be_swept_is_refused(values: dict[str, Any], named: str) -> None:
    with pytest.raises(HomebodyError, match=named):
        Grid(**values)


def test_a_model_that_statistics_do_not_make_is_swept_by_rounds() -> None:
    grid = Grid(models=("two-tower", "popularity"), recipes=("both", "rounds"), seeds=(0,))
    recipes = {point.recipe for point in grid.points() if point.model == "popularity"}
    assert recipes == {"rounds"}


def test_a_quick_grid_is_a_part_of_the_whole(write_config: Callable[..., Path]) -> None:
    whole = Grid(epsilons=(0.5, 1.0, 2.0, 4.0, 8.0, None), seeds=(3, 4))
    quick = whole.thinned(PrivacyConfig.load(write_config(rounds=20)))
    assert (quick.epsilons, quick.seeds, quick.rounds) == ((0.5, 2.0, 8.0, None), (3,), 10)
    assert quick.quick
    assert len(quick.points()) < len(whole.points()) / 2


def test_tuning_is_what_the_config_says_and_never_less(write_config: Callable[..., Path]) -> None:
    public = PrivacyConfig.load(write_config())
    private = PrivacyConfig.load(write_config(tuning_data="private", tuning_runs=3))
    assert check_tuning(None, public) == "public"
    assert check_tuning("private", public) == "private"
    assert check_tuning(None, private) == "private"
    with pytest.raises(PolicyViolationError, match="would charge nothing"):
        check_tuning("public", private)


def test_a_lifetime_budget_is_not_swept_away(write_config: Callable[..., Path]) -> None:
    config = PrivacyConfig.load(write_config(budget_scope="lifetime"))
    with pytest.raises(PolicyViolationError, match="lifetime"):
        check_tuning("public", config)


def test_lists_of_the_command_line_are_read() -> None:
    assert parse_epsilons("8, 0.5,inf") == (0.5, 8.0, None)
    assert parse_seeds("2") == (0, 1)
    assert parse_seeds("5,9") == (5, 9)
    assert parse_names("blt, gaussian") == ("blt", "gaussian")
    assert parse_names(None) is None


@pytest.mark.parametrize("text", ["", "four", "0", "-1", "nan", "1,,x"])
def test_an_epsilon_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--epsilon"):
        parse_epsilons(text)


@pytest.mark.parametrize("text", ["", "few", "0", "1.5"])
def test_seeds_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--seeds"):
        parse_seeds(text)
