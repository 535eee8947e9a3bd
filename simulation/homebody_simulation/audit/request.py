"""What a person asks of ``homebody audit``; loads nothing heavy."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

from homebody_privacy.errors import UsageError
from homebody_privacy.protection import Mechanism

Tier = Literal["conformance", "one-run", "membership"]

TIERS: Final[tuple[Tier, ...]] = get_args(Tier)
LEAST_CANARIES: Final = 32
"""With fewer, all coins may fall on one side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRequest:
    """One audit.

    Attributes:
        config_file: The privacy config to audit.
        mechanism: ``blt`` or ``gaussian``; None for the config's.
        epsilon: User-level epsilon the run is planned for, as for ``homebody simulate``.
        canaries: Planted devices, at least 32; they are part of the population.
        rounds: Rounds; None for the config's.
        population: Synthetic devices, canaries included.
        cohort: Expected devices a round; None for the config's.
        tiers: What to do.
        shadows: Shadow models of the membership attack, at least 2.
        model: Model of the membership attack: small ones learn the least.
        seed: Keys everything random, noise included; None draws from the system.
    """

    config_file: Path = Path("privacy.toml")
    mechanism: Mechanism | None = None
    epsilon: float = 4.0
    canaries: int = 1000
    rounds: int | None = None
    population: int = 2500
    cohort: int | None = None
    tiers: tuple[Tier, ...] = ("conformance",)
    shadows: int = 16
    model: str = "popularity"
    seed: int | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            UsageError: Naming the option.
        """
        if self.canaries < LEAST_CANARIES:
            raise UsageError(f"--canaries must be at least {LEAST_CANARIES}, got {self.canaries}")
        if self.population <= self.canaries:
            raise UsageError(
                f"--population must be above --canaries ({self.canaries}), got {self.population}",
                fix="canaries are devices of the population: ask for more devices",
            )
        if not self.tiers or not set(self.tiers) <= set(TIERS):
            raise UsageError(f"--tier must be one of {', '.join(TIERS)}, or all")
        if self.shadows < 2:  # noqa: PLR2004 below two there is no spread to compare with
            raise UsageError(f"--shadows must be at least 2, got {self.shadows}")


def parse_tier(text: str) -> tuple[Tier, ...]:
    """Return the tiers a person names; ``all`` is every one.

    Raises:
        UsageError: If there is no such tier.

    Examples:
        >>> parse_tier("one-run")
        ('one-run',)
    """
    chosen = tuple(tier for tier in TIERS if text in (tier, "all"))
    if not chosen:
        raise UsageError(f"--tier must be one of {', '.join(TIERS)}, or all, got {text!r}")
    return chosen
