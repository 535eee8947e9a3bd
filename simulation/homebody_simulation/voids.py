"""Why rounds and figures of a run released nothing, in words; never how many answered."""

from collections.abc import Mapping
from typing import Any, Final

from homebody_privacy.ledger_record import LedgerRecord

_WORDS: Final[Mapping[str, str]] = {
    "report-goal": "fewer devices than the report goal answered",
    "below-min-k": "fewer people than release.min_k would have been behind it",
    "interrupted": "the server stopped while the round was under way",
    "too-few-adverts": "too few nodes joined the secure sum",
    "no-parameters": "no thresholds keep a secure sum of so few nodes to its bounds",
    "too-few-shared": "too many nodes left the secure sum before it was fixed who takes part",
    "too-few-vectors": "too many nodes left the secure sum without a vector",
    "thin-ring": "so many neighbouring nodes left that the secure sum might have fallen in two",
    "quorum": "too few nodes confirmed who is in the secure sum",
    "too-few-shares": "too many nodes left the secure sum before it was opened",
    "wrong-shares": "nodes opened the secure sum with shares that do not fit",
}
_UNKNOWN: Final = "the ledger does not say why"


def voids_of(ledger: LedgerRecord) -> list[dict[str, Any]]:
    """Return each void round, and each figure nothing was released for, with its reason."""
    rounds = [
        {"what": f"round {number}", "reason": reason, "words": _words(reason)}
        for number, reason in ledger.void_reasons.items()
    ]
    figures = [
        {"what": name, "reason": reason, "words": _words(reason)}
        for name, reason in ledger.unanswered.items()
    ]
    return rounds + figures


def _words(reason: str | None) -> str:
    return _UNKNOWN if reason is None else _WORDS.get(reason, reason)
