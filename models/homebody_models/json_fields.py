"""Read typed fields out of parsed JSON; each refusal names the field."""

import re
from decimal import Decimal

_SHA256 = re.compile(r"[0-9a-f]{64}")
_DECIMAL = re.compile(r"[0-9]{1,20}(\.[0-9]{1,400})?")
_LARGEST = 2**53 - 1  # larger whole numbers lose digits in other languages


def to_object(value: object, name: str, keys: set[str] | None = None) -> dict[str, object]:
    """Return a JSON object, with exactly ``keys`` unless that is None."""
    if not isinstance(value, dict):
        raise ValueError(f"{name} must be an object")  # noqa: TRY004 a refused file, not a bug
    if keys is not None and set(value) != keys:
        wrong = ", ".join(sorted(str(key)[:40] for key in set(value) ^ keys))
        raise ValueError(f"{name} must have exactly its fields; missing or unknown: {wrong}")
    return value


def to_list(value: object, name: str) -> list[object]:
    """Return a JSON list."""
    if not isinstance(value, list):
        raise ValueError(f"{name} must be a list")  # noqa: TRY004 a refused file, not a bug
    return value


def to_text(value: object, name: str) -> str:
    """Return a text that is not empty."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} must be a text that is not empty")
    return value


def to_whole(value: object, name: str, *, least: int = 0, most: int = _LARGEST) -> int:
    """Return a whole number in a range; true and false are none."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"{name} must be a whole number in {least}..{most}")
    return value


def to_digest(value: object, name: str) -> str:
    """Return a SHA-256 in lower-case hex."""
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise ValueError(f"{name} must be a SHA-256 in lower-case hex")
    return value


def to_number(value: object, name: str) -> float:
    """Return the number a decimal text stands for, at least 0."""
    if not isinstance(value, str) or not _DECIMAL.fullmatch(value):
        raise ValueError(f"{name} must be a decimal text such as 0.9")
    return float(value)


def from_number(number: float) -> str:
    """Return a decimal text that reads back as the same float, without an exponent.

    Examples:
        >>> from_number(1e-05)
        '0.00001'
    """
    return format(Decimal(repr(number)), "f")
