"""Baseline rules DP: what must hold before a figure of privacy loss means something."""

from collections.abc import Iterator
from typing import Final

from homebody_privacy.charges import round_up

from .rule import Facts, Hit, Rule, limit, premise

_NIST: Final = "NIST SP 800-226"
_YEAR_DAYS: Final = 365
_CAUTION: Final = 10  # delta should be a tenth of what it must be below


def _delta(facts: Facts) -> Iterator[Hit]:
    delta = facts.config.dp.delta
    if delta * facts.most >= 1.0:
        why = f"{delta:g} is not below 1/N = {1 / facts.most:.3g}: one person could lose everything"
        yield Hit("dp.delta", why)


def _delta_near(facts: Facts) -> Iterator[Hit]:
    delta, people = facts.config.dp.delta, facts.most
    if 1.0 / _CAUTION < delta * people < 1.0:
        why = (
            f"{delta:g} is above 1/(10 N) = {1 / (_CAUTION * people):.3g}: it is below the bound, "
            "with little room"
        )
        yield Hit("dp.delta", why)


def _computed(facts: Facts) -> Iterator[Hit]:
    if facts.planned is None or facts.planned.epsilon <= facts.planned.cap:
        return
    spent = round_up(facts.planned.epsilon, 3)
    if facts.planned.method == "bound without sampling":  # not known to be broken, nor to be kept
        why = f"is not judged by --fast: without credit for sampling a run costs up to {spent}"
        yield Hit("dp.noise_multiplier", f"{why}; check without --fast")
        return
    why = f"one run costs epsilon {spent}, above dp.epsilon_max = {facts.planned.cap:g}"
    yield Hit("dp.noise_multiplier", f"{why}: the noise is too small for what is promised")


def _soon(facts: Facts) -> Iterator[Hit]:
    planned, years = facts.planned, None
    if planned is not None and planned.epsilon <= planned.cap:
        years = planned.years_to_cap
    if years is not None and planned is not None and years < 1.0:
        days = round(years * _YEAR_DAYS)
        why = f"is reached after {planned.runs_to_cap} runs, {days} days: devices then stay out"
        yield Hit("dp.epsilon_max", why)


DP: Final = (
    premise("DP-001", ("dp.mechanism",), "no noise at all", _NIST),
    limit("DP-002", "dp.epsilon_max", "<=", 4.0, "privacy loss per person is capped", _NIST),
    premise("DP-003", ("dp.unit",), "a unit other than all data of one user", _NIST),
    Rule(
        id="DP-004",
        paths=("dp.delta",),
        fails_on="`dp.delta` not below 1/N, N = `activity.population` or the enrolled, if more",
        ref=_NIST,
        judge=_delta,
        waivable=False,
    ),
    Rule(
        id="DP-004",
        paths=("dp.delta",),
        fails_on="`dp.delta` above 1/(10 N): little room below the bound",
        ref=_NIST,
        judge=_delta_near,
        level="warn",
        waivable=False,
    ),
    premise(
        "DP-005",
        ("dp.mechanism",),
        "user level promised on record-level DP (`dp.record`) alone",
        _NIST,
    ),
    limit(
        "DP-006",
        "dp.budget_scope",
        "!=",
        "run",
        "runs on the same people add up, whatever a file says",
        f"{_NIST}; composition",
    ),
    premise(
        "DP-007",
        ("dp.amplification",),
        "credit for sampling without gaussian noise on secret Poisson cohorts",
        "arXiv 2303.00654, 5.3.3",
    ),
    Rule(
        id="DP-008",
        paths=("dp.noise_multiplier",),
        fails_on="a computed ε of one run above `dp.epsilon_max`",
        ref=_NIST,
        judge=_computed,
        waivable=False,
    ),
    premise(
        "DP-009",
        ("dp.noise_by",),
        "noise by devices, which is not sized for `report_goal` (none is added yet)",
        "arXiv 2303.00654",
    ),
    premise(
        "DP-010",
        (
            "dp.sampling",
            "dp.amplification",
            "dp.cohort_cap",
            "dp.min_separation",
            "dp.blt",
            "aggregation.report_goal",
        ),
        "gaussian without secret Poisson cohorts and a cap of at least size + 5 * sqrt(size); blt "
        "with sampling",
        "arXiv 2508.15089",
    ),
    premise(
        "DP-011",
        ("dp.blt", "dp.min_separation", "dp.max_rounds_per_device"),
        "blt whose sensitivity is not known: device noise, rising or negative coefficients, a cap "
        "above ceil(rounds / separation)",
        "arXiv 2404.16706, 2405.13763",
    ),
    premise("DP-012", ("dp.adjacency",), "an adjacency other than zero_out", "arXiv 2303.00654"),
    premise(
        "DP-013",
        ("dp.adaptive_clip", "dp.tuning_runs"),
        "tuning, an adaptive clip norm or a metric that nobody charges",
        f"{_NIST}; arXiv 2110.03620",
    ),
    Rule(
        id="DP-014",
        paths=("dp.epsilon_max",),
        fails_on="a cap that devices reach within a year",
        ref=_NIST,
        judge=_soon,
        level="warn",
    ),
)
"""In the order of their ids."""
