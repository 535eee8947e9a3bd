"""Reviewers with keys, the example config, and what they sign, for the tests of approvals."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, Final

from homebody_privacy.approval.dsse import Envelope
from homebody_privacy.approval.reviewers import ReviewerKeys, reviewer_lines
from homebody_privacy.approval.statement import Approval, Waiver, sign
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.signing import SigningKey

EXAMPLE: Final = Path(__file__).parents[2] / "docs" / "examples" / "compliance" / "example.toml"
NOW: Final = 1_800_000_000
DAY: Final = 86_400
APP: Final = "ab" * 32
DPO: Final = "dpo@example.org"
SECURITY: Final = "security@example.org"
STRANGER: Final = "stranger@example.org"
KEYS: Final = {
    name: SigningKey(bytes([number]) * 32)
    for number, name in enumerate((DPO, SECURITY, STRANGER), start=1)
}


@cache
def example() -> PrivacyConfig:
    """Return the config of the design, which asks the DPO and security."""
    return PrivacyConfig.read(EXAMPLE)


def pinned(names: Iterable[str] = (DPO, SECURITY)) -> ReviewerKeys:
    """Return keys that are pinned somewhere."""
    return ReviewerKeys({name: KEYS[name].public for name in names}, {})


def keys_text(names: Iterable[str] = (DPO, SECURITY)) -> str:
    """Return a reviewers' file."""
    return 'schema = "reviewers/1"\n\n' + "\n".join(
        reviewer_lines(name, KEYS[name].public, witness=name == DPO) for name in names
    )


def approval(by: str, **changes: Any) -> Envelope:  # noqa: ANN401 - fields of a statement
    """Return what a person signs, with fields of the statement changed before they do."""
    key = changes.pop("key", KEYS[by])
    config = changes.pop("of", example())
    told = {
        "config": config.digest(),
        "app": APP,
        "by": by,
        "revision": config.revision,
        "policy_version": config.activity.policy_version,
        "issued": NOW,
        "expires": NOW + 30 * DAY,
    }
    return sign(Approval(**{**told, **changes}), key)


def waiver(by: str, rule: str = "AGG-002", **changes: Any) -> Waiver:  # noqa: ANN401 - as above
    """Return what a person would sign to lift a rule."""
    told = {
        "rule": rule,
        "path": "aggregation.report_goal",
        "reason": "a pilot with few people",
        "config": example().digest(),
        "by": by,
        "issued": NOW,
        "expires": NOW + 7 * DAY,
    }
    return Waiver(**{**told, **changes})
