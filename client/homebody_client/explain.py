"""Reasons in words, made on the device from the history that stays there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

BECAUSE: Final = "because"
POPULAR: Final = "popular"
_NAMED: Final = 2  # more names than that are no explanation any more


@dataclass(frozen=True, slots=True)
class Reason:
    """Why an item is in the list. Secret: its causes are the person's history.

    Attributes:
        code: ``because`` (items of the history raised its score) or ``popular`` (none did).
        text: One sentence for the person.
        causes: Product ids of the history that raised the score, strongest first.
    """

    code: str
    text: str = field(repr=False)
    causes: tuple[str, ...] = field(default=(), repr=False)

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
    names = [(titles or {}).get(cause, cause) for cause in causes[:_NAMED]]
    return Reason(BECAUSE, f"Because you chose {' and '.join(names)}", tuple(causes))
