r"""What one field of an event may hold: said once, used for validation and for the JSON Schema.

A rule answers with words that name what is wrong and never with the value, for the value is
behaviour. The patterns mean the same to Python and to ECMA-262 with its flag ``u``, which JSON
Schema asks for: no ``$`` (Python's lets a final newline pass) and no ``\d`` (Python's knows more
digits than ten).
"""

import re
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from typing import Final, Protocol

END: Final = r"(?![\s\S])"
"""The end of the text, in both dialects."""

CLEAN: Final = rf"^[^\u0000-\u001f\u007f\ud800-\udfff]*{END}"
"""No control character and no half of a surrogate pair."""

_is_clean: Final = re.compile(CLEAN).match


class Rule(Protocol):
    """What a field may hold."""

    @property
    def words(self) -> str:
        """Say what is wanted, after "give"."""

    def problem(self, value: object) -> str | None:
        """Say what is wrong with a value without showing it; None if nothing is."""

    def schema(self) -> dict[str, object]:
        """Return the JSON Schema of the field."""


@dataclass(frozen=True, slots=True)
class Text:
    """Text without control characters.

    Attributes:
        most: Most characters (code points); the fewest is 1.
        pattern: What it must match from its beginning; it must end with ``END``. By default any
            clean text.
        like: What the pattern means, in words.
    """

    most: int
    _: KW_ONLY
    pattern: str = CLEAN
    like: str = ""
    _match: Callable[[str], re.Match[str] | None] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse a rule that nothing can follow."""
        if self.most < 1 or not self.pattern.endswith(END):
            raise ValueError("most must be at least 1 and pattern must end with END")
        object.__setattr__(self, "_match", re.compile(self.pattern).match)

    @property
    def words(self) -> str:
        """Say what is wanted."""
        return self.like or f"text of 1 to {self.most} characters"

    def problem(self, value: object) -> str | None:
        """Say what is wrong with a value."""
        if not isinstance(value, str):
            return "must be text"
        if not 1 <= len(value) <= self.most:
            return f"must have 1 to {self.most} characters"
        if self.pattern is CLEAN:
            if (value.isascii() and value.isprintable()) or _is_clean(value):
                return None
            return "holds control characters or broken Unicode"
        return None if self._match(value) else f"must be {self.words}"

    def schema(self) -> dict[str, object]:
        """Return the JSON Schema of the field."""
        return {"type": "string", "minLength": 1, "maxLength": self.most, "pattern": self.pattern}


@dataclass(frozen=True, slots=True)
class Choice:
    """One word of a few.

    Attributes:
        values: The words.
    """

    values: tuple[str, ...]

    @property
    def words(self) -> str:
        """Say what is wanted."""
        return f"one of {', '.join(self.values)}"

    def problem(self, value: object) -> str | None:
        """Say what is wrong with a value."""
        return None if isinstance(value, str) and value in self.values else f"must be {self.words}"

    def schema(self) -> dict[str, object]:
        """Return the JSON Schema of the field."""
        return {"enum": list(self.values)}


@dataclass(frozen=True, slots=True)
class Number:
    """A finite number. JSON's ``true`` is none.

    Attributes:
        least: Smallest allowed.
        most: Largest allowed.
        whole: Whether it must be whole; ``2.0`` is, as in JSON Schema.
    """

    least: int
    most: int
    _: KW_ONLY
    whole: bool = False

    @property
    def words(self) -> str:
        """Say what is wanted."""
        kind = "a whole number" if self.whole else "a number"
        return f"{kind} from {self.least} to {self.most}"

    def problem(self, value: object) -> str | None:
        """Say what is wrong with a value."""
        if not isinstance(value, int | float) or isinstance(value, bool):
            return f"must be {self.words}"
        if not self.least <= value <= self.most:  # false for NaN too
            return f"must be {self.words}"
        if self.whole and isinstance(value, float) and not value.is_integer():
            return f"must be {self.words}"
        return None

    def schema(self) -> dict[str, object]:
        """Return the JSON Schema of the field."""
        kind = "integer" if self.whole else "number"
        return {"type": kind, "minimum": self.least, "maximum": self.most}
