"""What may honestly be said of the shared model after a withdrawal, and what may never be said.

A model is trained from sums in which nobody can be found again; so nobody can be taken out of it
either. What limits the harm is noise, and that limit is a number with premises. Where a premise
fails no number is printed.
"""

import math
import re
from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Final, Literal

TrainedModel = Literal["dp_only_stop_future", "retrain_window"]
"""What becomes of trained models: contributions stop; or a fresh start besides, now and then."""

_STOPS: Final = (
    "When you switch this off, your device stops at once and deletes what it kept for it. "
    "Contributions already added into the shared model cannot be picked out again."
)
_LIMIT: Final = (
    " They were limited in size and mixed with noise: someone who sees everything we publish from "
    "one training run and starts from an even guess whether you took part can be right at most "
    "{odds} times in 100, but for a chance of 1 in {chance}."
)
_NO_LIMIT: Final = " No figure can be given for how much they could tell about you."
_AFRESH: Final = " Every {days} days we start the model afresh from people who still agree."

_NEVER: Final = (
    "anonymous",
    "anonymised",
    "anonymized",
    "fully private",
    "gdpr compliant",
    "gdpr-compliant",
    "cannot be traced",
    "we delete your data from the model",
)
_NEVER_WHILE_ANYTHING_LEAVES: Final = ("your data never leaves",)
_CLAIM: Final = re.compile(r"differential(?:ly)?[ -]priva(?:te|cy)", re.IGNORECASE)
_PARTS: Final[Mapping[str, re.Pattern[str]]] = MappingProxyType(
    {
        "unit": re.compile(r"\b(?:user|record)[ -]level\b|\bper (?:user|record)\b", re.IGNORECASE),
        "epsilon": re.compile(r"epsilon|ε", re.IGNORECASE),
        "delta": re.compile(r"delta|δ", re.IGNORECASE),
        "adjacency": re.compile(r"adjacency", re.IGNORECASE),
        "scope": re.compile(r"\b(?:runs?|rounds|lifetime|year)\b", re.IGNORECASE),
    }
)


def odds_in_100(epsilon: float) -> int:
    """Return how often in 100 a guess that began even can be right at most; rounded up.

    Args:
        epsilon: Privacy loss at user level, at least 0.

    Raises:
        ValueError: If ``epsilon`` is negative or not a number.

    Examples:
        >>> odds_in_100(0.0), odds_in_100(0.962), odds_in_100(2.5)
        (50, 73, 93)
    """
    if not epsilon >= 0.0:
        raise ValueError(f"epsilon must be at least 0, got {epsilon}")
    return math.ceil(100.0 / (1.0 + math.exp(-epsilon)))


def after_withdrawal(
    mode: TrainedModel, *, epsilon: float | None, delta: float, retrain_every_days: int = 0
) -> str:
    """Return what a person is told of contributions already made.

    Args:
        mode: What becomes of trained models.
        epsilon: Upper bound at user level of one training run; None if a premise of it failed.
        delta: The chance it leaves aside.
        retrain_every_days: How often a model is started afresh; 0 for never.

    Raises:
        ValueError: If a number is out of range, or there is no such mode.

    Examples:
        >>> after_withdrawal("dp_only_stop_future", epsilon=None, delta=1e-7)[-63:]
        ' No figure can be given for how much they could tell about you.'
    """
    if mode not in ("dp_only_stop_future", "retrain_window"):
        raise ValueError("mode must be dp_only_stop_future or retrain_window")
    if not 0.0 < delta < 1.0 or retrain_every_days < 0:
        raise ValueError("delta must be above 0 and below 1, retrain_every_days at least 0")
    odds = None if epsilon is None else odds_in_100(epsilon)
    limit = _NO_LIMIT
    if odds is not None and odds < 100:  # noqa: PLR2004 - a hundred times in a hundred is no limit
        limit = _LIMIT.format(odds=odds, chance=_one_in(delta))
    again = mode == "retrain_window" and retrain_every_days > 0
    return _STOPS + limit + (_AFRESH.format(days=retrain_every_days) if again else "")


def banned_words(text: str, *, anything_leaves: bool = True) -> list[str]:
    """Return what a text for people says that may not be said (rule TXT-001); best empty.

    Args:
        text: A report, notice or page.
        anything_leaves: Whether any purpose leaves the device.

    Examples:
        >>> banned_words("Fully private and differentially private.")
        ['fully private', 'differentially private without unit, epsilon, delta, adjacency, scope']
    """
    flat = " ".join(text.split()).casefold()
    phrases = _NEVER + (_NEVER_WHILE_ANYTHING_LEAVES if anything_leaves else ())
    found = [phrase for phrase in phrases if re.search(rf"\b{re.escape(phrase)}\b", flat)]
    missing = [name for name, pattern in _PARTS.items() if pattern.search(flat) is None]
    claim = _CLAIM.search(flat)
    if claim is not None and missing:
        found.append(f"{claim.group()} without {', '.join(missing)}")
    return found


def _one_in(chance: float) -> str:
    """Return N of "1 in N", rounded down: a chance is never shown smaller than it is."""
    whole = int(1 / Decimal(repr(chance)))
    million = 1_000_000
    return f"{whole // million:,} million" if whole % million == 0 else f"{whole:,}"
