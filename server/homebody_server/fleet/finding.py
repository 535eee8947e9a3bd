"""One line of a preflight: what was looked at, what is wrong with it, what helps."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from homebody_privacy.errors import DependencyError, InvalidFileError, PolicyViolationError


class Severity(StrEnum):
    """How much a finding matters."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of a preflight.

    Attributes:
        check: Stable name of what was looked at, such as ``server-certificate``.
        severity: Whether it is as it should be; an error keeps the fleet down.
        what: What was found. Names files and roles, no device's id.
        why: What it would break; "" where nothing.
        fix: What to do; "" where nothing.
        exit_code: Exit code of an error; 0 for the others.
    """

    check: str
    severity: Severity
    what: str
    why: str = ""
    fix: str = ""
    exit_code: int = 0

    def to_record(self) -> dict[str, str]:
        """Return the line as a JSON object."""
        return {
            "check": self.check,
            "severity": self.severity.value,
            "what": self.what,
            "why": self.why,
            "fix": self.fix,
        }


def fine(check: str, what: str) -> Finding:
    """Return a finding that is as it should be."""
    return Finding(check=check, severity=Severity.OK, what=what)


def warning(check: str, what: str, *, why: str, fix: str) -> Finding:
    """Return a finding to know about."""
    return Finding(check=check, severity=Severity.WARNING, what=what, why=why, fix=fix)


def policy(check: str, what: str, *, why: str, fix: str) -> Finding:
    """Return an error of what must be so (exit 10)."""
    return _error(PolicyViolationError.exit_code, check, what, why, fix)


def wrong_file(check: str, what: str, *, why: str, fix: str) -> Finding:
    """Return an error of a file (exit 2)."""
    return _error(InvalidFileError.exit_code, check, what, why, fix)


def machine(check: str, what: str, *, why: str, fix: str) -> Finding:
    """Return an error of the machine (exit 1)."""
    return _error(DependencyError.exit_code, check, what, why, fix)


def exit_code_of(findings: Iterable[Finding]) -> int:
    """Return the exit code of a preflight: its gravest error's, 0 without one.

    Examples:
        >>> exit_code_of([fine("clock", "right"), machine("port", "taken", why="", fix="")])
        1
    """
    return max((finding.exit_code for finding in findings), default=0)


def _error(code: int, check: str, what: str, why: str, fix: str) -> Finding:
    return Finding(
        check=check, severity=Severity.ERROR, what=what, why=why, fix=fix, exit_code=code
    )
