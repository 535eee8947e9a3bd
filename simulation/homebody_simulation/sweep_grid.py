"""What a sweep runs: every combination of the values asked for, and the names of its runs.

Nothing is loaded and nothing is run here. The order of the points is that of the options, and does
not depend on which of them finishes first.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, Self, TypeAlias, get_args

from homebody_privacy.config import PrivacyConfig
from homebody_privacy.errors import PolicyViolationError, UsageError
from homebody_privacy.protection import Mechanism, Recipe
from homebody_simulation.request import STATISTICS_MODEL, Request

Tuning = Literal["public", "private"]
"""Whose data a sweep looks at: other people's or nobody's, or the people the model is for."""

EPSILONS: Final = (1.0, 2.0, 4.0, 8.0, None)
SEEDS: Final = (0, 1, 2)
MOST_POINTS: Final = 2_000
QUICK_ROUNDS: Final = 10
"""Most rounds of a point of a quick sweep."""

Curve: TypeAlias = tuple[str, str | None, str | None]
"""Model, mechanism and recipe: what epsilon is compared within."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One run of a sweep.

    Attributes:
        epsilon: User-level epsilon; None trains without differential privacy, as a reference.
        model: Name of the model.
        mechanism: ``blt`` or ``gaussian``; None for the config's, and where there is none.
        recipe: ``statistics``, ``rounds`` or ``both``; None for the config's.
        seed: Keys everything random in the run, noise included.
    """

    epsilon: float | None
    model: str
    mechanism: Mechanism | None
    recipe: Recipe | None
    seed: int

    @property
    def curve(self) -> Curve:
        """Model, mechanism and recipe."""
        return (self.model, self.mechanism, self.recipe)

    @property
    def name(self) -> str:
        """Name of the run, the same each time: a finished point is found by it.

        Examples:
            >>> Point(epsilon=4.0, model="two-tower", mechanism=None, recipe=None, seed=0).name
            'eps4-two-tower-s0'
        """
        epsilon = "inf" if self.epsilon is None else f"{self.epsilon:g}"
        parts = (f"eps{epsilon}", self.model, self.mechanism, self.recipe, f"s{self.seed}")
        return "-".join(part for part in parts if part is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """What a sweep was asked for. Public.

    Attributes:
        data: Name of the data set.
        options: Options of its loader, as JSON values.
        epsilons: User-level epsilons, ascending, None (no differential privacy) last.
        models: Names of models.
        mechanisms: ``blt``, ``gaussian`` or None for the config's.
        recipes: ``statistics``, ``rounds``, ``both`` or None for the config's.
        seeds: Noise seeds, different and at least 0.
        rounds: Rounds of each run; None for the config's.
        cohort: Expected cohort of each run; None for the config's.
        tuning: Whether what is chosen by the sweep is charged (``private``) or the data is declared
            public.
        quick: Whether the grid was thinned for a first look.
    """

    data: str = "complete-journey"
    options: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    epsilons: tuple[float | None, ...] = EPSILONS
    models: tuple[str, ...] = (STATISTICS_MODEL,)
    mechanisms: tuple[Mechanism | None, ...] = (None,)
    recipes: tuple[Recipe | None, ...] = (None,)
    seeds: tuple[int, ...] = SEEDS
    rounds: int | None = None
    cohort: int | None = None
    tuning: Tuning = "public"
    quick: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be swept, before anything is read.

        Raises:
            UsageError: Naming the option.
            PolicyViolationError: If private data is to be looked at without noise.
        """
        for name in ("epsilons", "models", "mechanisms", "recipes", "seeds"):
            values = getattr(self, name)
            if not values or len(set(values)) != len(values):
                raise UsageError(f"--{_OPTION[name]} must name at least one value, each once")
        if min(self.seeds) < 0:
            raise UsageError("--seeds must be at least 0")
        if self.tuning not in get_args(Tuning):
            raise UsageError("--tuning must be public or private")
        finite = [value for value in self.epsilons if value is not None]
        if not finite:
            raise UsageError(
                "--epsilon must name an epsilon besides inf: one reference is no curve"
            )
        if sorted(finite) != finite or None in self.epsilons[:-1]:
            raise UsageError("--epsilon must be given in ascending order, inf last")
        if self.tuning == "private" and None in self.epsilons:
            raise PolicyViolationError(
                "--tuning private leaves no room for inf: a run without noise cannot be charged",
                fix="leave inf out, or sweep on public data with --tuning public",
            )
        self._check_points()

    def _check_points(self) -> None:
        points = self.points()
        if len(points) > MOST_POINTS:
            raise UsageError(f"the sweep has {len(points):,} runs, more than {MOST_POINTS:,}")
        if len({point.name for point in points}) != len(points):
            raise UsageError("--epsilon names two values that read the same")
        for point in points:
            self.request(point, config=Path("privacy.toml"), runs=Path("runs"))

    def points(self) -> tuple[Point, ...]:
        """Return every run, references without differential privacy last, each once.

        On public data each model and recipe has a reference, so that there is something to compare
        with. Statistics alone have no rounds, hence no mechanism.
        """
        found: dict[Point, None] = {}
        shapes = list(product(self.models, self.mechanisms, self.recipes))
        for epsilon, (model, mechanism, recipe) in product(self._epsilons(), shapes):
            if recipe in ("statistics", "both") and model != STATISTICS_MODEL:
                if {None, "rounds"} & set(self.recipes):
                    continue  # the model is there with the recipe it has
                raise UsageError(f"--recipe {recipe} makes a {STATISTICS_MODEL}, not a {model}")
            bare = epsilon is None or recipe == "statistics"
            for seed in self.seeds:
                point = Point(
                    epsilon=epsilon,
                    model=model,
                    mechanism=None if bare else mechanism,
                    recipe=recipe,
                    seed=seed,
                )
                found[point] = None
        return tuple(found)

    def _epsilons(self) -> tuple[float | None, ...]:
        known = self.tuning == "private" or None in self.epsilons
        return self.epsilons if known else (*self.epsilons, None)

    def request(self, point: Point, *, config: Path, runs: Path) -> Request:
        """Return the run of a point; it is checked as any other is.

        Raises:
            UsageError: If the run cannot be meant.
        """
        alone = point.recipe == "statistics"
        return Request(
            data=self.data,
            options=self.options,
            config_file=config,
            epsilon=point.epsilon,
            rounds=None if alone else self.rounds,
            cohort=None if alone else self.cohort,
            model=point.model,
            mechanism=point.mechanism,
            recipe=point.recipe,
            seed=point.seed,
            threads=1,  # the points already share the cores
            name=point.name,
            runs=runs,
        )

    def thinned(self, config: PrivacyConfig) -> Self:
        """Return a grid for a first look: three epsilons, one seed, few rounds."""
        finite = [value for value in self.epsilons if value is not None]
        kept = sorted({finite[0], finite[len(finite) // 2], finite[-1]})
        rounds = min(self.rounds or config.dp.rounds, QUICK_ROUNDS)
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        values["epsilons"] = (*kept, *([None] if None in self.epsilons else []))
        return type(self)(**{**values, "seeds": self.seeds[:1], "rounds": rounds, "quick": True})

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        lists = {name: list(value) for name, value in values.items() if isinstance(value, tuple)}
        return {**values, **lists, "options": dict(self.options)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the grid that ``to_dict`` wrote down.

        Raises:
            TypeError: If a field is missing or unknown.
            UsageError: If a value is refused.
        """
        listed: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
        }
        return cls(**listed)


_OPTION: Final = {
    "epsilons": "epsilon",
    "models": "model",
    "mechanisms": "mechanism",
    "recipes": "recipe",
    "seeds": "seeds",
}


def check_tuning(tuning: Tuning | None, config: PrivacyConfig) -> Tuning:
    """Return whose data is looked at: what was said, or what the config says.

    Raises:
        PolicyViolationError: If less is said than the config does, or the budget is a lifetime's.
    """
    if config.dp.budget_scope == "lifetime":
        raise PolicyViolationError(
            'dp.budget_scope = "lifetime": a sweep would spend these people\'s budget run by run',
            fix='sweep with a config of budget_scope = "run" on public or synthetic data',
        )
    declared: Tuning = "private" if config.dp.tuning_data == "private" else "public"
    if tuning == "public" and declared == "private":
        raise PolicyViolationError(
            'dp.tuning_data = "private", and --tuning public would charge nothing',
            fix="leave --tuning out, or have another tuning_data approved in privacy.toml",
        )
    return tuning or declared


def parse_seeds(text: str) -> tuple[int, ...]:
    """Return the seeds of ``N`` (0 to N-1) or of a list with commas.

    Raises:
        UsageError: If it is neither.

    Examples:
        >>> parse_seeds("3"), parse_seeds("7,")
        ((0, 1, 2), (7,))
    """
    words = [word.strip() for word in text.split(",")]
    try:
        numbers = [int(word) for word in words if word]
    except ValueError:
        numbers = []
    if len(words) == 1 and numbers:
        numbers = list(range(numbers[0]))
    if not numbers:
        raise UsageError(
            f"--seeds must be a number above 0, or seeds with commas, got {text!r}",
            fix="for example --seeds 3, or --seeds 7,8,9",
        )
    return tuple(numbers)


def parse_epsilons(text: str) -> tuple[float | None, ...]:
    """Return the epsilons of a list with commas, ascending, None for ``inf`` last.

    Raises:
        UsageError: If one is no number above 0.

    Examples:
        >>> parse_epsilons("inf,4,1")
        (1.0, 4.0, None)
    """
    try:
        numbers = [float(word) for word in _words(text)]
    except ValueError:
        numbers = [math.nan]
    if not numbers or not all(number > 0.0 for number in numbers):  # false for NaN too
        raise UsageError(
            f"--epsilon must be numbers above 0 or 'inf', with commas, got {text!r}",
            fix="for example --epsilon 1,2,4,8,inf",
        )
    return in_order(None if number == math.inf else number for number in numbers)


def in_order(epsilons: Iterable[float | None]) -> tuple[float | None, ...]:
    """Return epsilons ascending, None last."""
    return tuple(sorted(epsilons, key=lambda value: math.inf if value is None else value))


def parse_names(text: str | None) -> tuple[str, ...] | None:
    """Return the words of a list with commas; None for None."""
    return None if text is None else tuple(_words(text))


def _words(text: str) -> Iterator[str]:
    return (word.strip() for word in text.split(",") if word.strip())
