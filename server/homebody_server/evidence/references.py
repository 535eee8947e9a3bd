"""Where a reference of a statement leads on the page, and what stands for it there."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from homebody_privacy.config import PrivacyConfig
from homebody_privacy.config_digest import canonical
from homebody_privacy.policy.findings import CheckResult
from homebody_privacy.policy.registry import RULES
from homebody_server.evidence.words import LABELS, Label, Statement

_CLASSES: Mapping[Label, str] = dict(zip(LABELS, ("enforced", "checked", "word"), strict=True))


@dataclass(frozen=True, slots=True)
class RuleRow:
    """A rule and how it stands here.

    Attributes:
        id: Its id.
        fails_on: What it refuses.
        ref: What it rests on.
        here: ``ok``, ``FAIL``, ``warn`` or ``waived``.
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


def known(statement: Statement, entries: int) -> Statement:
    """Return a statement whose references to entries that cannot be read lead to verify."""
    refs = tuple(dict.fromkeys(_known(ref, entries) for ref in statement.refs))
    return Statement(statement.text, statement.label, refs)


def _known(ref: str, entries: int) -> str:
    name, _, index = ref.partition(":")
    return "verify" if name == "ledger" and int(index) >= entries else ref


def config_rows(config: PrivacyConfig, refs: Iterable[str]) -> list[tuple[str, str]]:
    """Return path and value of each field that is referred to, sorted."""
    values = canonical(config)
    paths = sorted({ref.removeprefix("config:") for ref in refs if ref.startswith("config:")})
    return [(path, _value(values, path)) for path in paths]


def rule_rows(check: CheckResult, refs: Iterable[str]) -> list[RuleRow]:
    """Return every rule of the baseline, and those besides that are found or referred to."""
    here: dict[str, str] = {}
    for found in check.findings:
        told = "waived" if found.waived else ("FAIL" if found.level == "fail" else "warn")
        if here.get(found.rule) != "FAIL":
            here[found.rule] = told
    rows: dict[str, RuleRow] = {}
    for rule in RULES:
        before = rows.get(rule.id)
        words = rule.fails_on if before is None else f"{before.fails_on}; {rule.fails_on}"
        rows[rule.id] = RuleRow(rule.id, words.replace("`", ""), rule.ref, here.get(rule.id, "ok"))
    for found in check.findings:
        if found.rule not in rows:
            own = RuleRow(found.rule, found.message, found.ref, here[found.rule])
            rows[found.rule] = own
    for ref in refs:
        name = ref.removeprefix("rule:")
        if ref.startswith("rule:") and name not in rows:
            rows[name] = RuleRow(name, "a rule of another version of the baseline", "", "not known")
    return list(rows.values())


def _value(values: Mapping[str, Any], path: str) -> str:
    at: Any = values
    for name in path.split("."):
        if not isinstance(at, Mapping) or name not in at:
            return "not in the file: its default holds"
        at = at[name]
    if isinstance(at, list):
        return ", ".join(map(str, at)) or "none"
    return "empty" if at == "" else str(at).lower() if isinstance(at, bool) else str(at)
