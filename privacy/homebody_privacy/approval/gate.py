"""The policy check in front of a signature and in front of a run."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from homebody_privacy.config import PrivacyConfig
from homebody_privacy.errors import PolicyViolationError
from homebody_privacy.policy.check import check_config
from homebody_privacy.policy.findings import CheckResult, Finding
from homebody_privacy.policy.policy_file import PolicyRules
from homebody_privacy.policy.waiving import with_waivers

from .reviewers import ReviewerKeys
from .signing_off import waivers_beside
from .statement import Waiver


def checked(
    config: PrivacyConfig,
    *,
    policy: Path | None,
    waivers: tuple[Waiver, ...],
    proposed: tuple[Waiver, ...] = (),
    now: int,
    folder: Path | None = None,
    enrolled: int | None = None,
) -> CheckResult:
    """Return the findings of baseline and policy on a config.

    Args:
        config: What is to run.
        policy: The firm's ``policy.toml``; None for the baseline alone.
        waivers: Signed, and in force.
        proposed: Signed, and not in force: they lift nothing.
        now: Unix seconds.
        folder: Where the notices of the config lie; None leaves them unread.
        enrolled: Devices there are; None takes ``activity.population``.

    Raises:
        InvalidFileError: If the policy is none.
    """
    rules = None if policy is None else PolicyRules.load(policy)
    return check_config(
        config,
        policy=rules,
        folder=folder,
        waivers=waivers,
        proposed=proposed,
        now=now,
        enrolled=enrolled,
    )


def policy_digest(policy: Path | None) -> str | None:
    """Return the digest of the firm's policy, as approvals name it; None for the baseline alone.

    Raises:
        InvalidFileError: If the policy is none.
    """
    return None if policy is None else PolicyRules.load(policy).digest()


def refuse_failed(
    findings: Iterable[Finding],
    where: str,
    waivers: Sequence[Waiver] = (),
    *,
    config: PrivacyConfig,
    now: int,
) -> None:
    """Refuse a config with findings that no waiver lifts.

    Args:
        findings: What a check found.
        where: The config's file, for the message.
        waivers: Signed, and in force.
        config: What was checked.
        now: Unix seconds.

    Raises:
        PolicyViolationError: Naming each rule and field.
    """
    judged = with_waivers(findings, waivers, (), digest=config.digest(), now=now)
    failed = [one for one in judged if one.refuses]
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
    result = checked(config, policy=policy, waivers=(), now=now, folder=path.parent)
    refuse_failed(result.findings, str(path), waivers, config=config, now=now)
    return policy_digest(policy)
