"""What the policy and the reviewers say of a run before it begins; a fleet begins nothing without.

A simulation harms nobody: rules that fail are reported and it goes on. Premises alone stop it,
because its figures would be about another mechanism; ``PrivacyConfig.load`` refuses those.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from homebody_privacy.approval.app_digest import installed_app
from homebody_privacy.approval.approvals_file import approvals_path, read_approvals, to_values
from homebody_privacy.approval.dsse import Envelope
from homebody_privacy.approval.gate import checked
from homebody_privacy.approval.quorum import ApprovalState, approved
from homebody_privacy.approval.reviewers import ReviewerKeys
from homebody_privacy.approval.statement import Approval, unverified
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.policy.findings import CheckResult
from homebody_privacy.policy.policy_file import PolicyRules
from homebody_server.run_folder import RunFolder
from homebody_server.secure.permit import POLICY, pinned_reviewers, require_deployable
from homebody_simulation.request import Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Compliance:
    """What was found. Public.

    Attributes:
        result: Findings on the config in force.
        approvals: What reviewers signed for it, as it was found.
        state: How the approvals stand; None where no reviewers' keys are at hand.
        policy: The firm's policy; None for the baseline alone.
    """

    result: CheckResult
    approvals: tuple[Envelope, ...] = field(repr=False, default=())
    state: ApprovalState | None = None
    policy: Path | None = None

    def to_run(self) -> Mapping[str, Any]:
        """Return what ``run.json`` keeps of it."""
        result = self.result
        named = {"name": result.policy, "sha256": result.policy_sha256}
        return {
            "approvals": to_values(self.approvals),
            "policy": named if self.policy is not None else None,
            "check": {
                "failed": result.failed,
                "warned": result.warned,
                "waived": result.waived,
                "findings": [asdict(one) for one in result.findings],
                "approvals": _standing(self.approvals, self.state),
            },
        }


def review(request: Request, config: PrivacyConfig, *, devices: int, now: int) -> Compliance:
    """Return what policy and reviewers say of a run; refuse one on a fleet that may not begin.

    Args:
        request: What is asked; its config's file, policy and reviewers.
        config: The config in force: that of the file, completed.
        devices: Size of the population.
        now: Unix seconds.

    Raises:
        InvalidFileError: If the policy or the reviewers' keys are none.
        IntegrityError: If the file of approvals is none; on a fleet also if one is not what was
            signed.
        NotApprovedError: If it is to run on a fleet and may not.
    """
    file, digest = request.config_file, config.digest()
    found = tuple(
        one for one in read_approvals(approvals_path(file)) if unverified(one).config == digest
    )
    if request.fleet is None:
        policy, keys = request.policy, request.reviewers
        reviewers = None if keys is None else ReviewerKeys.load(keys)
    else:
        reviewers = pinned_reviewers(request.fleet)
        own = request.fleet / POLICY
        policy = own if own.exists() else None
        require_deployable(
            config,
            found,
            reviewers,
            policy=policy,
            enrolled=devices,
            now=now,
            app=installed_app(),
        )
    state = None
    if reviewers is not None:
        state = approved(config, installed_app(), found, reviewers, now)
    result = checked(
        config,
        policy=policy,
        waivers=() if state is None else state.waivers,
        proposed=() if state is None else state.proposed,
        now=now,
        folder=_notices(file, config),
        enrolled=devices,
    )
    return Compliance(result=result, approvals=found, state=state, policy=policy)


def _standing(envelopes: tuple[Envelope, ...], state: ApprovalState | None) -> str | None:
    """Return how approvals stand, in words; None where there is nothing to say."""
    words = [] if state is None else [str(state)]
    signed = [said for said in map(unverified, envelopes) if isinstance(said, Approval)]
    if signed and all(one.app != installed_app() for one in signed):
        words.append("approved for another app than runs")
    return "; ".join(words) or None


def policy_line(check: Mapping[str, Any] | None) -> str:
    """Return one line about the findings of a run; empty where there are none.

    Args:
        check: ``check`` of ``run.json``; None for a run of before there were any.

    Examples:
        >>> rule = {"rule": "DP-006", "level": "fail", "waived": False}
        >>> policy_line({"findings": [rule, {**rule, "rule": "RGT-001"}], "approvals": None})
        'policy: DP-006, RGT-001 fail; a simulation goes on, a fleet would not begin'
    """
    if check is None:
        return ""
    findings = check["findings"]
    failed = sorted({f["rule"] for f in findings if f["level"] == "fail" and not f["waived"]})
    words = []
    if failed:
        words.append(
            f"policy: {', '.join(failed)} fail; a simulation goes on, a fleet would not begin"
        )
    if check["approvals"] is not None:
        words.append(check["approvals"])
    return "; ".join(words)


def policy_summary(check: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return what a report says of the findings; None for a run of before there were any."""
    if check is None:
        return None
    counts = f"{check['failed']} failed, {check['warned']} warned, {check['waived']} waived"
    line = policy_line(check)
    return {"line": f"{counts}. {line}" if line else counts, "findings": check["findings"]}


def copy_policy(source: Path | None, run: Path) -> None:
    """Keep the firm's policy in the folder of a run that was checked by it.

    Raises:
        InvalidFileError: If it is no policy.
    """
    if source is not None:
        PolicyRules.load(source)
        (run / POLICY).write_bytes(source.read_bytes())


def copy_notices(config: PrivacyConfig, source: Path, run: Path) -> None:
    """Keep the words people were shown in the folder of a run, as far as they are there.

    Only what is what the config says by its SHA-256, and lies beside the config or below: a name
    that leads elsewhere is not followed.

    Args:
        config: The config in force.
        source: Folder of the config it was made of.
        run: Folder of the run.
    """
    for notice in config.consent.notices.values():
        file = source / notice.file
        if not file.is_file() or not file.resolve().is_relative_to(source.resolve()):
            continue
        words = file.read_bytes()
        if hashlib.sha256(words).hexdigest() == notice.sha256:
            kept = run / notice.file
            if kept.exists():  # a name of one of the run's own files
                continue
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_bytes(words)


def renew_approvals(folder: RunFolder, fleet: Path) -> None:
    """Take what reviewers signed since a run began; whether it suffices is the permit's to say.

    Raises:
        IntegrityError: If the file of approvals is none.
    """
    found = read_approvals(approvals_path(fleet / "privacy.toml"))
    config = PrivacyConfig.load(folder.config_file).digest()
    signed = [one for one in found if unverified(one).config == config]
    run = folder.read_json("run.json")
    if signed and to_values(signed) != run.get("approvals"):
        folder.write_json("run.json", {**run, "approvals": to_values(signed)})


def _notices(file: Path, config: PrivacyConfig) -> Path | None:
    """Return where the notices of a config lie; None where none of them is there.

    A fleet's folder holds the config without them: people read them elsewhere.
    """
    folder = file.parent
    names = [notice.file for notice in config.consent.notices.values()]
    return folder if any((folder / name).exists() for name in names) else None
