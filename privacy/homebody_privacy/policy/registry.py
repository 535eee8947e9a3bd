"""Every rule there is, in one place: what checks, docs and tests go through."""

from collections.abc import Iterable, Mapping
from typing import Final

from .baseline_consent import CONSENT, FEATURES, TAXONOMIES
from .baseline_dp import DP
from .baseline_system import SYSTEM
from .profiles import PROFILES
from .rule import Rule

VERSION: Final = 1
"""Of the baseline; grows when a rule is added or gets stricter."""

RULES: Final[tuple[Rule, ...]] = (*DP, *CONSENT, *FEATURES, *TAXONOMIES, *SYSTEM)
"""The baseline: always in force. A rule that refuses here and warns there has two entries."""

EVERY: Final[tuple[Rule, ...]] = (*RULES, *(rule for own in PROFILES.values() for rule in own))
"""The baseline and all profiles."""


def in_force(profiles: Iterable[str] = ()) -> tuple[Rule, ...]:
    """Return the rules of a check.

    Raises:
        ValueError: If there is no such profile.
    """
    names = list(profiles)
    if not set(names) <= set(PROFILES):
        raise ValueError(f"a profile is one of {', '.join(PROFILES)}")
    return (*RULES, *(rule for name in names for rule in PROFILES[name]))


def by_id() -> Mapping[str, tuple[Rule, ...]]:
    """Return the entries of each id."""
    found: dict[str, tuple[Rule, ...]] = {}
    for rule in EVERY:
        found[rule.id] = (*found.get(rule.id, ()), rule)
    return found


def is_waivable(rule: str) -> bool:
    """Tell whether a waiver may lift a rule; a firm's own rules may be lifted by the firm."""
    return all(one.waivable for one in by_id().get(rule, ()))
