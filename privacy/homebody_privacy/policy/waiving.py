"""What signed waivers change about findings: they lift a rule at a field of one config, for a time.

Who may sign, and how many must, is ``approval``'s to say; here they are in force. A premise or a
legal bar is lifted by nobody, and a waiver that has expired leaves the failure where it was.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Protocol

from .findings import Finding
from .registry import is_waivable

_DAY_S = 86_400


class SignedWaiver(Protocol):
    """What is read of a waiver (``approval.statement.Waiver``)."""

    @property
    def rule(self) -> str:
        """Id of the rule."""

    @property
    def path(self) -> str:
        """Field it is lifted for."""

    @property
    def config(self) -> str:
        """Digest of the config it is for, hex."""

    @property
    def expires(self) -> int:
        """From when the rule holds again, Unix seconds."""


def with_waivers(
    findings: Iterable[Finding],
    waivers: Sequence[SignedWaiver],
    proposed: Sequence[SignedWaiver],
    *,
    digest: str,
    now: int,
) -> tuple[Finding, ...]:
    """Return findings with those lifted that a waiver lifts, and a note on those it does not.

    Args:
        findings: What was found.
        waivers: Waivers enough people stand behind, expired ones too.
        proposed: Waivers too few people signed, or whose signatures were not checked.
        digest: Digest of the config, hex.
        now: Unix seconds.
    """
    return tuple(_judged(one, waivers, proposed, digest, now) for one in findings)


def _judged(
    finding: Finding,
    waivers: Sequence[SignedWaiver],
    proposed: Sequence[SignedWaiver],
    digest: str,
    now: int,
) -> Finding:
    if finding.level != "fail":
        return finding
    own = [w for w in waivers if (w.rule, w.path) == (finding.rule, finding.path)]
    if not own:
        asked = any((w.rule, w.path) == (finding.rule, finding.path) for w in proposed)
        note = "a waiver is there, but too few people whose keys count stand behind it"
        return replace(finding, note=note) if asked else finding
    if not is_waivable(finding.rule):
        return replace(finding, note="no waiver lifts this rule")
    bound = [waiver for waiver in own if waiver.config == digest]
    if not bound:
        return replace(finding, note="its waiver is for another config")
    last = max(waiver.expires for waiver in bound)
    if last <= now:
        return replace(finding, note=f"its waiver expired {(now - last) // _DAY_S} days ago")
    left = -(-(last - now) // _DAY_S)
    return replace(finding, waived=True, note=f"waived, for {left} more days")
