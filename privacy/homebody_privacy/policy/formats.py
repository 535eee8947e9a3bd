"""A check for programs: JSON of our own, and JUnit XML, which every build server shows."""

import html
import re
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any, Final

from homebody_privacy.charges import round_up
from homebody_privacy.planned import PlannedLoss

from .findings import CheckResult, Finding
from .registry import VERSION, in_force

_FIGURE_DIGITS: Final = 6
_NOT_XML: Final = re.compile(r"[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def to_json(result: CheckResult, file: str) -> dict[str, Any]:
    """Return a check as JSON values.

    Figures are rounded up; ``planned`` is null where none may be shown (``withheld`` says why) or
    none is known.
    """
    return {
        "file": file,
        "config_sha256": result.config_sha256,
        "baseline": VERSION,
        "policy": _policy(result),
        "profiles": list(result.profiles),
        "findings": [_finding(finding) for finding in result.findings],
        "planned": None if result.planned is None else figures(result.planned),
        "withheld": list(result.withheld),
        "failed": result.failed,
        "warned": result.warned,
        "waived": result.waived,
        "exit_code": result.exit_code,
    }


def figures(planned: PlannedLoss) -> dict[str, Any]:
    """Return planned figures as JSON values: user level, zero-out adjacency, rounded up."""
    return {
        "unit": "user",
        "adjacency": "zero_out",
        "epsilon": round_up(planned.epsilon, _FIGURE_DIGITS),
        "epsilon_unamplified": round_up(planned.epsilon_unamplified, _FIGURE_DIGITS),
        "delta": planned.delta,
        "mu": planned.mu,
        "best_guess": planned.best_guess,
        "cap": planned.cap,
        "cap_guess": planned.cap_guess,
        "runs_to_cap": planned.runs_to_cap,
        "years_to_cap": planned.years_to_cap,
        "method": planned.method,
    }


def to_junit(result: CheckResult, file: str) -> str:
    """Return a check as JUnit XML: a test for each rule in force, and for each of the firm's."""
    found: dict[str, list[Finding]] = {}
    for finding in result.findings:
        found.setdefault(finding.rule, []).append(finding)
    own = {rule.id: rule.source for rule in in_force(result.profiles)}
    names = {**own, **{one.rule: one.source for one in result.findings if one.rule not in own}}
    cases = [_case(rule, source, file, found.get(rule, [])) for rule, source in names.items()]
    failures = sum(any(f.refuses for f in found.get(rule, [])) for rule in names)
    skipped = sum(_is_waived(found.get(rule, [])) for rule in names)
    counts = f'tests="{len(names)}" failures="{failures}" errors="0" skipped="{skipped}"'
    head = '<?xml version="1.0" encoding="UTF-8"?>\n'
    suite = f'<testsuite name={_quoted("homebody check " + file)} {counts} time="0">'
    return f"{head}<testsuites>\n{suite}\n{''.join(cases)}</testsuite>\n</testsuites>\n"


def _policy(result: CheckResult) -> dict[str, str] | None:
    if not result.policy:
        return None
    return {"name": result.policy, "sha256": result.policy_sha256}


def _finding(finding: Finding) -> dict[str, Any]:
    return {name: value for name, value in asdict(finding).items() if name != "exit_code"}


def _is_waived(findings: Iterable[Finding]) -> bool:
    known = list(findings)
    return any(one.waived for one in known) and not any(one.refuses for one in known)


def _case(rule: str, source: str, file: str, findings: list[Finding]) -> str:
    name = f"<testcase classname={_quoted(source)} name={_quoted(rule)} file={_quoted(file)}"
    if not findings:
        return f'{name} time="0"/>\n'
    told = "\n".join(f"{one.path}: {one.message}{_ref(one)}{_note(one)}" for one in findings)
    refusing = [one for one in findings if one.refuses]
    if refusing:
        short = _quoted(f"{refusing[0].path}: {refusing[0].message}")
        inner = f'<failure type="fail" message={short}>{_escaped(told)}</failure>'
    elif _is_waived(findings):
        inner = f"<skipped message={_quoted(told)}/>"
    else:
        inner = f"<system-out>{_escaped(told)}</system-out>"
    return f'{name} time="0">{inner}</testcase>\n'


def _ref(finding: Finding) -> str:
    return f" [{finding.ref}]" if finding.ref else ""


def _note(finding: Finding) -> str:
    return f" ({finding.note})" if finding.note else ""


def _escaped(text: str) -> str:
    return html.escape(_NOT_XML.sub("?", text), quote=True)


def _quoted(text: str) -> str:
    return f'"{_escaped(text)}"'
