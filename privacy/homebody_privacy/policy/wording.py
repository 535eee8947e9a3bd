"""A check in words: what a person reads in a terminal, and a log keeps."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from homebody_privacy.charges import round_up
from homebody_privacy.planned import PlannedLoss

from .findings import CheckResult, Finding
from .registry import VERSION

if TYPE_CHECKING:
    from homebody_privacy.config import PrivacyConfig

_SHORT: Final = 16  # hex digits of a digest that tell two files apart
_LABELS: Final = {"fail": "FAIL", "warn": "warn"}
_WAIVED: Final = "waived"
_STYLES: Final = {"FAIL": "bold red", "warn": "yellow", _WAIVED: "cyan"}


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a line.

    Attributes:
        text: What it says.
        style: How a terminal may show it; empty for plainly.
    """

    text: str
    style: str = ""


def lines(result: CheckResult, config: "PrivacyConfig", file: str) -> Iterator[list[Span]]:
    """Return the lines of a check.

    Args:
        result: What was found.
        config: The config.
        file: Its name, as it was given.
    """
    firm = [f'"{result.policy}"'] if result.policy else []
    rules = " + ".join([f"baseline {VERSION}", *firm, *result.profiles])
    yield [
        Span(file, "bold"),
        Span(f"  sha256:{result.config_sha256[:_SHORT]}  {rules}"),
    ]
    labels = [_label(finding) for finding in result.findings]
    width = max((len(label) for label in labels), default=0)
    ids = max((len(finding.rule) for finding in result.findings), default=0)
    for finding, label in zip(result.findings, labels, strict=True):
        yield from _finding(finding, label.ljust(width), finding.rule.ljust(ids))
    yield from ([Span(f"  {line}", "" if n else "bold")] for n, line in _planned(result, config))
    yield [Span(_count(result), "bold")]


def as_text(result: CheckResult, config: "PrivacyConfig", file: str) -> str:
    """Return a check as plain text, a line break after each line."""
    return "".join(
        "".join(span.text for span in line) + "\n" for line in lines(result, config, file)
    )


def _label(finding: Finding) -> str:
    return _WAIVED if finding.waived else _LABELS[finding.level]


def _finding(finding: Finding, label: str, rule: str) -> Iterator[list[Span]]:
    indent = " " * (len(label) + 3)
    style = _STYLES[label.strip()]
    yield [Span(f"  {label} ", style), Span(rule, "bold"), Span(f"  {finding.path}")]
    ref = [Span(f"  [{finding.ref}]", "dim")] if finding.ref else []
    yield [Span(f"{indent}{finding.message}"), *ref]
    if finding.note:
        yield [Span(f"{indent}{finding.note}", _STYLES[_WAIVED])]


def _planned(result: CheckResult, config: "PrivacyConfig") -> Iterator[tuple[int, str]]:
    if result.withheld:
        yield 0, f"planned privacy loss: not printed, {', '.join(result.withheld)} failed"
    elif result.planned is None:
        yield 0, "planned privacy loss: not known, the file leaves noise to be solved"
        yield (
            1,
            f"  homebody plan --write FILE fixes it; never above the cap {config.dp.epsilon_max:g}",
        )
    else:
        yield from enumerate(planned_lines(result.planned, config))


def planned_lines(planned: PlannedLoss, config: "PrivacyConfig") -> list[str]:
    """Return what one run costs, in words; figures are rounded up.

    Args:
        planned: The figures.
        config: The config they were computed from.
    """
    dp = config.dp
    spent = f"{round_up(planned.epsilon, 3):g}"
    terms = f"delta {dp.delta:g}, per {dp.unit}, {dp.adjacency}, {dp.budget_scope}"
    found = [f"planned privacy loss: epsilon {spent} of {planned.cap:g} a run ({terms})"]
    if planned.method == "bound without sampling":
        found.append("  an upper bound: no credit for sampling is taken (--fast)")
    elif planned.epsilon < planned.epsilon_unamplified:
        bare = f"{round_up(planned.epsilon_unamplified, 3):g}"
        found.append(f"  epsilon {bare} toward whoever sees who takes part")
    best = f"  best guess {planned.best_guess} in 100 after one run"
    if planned.runs_to_cap is None:
        return [*found, f"{best}; each run has a budget of its own"]
    runs = f"{planned.runs_to_cap} run{'' if planned.runs_to_cap == 1 else 's'}"
    years = planned.years_to_cap
    when = "" if years is None else f" ({round(years, 1):g} years)"
    return [*found, f"{best}, {planned.cap_guess} at the cap, after {runs}{when}"]


def _count(result: CheckResult) -> str:
    waived = f", {result.waived} waived" if result.waived else ""
    return f"{result.failed} failed, {result.warned} warned{waived}"
