"""What a device records of the models and catalogs it uses, and what it found at its start."""

from collections.abc import Mapping
from dataclasses import field
from typing import Generic, Literal, Self, TypeVar

from homebody_client.light_dataclass import dataclass
from homebody_models.bundle import ModelBundle
from homebody_models.catalog import ItemCatalog
from homebody_privacy.errors import IntegrityError

State = Mapping[str, object]
"""What is kept, by line: plain JSON."""

Found = Literal["active", "previous", "none"]
Kind = TypeVar("Kind", ModelBundle, ItemCatalog)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What a device has in use of one line of models or catalogs. Public.

    Attributes:
        digest: Digest of what is in use.
        serial: Its serial.
        floor: Least serial this device may ever go back to.
        previous: Digest of the one before; empty for none.
    """

    digest: str
    serial: int
    floor: int
    previous: str = ""

    def to_json(self) -> dict[str, object]:
        """Return what is kept."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_json(cls, value: object) -> Self:
        """Read what ``to_json`` wrote.

        Raises:
            IntegrityError: If it is something else.
        """
        kinds = {"digest": str, "serial": int, "floor": int, "previous": str}
        if (
            not isinstance(value, dict)
            or set(value) != set(kinds)
            or not all(type(value[name]) is kind for name, kind in kinds.items())
        ):
            raise IntegrityError("the record of what is in use is not what was written")
        return cls(**value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Active(Generic[Kind]):
    """What a device serves with. Public.

    Attributes:
        content: The verified model or catalog; None if there is none to serve with.
        found: ``active``; ``previous`` if the active one was refused; ``none``.
        problem: Why the active one was refused; empty if it was not.
    """

    content: Kind | None = field(repr=False)
    found: Found
    problem: str = ""
