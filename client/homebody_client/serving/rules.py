"""A small rule engine: if the facts of this device are so, place, hide, lift or show a banner.

Rules are public and part of the app; facts (segment, role) are derived on the device and stay
there. The same rules make a control arm: the list for all, with the rules applied.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from typing import Final, Self

from homebody_client.light_dataclass import dataclass
from homebody_privacy.errors import InvalidFileError

_MOST_RULES: Final = 1_000
_LARGEST_LIFT: Final = 10.0
_TEXT: Final = "Chosen by a rule of this app"
_LISTS: Final = ("surfaces", "pin", "hide")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """If every fact is as said, do the rest. Public.

    Attributes:
        name: Name of the rule, unique.
        when: Values that facts must have; all of them. Empty: for everybody.
        surfaces: Places it works in; empty for all.
        banner: Banner to show; empty for none.
        pin: Products placed first, in this order.
        hide: Products never listed.
        lift: What a category's items gain, in units of the scores' spread.
        text: Reason shown beside a product that was placed.
    """

    name: str
    when: Mapping[str, object] = field(default_factory=dict)
    surfaces: tuple[str, ...] = ()
    banner: str = ""
    pin: tuple[str, ...] = ()
    hide: tuple[str, ...] = ()
    lift: Mapping[str, float] = field(default_factory=dict)
    text: str = _TEXT

    def __post_init__(self) -> None:
        """Refuse a rule without a name, and a lift no score survives."""
        if not self.name or not self.text:
            raise ValueError("a rule needs a name and a text")
        if not all(abs(lift) <= _LARGEST_LIFT for lift in self.lift.values()):  # NaN: refused
            raise ValueError(f"lift must be in -{_LARGEST_LIFT:g}..{_LARGEST_LIFT:g}")

    def holds(self, facts: Mapping[str, object], surface: str) -> bool:
        """Return whether the rule applies; a fact that is not known is not as said."""
        if self.surfaces and surface not in self.surfaces:
            return False
        return all(name in facts and facts[name] == value for name, value in self.when.items())

    @classmethod
    def from_json(cls, value: object) -> Self:
        """Read a rule of a file.

        Raises:
            InvalidFileError: If a field is unknown, missing or malformed.
        """
        if not isinstance(value, dict) or not set(value) <= set(cls.__slots__):
            raise InvalidFileError(f"a rule is an object with some of {', '.join(cls.__slots__)}")
        fields = dict(value)
        try:
            for name in _LISTS:
                fields[name] = _texts(fields.get(name, []))
            _texts([fields.get(name, "") for name in ("name", "banner", "text")])
            for name in ("when", "lift"):
                fields[name] = dict(fields.get(name, {}))
            fields["lift"] = {key: float(lift) for key, lift in fields["lift"].items()}
            return cls(**fields)
        except (TypeError, ValueError) as error:
            raise InvalidFileError(
                "a rule is malformed", fix="see the fields of a rule in the device's page"
            ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the rules say for one call. Secret where a rule asked for a fact.

    Attributes:
        banners: Banners to show, in the order of the rules.
        pins: Products placed first, each with its reason.
        hidden: Products never listed.
        lift: What a category's items gain, in units of spread.
    """

    banners: tuple[str, ...] = field(default=(), repr=False)
    pins: Mapping[str, str] = field(default_factory=dict, repr=False)
    hidden: frozenset[str] = field(default=frozenset(), repr=False)
    lift: Mapping[str, float] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class RuleBook:
    """The rules of an app. Public.

    Examples:
        >>> book = RuleBook((Rule(name="vip", when={"segment": "A"}, banner="B"),))
        >>> book.apply({"segment": "A"}, "home").banners
        ('B',)
        >>> book.apply({"segment": "C"}, "home").banners
        ()
    """

    rules: Sequence[Rule] = ()

    def __post_init__(self) -> None:
        """Refuse two rules of one name."""
        names = [rule.name for rule in self.rules]
        if len(set(names)) != len(names) or len(names) > _MOST_RULES:
            raise ValueError(f"rules must have distinct names, at most {_MOST_RULES}")

    @classmethod
    def from_json(cls, values: Iterable[object]) -> Self:
        """Read the rules of a file.

        Raises:
            InvalidFileError: As ``Rule.from_json``.
        """
        try:
            return cls(tuple(Rule.from_json(value) for value in values))
        except ValueError as error:
            raise InvalidFileError(f"the rules are malformed: {error}") from error

    def apply(self, facts: Mapping[str, object], surface: str) -> Outcome:
        """Return what the rules say.

        Args:
            facts: What is known on the device; empty in a list for all. Secret.
            surface: Name of the place.
        """
        held = [rule for rule in self.rules if rule.holds(facts, surface)]
        lift: dict[str, float] = {}
        for rule in held:
            for category, amount in rule.lift.items():
                lift[category] = lift.get(category, 0.0) + amount
        pins: dict[str, str] = {}
        for rule in held:
            for name in rule.pin:
                pins.setdefault(name, rule.text)
        return Outcome(
            banners=tuple(dict.fromkeys(rule.banner for rule in held if rule.banner)),
            pins=pins,
            hidden=frozenset(name for rule in held for name in rule.hide),
            lift=lift,
        )


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise TypeError("a list of texts is expected")
    return tuple(value)
