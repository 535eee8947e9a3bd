"""JSON as signed files need it: canonical when written (RFC 8785), unambiguous when read."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import NoReturn, cast


def canonical(value: object) -> bytes:
    """Return RFC 8785 bytes of a value without floats, whose text forms differ by language.

    Raises:
        ValueError: If the value holds a float or what JSON cannot.

    Examples:
        >>> canonical({"b": 1, "a": "4.05"})
        b'{"a":"4.05","b":1}'
    """
    import rfc8785  # noqa: PLC0415 only publishers write; a device that starts must not load it

    return rfc8785.dumps(cast("dict[str, str]", _checked(value)))


def with_floats(value: object) -> bytes:
    """Return compact JSON whose floats read back as written; NaN and infinities are refused."""
    return json.dumps(value, allow_nan=False, separators=(",", ":"), sort_keys=True).encode()


def strict_loads(data: bytes, *, floats: bool = False) -> object:
    """Parse UTF-8 JSON without duplicate keys, NaN or infinities.

    Args:
        data: The bytes, used as they are.
        floats: Whether numbers with a fraction or exponent are allowed.

    Raises:
        ValueError: If the bytes are anything else, or nested too deep.
    """

    def real(text: str) -> float:
        number = float(text)
        if not floats or not math.isfinite(number):
            raise ValueError(f"JSON holds the number {text[:20]}, decimals are texts")
        return number

    try:
        parsed: object = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_float=real,
            parse_constant=_no_constant,
        )
    except RecursionError as error:
        raise ValueError("JSON is nested too deep") from error
    return parsed


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Build an object, refusing a key that occurs twice: readers differ in which one counts."""
    parsed = dict(pairs)
    if len(parsed) != len(pairs):
        raise ValueError("JSON holds a key twice in one object")
    return parsed


def _no_constant(name: str) -> NoReturn:
    """Refuse NaN and Infinity, which are not JSON."""
    raise ValueError(f"JSON holds {name}")


def _checked(value: object) -> object:
    """Return a plain copy of ``value``, refusing floats wherever they are."""
    match value:
        case None | bool() | str():
            return value
        case int() if abs(value) < 2**53:  # larger ones lose digits in other languages
            return value
        case Mapping():
            if not all(isinstance(key, str) for key in value):
                raise ValueError("JSON keys must be texts")
            return {key: _checked(inner) for key, inner in value.items()}
        case Sequence() if not isinstance(value, bytes):
            return [_checked(inner) for inner in value]
        case _:
            raise ValueError(f"signed JSON cannot hold {type(value).__name__}: write a text")
