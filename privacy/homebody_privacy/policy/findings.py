"""What a check found: the rule, the field, the reason, and what the whole comes to."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, get_args

from homebody_privacy.planned import PlannedLoss

Level = Literal["fail", "warn"]
"""``fail`` refuses a deployment; ``warn`` is shown."""

_EXITS: Final = (2, 14, 11, 10, 12)
"""Of several reasons to refuse, the first of these is the exit code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A rule that a config does not keep. Public: it names fields, never people.

    Attributes:
        rule: Stable id, such as ``DP-005``.
        level: Whether it refuses or warns.
        path: Field that is at fault, dotted; for firm-written expressions ``privacy.toml``.
        message: What is wrong and why it matters, in one sentence.
        ref: Law, standard or paper it rests on; empty where a firm named none.
        source: ``baseline``, a profile's name, or the name of the firm's policy.
        waived: Whether a signed, unexpired waiver lifts it.
        note: What became of a waiver; empty without one.
        exit_code: Exit code of a check this alone refuses.
    """

    rule: str
    level: Level
    path: str
    message: str
    ref: str
    source: str = "baseline"
    waived: bool = False
    note: str = ""
    exit_code: int = 10

    def __post_init__(self) -> None:
        """Refuse a level or an exit code there is none of."""
        if self.level not in get_args(Level):
            raise ValueError(f"level must be fail or warn, got {self.level!r}")
        if self.exit_code not in _EXITS:
            raise ValueError(f"exit_code must be one of {_EXITS}, got {self.exit_code}")

    @property
    def refuses(self) -> bool:
        """Whether nothing may be deployed because of it."""
        return self.level == "fail" and not self.waived


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """Everything a check says of one config.

    Attributes:
        config_sha256: Digest of the config, hex.
        policy: Name of the firm's policy; empty for the baseline alone.
        policy_sha256: Its digest, hex; empty likewise.
        profiles: Names of the rule sets that were added, sorted.
        findings: What was found, in the order of the registry, the firm's own last.
        planned: The planned privacy loss of a run; None where it is withheld or not known yet.
        withheld: Ids of the failed rules that are premises of the figure: why none is shown.
    """

    config_sha256: str
    policy: str
    policy_sha256: str
    profiles: tuple[str, ...]
    findings: tuple[Finding, ...]
    planned: PlannedLoss | None
    withheld: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse a figure beside a premise that failed."""
        if self.planned is not None and self.withheld:
            raise ValueError("a figure whose premise failed is never shown")

    @property
    def failed(self) -> int:
        """How many findings refuse a deployment."""
        return sum(finding.refuses for finding in self.findings)

    @property
    def warned(self) -> int:
        """How many findings warn."""
        return sum(finding.level == "warn" for finding in self.findings)

    @property
    def waived(self) -> int:
        """How many findings a waiver lifts."""
        return sum(finding.waived for finding in self.findings)

    @property
    def exit_code(self) -> int:
        """0 if a deployment may go on, else what stops it first."""
        return first_exit(finding.exit_code for finding in self.findings if finding.refuses)


def first_exit(codes: Iterable[int]) -> int:
    """Return the exit code of several reasons: the first of 2, 14, 11, 10, 12; 0 without any.

    Examples:
        >>> first_exit([12, 10]), first_exit([])
        (10, 0)
    """
    found = set(codes)
    return next((code for code in _EXITS if code in found), 0)
