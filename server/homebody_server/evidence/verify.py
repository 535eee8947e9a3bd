"""Is a run what was approved, and its epsilon what it says? From the record alone, offline.

What is looked at, in this order: the ledger against its signed checkpoint; approvals; the config
against ledger, run and report; each charge against the config; epsilon, computed anew
(``independent``), against the cap and against everything that states one; bundle and catalog; what
left devices. Nothing that is checked is believed before: a file that is damaged is a finding, never
a traceback.

A ledger shows that the story is consistent and unchanged, not that it is true.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from homebody_privacy.approval.reviewers import ReviewerKeys
from homebody_privacy.errors import IntegrityError
from homebody_privacy.premises import broken_premises

from .facts import CHECKPOINT, LEDGER, RunFacts, read_run_facts
from .verify_approvals import check_approvals
from .verify_before import check_before
from .verify_claims import check_words, claims_of
from .verify_config import check_config
from .verify_egress import check_egress
from .verify_epsilon import Claim, check_epsilon
from .verify_ledger import check_ledger
from .verify_lines import POLICY, Line, Verification, note, ok, wrong
from .verify_model import check_model
from .verify_names import check_names

__all__ = ["LIMIT", "Line", "Verification", "verify_facts", "verify_run"]

LIMIT: Final = "a ledger shows that the story is consistent and unchanged, not that it is true"
"""What stands under every report."""

_NO_NOISE: Final = "no noise was added: there is no promise to verify, and nothing may be released"


def verify_run(folder: Path, keys: ReviewerKeys | None, now: int) -> Verification:
    """Verify the record of a run.

    Args:
        folder: Folder of the run. Not trusted.
        keys: Pinned keys of reviewers, ledger and publisher; None verifies what can be verified
            without, with the keys that lie beside the run, and says so.
        now: Unix seconds.

    Raises:
        InvalidFileError: If it is no folder of a run, or the reviewers' file names keys that are
            none.
        ModuleNotFoundError: If dp-accounting is not installed.
    """
    facts = read_run_facts(folder)
    found = verify_facts(facts, keys, now, folder.resolve().parent)
    return Verification((*found.lines, *check_names(folder)), found.facts)


def verify_facts(
    facts: RunFacts,
    keys: ReviewerKeys | None,
    now: int,
    runs: Path,
    claims: tuple[Claim, ...] = (),
) -> Verification:
    """Verify what was read of a run or of a pack's record.

    Args:
        facts: What was read.
        keys: As ``verify_run``.
        now: Unix seconds.
        runs: Where keys lie that nobody pinned.
        claims: What is stated besides by who shows the record.
    """
    if _promised_nothing(facts):
        return Verification((*facts.damage, wrong(_NO_NOISE, POLICY)))
    ledger = check_ledger(facts, keys, runs)
    model = check_model(facts, keys, runs)
    lines = [*facts.damage, *ledger.lines]
    if facts.run is None and not facts.is_pack:
        lines.append(wrong("run.json is missing or damaged: what ran cannot be told"))
    lines += _report(facts)
    lines += _guarded(lambda: check_approvals(facts, keys, now, model.created))
    lines += _premises(facts)
    lines += _guarded(lambda: check_config(facts))
    figures: dict[str, Any] = {}

    def epsilon() -> tuple[Line, ...]:
        stated = (*claims, *claims_of(facts, model.privacy))
        found, values = check_epsilon(facts, stated, holds=ledger.holds)
        figures.update(values)
        return found

    lines += _guarded(epsilon)
    lines += _guarded(lambda: check_words(facts, model.privacy))
    lines += model.lines
    lines += _guarded(lambda: check_before(facts, runs))
    lines += _guarded(lambda: check_egress(facts))
    lines += _audit(facts)
    size = None if facts.ledger is None else len(facts.ledger.entries)
    told = {
        "config": facts.digest,
        "entries": size,
        "root": ledger.root,
        "bundle": model.digest,
        **figures,
    }
    return Verification(tuple(lines), told)


def _promised_nothing(facts: RunFacts) -> bool:
    """Tell whether this is a laboratory run without noise, in every file that would say so."""
    no_ledger = not facts.content.keys() & {LEDGER, CHECKPOINT}
    no_figure = facts.report is None or facts.report.get("epsilon") is None
    return bool(facts.spec) and facts.spec.get("ceiling") is None and no_ledger and no_figure


def _guarded(check: Callable[[], tuple[Line, ...]]) -> tuple[Line, ...]:
    """Return what a check finds; a record too damaged for it is what it found."""
    try:
        return check()
    except IntegrityError as error:
        return (wrong(str(error)),)


def _premises(facts: RunFacts) -> list[Line]:
    """Say which premise of every figure the config breaks: nothing should have run."""
    if facts.config is None:
        return []
    found = broken_premises(facts.config)
    return [wrong(f"{one.rule} {one.path}: {one.why}", POLICY) for one in found]


def _report(facts: RunFacts) -> list[Line]:
    """Say that there is no report, where there is none: of a run that finished it must be there."""
    if facts.report is not None or facts.is_pack:
        return []
    ended = [] if facts.ledger is None else facts.ledger.of_kind("run_closed")
    if any(one.get("ended") == "finished" for _, one in ended):
        return [wrong("the run finished, and report.json is missing or damaged")]
    return [note("there is no report: the run has not ended")]


def _audit(facts: RunFacts) -> list[Line]:
    """Say what an audit found, where there was one."""
    told = None if facts.report is None else facts.report.get("audit")
    findings = told.get("findings") if isinstance(told, dict) else None
    refuted = None if facts.audit is None else facts.audit.get("refuted")
    if told is None and facts.audit is None:
        ended = facts.is_pack or facts.report is not None
        asked = facts.config is not None and "audit_passed" in facts.config.release.requires
        why = ", and the config asks for one before release" if asked else ""
        text = f"no audit tried to refute the claim{why}: homebody audit --run"
        return [note(text)] if ended else []
    if findings or refuted not in (None, False):
        return [wrong("the audit refuted the claim")]
    if findings == [] or refuted is False:
        return [ok("the audit did not refute the claim")]
    return [wrong("the audit does not say what it found")]
