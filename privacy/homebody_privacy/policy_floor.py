"""A device's own floor: what it asks of any config, whoever approved it; ``floor.toml``.

The floor comes with the app or lies in the node's own folder, never with a config. Two reviewers
and the operator together cannot make a device take part in less than it asks for. Without a file
it is the baseline of the policy::

    schema = "floor/1"
    max_epsilon = 4.0
    max_delta = 1e-5
    min_report_goal = 100
    min_separation = 1
    max_joins = 1000
    min_approvals = 2
    require_secagg = true
"""

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from .durable import write_durably
from .errors import BelowFloorError, InvalidFileError

if TYPE_CHECKING:
    from .config import PrivacyConfig

SCHEMA: Final = "floor/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyFloor:
    """The least a device asks for. Public.

    Attributes:
        max_epsilon: Most that ``dp.epsilon_max`` may be (NIST SP 800-226: values above some ones
            say little).
        max_delta: Most that ``dp.delta`` may be.
        min_report_goal: Fewest replies of a sum: ``aggregation.report_goal``; where the config has
            none, its expected cohort, and without rounds its population.
        min_separation: Least ``dp.min_separation``.
        max_joins: Most ``dp.max_rounds_per_device``.
        min_approvals: Fewest approvals, whatever ``approval.required`` says.
        require_secagg: Whether sums must be secret.
    """

    max_epsilon: float = 4.0
    max_delta: float = 1e-5
    min_report_goal: int = 100
    min_separation: int = 1
    max_joins: int = 1000
    min_approvals: int = 2
    require_secagg: bool = True

    def __post_init__(self) -> None:
        """Refuse a floor that says nothing."""
        for name, least in (("min_report_goal", 1), ("min_separation", 1), ("max_joins", 1)):
            if type(getattr(self, name)) is not int or getattr(self, name) < least:
                raise ValueError(f"{name} must be a whole number from {least}")
        if type(self.min_approvals) is not int or self.min_approvals < 1:
            raise ValueError("min_approvals must be at least 1")
        if type(self.require_secagg) is not bool:
            raise ValueError("require_secagg must be true or false")
        if not 0.0 < self.max_epsilon < float("inf") or not 0.0 < self.max_delta < 1.0:
            raise ValueError("max_epsilon must be above 0, max_delta between 0 and 1")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a floor; without a file the usual one.

        Raises:
            InvalidFileError: If there is a file and it is none.
        """
        try:
            values: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            return cls()
        except OSError as error:
            raise InvalidFileError(f"{path}: cannot be read: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InvalidFileError(f"{path}: not TOML: {error}") from error
        known = {one.name for one in fields(cls)}
        if values.pop("schema", None) != SCHEMA or not values.keys() <= known:
            raise InvalidFileError(
                f"{path}: a floor has schema = {SCHEMA!r} and {', '.join(sorted(known))}"
            )
        try:
            return cls(**values)
        except (TypeError, ValueError) as error:
            raise InvalidFileError(f"{path}: {error}") from error

    def save(self, path: Path) -> None:
        """Write the floor, in one step, readable by its owner alone."""
        lines = [f'schema = "{SCHEMA}"']
        for one in fields(self):
            value = getattr(self, one.name)
            lines.append(f"{one.name} = {str(value).lower() if value in (True, False) else value}")
        write_durably(path, ("\n".join(lines) + "\n").encode(), mode=0o600)

    def broken_by(self, config: "PrivacyConfig") -> tuple[str, ...]:
        """Return in what a config is weaker than the floor, in words; nothing if it is not."""
        dp, sums = config.dp, config.aggregation
        goal = _least_sum(config)
        broken = {
            f"dp.epsilon_max is {dp.epsilon_max:g}, the device asks for at most "
            f"{self.max_epsilon:g}": dp.epsilon_max > self.max_epsilon,
            f"dp.delta is {dp.delta:g}, the device asks for at most {self.max_delta:g}": dp.delta
            > self.max_delta,
            f"a sum may be over {goal} devices, the device asks for at least "
            f"{self.min_report_goal}": goal < self.min_report_goal,
            f"dp.min_separation is {dp.min_separation}, the device asks for at least "
            f"{self.min_separation}": dp.min_separation < self.min_separation,
            f"dp.max_rounds_per_device is {dp.max_rounds_per_device}, the device asks for at most "
            f"{self.max_joins}": dp.max_rounds_per_device > self.max_joins,
            "aggregation.secagg is off": self.require_secagg and not sums.secagg,
        }
        return tuple(why for why, wrong in broken.items() if wrong)

    def require(self, config: "PrivacyConfig") -> None:
        """Refuse a config that is weaker than the floor.

        Raises:
            BelowFloorError: Naming each field.
        """
        broken = self.broken_by(config)
        if broken:
            raise BelowFloorError("; ".join(broken))


def _least_sum(config: "PrivacyConfig") -> int:
    """Return the fewest devices a sum of a config is meant to be over."""
    if config.aggregation.report_goal is not None:
        return config.aggregation.report_goal
    if config.recipe == "statistics":
        return config.activity.population
    return config.dp.cohort_size
