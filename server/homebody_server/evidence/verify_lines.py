"""What a check of a record found: a line each, and the exit code they come to."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

Mark = Literal["ok", "WRONG", "note"]

INVALID: Final = 2
POLICY: Final = 10
BUDGET: Final = 11
INTEGRITY: Final = 14

ORDER: Final = (INVALID, INTEGRITY, BUDGET, POLICY, 12)
"""Exit codes of what is wrong; of several the first counts."""


@dataclass(frozen=True, slots=True)
class Line:
    """One finding.

    Attributes:
        mark: ``ok``: checked and found so. ``WRONG``: checked and found otherwise. ``note``:
            something to know, which is neither.
        text: What was found, in one sentence without a full stop. Public.
        code: Exit code of what is wrong; 0 for the others.
    """

    mark: Mark
    text: str
    code: int = 0

    def __post_init__(self) -> None:
        """Refuse what would be wrong without a code, or the other way round."""
        if (self.mark == "WRONG") != (self.code != 0) or self.code not in (0, *ORDER):
            raise ValueError("a line has an exit code exactly when something is wrong")

    def __str__(self) -> str:
        """Return the line as it is printed."""
        return f"  {self.mark:<5} {self.text}"


def ok(text: str) -> Line:
    """Return the line of what was found as it should be."""
    return Line("ok", text)


def note(text: str) -> Line:
    """Return a line of something to know."""
    return Line("note", text)


def wrong(text: str, code: int = INTEGRITY) -> Line:
    """Return the line of what is wrong."""
    return Line("WRONG", text, code)


@dataclass(frozen=True, slots=True)
class Verification:
    """What the record of a run, or a pack, is worth.

    Attributes:
        lines: What was found, in the order it was looked at.
        facts: Figures and digests that were computed on the way, by name, as JSON values. Public.
    """

    lines: tuple[Line, ...]
    facts: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def exit_code(self) -> int:
        """0 where nothing is wrong; else the first of ``ORDER`` that something has."""
        return exit_code(self.lines)

    @property
    def is_verified(self) -> bool:
        """Whether nothing is wrong."""
        return self.exit_code == 0

    def __str__(self) -> str:
        """Return all lines, and the verdict."""
        verdict = "verified" if self.is_verified else "NOT VERIFIED"
        return "\n".join([*map(str, self.lines), verdict])

    def to_dict(self) -> dict[str, Any]:
        """Return what ``--format json`` prints."""
        return {
            "verified": self.is_verified,
            "exit_code": self.exit_code,
            "lines": [{"mark": one.mark, "text": one.text, "code": one.code} for one in self.lines],
            "facts": dict(self.facts),
        }


def exit_code(lines: Iterable[Line]) -> int:
    """Return the exit code that lines come to.

    Examples:
        >>> exit_code([ok("all"), wrong("cap", BUDGET), wrong("root")])
        14
    """
    found = {one.code for one in lines}
    return next((code for code in ORDER if code in found), 0)
