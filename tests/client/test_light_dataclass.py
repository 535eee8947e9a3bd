"""A light dataclass behaves as the standard library's, but that it compiles no methods."""

import copy
import dataclasses
import pickle
from collections.abc import Callable
from dataclasses import dataclass as standard
from dataclasses import field
from typing import Any, Generic, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homebody_client.light_dataclass import dataclass as light

Kind = TypeVar("Kind")


@light(frozen=True, slots=True, kw_only=True)
class Light(Generic[Kind]):
    """One by names."""

    number: int
    kind: Kind
    secret: str = field(default="s", repr=False)
    free: list[int] = field(default_factory=list, compare=False)

    def __post_init__(self) -> None:
        """Refuse a negative number."""
        if self.number < 0:
            raise ValueError("number must not be negative")


@standard(frozen=True, slots=True, kw_only=True)
class Standard(Generic[Kind]):
    """The same, compiled."""

    number: int
    kind: Kind
    secret: str = field(default="s", repr=False)
    free: list[int] = field(default_factory=list, compare=False)

    def __post_init__(self) -> None:
        """Refuse a negative number."""
        if self.number < 0:
            raise ValueError("number must not be negative")


@light(frozen=True, slots=True)
class Placed:
    """One by places."""

    first: int
    second: str = "b"

    def __hash__(self) -> int:
        """A method of its own stands."""
        return 7


_ARGUMENTS = st.dictionaries(
    st.sampled_from(("number", "kind", "secret", "free", "unknown")),
    st.one_of(st.integers(-1, 2), st.text(max_size=1), st.lists(st.integers(0, 1), max_size=1)),
)


def _made(make: Callable[..., Any], arguments: dict[str, Any]) -> Any:  # noqa: ANN401 of either
    try:
        return make(**arguments)
    except (TypeError, ValueError) as error:
        return type(error)


@given(_ARGUMENTS, _ARGUMENTS)
def test_it_takes_refuses_shows_and_compares_as_the_standard_one(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    a, b = _made(Light, one), _made(Light, other)
    x, y = _made(Standard, one), _made(Standard, other)
    if isinstance(x, type) or isinstance(y, type):
        assert (isinstance(a, type), isinstance(b, type)) == (
            isinstance(x, type),
            isinstance(y, type),
        )
        assert a is x or not isinstance(x, type)
        return
    assert repr(a) == repr(x).replace("Standard", "Light")
    assert (a == b) == (x == y)
    assert a != x
    assert dataclasses.asdict(a) == dataclasses.asdict(x)
    assert _hash(a) == _hash(x)


def _hash(thing: object) -> int | None:
    try:
        return hash(thing)
    except TypeError:  # a field has none
        return None


@pytest.mark.parametrize("make", [Light, Standard])
def test_it_is_frozen_and_has_slots_alone(make: Callable[..., Any]) -> None:
    thing = make(number=1, kind="k")
    with pytest.raises(dataclasses.FrozenInstanceError):
        thing.number = 2
    with pytest.raises((dataclasses.FrozenInstanceError, TypeError)):  # TypeError before 3.12
        thing.unknown = 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        del thing.number
    assert not hasattr(thing, "__dict__")
    assert thing.number == 1


def test_it_is_copied_pickled_replaced_and_matched() -> None:
    thing: Light[str] = Light(number=1, kind="k", free=[1])
    for twin in (copy.copy(thing), copy.deepcopy(thing), pickle.loads(pickle.dumps(thing))):  # noqa: S301
        assert twin == thing
        assert twin.free == [1]
    assert dataclasses.replace(thing, number=2).number == 2
    with pytest.raises(ValueError, match="negative"):
        dataclasses.replace(thing, number=-1)
    match Placed(1):
        case Placed(first, second):
            assert (first, second) == (1, "b")
    assert Light[int](number=1, kind=2).kind == 2
    assert thing.free is not Light(number=1, kind="k").free


def test_places_are_taken_in_order_and_once() -> None:
    assert Placed(1, "c") == Placed(second="c", first=1)
    assert hash(Placed(1)) == 7
    wrong: Any = Placed
    with pytest.raises(TypeError, match="2 places, not 3"):
        wrong(1, "c", 2)
    with pytest.raises(TypeError, match="first twice"):
        wrong(1, first=1)
    with pytest.raises(TypeError, match="needs 'first'"):
        wrong()
    with pytest.raises(TypeError, match="no 'third'"):
        wrong(1, third=3)
    by_name: Any = Light
    with pytest.raises(TypeError, match="0 places"):
        by_name(1, "k")


@pytest.mark.parametrize(
    "flags", [{"frozen": False, "slots": True}, {"frozen": True, "slots": False}]
)
def test_there_is_only_the_frozen_kind_with_slots(flags: dict[str, bool]) -> None:
    make: Any = light
    with pytest.raises(TypeError, match="frozen"):
        make(**flags)
