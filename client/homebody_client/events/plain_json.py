"""Plain JSON as RFC 8259 means it: no name twice, no NaN, nothing that text cannot carry.

Nothing here raises what a parser says, for that holds the text.
"""

import json
import math
from contextlib import suppress
from typing import Any, Final, NoReturn

_MOST_VALUES: Final = 256
_MOST_DEPTH: Final = 8
_MOST_CHARACTERS: Final = 16_384


class _NotPlainError(Exception):
    """A value that JSON does not know, or too much of it."""


def read_object(text: str | bytes) -> dict[str, Any] | None:
    """Return the one object a JSON text holds; None if it holds anything else."""
    value = None
    with suppress(ValueError, RecursionError):  # JSON's and Unicode's errors are ValueErrors
        if isinstance(text, bytes):
            text = text.decode(json.detect_encoding(text), "surrogatepass")  # as json.loads
        value = _DECODER.decode(text)
    return value if isinstance(value, dict) else None


def bounded_copy(fields: dict[str, Any]) -> dict[str, Any] | None:
    """Return a deep copy of unknown fields; None if they are not plain JSON or too much of it."""
    room = [_MOST_VALUES, _MOST_CHARACTERS]
    try:
        return {_text(n, room): _copy(v, room, _MOST_DEPTH) for n, v in fields.items()}
    except _NotPlainError:
        return None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name appears twice")
    return found


def _no_constant(_: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_no_constant)


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
