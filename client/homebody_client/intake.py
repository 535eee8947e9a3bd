"""What becomes of an event: whether it can be believed, and which rows it makes."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from homebody_client.events.event import Event
from homebody_client.events.quality import VIEWS, Finding, Problem, Screen
from homebody_client.events.rows import DAY_S, HOUR_S, is_excluded, row_values
from homebody_client.store import Value
from homebody_models.catalog import ItemCatalog
from homebody_privacy.consent_terms import ConsentTerms

_MINUTE_S: Final = 60.0


class Quarantine:
    """Events that are not to be learned from: counted by what is wrong with them, never kept."""

    __slots__ = ("_found", "_now", "_screen")

    def __init__(self) -> None:
        """Start with nothing seen."""
        self._screen = Screen()
        self._found: Counter[Problem] = Counter()
        self._now = 0.0

    def check(self, event: Event, now: float) -> Finding | None:
        """Return what is wrong with an event; None if it may be kept."""
        self._now = now
        finding = self._screen.check(event, now=now)
        if finding is not None:
            self._found[finding.problem] += 1
        return finding

    def burst(self, finding: Finding) -> bool:
        """Return whether rows kept before a finding are suspect, too."""
        return finding.problem is Problem.TOO_MANY_VIEWS

    def is_of_burst(
        self, values: Mapping[str, Value], collected: float, finding: Finding, until: float
    ) -> bool:
        """Return whether a row is one of those a burst is made of.

        Where a group keeps no exact time, all views of that day, or of the hour or day they were
        collected in, are suspect.

        Args:
            values: What is kept. Secret.
            collected: When it was kept, as exactly as its group asks.
            finding: The burst.
            until: When its latest event happened.
        """
        if values.get("event") not in VIEWS:
            return False
        timestamp, day = values.get("timestamp"), values.get("day")
        if isinstance(timestamp, int | float):
            return finding.since <= timestamp <= until
        if isinstance(day, int):
            return finding.since // DAY_S <= day <= until // DAY_S
        step = HOUR_S if "hour" in values else DAY_S
        return collected >= (self._now - _MINUTE_S) // step * step

    def repeated(self) -> None:
        """Count an event whose rows are there from an earlier start."""
        self._found[Problem.DUPLICATE] += 1

    def forget(self) -> None:
        """Forget which events there were, for their rows are gone; the counts stay."""
        self._screen = Screen()

    def counts(self) -> Mapping[str, int]:
        """Return how many events were put aside, by problem, since the device was opened."""
        return {problem.value: n for problem, n in sorted(self._found.items())}


def values_of(
    event: Event, terms: ConsentTerms, catalog: ItemCatalog | None, *, utc_offset_s: int
) -> dict[str, dict[str, Value]]:
    """Return what each feature group would keep of an event, by group. Secret.

    Whether any is kept is for the collect gate to say.

    Args:
        event: What happened. Secret.
        terms: The feature groups.
        catalog: What is known of products; None without one.
        utc_offset_s: Seconds the person's clock is ahead of UTC.
    """
    item = _item(event, catalog)
    rows = {}
    for name, group in terms.groups.items():
        if group.events and event.event not in group.events:
            continue
        if is_excluded(event, group.exclude, item):
            continue
        values = row_values(event, group.fields, item, utc_offset_s=utc_offset_s)
        if values:
            rows[name] = values
    return rows


def _item(event: Event, catalog: ItemCatalog | None) -> dict[str, Any] | None:
    """Return what the catalog says of an event's product. Public."""
    product = event.fields.get("product_id")
    if catalog is None or not isinstance(product, str):
        return None
    index = catalog.index.get(product)
    if index is None:
        return None
    return {
        "category": catalog.category(index),
        "price": catalog.price(index),
        "topics": catalog.topics(index),
    }
