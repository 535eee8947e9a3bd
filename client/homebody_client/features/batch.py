"""Compute a feature from all its rows at once: the definition that everything else must equal."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Final

from .readings import LABELS, MILLIONTHS, category, liking, money
from .spec import DAY_S, SESSION_GAP_S, FeatureSpec, Row, Value

LEAST_LIKING: Final = 1e-9
"""A category liked less than this is not liked: likes and dislikes that cancel leave crumbs."""


def compute(spec: FeatureSpec, rows: Iterable[Row], at: float) -> Value:
    """Return the value of a feature at a time.

    Args:
        spec: What to compute.
        rows: Rows in any order; of other groups, kinds and times too, which are left out. Secret.
        at: Unix seconds; later rows do not count.
    """
    begin = at - spec.window_s
    inside = [row for row in rows if begin < row.at <= at and spec.reads(row)]
    inside.sort(key=lambda row: row.at)  # stable: rows of one moment keep their order
    return _KINDS[spec.kind](spec, inside, at)


def shares(counts: Mapping[str, float]) -> dict[str, float]:
    """Return each part of a whole, sorted by name; empty if the whole is nothing."""
    whole = sum(counts.values())
    return {name: counts[name] / whole for name in sorted(counts) if counts[name]} if whole else {}


def liked_shares(likings: Mapping[str, float]) -> dict[str, float]:
    """Return the shares of categories that are liked at all."""
    return shares({name: liking for name, liking in likings.items() if liking > LEAST_LIKING})


def _recency(spec: FeatureSpec, rows: Sequence[Row], at: float) -> Value:
    return (at - rows[-1].at) / DAY_S if rows else float(spec.window_days)


def _frequency(_: FeatureSpec, rows: Sequence[Row], __: float) -> Value:
    return float(len(rows))


def _monetary(_: FeatureSpec, rows: Sequence[Row], __: float) -> Value:
    sums: Counter[str] = Counter()
    for spent in (money(row.values) for row in rows):
        if spent is not None:
            sums[spent[0]] += spent[1]
    return {name: sums[name] / MILLIONTHS for name in sorted(sums)}


def _category_affinity(spec: FeatureSpec, rows: Sequence[Row], at: float) -> Value:
    likings: dict[str, float] = {}
    for row in rows:
        liked = liking(row.values)
        if liked is not None:
            name, weight = liked
            likings[name] = likings.get(name, 0.0) + weight * decay(spec, at - row.at)
    return liked_shares(likings)


def decay(spec: FeatureSpec, age_s: float) -> float:
    """Return what an event of some age counts, from 0 to 1."""
    if not spec.half_life_days:
        return 1.0
    return float(2.0 ** (-age_s / (spec.half_life_days * DAY_S)))


def _session(_: FeatureSpec, rows: Sequence[Row], at: float) -> Value:
    count = sum(1 for a, b in pairwise(rows) if b.at - a.at > SESSION_GAP_S) + bool(rows)
    current: list[Row] = []
    end = at
    for row in reversed(rows):
        if end - row.at > SESSION_GAP_S:
            break
        current.append(row)
        end = row.at
    names = Counter(name for row in current if (name := category(row.values)))
    return session_value(count, len(current), at - end if current else 0.0, shares(names))


def session_value(count: int, events: int, seconds: float, parts: dict[str, float]) -> Value:
    """Return the value of a ``session`` feature."""
    return {
        "count": float(count),
        "events": float(events),
        "seconds": seconds,
        "shares": parts,
    }


def _labels(spec: FeatureSpec, rows: Sequence[Row], _: float) -> Value:
    label = LABELS[spec.kind]
    return shares(Counter(name for row in rows if (name := label(row.values))))


def _role(spec: FeatureSpec, rows: Sequence[Row], _: float) -> Value:
    label = LABELS[spec.kind]
    newest = next((name for row in reversed(rows) if (name := label(row.values))), None)
    return {} if newest is None else {newest: 1.0}


_KINDS: Final[dict[str, Callable[[FeatureSpec, Sequence[Row], float], Value]]] = {
    "recency": _recency,
    "frequency": _frequency,
    "monetary": _monetary,
    "category_affinity": _category_affinity,
    "session": _session,
    "time_of_day": _labels,
    "price_band": _labels,
    "device": _labels,
    "role": _role,
}
