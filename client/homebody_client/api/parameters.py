"""Targets and bodies, read strictly: what is unknown, doubled or of another type is refused."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, unquote

from homebody_models.strict_json import strict_loads

from .messages import bad

TEXT_MAX: Final = 256
"""Longest id taken, in characters."""

_FIELDS: Final = 64
_NUMBER = re.compile(r"[0-9]{1,6}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Target:
    """A path in its parts, and the query behind it. Secret.

    Attributes:
        parts: Between the slashes, decoded.
        query: Values by name.
    """

    parts: tuple[str, ...] = field(repr=False)
    query: Mapping[str, tuple[str, ...]] = field(repr=False)

    def only(self, *allowed: str) -> None:
        """Refuse every query parameter that is not named."""
        if not self.query.keys() <= set(allowed):
            fix = f"allowed: {', '.join(sorted(allowed))}" if allowed else "leave the query away"
            raise bad("The query holds a parameter this address does not know.", fix)

    def text(self, name: str) -> str | None:
        """Return a parameter; None where it is not given."""
        values = self.query.get(name, ())
        if len(values) > 1:
            raise bad(f"{name} is given more than once.", f"give {name} once")
        return checked_text(name, values[0]) if values else None

    def number(self, name: str, least: int, most: int, otherwise: int) -> int:
        """Return a whole number; ``otherwise`` where it is not given."""
        text = self.text(name)
        if text is None:
            return otherwise
        value = int(text) if _NUMBER.fullmatch(text) else -1
        if not least <= value <= most:
            raise bad(
                f"{name} is not a whole number from {least} to {most}.",
                f"give {name} from {least} to {most}",
            )
        return value


def read_target(target: str) -> Target:
    """Return the parts of a request's target.

    Raises:
        RefusedError: If it is no absolute path, or not UTF-8 percent-encoded.
    """
    path, _, query = target.partition("?")
    if not path.startswith("/") or not target.isascii() or "#" in target:
        raise bad("The address is not an absolute path.", "write / and the path, in ASCII")
    try:
        parts = tuple(unquote(part, errors="strict") for part in path[1:].split("/"))
        pairs = (
            parse_qsl(
                query,
                keep_blank_values=True,
                strict_parsing=True,
                errors="strict",
                max_num_fields=_FIELDS,
            )
            if query
            else []
        )
    except ValueError:
        message = "The address is not percent-encoded UTF-8, or its query has no name=value form."
        raise bad(message, "encode it as RFC 3986 says") from None
    found: dict[str, tuple[str, ...]] = {}
    for name, value in pairs:
        found[name] = (*found.get(name, ()), value)
    return Target(parts, found)


def checked_text(name: str, value: object) -> str:
    """Return a text that can be an id.

    Raises:
        RefusedError: If it is none, empty, too long or holds control characters.
    """
    if isinstance(value, str) and 0 < len(value) <= TEXT_MAX and value.isprintable():
        return value
    raise bad(f"{name} is no text of 1 to {TEXT_MAX} printable characters.", f"correct {name}")


@dataclass(frozen=True, slots=True)
class Fields:
    """A JSON object whose every field must be known. Secret."""

    values: Mapping[str, object] = field(repr=False)

    def only(self, *allowed: str) -> None:
        """Refuse every field that is not named."""
        if not self.values.keys() <= set(allowed):
            fix = f"allowed: {', '.join(sorted(allowed))}"
            raise bad("The body holds a field this address does not know.", fix)

    def text(self, name: str) -> str:
        """Return a field that must be a text."""
        return checked_text(name, self.values.get(name))

    def flag(self, name: str, *, otherwise: bool | None = None) -> bool:
        """Return a field that must be true or false; without ``otherwise`` it must be given."""
        value = self.values.get(name, otherwise)
        if isinstance(value, bool):
            return value
        raise bad(f"{name} is neither true nor false.", f"give {name} as true or false")

    def number(self, name: str, least: int, most: int) -> int:
        """Return a field that must be a whole number."""
        value = self.values.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
            return value
        raise bad(
            f"{name} is not a whole number from {least} to {most}.",
            f"give {name} from {least} to {most}",
        )

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a field that must be a list of texts; empty where it is not given."""
        value = self.values.get(name, [])
        if not isinstance(value, list) or len(value) > _FIELDS:
            raise bad(f"{name} is no list of at most {_FIELDS} texts.", f"correct {name}")
        return tuple(checked_text(name, one) for one in value)


def read_json(body: bytes) -> object:
    """Return the JSON of a body.

    Raises:
        RefusedError: If it is no JSON, holds a key twice, or a number JSON has no word for.
    """
    try:
        return strict_loads(body, floats=True)
    except ValueError:  # its message may quote the body
        message = "The body is not strict JSON in UTF-8."
        raise bad(message, "correct it: no key twice, no NaN, no comments") from None


def read_fields(body: bytes) -> Fields:
    """Return the JSON object of a body."""
    value = read_json(body)
    if not isinstance(value, dict):
        raise bad("The body is no JSON object.", "send an object")
    return Fields(value)
