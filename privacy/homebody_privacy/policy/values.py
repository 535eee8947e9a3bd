"""Fields of a config by dotted path, and what a rule may ask of their values.

Whatever cannot be judged counts as broken: a missing field, a value of another kind. A rule that
is misspelt must not look like one that is kept.
"""

import json
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

if TYPE_CHECKING:
    from homebody_privacy.config import PrivacyConfig

Op = Literal[
    "==", "!=", "<", "<=", ">", ">=", "in", "not_in", "contains", "not_contains", "subset_of"
]
"""What a rule may ask: of a value, or of a list with ``contains`` and ``subset_of``."""

OPS: Final[tuple[Op, ...]] = get_args(Op)
ORDERED: Final = frozenset({"<", "<=", ">", ">="})
"""Operations on numbers alone."""

LISTED: Final = frozenset({"in", "not_in", "subset_of"})
"""Operations whose wanted value is a list."""

EVERY: Final = "*"
"""Part of a path that stands for every name in a table."""

_COMPARED: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_WORDS: Final[Mapping[str, str]] = {
    "in": "one of",
    "not_in": "none of",
    "contains": "it to hold",
    "not_contains": "it not to hold",
    "subset_of": "nothing beside",
}


def values_of(config: "PrivacyConfig") -> dict[str, Any]:
    """Return a config as JSON values by the names of the file; what has no value is absent."""
    return config.model_dump(mode="json", by_alias=True, exclude_none=True)


def at(values: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    """Find every value at a path.

    Args:
        values: A table, as ``values_of`` returns it.
        path: Dotted; ``*`` stands for every name in a table.

    Yields:
        Path without ``*`` and value of each. Nothing for ``*`` in an empty table.

    Raises:
        KeyError: With the path, if a name is not there.
    """
    head, _, rest = path.partition(".")
    for name in list(values) if head == EVERY else [head]:
        if name not in values:
            raise KeyError(path)
        value = values[name]
        if not rest:
            yield name, value
        elif not isinstance(value, Mapping):
            raise KeyError(path)
        else:
            for below, found in at(value, rest):
                yield f"{name}.{below}", found


def holds(actual: object, op: Op, wanted: object) -> bool:
    """Tell whether a value is as wanted.

    Raises:
        TypeError: If the two are of kinds that cannot be compared so.

    Examples:
        >>> holds(2.5, "<=", 3), holds(["a"], "contains", "b")
        (True, False)
    """
    if op in _COMPARED:
        if op in ORDERED and "number" not in (_kind(actual), _kind(wanted)):
            raise TypeError("only numbers have an order")
        _require_same(actual, wanted)
        return _COMPARED[op](actual, wanted)
    if op in ("in", "not_in"):
        if not isinstance(wanted, list) or _kind(actual) not in map(_kind, wanted):
            raise TypeError("it is of another kind than the values listed")
        return (actual in wanted) == (op == "in")
    if op == "subset_of":
        if not isinstance(wanted, list) or not isinstance(actual, list):
            raise TypeError("both must be lists")
        return all(one in wanted for one in actual)
    if not isinstance(actual, (list, str)) or (isinstance(actual, str) and type(wanted) is not str):
        raise TypeError("it is no list")
    return (wanted in actual) == (op == "contains")


def shown(value: object) -> str:
    """Return a value as its TOML would read, near enough to find it."""
    return json.dumps(value, ensure_ascii=False)


def wants(op: Op, wanted: object) -> str:
    """Return what a rule asks, in words where its operation is one.

    Examples:
        >>> wants("<=", 4.0), wants("in", ["1.3"])
        ('<= 4.0', 'one of ["1.3"]')
    """
    return f"{_WORDS.get(op, op)} {shown(wanted)}"


def _require_same(one: object, other: object) -> None:
    if _kind(one) != _kind(other):
        raise TypeError(f"a {_kind(one)} is no {_kind(other)}")


def _kind(value: object) -> str:
    kinds = {bool: "truth value", int: "number", float: "number", str: "text", list: "list"}
    return kinds.get(type(value), "table")
