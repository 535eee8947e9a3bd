"""Reasons in words, made on the device from the history that stays there."""

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Final

from homebody_client.light_dataclass import dataclass

BECAUSE: Final = "because"
AGAIN: Final = "again"
CATEGORY: Final = "category"
LIKED: Final = "liked"
CONTEXT: Final = "context"
CART: Final = "cart"
HISTORY: Final = "history"
SIMILAR: Final = "similar"
RULE: Final = "rule"
EXPLORE: Final = "explore"
NEW: Final = "new"
POPULAR: Final = "popular"
IN_CATALOG: Final = "catalog"

CODES: Final[Mapping[str, str]] = {
    BECAUSE: "products of the history raised the score",
    AGAIN: "the product itself was chosen before",
    CATEGORY: "its category was looked at lately",
    LIKED: "the person said they like it, or its category",
    CONTEXT: "its category is chosen more often in moments like this one",
    CART: "it goes with what is in the cart",
    HISTORY: "the history raised the score; what in it is not named, for it is sensitive",
    SIMILAR: "it is like the product shown",
    RULE: "a rule of the app placed it",
    EXPLORE: "it was drawn, to learn what else pleases",
    NEW: "it is new in the catalog",
    POPULAR: "many people choose it; nothing of the person raised it",
    IN_CATALOG: "it is in the catalog; nothing of the person raised it",
}
"""Every code of a reason, and what it means."""

_NAMED: Final = 2  # more names than that are no explanation any more


@dataclass(frozen=True, slots=True)
class Reason:
    """Why an item is in the list. Secret: its causes are the person's history.

    Attributes:
        code: One of ``CODES``.
        text: One sentence for the person.
        causes: Product ids of the history that raised the score, strongest first; without any of
            them the score is lower. Nothing sensitive is among them.
    """

    code: str
    text: str = field(repr=False)
    causes: tuple[str, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        """Refuse a code nobody can look up."""
        if self.code not in CODES:
            raise ValueError("a reason needs one of the codes")

    def __str__(self) -> str:
        """Return the sentence."""
        return self.text


def reason_for(causes: Sequence[str], titles: Mapping[str, str] | None = None) -> Reason:
    """Return the reason made of some causes.

    Args:
        causes: Product ids, strongest first; none gives the reason ``popular``.
        titles: Names shown to people, by product id; an id without one stands for itself.

    Examples:
        >>> print(reason_for(["BANANAS", "FLUID MILK", "BREAD"]))
        Because you chose BANANAS and FLUID MILK
        >>> print(reason_for([]))
        Popular with many people
    """
    if not causes:
        return Reason(POPULAR, "Popular with many people")
    names = [(titles or {}).get(cause, cause) for cause in causes]
    return Reason(BECAUSE, f"Because you chose {listing(names)}", tuple(causes))


def listing(names: Sequence[str]) -> str:
    """Return the first names as a person would say them.

    Examples:
        >>> listing(["BREAD", "MILK", "TEA"])
        'BREAD and MILK'
    """
    return " and ".join(names[:_NAMED])
