"""What ``homebody approve`` and ``homebody waive`` do: check, sign, and keep beside the config."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from homebody_privacy.config import PrivacyConfig
from homebody_privacy.errors import IntegrityError, PolicyViolationError, UsageError
from homebody_privacy.policy.registry import is_waivable
from homebody_privacy.premises import require_premises
from homebody_privacy.signing import SigningKey

from .approvals_file import approvals_path, read_approvals, write_approvals
from .dsse import Envelope
from .quorum import ApprovalState, approved
from .reviewers import ReviewerKeys
from .statement import Approval, Waiver, sign, unverified

DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """Who signs, when, and for how long.

    Attributes:
        name: As ``approval.approvers`` of the config has it.
        key: Secret.
        now: Unix seconds.
        days: Days it holds.
    """

    name: str
    key: SigningKey
    now: int
    days: int

    def __post_init__(self) -> None:
        """Refuse a signature that would never count."""
        if self.days < 1:
            raise ValueError("days must be at least 1")

    @property
    def expires(self) -> int:
        """From when it counts no more, Unix seconds."""
        return self.now + self.days * DAY_S


def reviewed(path: Path, signer: Signer, reviewers: ReviewerKeys | None) -> PrivacyConfig:
    """Return the config of a file that this person may sign.

    Args:
        path: The config.
        signer: Who is about to sign.
        reviewers: Pinned keys, to be told now rather than by everybody later; None where the
            signer does not have the file.

    Raises:
        InvalidFileError: If the config breaks its schema.
        PolicyViolationError: If a premise is broken, if the config does not ask this person, or if
            the pinned key is another; or if it would hold longer than the config lets it.
    """
    config = PrivacyConfig.read(path)
    require_premises(config, str(path))
    if signer.name not in config.approval.approvers:
        raise PolicyViolationError(
            f"{signer.name} is not an approver of {path}",
            fix=f"approval.approvers asks {', '.join(config.approval.approvers) or 'nobody'}",
        )
    pinned = reviewers.approvers if reviewers is not None else {signer.name: signer.key.public}
    if pinned.get(signer.name) != signer.key.public:
        raise PolicyViolationError(
            f"the key is not the one pinned for {signer.name}",
            fix="sign with the key whose public half stands in the reviewers' file",
        )
    if signer.days > config.approval.expires_days:
        raise UsageError(
            f"it would hold {signer.days} days, approval.expires_days lets it hold "
            f"{config.approval.expires_days}",
            fix=f"--expires-days {config.approval.expires_days}",
        )
    return config


def waivers_beside(
    path: Path, config: PrivacyConfig, reviewers: ReviewerKeys, now: int
) -> tuple[Waiver, ...]:
    """Return the waivers beside a config that are signed by somebody who may, and hold.

    Args:
        path: The config's file.
        config: What it says.
        reviewers: Whose keys count.
        now: Unix seconds.

    Raises:
        IntegrityError: If one is not what was signed.
    """
    state = approved(config, "", read_approvals(approvals_path(path)), reviewers, now)
    if state.broken:
        raise IntegrityError("\n".join(state.broken))
    return state.proposed


def sign_approval(
    path: Path,
    config: PrivacyConfig,
    signer: Signer,
    *,
    app: str,
    wheel: tuple[str, str] | None,
    policy: str | None,
    reviewers: ReviewerKeys,
) -> ApprovalState:
    """Sign an approval, keep it beside the config, and return how the config stands.

    Args:
        path: The config's file.
        config: What it says, as ``reviewed`` returned it.
        signer: Who signs.
        app: Digest of the app, hex.
        wheel: Name and SHA-256 of the wheel; None for an installation.
        policy: SHA-256 of the firm's policy; None for the baseline alone.
        reviewers: Whose keys count: their waivers are named in the approval.
    """
    file = approvals_path(path)
    beside = read_approvals(file)
    waivers = approved(config, app, beside, reviewers, signer.now).proposed
    approval = Approval(
        config=config.digest(),
        app=app,
        wheel=wheel,
        by=signer.name,
        revision=config.revision,
        policy_version=config.activity.policy_version,
        policy=policy,
        waivers=tuple(sorted({one.digest for one in waivers})),
        issued=signer.now,
        expires=signer.expires,
    )
    kept = [*_kept(beside, config, approval), sign(approval, signer.key)]
    write_approvals(file, kept)
    return approved(config, app, kept, reviewers, signer.now)


def sign_waiver(
    path: Path, config: PrivacyConfig, signer: Signer, *, rule: str, field: str, reason: str
) -> Waiver:
    """Sign a waiver and keep it beside the config.

    Raises:
        PolicyViolationError: If nobody can lift the rule.
        UsageError: If rule, field or reason is none.
    """
    if not is_waivable(rule):
        raise PolicyViolationError(
            f"{rule} cannot be waived: figures rest on it, or the law asks for it",
            fix="change the config",
        )
    try:
        waiver = Waiver(
            rule=rule,
            path=field,
            reason=reason,
            config=config.digest(),
            by=signer.name,
            issued=signer.now,
            expires=signer.expires,
        )
    except ValueError as error:
        raise UsageError(str(error)) from error
    file = approvals_path(path)
    write_approvals(file, [*_kept(read_approvals(file), config, waiver), sign(waiver, signer.key)])
    return waiver


def _kept(
    envelopes: tuple[Envelope, ...], config: PrivacyConfig, new: Approval | Waiver
) -> list[Envelope]:
    """Return the envelopes that stay: of this config, and not what the new one replaces."""
    return [one for one in envelopes if _stays(unverified(one), config, new)]


def _stays(old: Approval | Waiver, config: PrivacyConfig, new: Approval | Waiver) -> bool:
    if old.config != config.digest():
        return False  # the config has changed: what was signed before is void
    if old.by != new.by or type(old) is not type(new):
        return True
    return isinstance(old, Waiver) and isinstance(new, Waiver) and not old.lifts(new.rule, new.path)
