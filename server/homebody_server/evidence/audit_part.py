"""The audit of a run, where there was one: its words, never more than it can say."""

from typing import Any

from homebody_server.evidence.sources import RunRecord
from homebody_server.evidence.words import AUDIT_SENTENCE, CHECKED, WORD, Statement

_LEAST = 2  # sentences: the verdict and the closing one


def audit_block(record: RunRecord) -> dict[str, list[str]] | None:
    """Return field 16; None where the run was not audited.

    Returns:
        ``verdict``, ``findings``, ``sentences`` and ``closing``, as the audit wrote them.
    """
    audit = record.audit
    if audit is None:
        return None
    sentences = [str(one) for one in audit.get("sentences") or ()]
    findings = [str(one) for one in audit.get("findings") or ()]
    if len(sentences) < _LEAST:
        return None
    *words, verdict, closing = sentences
    return {
        "verdict": [verdict],
        "findings": findings,
        "sentences": [one for one in words if one not in findings],
        "closing": [closing],
    }


def audit_statements(record: RunRecord) -> tuple[Statement, ...]:
    """Return what may be said of the audit, on the page."""
    block = audit_block(record)
    if block is None:
        text = "This run was not audited: homebody audit --run FOLDER does it."
        return (Statement(text, CHECKED, ("audit",)),)
    said = [*block["findings"], *block["sentences"], *block["verdict"]]
    about: Any = (record.audit or {}).get("setting") or {}
    same = about.get("config_digest") == record.config.digest()
    which = (
        "It ran the config of this run, on devices of the laboratory."
        if same
        else "It ran another config than this run: it says nothing of this one."
    )
    return (
        *(Statement(text, CHECKED, ("audit",)) for text in said),
        Statement(which, CHECKED, ("audit", "ledger:0")),
        Statement(
            "The result is not under the ledger's checkpoint: that this is all of it is the "
            f"operator's word. {AUDIT_SENTENCE}",
            WORD,
            ("audit",),
        ),
    )
