"""What a person asks of ``homebody simulate``, or of ``homebody train`` on a fleet."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal, get_args

from homebody_models.zoo import NAMES
from homebody_privacy.errors import PolicyViolationError, UsageError
from homebody_privacy.protection import Mechanism, Recipe
from homebody_simulation.availability import Conditions

Runtime = Literal["cohort", "ray", "deploy"]

EngineName = Literal["auto", "reference", "numba", "torch", "triton"]
"""What trains the devices of a simulated node."""

RECIPES: Final[tuple[Recipe, ...]] = get_args(Recipe)
"""How a run may train."""

STATISTICS_MODEL: Final = "two-tower"
"""The one model that statistics make."""

DEADLINE_S = 600.0
"""Seconds to wait for the replies of a round, unless something else is asked for."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One run.

    Attributes:
        data: Name of the data set.
        options: Options of its loader.
        config_file: The privacy config.
        epsilon: User-level epsilon to spend at most; None trains without differential privacy.
        rounds: Rounds, at most the config's; None for as many as the config says.
        cohort: Expected cohort; None for the config's.
        model: Name of the model.
        runtime: How the two Flower apps run.
        mechanism: ``blt`` or ``gaussian``; None for the config's.
        seed: Keys everything random, noise included; None draws from the system.
        name: Name of the run; None makes one.
        runs: Folder of all runs.
        deadline_s: Seconds to wait for the replies of a round.
        fleet: Folder of the fleet that carries the run; runtime ``deploy``, and no other, has one.
        secagg: Whether replies are sealed and summed by secure aggregation; None for the runtime's
            way: ``cohort`` does not, ``ray`` does if the config asks for it, ``deploy`` always.
        recipe: ``statistics``, ``rounds`` or ``both``; None for the config's, and for rounds where
            it has no statistics or the model is none of theirs.
        refit: Train on all but the last event, with settings fixed beforehand: no item is held
            back to judge by, so that the run asks no figure about lists and chooses nothing.
        engine: What trains the devices of a simulation; ``auto`` chooses by model and length.
        threads: Threads an engine uses; None for one a processor. No result depends on it.
        availability: Chance that a simulated device is online when it is asked, above 0.
        drop_out: Chance that one that is online trains and vanishes, below 1.
        slow: Chance that an answer comes after the deadline, below 1.
        policy: The firm's policy a simulation is checked by; a fleet has its own.
        reviewers: Reviewers' keys its approvals are counted by; a fleet has its own.
    """

    data: str = "complete-journey"
    options: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    config_file: Path = Path("privacy.toml")
    epsilon: float | None = 4.0
    rounds: int | None = None
    cohort: int | None = None
    model: str = "two-tower"
    runtime: Runtime = "cohort"
    mechanism: Mechanism | None = None
    seed: int | None = None
    name: str | None = None
    runs: Path = Path("runs")
    deadline_s: float = DEADLINE_S
    fleet: Path | None = None
    secagg: bool | None = None
    recipe: Recipe | None = None
    refit: bool = False
    engine: EngineName = "auto"
    threads: int | None = None
    availability: float = 1.0
    drop_out: float = 0.0
    slow: float = 0.0
    policy: Path | None = None
    reviewers: Path | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be meant, before anything is read.

        Raises:
            UsageError: Naming the option.
        """
        if self.epsilon is not None and not 0.0 < self.epsilon < float("inf"):
            raise UsageError(
                f"--epsilon must be greater than 0, got {self.epsilon}",
                fix="give a positive number, or 'inf' for a reference run without privacy",
            )
        if self.rounds is not None and self.rounds < 1:
            raise UsageError(f"--rounds must be at least 1, got {self.rounds}")
        if self.cohort is not None and self.cohort < 1:
            raise UsageError(f"--cohort must be at least 1, got {self.cohort}")
        if self.model not in NAMES:
            raise UsageError(f"--model must be one of {', '.join(NAMES)}")
        if self.mechanism not in (None, "blt", "gaussian"):
            raise UsageError("--mechanism must be blt or gaussian")
        self._check_recipe()
        check_seed(self.runtime, self.seed)
        self._check_runtime()
        if self.engine not in get_args(EngineName):
            raise UsageError(f"--engine must be one of {', '.join(get_args(EngineName))}")
        if self.threads is not None and self.threads < 1:
            raise UsageError(f"--threads must be at least 1, got {self.threads}")
        self._check_conditions()
        if not 0.0 < self.deadline_s < float("inf"):
            raise UsageError(f"--deadline must be greater than 0, got {self.deadline_s}")
        if self.name is not None and not _NAME.fullmatch(self.name):
            raise UsageError(
                "--name must start with a letter or digit and hold letters, digits, '.', '_', '-'",
                fix="choose another name",
            )

    def _check_recipe(self) -> None:
        if self.recipe not in (None, *RECIPES):
            raise UsageError(f"--recipe must be one of {', '.join(RECIPES)}")
        if self.recipe not in (None, "rounds") and self.model != STATISTICS_MODEL:
            raise UsageError(
                f"--recipe {self.recipe} makes a {STATISTICS_MODEL}, not a {self.model}",
                fix=f"leave --model out, or ask for --recipe rounds with {self.model}",
            )
        if self.recipe == "statistics":
            asked = {"rounds": self.rounds, "cohort": self.cohort, "mechanism": self.mechanism}
            for name, value in asked.items():
                if value is not None:
                    raise UsageError(
                        f"--{name} is for rounds, and --recipe statistics has none",
                        fix=f"leave --{name} out",
                    )
        if self.refit and self.recipe == "both":
            raise UsageError(
                "--refit holds back no item to judge by, and --recipe both chooses by one",
                fix="ask for --recipe statistics or rounds, or leave --refit out",
            )

    def _check_runtime(self) -> None:
        if self.fleet is None and self.runtime not in ("cohort", "ray"):
            raise UsageError(
                "--runtime must be cohort or ray: a fleet (deploy) is not started from here",
                fix="train on a fleet with homebody train --fleet",
            )
        if self.runtime == "deploy" and self.secagg is False:
            raise PolicyViolationError(
                "a fleet sums by secure aggregation: without it the server would see each update",
                fix="leave --no-secagg out; homebody simulate takes it",
            )
        if self.fleet is not None and self.runtime != "deploy":
            raise UsageError(
                "the run is a simulation, no fleet carries it",
                fix="continue it with homebody simulate --resume",
            )

    @property
    def conditions(self) -> Conditions:
        """How reliable the simulated devices are."""
        return Conditions(availability=self.availability, drop_out=self.drop_out, slow=self.slow)

    def _check_conditions(self) -> None:
        try:
            reliable = self.conditions.reliable
        except ValueError as error:
            raise UsageError(f"the devices cannot be simulated so: {error}") from error
        if not reliable and self.fleet is not None:
            raise UsageError(
                "a fleet's devices are as reliable as they are",
                fix="leave --availability, --drop-out and --slow to homebody simulate",
            )

    def is_sealed(self, *, by_config: bool) -> bool:
        """Tell whether replies are sealed and summed by secure aggregation.

        Args:
            by_config: What ``aggregation.secagg`` says.
        """
        if self.runtime == "deploy" or self.secagg is not None:
            return self.runtime == "deploy" or bool(self.secagg)
        return self.runtime == "ray" and by_config

    def run_name(self) -> str:
        """Return the name asked for, or a free one made of data set and epsilon."""
        if self.name is not None:
            return self.name
        data = re.sub(r"[^A-Za-z0-9]+", "-", Path(self.data).stem).strip("-") or "data"
        epsilon = "inf" if self.epsilon is None else f"{self.epsilon:g}"
        stem = f"{data}-eps{epsilon}"
        names = (stem, *(f"{stem}-{i}" for i in range(2, 10_000)))
        return next(name for name in names if not (self.runs / name).exists())


def check_seed(runtime: str, seed: int | None) -> None:
    """Refuse to key a deployed run: whoever knows the seed subtracts the noise.

    Raises:
        PolicyViolationError: If ``runtime`` is ``deploy`` and there is a seed.
    """
    if runtime == "deploy" and seed is not None:
        raise PolicyViolationError(
            "--seed is for simulations: whoever knows the seed of a deployed run subtracts its "
            "noise",
            fix="leave --seed out",
        )
