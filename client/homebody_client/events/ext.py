"""Unknown fields of an event: plain JSON of bounded size, copied."""

import math
from typing import Any, Final

_MOST_VALUES: Final = 256
_MOST_DEPTH: Final = 8
_MOST_CHARACTERS: Final = 16_384


class _NotPlainError(Exception):
    """A value that JSON does not know, or too much of it."""


def checked_ext(fields: dict[str, Any]) -> dict[str, Any] | None:
    """Return a deep copy of unknown fields; None if they are not plain JSON or too much of it."""
    room = [_MOST_VALUES, _MOST_CHARACTERS]
    try:
        return {_text(n, room): _copy(v, room, _MOST_DEPTH) for n, v in fields.items()}
    except _NotPlainError:
        return None


def _copy(value: object, room: list[int], depth: int) -> object:
    room[0] -= 1
    if depth < 0 or room[0] < 0:
        raise _NotPlainError
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value, room)
    if isinstance(value, int | float):
        if not math.isfinite(value) if isinstance(value, float) else abs(value) >= 2**63:
            raise _NotPlainError
        return value
    if isinstance(value, list):
        return [_copy(part, room, depth - 1) for part in value]
    if isinstance(value, dict):
        return {_text(n, room): _copy(v, room, depth - 1) for n, v in value.items()}
    raise _NotPlainError


def _text(value: object, room: list[int]) -> str:
    if not isinstance(value, str):
        raise _NotPlainError
    room[1] -= len(value)
    if room[1] < 0 or not (value.isascii() or _is_unicode(value)):
        raise _NotPlainError
    return value


def _is_unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
