"""What a field of ``privacy.toml`` means to the people the data is about."""

from dataclasses import dataclass

from .verdicts import Judge


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a field means to people.

    Attributes:
        what: The field in words; ``{name}`` is the table's own name. Of a set: what becomes of an
            item that is added, with ``{item}``.
        judge: Says which way a change goes.
        reason: Why people must be asked again where it got weaker; of a field that has
            ``always``, where it changed at all.
        gone: Of a set: what becomes of an item that is taken out.
        always: Whether any change of it is a reason to ask again.
    """

    what: str
    judge: Judge
    reason: str = ""
    gone: str = ""
    always: bool = False
