"""Four eyes: whether enough people who may sign approved this config in this app, and still do.

Counted are distinct keys of distinct people who are asked by the config *and* whose keys are
pinned. A waiver is in force once as many stand behind it: by a signature of their own, or by an
approval that names it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from homebody_privacy.config import PrivacyConfig
from homebody_privacy.errors import IntegrityError, PolicyViolationError
from homebody_privacy.signing import key_id

from .dsse import Envelope
from .reviewers import ReviewerKeys
from .statement import Approval, Waiver, read

AHEAD_S: Final = 300
"""Seconds a reviewer's clock may be ahead of the reader's."""

_DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class ApprovalState:
    """What a set of envelopes is worth for one config in one app, at one time.

    Attributes:
        valid: Names of those whose approval counts, sorted.
        required: How many are needed.
        refused: Why each other envelope does not count, in words. Public.
        broken: Those of ``refused`` that are not what was signed.
        waivers: Waivers in force: as many as are needed stand behind each.
        proposed: Waivers that somebody who may sign signed, in force or not.
        policy_sha256: Digest of the firm's policy they approved by; None for the baseline alone.
        key_ids: SHA-256 of the keys of ``valid``, hex, sorted: what a ledger may name.
        expires: When the first approval that is needed ends, Unix seconds; 0 without any.
    """

    valid: tuple[str, ...]
    required: int
    refused: tuple[str, ...]
    broken: tuple[str, ...]
    waivers: tuple[Waiver, ...]
    proposed: tuple[Waiver, ...]
    policy_sha256: str | None
    key_ids: tuple[str, ...]
    expires: int

    @property
    def enough(self) -> bool:
        """Whether it may run."""
        return len(self.valid) >= max(self.required, 1) and not self.broken

    def __str__(self) -> str:
        """Say in one line how it stands.

        Examples:
            >>> print(ApprovalState(("dpo",), 2, (), (), (), (), None, (), 0))
            1 of 2 approvals: may not run yet
        """
        end = "may run" if self.enough else "may not run yet"
        return f"{len(self.valid)} of {self.required} approvals: {end}"


def approved(
    config: PrivacyConfig,
    app: str,
    envelopes: Iterable[Envelope],
    reviewers: ReviewerKeys,
    now: int,
    *,
    least: int = 0,
) -> ApprovalState:
    """Count what approves a config in an app.

    Args:
        config: The config that is to run.
        app: Digest of the app that is to run it (``app_digest``), hex.
        envelopes: Untrusted.
        reviewers: Pinned: whose keys count.
        now: Unix seconds.
        least: Approvals needed whatever the config says: a device's floor.
    """
    reader = _Reader(config, app, reviewers, now)
    for envelope in envelopes:
        reader.take(envelope)
    return reader.state(max(least, config.approval.required))


def require_approved(
    config: PrivacyConfig,
    app: str,
    envelopes: Iterable[Envelope],
    reviewers: ReviewerKeys,
    now: int,
    *,
    least: int = 0,
) -> ApprovalState:
    """Return how approvals stand, where they suffice. Arguments as ``approved``.

    Raises:
        IntegrityError: If an envelope is not what was signed.
        PolicyViolationError: If approvals are missing, expired, of another config or app, or of
            people who may not approve.
    """
    state = approved(config, app, envelopes, reviewers, now, least=least)
    if state.broken:
        raise IntegrityError(
            "\n".join(state.broken), fix="let the reviewers sign anew: homebody approve"
        )
    if not state.enough:
        raise PolicyViolationError(
            "\n".join([f"config sha256:{config.digest()[:16]}: {state}", *state.refused]),
            fix="homebody approve, by people whose keys are pinned",
        )
    return state


class _Reader:
    """Takes envelopes one after the other and remembers what counts."""

    def __init__(self, config: PrivacyConfig, app: str, reviewers: ReviewerKeys, now: int) -> None:
        self._config, self._app, self._now = config, app, now
        asked = set(config.approval.approvers)
        self._pinned = reviewers.approvers
        self._keys = {name: key for name, key in self._pinned.items() if name in asked}
        self._digest = config.digest()
        self._approvals: dict[str, Approval] = {}
        self._waivers: dict[tuple[str, str, str], Waiver] = {}
        self._refused: list[str] = []
        self._broken: list[str] = []

    def take(self, envelope: Envelope) -> None:
        try:
            found = read(envelope, self._keys)
        except IntegrityError as error:
            self._refused.append(str(error))
            self._broken.append(str(error))
            return
        except PolicyViolationError as error:
            self._refused.append(str(error))
            return
        reason = self._objection(found)
        if reason is not None:
            self._refused.append(f"{found.by}: {reason}")
        elif isinstance(found, Waiver):
            self._waivers[found.rule, found.path, found.by] = found
        else:
            before = self._approvals.get(found.by)
            if before is None or before.issued <= found.issued:
                self._approvals[found.by] = found

    def _objection(self, found: Approval | Waiver) -> str | None:
        """Return why a statement of somebody who may sign does not count here, or None."""
        kind = "waiver" if isinstance(found, Waiver) else "approval"
        checks = self._of_time(found)
        if isinstance(found, Approval):
            checks |= self._of_what(found)
        return next((f"the {kind} {why}" for why, wrong in checks.items() if wrong), None)

    def _of_time(self, found: Approval | Waiver) -> dict[str, bool]:
        """Return what may be wrong with where and when a statement counts."""
        days = (self._now - found.expires) // _DAY_S
        longest = self._config.approval.expires_days * _DAY_S
        return {
            f"is for another config, sha256:{found.config[:16]}": found.config != self._digest,
            "was signed in the future: a clock is wrong": found.issued > self._now + AHEAD_S,
            f"expired {days} days ago": found.expires <= self._now,
            "holds longer than approval.expires_days": found.expires - found.issued > longest,
        }

    def _of_what(self, found: Approval) -> dict[str, bool]:
        """Return what may be wrong with what an approval approves."""
        versions = (self._config.revision, self._config.activity.policy_version)
        named = (found.revision, found.policy_version)
        return {
            f"is for another app, sha256:{found.app[:16]}": found.app != self._app,
            "names another revision or policy_version": named != versions,
        }

    def state(self, required: int) -> ApprovalState:
        approvals = self._agreed(self._distinct())
        counted = {name: approvals[name] for name in sorted(approvals)}
        ends = sorted((one.expires for one in counted.values()), reverse=True)
        return ApprovalState(
            valid=tuple(counted),
            required=required,
            refused=tuple(self._refused),
            broken=tuple(self._broken),
            waivers=self._in_force(counted, required),
            proposed=tuple(self._waivers.values()),
            policy_sha256=next((one.policy for one in counted.values()), None),
            key_ids=tuple(sorted(key_id(self._keys[name]) for name in counted)),
            expires=ends[min(max(required, 1), len(ends)) - 1] if ends else 0,
        )

    def _distinct(self) -> dict[str, Approval]:
        """Return approvals of distinct keys: two names of one key are one person."""
        kept: dict[bytes, str] = {}
        for name in sorted(self._approvals):
            first = kept.setdefault(self._keys[name], name)
            if first != name:
                self._refused.append(f"{name}: has the same key as {first}, who approved already")
        return {name: self._approvals[name] for name in kept.values()}

    def _agreed(self, approvals: Mapping[str, Approval]) -> Mapping[str, Approval]:
        """Return those that approved by one policy: the one that most of them name."""
        votes = Counter(one.policy for one in approvals.values())
        if len(votes) < 2:  # noqa: PLR2004 - they agree
            return approvals
        chosen = max(votes, key=lambda policy: (votes[policy], policy or ""))
        for name, one in approvals.items():
            if one.policy != chosen:
                self._refused.append(f"{name}: approved by another policy than the others")
        return {name: one for name, one in approvals.items() if one.policy == chosen}

    def _in_force(self, approvals: Mapping[str, Approval], required: int) -> tuple[Waiver, ...]:
        """Return one waiver of each rule and field that enough people stand behind."""
        behind: dict[tuple[str, str], set[bytes]] = {}
        found: dict[tuple[str, str], Waiver] = {}
        for (rule, path, by), waiver in self._waivers.items():
            named = [name for name, one in approvals.items() if waiver.digest in one.waivers]
            people = {self._keys[name] for name in (by, *named)}
            behind.setdefault((rule, path), set()).update(people)
            before = found.get((rule, path))
            if before is None or waiver.expires < before.expires:
                found[rule, path] = waiver
        return tuple(
            found[which] for which in sorted(found) if len(behind[which]) >= max(required, 1)
        )
