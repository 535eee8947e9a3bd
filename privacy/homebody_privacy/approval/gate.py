"""The policy check in front of a signature and in front of a run."""

from pathlib import Path
from typing import TYPE_CHECKING

from homebody_privacy.config import PrivacyConfig
from homebody_privacy.errors import PolicyViolationError

from .reviewers import ReviewerKeys
from .signing_off import waivers_beside
from .statement import Waiver

if TYPE_CHECKING:
    from homebody_privacy.policy.check import CheckResult


def checked(
    config: PrivacyConfig,
    *,
    policy: Path | None,
    waivers: tuple[Waiver, ...],
    now: int,
    folder: Path | None = None,
    enrolled: int | None = None,
) -> "CheckResult":
    """Return the findings of baseline and policy on a config.

    Args:
        config: What is to run.
        policy: The firm's ``policy.toml``; None for the baseline alone.
        waivers: Signed, and in force.
        now: Unix seconds.
        folder: Where the notices of the config lie; None leaves them unread.
        enrolled: Devices there are; None takes ``activity.population``.

    Raises:
        InvalidFileError: If the policy is none.
    """
    from homebody_privacy.policy.check import PolicyRules, check_config  # noqa: PLC0415 - its own extra

    rules = None if policy is None else PolicyRules.load(policy)
    return check_config(
        config, policy=rules, folder=folder, waivers=waivers, now=now, enrolled=enrolled
    )


def policy_digest(policy: Path | None) -> str | None:
    """Return the digest of the firm's policy, as approvals name it; None for the baseline alone.

    Raises:
        InvalidFileError: If the policy is none.
    """
    if policy is None:
        return None
    from homebody_privacy.policy.check import PolicyRules  # noqa: PLC0415 - its own extra

    digest: str = PolicyRules.load(policy).digest()
    return digest


def refuse_failed(result: "CheckResult", where: str) -> None:
    """Refuse a config with findings that no waiver lifts.

    Args:
        result: What the check found.
        where: The config's file, for the message.

    Raises:
        PolicyViolationError: Naming each rule and field.
    """
    failed = [one for one in result.findings if one.level == "fail" and not one.waived]
    if failed:
        lines = [f"{where}: {one.path}: {one.message} [{one.rule}]" for one in failed]
        raise PolicyViolationError(
            "\n".join(lines), fix="change the config, or lift a rule: homebody waive"
        )


def require_checked(
    path: Path, config: PrivacyConfig, *, policy: Path | None, reviewers: ReviewerKeys, now: int
) -> str | None:
    """Refuse a config that fails, but for what waivers beside it lift; return the policy's digest.

    Args:
        path: The config's file.
        config: What it says.
        policy: The firm's ``policy.toml``; None for the baseline alone.
        reviewers: Whose waivers count.
        now: Unix seconds.

    Raises:
        PolicyViolationError: Naming each rule and field.
        InvalidFileError: If the policy is none.
        IntegrityError: If a waiver is not what was signed.
    """
    waivers = waivers_beside(path, config, reviewers, now)
    result = checked(config, policy=policy, waivers=waivers, now=now, folder=path.parent)
    refuse_failed(result, str(path))
    return policy_digest(policy)
