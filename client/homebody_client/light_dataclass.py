"""``dataclass`` for a device's start: its methods are shared, not written anew for each class.

The standard library compiles six methods for each class it meets, in half a millisecond. A device
meets some sixty before its first list. Here a class takes a fifteenth of that, and its objects are
made as fast. It behaves as by ``dataclass(frozen=True, slots=True)`` with or without ``kw_only``,
and is just that to a type checker; every field is an argument of the constructor. Where a device's
first list does not pass, use the standard library's.
"""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

__all__ = ["dataclass"]


def _constructor(cls: type[Any]) -> Callable[..., None]:
    """Return ``__init__`` for the fields of a class."""
    plan = [
        (field.name, getattr(cls, field.name).__set__, field.default, field.default_factory)
        for field in dataclasses.fields(cls)
    ]
    then = getattr(cls, "__post_init__", None)
    missing = dataclasses.MISSING

    def __init__(self: Any, *placed: Any, **given: Any) -> None:  # noqa: ANN401, N807 of any class
        if placed:
            given = _named(cls, placed, given)
        for name, put, default, factory in plan:
            if name in given:
                put(self, given.pop(name))
            elif default is not missing:
                put(self, default)
            elif factory is not missing:
                put(self, factory())
            else:
                raise TypeError(f"{cls.__name__}() needs {name!r}")
        if given:
            raise TypeError(f"{cls.__name__}() has no {', '.join(map(repr, given))}")
        if then is not None:
            then(self)

    return __init__


def _named(
    cls: type[Any], placed: tuple[object, ...], given: dict[str, object]
) -> dict[str, object]:
    """Return all arguments by name; a class that takes names only has no places to match."""
    names: tuple[str, ...] = cls.__match_args__
    if len(placed) > len(names):
        raise TypeError(f"{cls.__name__}() has {len(names)} places, not {len(placed)}")
    by_place = dict(zip(names, placed, strict=False))
    if twice := by_place.keys() & given.keys():
        raise TypeError(f"{cls.__name__}() got {', '.join(sorted(twice))} twice")
    return by_place | given


class _Methods:
    """What the classes share: each takes these functions, none inherits them."""

    def __repr__(self: Any) -> str:
        shown = (field.name for field in dataclasses.fields(self) if field.repr)
        values = ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)
        return f"{type(self).__qualname__}({values})"

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return _compared(self) == _compared(other)

    def __hash__(self) -> int:
        return hash(_compared(self))

    def __setattr__(self, name: str, _: object) -> NoReturn:
        raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> NoReturn:
        raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")

    def __getstate__(self: Any) -> list[object]:  # to copy and to pickle
        return [getattr(self, field.name) for field in dataclasses.fields(self)]

    def __setstate__(self: Any, state: list[object]) -> None:
        for field, value in zip(dataclasses.fields(self), state, strict=True):
            object.__setattr__(self, field.name, value)


_SHARED = {name: value for name, value in vars(_Methods).items() if callable(value)}


def _compared(thing: Any) -> tuple[object, ...]:  # noqa: ANN401 an object of any class
    return tuple(getattr(thing, field.name) for field in dataclasses.fields(thing) if field.compare)


def _light(*, kw_only: bool) -> Callable[[type[Any]], type[Any]]:
    prepared = dataclasses.dataclass(init=False, repr=False, eq=False, slots=True, kw_only=kw_only)

    def light(cls: type[Any]) -> type[Any]:
        made = prepared(cls)
        for name, method in {"__init__": _constructor(made), **_SHARED}.items():
            if name not in vars(cls):  # a class's own method stands
                setattr(made, name, method)
        return made

    return light


if TYPE_CHECKING:
    from dataclasses import dataclass
else:

    def dataclass(*, frozen: bool, slots: bool, kw_only: bool = False) -> Callable[..., Any]:
        """Make a dataclass of the kind there is here; it is spelled out for a type checker."""
        if not (frozen and slots):
            raise TypeError("a light dataclass is frozen and has slots")
        return _light(kw_only=kw_only)
