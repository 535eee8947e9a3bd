"""What a device verifies before each round, whatever the server says: approvals, floor, ledger.

In the order of the design: the envelope, the pinned server and the digest of the config are
``node``'s; then, here, the app and the revision, the approvals against keys pinned in the node's
own folder, the floor, and the ledger's checkpoint with the charge of the sum. The device's own
counters, consent and the parameters of the sum come after. Approvals are looked at again in each
session, so that one that expires ends a run on the device, too.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from homebody_privacy.approval.approvals_file import envelopes_of
from homebody_privacy.approval.quorum import require_approved
from homebody_privacy.approval.reviewers import ReviewerKeys
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.errors import (
    IntegrityError,
    LedgerRefusedError,
    NotApprovedError,
    PolicyViolationError,
    RolledBackError,
)
from homebody_privacy.ledger_proof import Demand, LedgerProof
from homebody_privacy.legs import Announcement, Opening
from homebody_privacy.messages import Invitation, Question
from homebody_privacy.note import COSIGNATURE, VerifierKey
from homebody_privacy.pinned import Pin
from homebody_privacy.policy_floor import PolicyFloor

STATISTICS: Final = "statistics/"
"""How the charges of one-shot sums are named, before the name of the statistic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundGuard:
    """Refuses runs that are not approved, and rounds that are not charged.

    Attributes:
        config: The config in force on the node.
        app: Digest of the app this process runs.
        reviewers: Keys pinned in the node's own folder.
        floor: The least the device asks for.
    """

    config: PrivacyConfig = field(repr=False)
    app: Callable[[], str] = field(repr=False)
    reviewers: ReviewerKeys = field(repr=False)
    floor: PolicyFloor

    def admit(self, announced: Announcement, *, now: float, revision: int) -> None:
        """Refuse a run that this device may not take part in.

        Args:
            announced: What the pinned server signed of the run.
            now: Unix seconds.
            revision: Highest revision of a config the node has seen; 0 for none.

        Raises:
            NotApprovedError: If the app is another, or the approvals do not suffice.
            IntegrityError: If an approval is not what was signed.
            RolledBackError: If the config is of a lower revision.
            BelowFloorError: If the config is weaker than the floor.
            LedgerRefusedError: If the ledger has another key than the pinned one.
        """
        if announced.app != self.app():
            raise NotApprovedError(
                "the server runs another app than this device",
                fix="install the wheel that was approved",
            )
        if self.config.revision < revision:
            raise RolledBackError(
                f"the config is of revision {self.config.revision}, the device has seen {revision}"
            )
        self._check_approvals(announced, now)
        self.floor.require(self.config)
        self._operator(announced)

    def advance(
        self, announced: Announcement, opening: Opening, pin: Pin | None, *, now: float
    ) -> Pin:
        """Refuse a round of a run that is not approved any more, or not charged.

        Args:
            announced: As for ``admit``; the run the round is of.
            opening: What opens the round's sum.
            pin: What the node kept of the run's ledger; None at first.
            now: Unix seconds.

        Returns:
            What is kept of the ledger from now on.

        Raises:
            LedgerRefusedError: If the ledger is not the one seen before, or has no such charge.
            HomebodyError: As ``admit``.
        """
        self._check_approvals(announced, now)
        charge = expected_charge(opening)
        if charge is None or opening.charge != charge:
            raise LedgerRefusedError("the sum is charged as something else than it is")
        demand = Demand(
            operator=self._operator(announced),
            witnesses=self._witnesses(),
            config=self.config.digest(),
            app=self.app(),
            charge=charge,
        )
        return demand.checked(pin, LedgerProof.from_json(opening.ledger))

    def _check_approvals(self, announced: Announcement, now: float) -> None:
        try:
            envelopes = envelopes_of(announced.approvals)
        except ValueError as error:
            raise IntegrityError("the announcement holds no approvals") from error
        try:
            require_approved(
                self.config,
                self.app(),
                envelopes,
                self.reviewers,
                int(now),
                least=self.floor.min_approvals,
            )
        except PolicyViolationError as error:
            raise NotApprovedError(str(error)) from error

    def _operator(self, announced: Announcement) -> VerifierKey:
        """Return the ledger's key: the pinned one, else the one the pinned server vouches for."""
        if self.reviewers.ledger not in (None, announced.ledger):
            raise LedgerRefusedError("the ledger is signed with another key than is pinned")
        try:
            return VerifierKey.parse(announced.ledger)
        except ValueError as error:
            raise LedgerRefusedError("the announcement names no key of the ledger") from error

    def _witnesses(self) -> tuple[VerifierKey, ...] | None:
        """Return the pinned witnesses' keys; None where the config asks for no witness."""
        if self.config.ledger.witness == "none":
            return None
        return tuple(
            VerifierKey(name, key, COSIGNATURE) for name, key in self.reviewers.witnesses.items()
        )


def charge_of(asked: Invitation | Question) -> str:
    """Return what a sum over what is asked must be charged as."""
    if isinstance(asked, Question):
        return f"metrics/{asked.metric}/{asked.round}"
    return f"round/{asked.round}" if asked.statistic is None else f"{STATISTICS}{asked.statistic}"


def expected_charge(opening: Opening) -> str | None:
    """Return what a sum must be charged as; None if it is named as nothing a run has.

    A sum before the first round is a statistic, which the opening alone names; whether it is the
    one that is asked for is told when the work comes.
    """
    if opening.metric:
        return f"metrics/{opening.metric}/{opening.round}"
    if opening.round:
        return f"round/{opening.round}"
    return opening.charge if opening.charge.startswith(STATISTICS) else None
