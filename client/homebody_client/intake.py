"""What becomes of an event: whose it is, whether it can be believed, and which rows it makes.

The person's id is never kept. The first event binds the profile: a keyed hash of the id goes into
the vault, and from then on an event of somebody else is refused.
"""

import hmac
from collections import Counter
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

from homebody_client.events.event import Event
from homebody_client.events.quality import Finding, Problem, Screen
from homebody_client.events.rows import is_excluded, row_values
from homebody_client.store import Value
from homebody_client.vault import Vault
from homebody_models.catalog import ItemCatalog
from homebody_privacy.consent_terms import ConsentTerms
from homebody_privacy.errors import PolicyViolationError

OWNER: Final = "owner"
PSEUDONYM: Final = "pseudonym"
_LABEL: Final = b"homebody/pseudonym/v1\0"


class Owner:
    """Whose profile it is, by a keyed hash that is of no use without the vault.

    Args:
        vault: Keeps key and hash.
    """

    __slots__ = ("_hash", "_vault")

    def __init__(self, vault: Vault) -> None:
        """Read who is known."""
        self._vault = vault
        self._hash = vault.value(OWNER)

    def is_(self, user_id: str) -> bool:
        """Return whether the profile is this person's; one that met nobody is anyone's."""
        return self._hash is None or self._hash == self._pseudonym(user_id)

    def meet(self, user_id: str) -> None:
        """Bind the profile to a person, or refuse.

        Raises:
            PolicyViolationError: If it is somebody else's.
        """
        if self._hash is None:
            if self._vault.key(PSEUDONYM) is None:
                self._vault.change(new_keys=(PSEUDONYM,))
            self._hash = self._pseudonym(user_id)
            self._vault.change({OWNER: self._hash})
        elif self._hash != self._pseudonym(user_id):
            raise PolicyViolationError(
                "the event is of another person than this profile",
                fix="open a profile for each person",
            )

    def _pseudonym(self, user_id: str) -> str:
        key = self._vault.key(PSEUDONYM) or b""
        return hmac.new(key, _LABEL + user_id.encode("utf-8", "surrogatepass"), sha256).hexdigest()


class Quarantine:
    """Events that are not to be learned from: counted by what is wrong with them, never kept."""

    __slots__ = ("_found", "_screen")

    def __init__(self) -> None:
        """Start with nothing seen."""
        self._screen = Screen()
        self._found: Counter[Problem] = Counter()

    def check(self, event: Event, now: float) -> Finding | None:
        """Return what is wrong with an event; None if it may be kept."""
        finding = self._screen.check(event, now=now)
        if finding is not None:
            self._found[finding.problem] += 1
        return finding

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
