"""All that ``homebody diff`` says of two configs, and whether the new one may follow the old."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from homebody_privacy.errors import PolicyViolationError

from .changes import Change, changes, count
from .effect import Loss, Side, effect_words, side, unexplained
from .verdicts import Direction

if TYPE_CHECKING:
    from homebody_privacy.config import PrivacyConfig

_SHOWN_DIGEST: Final = 12
_ORDER: Final = tuple(Direction)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Two configs side by side. Public.

    Attributes:
        old_sha256: Digest of the config before, as hex.
        new_sha256: Digest of the config after.
        changes: What differs, what is weaker first.
        old: Figures before.
        new: Figures after.
        ask_again: Why people must be asked again, as codes; empty if they need not be.
        revisions: ``revision`` of both.
        policy_versions: ``activity.policy_version`` of both.
        problems: Why the new file may not follow the old one as it is; empty if it may.
    """

    old_sha256: str
    new_sha256: str
    changes: tuple[Change, ...]
    old: Side
    new: Side
    ask_again: tuple[str, ...]
    revisions: tuple[int, int]
    policy_versions: tuple[int, int]
    problems: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """0, or 10 if the new file may not follow the old one as it is."""
        return PolicyViolationError.exit_code if self.problems else 0

    @property
    def voids_approvals(self) -> bool:
        """Whether every approval of the old file is void: it covers one digest and no other."""
        return self.old_sha256 != self.new_sha256

    def to_dict(self) -> dict[str, Any]:
        """Return the same as JSON values."""
        return {
            "schema": "difference/1",
            **asdict(self),
            "effect": effect_words(self.old, self.new),
            "voids_approvals": self.voids_approvals,
            "exit_code": self.exit_code,
        }


def difference(old: "PrivacyConfig", new: "PrivacyConfig", *, loss: Loss) -> Difference:
    """Compare two configs.

    Args:
        old: The config before: what people agreed to.
        new: The config after.
        loss: Computes what a run costs (``planned.planned_loss``).
    """
    before, after = side(old, loss), side(new, loss)
    least, found = min(old.dp.delta, new.dp.delta), changes(old, new)
    one, other = (
        at if config.dp.delta == least else side(config, loss, least)
        for config, at in ((old, before), (new, after))
    )
    found = (*found, *unexplained(one, other, found))
    found = tuple(sorted(found, key=lambda change: _ORDER.index(change.direction)))
    reasons = tuple(dict.fromkeys(change.reason for change in found if change.reason))
    return Difference(
        old_sha256=old.digest(),
        new_sha256=new.digest(),
        changes=found,
        old=before,
        new=after,
        ask_again=reasons,
        revisions=(old.revision, new.revision),
        policy_versions=(old.activity.policy_version, new.activity.policy_version),
        problems=tuple(_problems(old, new, reasons)),
    )


def difference_text(told: Difference) -> str:
    """Return a difference as plain text, a change a line."""
    found = told.changes
    weaker, stronger, other = (count(found, direction) for direction in _ORDER)
    shown = [one[:_SHOWN_DIGEST] for one in (told.old_sha256, told.new_sha256)]
    lines = [f"{' -> '.join(shown)}: {weaker} weaker, {stronger} stronger, {other} other"]
    lines += [f"  {one.direction:<8} {one.text}   ({one.path})" for one in found]
    if told.voids_approvals:
        lines.append(f"  effect   {effect_words(told.old, told.new)}")
    return "\n".join([*lines, *(f"  {line}" for line in _end(told))]) + "\n"


def _problems(
    old: "PrivacyConfig", new: "PrivacyConfig", reasons: tuple[str, ...]
) -> Iterator[str]:
    if old.digest() == new.digest():
        return
    asked, asks = old.activity.policy_version, new.activity.policy_version
    if asks < asked:
        yield f"activity.policy_version may not fall: it was {asked} and is {asks}"
    elif reasons and asks == asked:
        yield f"raise activity.policy_version (still {asks}): nobody would be asked again"
    if new.revision <= old.revision:
        yield f"revision must rise above {old.revision} (is {new.revision}): devices refuse less"


def _end(told: Difference) -> Iterator[str]:
    """Return who must be asked again, what is missing for it, and what became of approvals."""
    asked, asks = told.policy_versions
    if told.ask_again:
        yield f"people must be asked again: {', '.join(told.ask_again)}"
    if asks > asked:
        yield f"people are asked again: activity.policy_version {asked} -> {asks}"
    yield from told.problems
    if told.voids_approvals:
        yield "all earlier approvals are void"
    else:
        yield "the two files mean the same: approvals stand"
