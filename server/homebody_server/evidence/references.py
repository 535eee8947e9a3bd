"""Where a reference of a statement leads on the page, and what stands for it there."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from homebody_privacy.config import PrivacyConfig
from homebody_privacy.config_digest import canonical
from homebody_privacy.policy.check import PolicyRules
from homebody_privacy.policy.findings import CheckResult
from homebody_privacy.policy.registry import RULES
from homebody_server.evidence.words import LABELS, Label

_CLASSES: Mapping[Label, str] = dict(zip(LABELS, ("enforced", "checked", "word"), strict=True))


@dataclass(frozen=True, slots=True)
class RuleRow:
    """A rule and how it stands here.

    Attributes:
        id: Its id.
        fails_on: What it refuses.
        ref: What it rests on.
        here: ``ok``, ``FAIL``, ``warn``, ``waived``, ``not looked at`` or ``not known``.
    """

    id: str
    fails_on: str
    ref: str
    here: str


def href(ref: str) -> str:
    """Return where a reference leads, from ``index.html``.

    Examples:
        >>> href("rule:DP-004"), href("ledger:3"), href("waiver:1"), href("verify")
        ('#rule-DP-004', 'ledger.html#entry-3', '#approval-1', '#verify')
    """
    kind, _, name = ref.partition(":")
    match kind:
        case "ledger":
            return f"ledger.html#entry-{name}"
        case "waiver" | "approval":
            return f"#approval-{name}"
        case "bundle":
            return "#files"
        case _:
            return f"#{kind}-{name}" if name else f"#{kind}"


def short(ref: str) -> str:
    """Return what a reference is shown as.

    Examples:
        >>> short("rule:DP-004"), short("ledger:3"), short("config:dp.delta"), short("verify")
        ('DP-004', 'entry 3', 'dp.delta', 'verify')
    """
    kind, _, name = ref.partition(":")
    return f"entry {name}" if kind == "ledger" else (name if kind in _BARE else ref)


_BARE = frozenset({"rule", "config"})


def kind(label: Label) -> str:
    """Return the style of a label."""
    return _CLASSES[label]


def config_rows(config: PrivacyConfig, refs: Iterable[str]) -> list[tuple[str, str]]:
    """Return path and value of each field that is referred to, sorted."""
    values = canonical(config)
    paths = sorted({ref.removeprefix("config:") for ref in refs if ref.startswith("config:")})
    return [(path, _value(values, path)) for path in paths]


def rule_rows(
    check: CheckResult,
    policy: PolicyRules | None,
    refs: Iterable[str],
    unseen: Collection[str] = (),
) -> list[RuleRow]:
    """Return every rule of baseline and policy, and those besides that are referred to.

    Args:
        check: What the check found.
        policy: The firm's rules.
        refs: References of all statements.
        unseen: Ids that could not be looked at here.
    """
    here = dict.fromkeys(unseen, "not looked at") | _results(check)
    rows: dict[str, RuleRow] = {}
    for rule in RULES:
        before = rows.get(rule.id)
        words = rule.fails_on if before is None else f"{before.fails_on}; {rule.fails_on}"
        rows[rule.id] = RuleRow(rule.id, words.replace("`", ""), rule.ref, here.get(rule.id, "ok"))
    for own in () if policy is None else policy.rule:
        before = rows.get(own.id)
        told = own.expr if own.expr is not None else f"{own.path} {own.op} {own.value}"
        words = f"the firm asks {told}: {own.why}"
        if before is not None:
            words = f"{before.fails_on}; {words}"
        ref = own.ref or ("" if before is None else before.ref)
        rows[own.id] = RuleRow(own.id, words, ref, here.get(own.id, "ok"))
    for name in sorted(ref.removeprefix("rule:") for ref in refs if ref.startswith("rule:")):
        words = "a rule of another version of the baseline"
        rows.setdefault(name, RuleRow(name, words, "", here.get(name, "not known")))
    return list(rows.values())


def _results(check: CheckResult) -> dict[str, str]:
    """Return how each rule ended that something was found by; the worst of several."""
    here: dict[str, str] = {}
    for found in check.findings:
        told = "waived" if found.waived else ("FAIL" if found.level == "fail" else "warn")
        if here.get(found.rule) != "FAIL":
            here[found.rule] = told
    return here


def _value(values: Mapping[str, Any], path: str) -> str:
    at: Any = values
    for name in path.split("."):
        if not isinstance(at, Mapping) or name not in at:
            return "not in the file: its default holds"
        at = at[name]
    if isinstance(at, list):
        return ", ".join(map(str, at)) or "none"
    return "empty" if at == "" else str(at).lower() if isinstance(at, bool) else str(at)
