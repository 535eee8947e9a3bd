"""Judge a config: every rule of the baseline, of the profiles and of the firm, in one pass."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from homebody_privacy.config import PrivacyConfig
from homebody_privacy.errors import PolicyViolationError
from homebody_privacy.planned import PlannedLoss, planned_loss, withheld
from homebody_privacy.premises import broken_premises

from .expressions import judged
from .findings import CheckResult, Finding
from .policy_file import PolicyRule, PolicyRules
from .registry import by_id, in_force
from .rule import Facts, Hit, Rule, compared
from .values import Op, values_of
from .waiving import SignedWaiver, with_waivers

__all__ = ["WHOLE", "CheckResult", "PolicyRules", "check_config"]

WHOLE: Final = "privacy.toml"
"""Path of a finding that is about no single field; a waiver may name it."""


def check_config(
    config: PrivacyConfig,
    *,
    policy: PolicyRules | None = None,
    profiles: Sequence[str] = (),
    folder: Path | None = None,
    waivers: Sequence[SignedWaiver] = (),
    proposed: Sequence[SignedWaiver] = (),
    now: int,
    enrolled: int | None = None,
    fast: bool = False,
) -> CheckResult:
    """Judge a config.

    Args:
        config: A config that follows its schema; premises may be broken.
        policy: The firm's rules; None for the baseline alone.
        profiles: Names of further rule sets.
        folder: Where the files it names are; None where they cannot be looked at: then notices are
            not compared with their hashes.
        waivers: Waivers in force, and expired ones.
        proposed: Waivers that are not in force: they lift nothing and are told of.
        now: Unix seconds.
        enrolled: Devices that are enrolled, where known: what the file says of them is checked.
        fast: Take no credit for sampling, so that no accountant is loaded.

    Raises:
        ValueError: If there is no such profile, or ``enrolled`` is below 1.
        ModuleNotFoundError: If the firm wrote expressions and CEL is not installed.
    """
    if enrolled is not None and enrolled < 1:
        raise ValueError(f"enrolled must be at least 1, got {enrolled}")
    said = config.activity.population
    fewest, most = min(said, enrolled or said), max(said, enrolled or said)
    planned, why_not = _planned(config, fewest, most, fast=fast)
    facts = Facts(
        config=config,
        values=values_of(config),
        folder=folder,
        fewest=fewest,
        most=most,
        broken=broken_premises(config),
        planned=planned,
    )
    own = [finding for rule in in_force(profiles) for finding in _found(rule, facts)]
    firm = [] if policy is None else _firm(policy, facts)
    found = with_waivers(
        sorted(_merged(own, firm), key=_place),
        waivers,
        proposed,
        digest=config.digest(),
        now=now,
    )
    return CheckResult(
        config_sha256=config.digest(),
        policy="" if policy is None else policy.name,
        policy_sha256="" if policy is None else policy.digest(),
        profiles=tuple(sorted(profiles)),
        findings=found,
        planned=planned,
        withheld=why_not,
    )


def _planned(
    config: PrivacyConfig, fewest: int, most: int, *, fast: bool
) -> tuple[PlannedLoss | None, tuple[str, ...]]:
    """Return what a run would cost, or the failed rules because of which nobody can tell."""
    why_not = withheld(config, most)
    if why_not:
        return None, why_not
    try:
        return planned_loss(config, fast=fast, population=fewest), ()
    except PolicyViolationError:  # more devices a round than there are: AGG-004 tells
        return None, ("AGG-004",)


def _found(rule: Rule, facts: Facts) -> Iterable[Finding]:
    for hit in rule.judge(facts):
        yield Finding(
            rule=rule.id,
            level=rule.level,
            path=hit.path,
            message=hit.message,
            ref=rule.ref,
            source=rule.source,
            exit_code=rule.exit_code,
        )


_Firm: TypeAlias = tuple[PolicyRule, Finding]


def _firm(policy: PolicyRules, facts: Facts) -> list[_Firm]:
    return [
        (rule, _firm_finding(rule, hit, policy.name))
        for rule in policy.rule
        for hit in _hits(rule, facts)
    ]


def _firm_finding(rule: PolicyRule, hit: Hit, source: str) -> Finding:
    return Finding(
        rule=rule.id,
        level="fail",
        path=hit.path,
        message=hit.message,
        ref=rule.ref,
        source=source,
    )


def _hits(rule: PolicyRule, facts: Facts) -> Iterable[Hit]:
    if rule.comparison is not None:
        return compared(facts, *rule.comparison, rule.why)
    why_not = judged(rule.expr or "", facts.values)
    return [] if why_not is None else [Hit(WHOLE, f"{rule.expr}: {why_not} - {rule.why}")]


def _merged(own: Iterable[Finding], firm: Iterable[_Firm]) -> list[Finding]:
    """Return every failure once: where baseline and firm compare alike, the stricter's words stand.

    Nothing the baseline refuses is left out: only another finding of the same rule at the same
    field takes its place.
    """
    found = list(own)
    for rule, finding in firm:
        alike = [one for one in found if (one.rule, one.path) == (finding.rule, finding.path)]
        warnings = [one for one in alike if one.level == "warn"]
        bounds = [entry.bound for entry in by_id().get(rule.id, ()) if _is_like(entry, rule)]
        failed = [one for one in alike if one.level == "fail" and one.source != finding.source]
        if failed and bounds and not all(_is_stricter(rule, bound) for bound in bounds if bound):
            continue
        gone = [*warnings, *(failed if bounds else [])]
        found = [*(one for one in found if one not in gone), finding]
    return found


def _is_like(entry: Rule, rule: PolicyRule) -> bool:
    return entry.bound is not None and entry.bound[0] == rule.op


def _is_stricter(rule: PolicyRule, bound: tuple[Op, object]) -> bool:
    """Tell whether the firm's value refuses whatever the baseline's refuses."""
    op, value = bound
    own = rule.value
    if isinstance(own, (int, float)) and isinstance(value, (int, float)):
        if op in ("<", "<="):
            return own <= value
        return own >= value if op in (">", ">=") else own == value
    return own == value


def _place(finding: Finding) -> tuple[int, str, str]:
    """Order findings as the file is read: by table, then by rule."""
    tables = [field.alias or name for name, field in PrivacyConfig.model_fields.items()]
    table = finding.path.partition(".")[0]
    return (tables.index(table) if table in tables else len(tables), finding.rule, finding.path)
