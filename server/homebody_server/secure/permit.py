"""Whether a run on a fleet may begin, and whether it may go on: looked at from disk each time.

Nothing starts, and no round is opened, unless enough people whose keys are pinned in the fleet's
folder approved the very config that runs, in the very app that runs, by the very policy, and no
rule fails that their waivers do not lift. An approval or a waiver that expires in the middle of a
run ends it before its next round.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from homebody_privacy.approval.app_digest import installed_app
from homebody_privacy.approval.approvals_file import envelopes_of
from homebody_privacy.approval.dsse import Envelope
from homebody_privacy.approval.gate import checked, policy_digest, refuse_failed
from homebody_privacy.approval.quorum import ApprovalState, require_approved
from homebody_privacy.approval.reviewers import ReviewerKeys
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.errors import IntegrityError, NotApprovedError, PolicyViolationError
from homebody_privacy.note import COSIGNATURE, VerifierKey
from homebody_privacy.policy.findings import Finding
from homebody_server.run_folder import RunFolder
from homebody_server.run_spec import RunSpec

_REVIEWERS: Final = "reviewers.toml"

POLICY: Final = "policy.toml"
"""Name of the firm's policy in the folder of a fleet, and in that of a run."""


def pinned_reviewers(fleet: Path) -> ReviewerKeys:
    """Return the keys pinned in a fleet's folder.

    Raises:
        NotApprovedError: If none are.
        InvalidFileError: If the file is damaged.
    """
    file = fleet / _REVIEWERS
    if not file.exists():
        raise NotApprovedError(
            "no reviewers' keys are pinned in the fleet's folder: nobody can approve anything",
            fix="homebody fleet assign --reviewers FILE",
        )
    return ReviewerKeys.load(file)


def require_deployable(
    config: PrivacyConfig,
    envelopes: tuple[Envelope, ...],
    reviewers: ReviewerKeys,
    *,
    policy: Path | None,
    enrolled: int,
    now: int,
    app: str,
    known: tuple[Finding, ...] | None = None,
) -> tuple[ApprovalState, tuple[Finding, ...]]:
    """Refuse a config that may not be deployed.

    Args:
        config: The config that runs.
        envelopes: What reviewers signed. Not trusted.
        reviewers: Pinned.
        policy: The firm's policy; None for the baseline alone.
        enrolled: Devices of the fleet.
        now: Unix seconds.
        app: Digest of the app that runs, hex.
        known: What a check of the same config and policy found before, waivers left out; None
            checks.

    Returns:
        How the approvals stand, and what the check found, waivers left out.

    Raises:
        NotApprovedError: If it is not approved, or a rule fails that no waiver lifts.
        PolicyViolationError: If it asks for less than a deployment needs.
        IntegrityError: If an approval is not what was signed, or the policy is another than the
            one it was approved by.
    """
    require_protection(config)
    try:
        state = require_approved(config, app, envelopes, reviewers, now)
    except PolicyViolationError as error:
        raise NotApprovedError(str(error), fix=error.fix) from error
    if state.policy_sha256 != policy_digest(policy):
        raise IntegrityError("the policy is not the one that the config was approved by")
    found = known
    if found is None:
        found = checked(config, policy=policy, waivers=(), now=now, enrolled=enrolled).findings
    try:
        refuse_failed(found, "privacy.toml", state.waivers, config=config, now=now)
    except PolicyViolationError as error:
        raise NotApprovedError(str(error), fix=error.fix) from error
    return state, found


def require_protection(config: PrivacyConfig) -> None:
    """Refuse what no waiver makes good: a server that sees updates, or wire that others read.

    Raises:
        PolicyViolationError: Naming the field.
    """
    if not config.aggregation.secagg:
        raise PolicyViolationError(
            "aggregation.secagg is off: a fleet sums by secure aggregation",
            fix="set aggregation.secagg = true",
        )
    if config.transport.tls_min != "1.3":
        raise PolicyViolationError(
            f"transport.tls_min is {config.transport.tls_min}: a fleet speaks TLS 1.3",
            fix='set transport.tls_min = "1.3"',
        )
    if config.ledger.witness not in ("none", "second_key"):
        raise PolicyViolationError(
            f"ledger.witness is {config.ledger.witness}, which a fleet cannot ask yet",
            fix='set ledger.witness = "second_key"',
        )


def witness_keys(config: PrivacyConfig, reviewers: ReviewerKeys) -> tuple[VerifierKey, ...] | None:
    """Return the keys of which one must cosign the ledger; None where the config asks for none."""
    if config.ledger.witness == "none":
        return None
    return tuple(VerifierKey(name, key, COSIGNATURE) for name, key in reviewers.witnesses.items())


@dataclass(slots=True, kw_only=True)
class Permit:
    """Asks anew, each time, whether a run may go on.

    Attributes:
        folder: The run.
        spec: Its constants.
        fleet: Folder of the fleet: whose keys count.
        clock: Unix seconds.
        app: Digest of the app this process runs, hex.
    """

    folder: RunFolder
    spec: RunSpec
    fleet: Path
    clock: Callable[[], float] = field(repr=False, default=time.time)
    app: Callable[[], str] = field(repr=False, default=installed_app)
    _found: tuple[Finding, ...] | None = field(init=False, repr=False, default=None)

    def demand(self) -> ApprovalState:
        """Return how approvals stand, or refuse to go on.

        Raises:
            IntegrityError: If the run's config, policy or approvals are not what was approved.
            HomebodyError: As ``require_deployable``.
        """
        config = self.config()
        policy = self.folder.path / POLICY
        state, self._found = require_deployable(
            config,
            self.envelopes(),
            pinned_reviewers(self.fleet),
            policy=policy if policy.exists() else None,
            enrolled=self.spec.devices,
            now=int(self.clock()),
            app=self.app(),
            known=self._found,
        )
        return state

    def config(self) -> PrivacyConfig:
        """Return the run's config.

        Raises:
            IntegrityError: If it is not the one the run was started with.
        """
        config = PrivacyConfig.load(self.folder.config_file)
        if config.digest() != self.spec.config_digest:
            raise IntegrityError(
                f"{self.folder.config_file} is not the config the run was started with"
            )
        return config

    def envelopes(self) -> tuple[Envelope, ...]:
        """Return what reviewers signed for the run, not verified.

        Raises:
            IntegrityError: If ``run.json`` holds something else.
        """
        try:
            return envelopes_of(self.folder.read_json("run.json").get("approvals") or [])
        except ValueError as error:
            raise IntegrityError(f"{self.folder.path / 'run.json'} holds no approvals") from error
