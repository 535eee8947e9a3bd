"""Baseline rules on aggregation, transport, releases, retention, rights, ledger and words."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from .rule import Facts, Hit, Rule, limit
from .words import banned_words

_LEAST_GOAL: Final = 100
_LEAST_PEOPLE: Final = 2
_CHECKS: Final = ("ledger_verified", "audit_passed")


def _no_assessment(facts: Facts) -> Iterator[Hit]:
    if not facts.config.activity.dpia_ref.strip():
        yield Hit("activity.dpia_ref", "is empty: profiling of many people needs an assessment")


def _has_rounds(facts: Facts) -> bool:
    return facts.config.recipe != "statistics"


def _small_goal(facts: Facts) -> Iterator[Hit]:
    if not _has_rounds(facts) or facts.config.dp.mechanism == "gaussian":
        return  # with secret coins a goal would be a release; DP-010 refuses one
    goal, path = facts.config.aggregation.report_goal, "aggregation.report_goal"
    if goal is None:
        yield Hit(path, "is missing: a round with one reply would be released")
    elif goal < _LEAST_GOAL:
        why = f"is {goal}, policy wants >= {_LEAST_GOAL} - a sum of few people hides nobody"
        yield Hit(path, why)


def _large_goal(facts: Facts) -> Iterator[Hit]:
    goal, size = facts.config.aggregation.report_goal, facts.config.dp.cohort_size
    if _has_rounds(facts) and goal is not None and goal > size:
        why = f"is {goal}, more than dp.cohort_size = {size}: every round would be void"
        yield Hit("aggregation.report_goal", why)


def _too_many_rounds(facts: Facts) -> Iterator[Hit]:
    if not _has_rounds(facts):
        return
    dp, people = facts.config.dp, facts.fewest
    if dp.cohort_size > people:
        why = f"is {dp.cohort_size}, more than the {people} devices there are"
        yield Hit("dp.cohort_size", why)
    elif dp.rounds * dp.cohort_size > people * dp.max_rounds_per_device:
        why = (
            f"{dp.rounds} rounds of {dp.cohort_size} are more than {people} devices can fill that "
            f"join at most {dp.max_rounds_per_device} each"
        )
        yield Hit("dp.rounds", why)
    elif dp.mechanism == "blt" and dp.cohort_size * dp.min_separation > people:
        why = (
            f"cohorts of {dp.cohort_size} that keep {dp.min_separation} rounds apart need "
            f"{dp.cohort_size * dp.min_separation} devices, there are {people}"
        )
        yield Hit("dp.min_separation", why)


def _unchecked_release(facts: Facts) -> Iterator[Hit]:
    missing = [check for check in _CHECKS if check not in facts.config.release.requires]
    if missing:
        why = f"lacks {', '.join(missing)}: a model could be released that nobody looked at"
        yield Hit("release.requires", why)


def _unlearn(facts: Facts) -> Iterator[Hit]:
    config = facts.config
    if config.rights.trained_model == "unlearn" and config.aggregation.secagg:
        why = "is unlearn, but of a secure sum nobody can be taken out again"
        yield Hit("rights.trained_model", why)


def _approvers(facts: Facts) -> Iterator[Hit]:
    approval = facts.config.approval
    people = len(set(approval.approvers))
    if approval.required < _LEAST_PEOPLE:
        why = f"is {approval.required}, policy wants >= {_LEAST_PEOPLE} - four eyes"
        yield Hit("approval.required", why)
    elif people < approval.required:
        why = f"names {people} people, fewer than approval.required = {approval.required}"
        yield Hit("approval.approvers", why)


def _texts(facts: Facts) -> Iterator[tuple[str, str]]:
    """Return every text of a config that people read, by path."""
    config = facts.config
    yield "activity.name", config.activity.name
    for name, purpose in config.purposes.items():
        yield f"purposes.{name}.title", purpose.title
        yield f"purposes.{name}.reason", purpose.reason
    for words in config.transparency.main_parameters:
        yield "transparency.main_parameters", words
    for language, notice in config.consent.notices.items():
        words_shown = _read(facts.folder, notice.file)
        if words_shown is not None:
            yield f"consent.notices.{language}.file", words_shown


def _read(folder: Path | None, file: str) -> str | None:
    """Return a notice; None where it cannot be looked at, which CON-022 tells."""
    try:
        return None if folder is None else (folder / file).read_text("utf-8", errors="replace")
    except OSError:
        return None


def _banned(facts: Facts) -> Iterator[Hit]:
    leaves = any(purpose.leaves_device for purpose in facts.config.purposes.values())
    for path, text in _texts(facts):
        for phrase in banned_words(text, anything_leaves=leaves):
            yield Hit(path, f"says {phrase!r}, which nobody can promise")


SYSTEM: Final = (
    Rule(
        id="DOC-001",
        paths=("activity.dpia_ref",),
        fails_on="no impact assessment",
        ref="GDPR Art. 35(1), (3)(a)",
        judge=_no_assessment,
    ),
    limit(
        "ADM-001",
        "transparency.significant_decision",
        "==",
        False,  # noqa: FBT003 - a value of the file
        "nothing of weight may rest on a ranking alone",
        "GDPR Art. 22",
        waivable=False,
    ),
    limit(
        "AGG-001",
        "aggregation.secagg",
        "==",
        True,  # noqa: FBT003
        "the server may not see one person's update",
        "GDPR Art. 25, 32",
    ),
    Rule(
        id="AGG-002",
        paths=("aggregation.report_goal",),
        fails_on="a report goal below 100, or none with blt",
        ref="GDPR Art. 25; arXiv 2303.00654",
        judge=_small_goal,
    ),
    Rule(
        id="AGG-003",
        paths=("aggregation.report_goal",),
        fails_on="a report goal above `dp.cohort_size` (exit 12)",
        ref="arithmetic",
        judge=_large_goal,
        exit_code=12,
    ),
    Rule(
        id="AGG-004",
        paths=("dp.rounds", "dp.cohort_size", "dp.min_separation"),
        fails_on="rounds that the devices there are cannot fill: rounds * cohort_size above "
        "population * cap (exit 12)",
        ref="arithmetic",
        judge=_too_many_rounds,
        exit_code=12,
    ),
    limit(
        "TLS-001",
        "transport.tls_min",
        "in",
        ["1.3"],
        "older versions of TLS have known weaknesses",
        "GDPR Art. 32; RFC 9325",
    ),
    limit(
        "TLS-002",
        "transport.ip_log",
        "!=",
        "full",
        "an address in a log says who took part",
        "GDPR Art. 5(1)(c); CJEU C-582/14",
    ),
    limit(
        "REL-001",
        "release.min_k",
        ">=",
        20,
        "no number about few people",
        "WP29 Opinion 05/2014",
    ),
    Rule(
        id="REL-002",
        paths=("release.requires",),
        fails_on="a release without `ledger_verified` and `audit_passed`",
        ref="GDPR Art. 5(2), 32(1)(d)",
        judge=_unchecked_release,
    ),
    limit(
        "RET-001",
        "retention.server_updates_hours",
        "<=",
        24,
        "replies are not kept",
        "GDPR Art. 5(1)(e)",
    ),
    Rule(
        id="RGT-001",
        paths=("rights.trained_model",),
        fails_on="`unlearn` together with secure aggregation",
        ref="GDPR Art. 5(1)(a), 17; EDPB Opinion 28/2024",
        judge=_unlearn,
        waivable=False,
    ),
    limit(
        "TRN-001",
        "transparency.non_profiling_option",
        "==",
        True,  # noqa: FBT003
        "a list without profiling should be offered to all",
        "DSA Art. 38",
        level="warn",
    ),
    limit(
        "LED-002",
        "ledger.witness",
        "!=",
        "none",
        "without a witness an operator may show two histories",
        "RFC 9162; GDPR Art. 5(2)",
        level="warn",
    ),
    Rule(
        id="APP-001",
        paths=("approval.required", "approval.approvers"),
        fails_on="fewer than two people who must approve",
        ref="GDPR Art. 24, 32(4)",
        judge=_approvers,
    ),
    Rule(
        id="TXT-001",
        paths=(
            "activity.name",
            "purposes.*.title",
            "purposes.*.reason",
            "transparency.main_parameters",
            "consent.notices.*.file",
        ),
        fails_on="words in a title, reason or notice that nobody can promise",
        ref="GDPR Art. 5(1)(a), 12; UCPD Art. 6",
        judge=_banned,
        waivable=False,
    ),
)
