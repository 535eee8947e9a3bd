"""Every refusal of homebody, with its exit code and what to do about it.

======================  ====  =================  ==========================================
class                   exit  code               what to do
======================  ====  =================  ==========================================
HomebodyError              1  (abstract)
├ UsageError               2  usage              correct the named option
├ InvalidFileError         2  invalid-file       correct the named line
├ MissingExtraError        1  missing-extra      install the named extra
├ DependencyError          1  dependency-failed  run homebody doctor
├ PolicyViolationError    10  policy-violation   change the config or ask for a waiver
│ ├ NotApprovedError      10  not-approved       let reviewers approve what is to run
│ ├ BelowFloorError       10  below-floor        protect people at least as the device asks
│ └ RolledBackError       10  config-rolled-back raise revision; a lower one is never taken
├ BudgetExhaustedError    11  budget-exhausted   stop; nothing was released
├ InfeasibleError         12  infeasible         more devices or a larger epsilon
├ ConsentMissingError     13  consent-missing    ask the person; never retry
├ IntegrityError          14  integrity-failure  do not use the file; keep it
│ ├ LedgerRefusedError    14  ledger-refused     do not answer this server; tell its operator
│ └ SealRefusedError      14  seal-refused       drop the message; never use a part of it
└ TooFewDevicesError      15  too-few-devices    wait; the round is void
======================  ====  =================  ==========================================

Codes are never reused. A message says what and why, names field and file, and never holds user
data, keys or vectors.
"""

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:  # the package raises these errors, so it is never loaded from here
    from .secagg.reasons import AbortReason, VoidReason


class HomebodyError(Exception):
    """Base of every refusal; a subclass sets ``exit_code``, ``code`` and ``fix``.

    Args:
        message: What was refused and why, in one or two sentences. Public.
        fix: What to do about it; None keeps the class's general advice.
    """

    exit_code: ClassVar[int] = 1
    code: ClassVar[str] = "error"
    fix: str = ""

    def __init__(self, message: str, *, fix: str | None = None) -> None:
        """Keep the message and, where given, the more precise fix."""
        super().__init__(message)
        if fix is not None:
            self.fix = fix

    def __init_subclass__(cls) -> None:
        """Refuse an error class that does not say how it ends and what helps.

        Raises:
            TypeError: If ``exit_code``, ``code`` or ``fix`` is not set by the class itself.
        """
        super().__init_subclass__()
        missing = [name for name in ("exit_code", "code", "fix") if name not in vars(cls)]
        if missing:
            raise TypeError(f"{cls.__name__} must set {', '.join(missing)}")


class UsageError(HomebodyError):
    """An option or argument that cannot be meant."""

    exit_code = 2
    code = "usage"
    fix = "correct the named option"


class InvalidFileError(HomebodyError):
    """A file that is missing, unreadable or breaks its schema."""

    exit_code = 2
    code = "invalid-file"
    fix = "correct the named line"


class MissingExtraError(HomebodyError):
    """A command whose optional dependencies are not installed."""

    exit_code = 1
    code = "missing-extra"
    fix = "install the named extra"


class DependencyError(HomebodyError):
    """A program homebody rests on that did not do its part."""

    exit_code = 1
    code = "dependency-failed"
    fix = "run homebody doctor"


class PolicyViolationError(HomebodyError):
    """A configuration that may not run."""

    exit_code = 10
    code = "policy-violation"
    fix = "change the config or ask for a waiver"


class NotApprovedError(PolicyViolationError):
    """A config or an app that not enough people who may sign have approved, or no longer."""

    exit_code = 10
    code = "not-approved"
    fix = "let the reviewers sign"


class BelowFloorError(PolicyViolationError):
    """A config that protects people less than the device asks for."""

    exit_code = 10
    code = "below-floor"
    fix = "protect people at least as the device's floor.toml asks"


class RolledBackError(PolicyViolationError):
    """A config of a lower revision than one the device has seen."""

    exit_code = 10
    code = "config-rolled-back"
    fix = "raise revision"


class BudgetExhaustedError(HomebodyError):
    """A release that would pass the privacy budget; it was not made."""

    exit_code = 11
    code = "budget-exhausted"
    fix = "stop; nothing was released"


class InfeasibleError(HomebodyError):
    """A plan no population of this size can carry out."""

    exit_code = 12
    code = "infeasible"
    fix = "more devices or a larger epsilon"


class ConsentMissingError(HomebodyError):
    """A use of data nobody said yes to."""

    exit_code = 13
    code = "consent-missing"
    fix = "ask the person; never retry"


class IntegrityError(HomebodyError):
    """A file that is not what was signed or written."""

    exit_code = 14
    code = "integrity-failure"
    fix = "do not use the file; keep it"


class LedgerRefusedError(IntegrityError):
    """A ledger that is not the story the device was shown before, or does not hold its charge."""

    exit_code = 14
    code = "ledger-refused"
    fix = "do not answer this server; tell its operator"


class SealRefusedError(IntegrityError):
    """A message that its sender did not seal so, or that is not for here and now.

    Args:
        reason: Stable short name of what is wrong, such as ``bad-signature``. Public.
    """

    exit_code = 14
    code = "seal-refused"
    fix = "drop the message; never use a part of it"

    def __init__(self, reason: str) -> None:
        """Say the reason and nothing of the message."""
        super().__init__(f"a message was refused: {reason}")
        self.reason = reason


class SecAggAbortError(IntegrityError):
    """A secure sum this node left, and will not go back to.

    Args:
        reason: Which check failed. Public; it names no node.
    """

    exit_code = 14
    code = "secagg-abort"
    fix = "do not answer this server; tell its operator"

    def __init__(self, reason: "AbortReason") -> None:
        """Keep the reason beside the words."""
        super().__init__(f"this node left the secure sum: {reason}")
        self.reason = reason


class TooFewDevicesError(HomebodyError):
    """A round without enough replies."""

    exit_code = 15
    code = "too-few-devices"
    fix = "wait; the round is void"


class RoundVoidError(TooFewDevicesError):
    """A secure sum that cannot be opened any more, by anybody.

    Args:
        reason: What was missing. Public; it names no node and no count.
    """

    exit_code = 15
    code = "round-void"
    fix = "wait; the next round starts anew"

    def __init__(self, reason: "VoidReason") -> None:
        """Keep the reason beside the words."""
        super().__init__(f"the secure sum is void: {reason}")
        self.reason = reason
