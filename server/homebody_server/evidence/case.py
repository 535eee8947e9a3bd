"""One run before a reviewer: its record, what checks say of it, whether figures may be shown."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from homebody_privacy.approval.approvals_file import envelopes_of
from homebody_privacy.approval.quorum import ApprovalState, approved
from homebody_privacy.approval.reviewers import ReviewerKeys
from homebody_privacy.approval.statement import Approval, Waiver, unverified
from homebody_privacy.errors import IntegrityError, InvalidFileError
from homebody_privacy.planned import withheld
from homebody_privacy.policy.check import PolicyRules, check_config
from homebody_privacy.policy.findings import CheckResult
from homebody_privacy.premises import broken_premises
from homebody_server.evidence.figures import Figures, figures_of
from homebody_server.evidence.sources import RunRecord
from homebody_server.evidence.verify import verify_run
from homebody_server.evidence.verify_lines import Line, Verification, note

NOT_VERIFIED: Final = "NOT VERIFIED"
_INTEGRITY: Final = 14
_NOTICE_RULE: Final = "CON-022"
_HIDDEN: Final = "epsilon: not shown, a premise of it failed"
_DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """All that a pack says is said of this. Public.

    Attributes:
        record: The run.
        check: What the rules say of its config.
        policy: The firm's rules; None for the baseline alone.
        unseen: Ids of rules that could not be looked at: files they ask for are not there.
        verification: What the record is worth.
        figures: Privacy loss; None where ``withheld`` says why there is none.
        withheld: Why no figure is shown, a sentence each.
        signed: Approvals and waivers as they were signed, in the order they came.
        approvals: What they are worth; None where no reviewers' keys were given.
        now: Unix seconds: the end of the day for which expiry was judged.
    """

    record: RunRecord
    check: CheckResult
    policy: PolicyRules | None
    unseen: tuple[str, ...]
    verification: Verification
    figures: Figures | None
    withheld: tuple[str, ...]
    signed: tuple[Approval | Waiver, ...]
    approvals: ApprovalState | None
    now: int

    @property
    def day(self) -> str:
        """The day of ``now``, as ``2026-11-26``."""
        return day_of(self.now)

    @property
    def lines(self) -> tuple[Line, ...]:
        """What verify found, without the figures of a case that shows none."""
        found = self.verification.lines
        if not self.withheld:
            return found
        return tuple(note(_HIDDEN) if _tells_epsilon(one) else one for one in found)

    @property
    def verify_log(self) -> str:
        """What verify prints, without the path of a machine."""
        told = str(Verification(self.lines))
        return told.replace(str(self.record.folder), self.record.name)

    @property
    def is_verified(self) -> bool:
        """Whether verify found nothing wrong."""
        return self.verification.exit_code == 0

    @property
    def stamp(self) -> str:
        """What stands on every page; empty where all is verified."""
        return "" if self.is_verified else NOT_VERIFIED

    @property
    def waivers(self) -> tuple[tuple[int, Waiver], ...]:
        """Waivers that were signed, by their place among what was signed."""
        return tuple((i, one) for i, one in enumerate(self.signed) if isinstance(one, Waiver))

    @property
    def approvers(self) -> tuple[tuple[int, Approval], ...]:
        """Approvals that were signed, likewise."""
        return tuple((i, one) for i, one in enumerate(self.signed) if isinstance(one, Approval))


def open_case(record: RunRecord, keys: ReviewerKeys | None, now: int) -> Case:
    """Judge a run.

    Args:
        record: The run.
        keys: Pinned keys of reviewers; None leaves signatures of reviewers uncompared.
        now: Unix seconds, for expiry; only the day of it is used.

    Raises:
        InvalidFileError: If the reviewers' file names keys that are none.
    """
    now += _DAY_S - 1 - now % _DAY_S  # the day's end: what ends on that day has ended
    signed = _signed(record)
    approvals = _approvals(record, signed, keys, now)
    verification = verify_run(record.folder, keys, now)
    policy = _policy(record.folder / "policy.toml")
    check = check_config(
        record.config,
        policy=policy,
        folder=record.folder if _has_notices(record) else None,
        waivers=() if approvals is None else approvals.waivers,
        proposed=[one for one in signed if isinstance(one, Waiver)],
        now=now,
        enrolled=None if record.ledger is None else record.ledger.header.devices,
    )
    reasons = _withheld(record, verification)
    return Case(
        record=record,
        check=check,
        policy=policy,
        unseen=() if _has_notices(record) else (_NOTICE_RULE,),
        verification=verification,
        figures=None if reasons else figures_of(record, _second(verification)),
        withheld=reasons,
        signed=signed,
        approvals=approvals,
        now=now,
    )


def day_of(seconds: int) -> str:
    """Return the day of a time in UTC.

    Examples:
        >>> day_of(0)
        '1970-01-01'
    """
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")


def _policy(file: Path) -> PolicyRules | None:
    """Return the policy a run was checked by; of one that is damaged verify tells."""
    if not file.is_file():
        return None
    try:
        return PolicyRules.load(file)
    except InvalidFileError:
        return None


def _has_notices(record: RunRecord) -> bool:
    """Tell whether the words shown lie beside the run's config, so that they can be compared."""
    return all(
        (record.folder / one.file).is_file() for one in record.config.consent.notices.values()
    )


def _second(verification: Verification) -> float | None:
    found = verification.facts.get("epsilon")
    return float(found) if isinstance(found, (int, float)) else None


def _tells_epsilon(line: Line) -> bool:
    return line.mark == "ok" and "epsilon" in line.text and any(c.isdigit() for c in line.text)


def _signed(record: RunRecord) -> tuple[Approval | Waiver, ...]:
    """Return what was signed, as it says; what is damaged is verify's to say."""
    try:
        return tuple(unverified(one) for one in envelopes_of(list(record.envelopes)))
    except (IntegrityError, ValueError):  # an envelope that is none raises the latter
        return ()


def _approvals(
    record: RunRecord,
    signed: tuple[Approval | Waiver, ...],
    keys: ReviewerKeys | None,
    now: int,
) -> ApprovalState | None:
    if keys is None or not signed:
        return None
    return approved(record.config, app_of(record), envelopes_of(list(record.envelopes)), keys, now)


def app_of(record: RunRecord) -> str:
    """Return the digest of the app that ran, as the ledger has it; empty where it says none."""
    found = [str(one.values.get("app", "")) for one in record.of_kind("config_approved")]
    return found[-1] if found else ""


def _withheld(record: RunRecord, verification: Verification) -> tuple[str, ...]:
    """Return why no figure is shown: a premise that failed, or a record that is not what it was."""
    found = []
    if verification.exit_code == _INTEGRITY or record.ledger is None or record.raw is None:
        found.append("the record is not what was signed: a figure of it would mean nothing")
    devices = None if record.ledger is None else record.ledger.header.devices
    why = {one.rule: one.why for one in broken_premises(record.config)}
    found += [
        f"{rule} failed: {why.get(rule, 'delta is not below 1 / population')}"
        for rule in withheld(record.config, devices)
    ]
    return tuple(found)
