"""Every field of ``privacy.toml`` with the direction of its change, in plain words.

``FIELDS`` is complete: a test walks the schema. What is WEAKER is weaker for the people the data is
about: more data, longer, for more, less noise, less oversight, fewer rights. A field whose effect
depends on others is CHANGED here, and what it does to the loss is said by the planned loss
(``effect``).
"""

from collections.abc import Iterable, Mapping
from typing import Final

from homebody_privacy.protection import RecordLevel

from .losses import DP, METRIC, STATISTICS
from .meaning import Meaning
from .oversight import REST
from .people import ACTIVITY, CONSENT, FEATURE, PURPOSE
from .verdicts import Direction, Step, changed, given

_WEAKER: Final = Direction.WEAKER

BOOKKEEPING: Final = ("schema", "revision", "activity.policy_version")
"""Fields that number the file: what they must do is checked by itself (``difference``)."""

_BY_TABLE: Final = (
    ("activity", ACTIVITY),
    ("purposes.*", PURPOSE),
    ("features.*", FEATURE),
    ("consent", CONSENT),
    ("dp", DP),
    ("statistics", STATISTICS),
    ("metrics.*", METRIC),
)


def _if_enabled(old: RecordLevel | None, new: RecordLevel | None) -> Iterable[Step]:
    """Judge a second layer that comes or goes: one that is off changes nothing for anybody."""
    table = new or old
    enabled = table is not None and table.enabled
    return given(Direction.STRONGER)(old, new) if enabled else changed(old, new)


FIELDS: Final[Mapping[str, Meaning]] = {
    **{f"{table}.{name}": m for table, fields in _BY_TABLE for name, m in fields.items()},
    **REST,
}
"""Meaning of each field, by its path; ``*`` stands for a table's own name."""

TABLES: Final[Mapping[str, Meaning]] = {
    "purposes.*": Meaning(
        "new purpose {name}", given(_WEAKER), "new_purpose", "purpose {name} is gone"
    ),
    "features.*": Meaning("new data: {name}", given(_WEAKER), "more_data", "no more data: {name}"),
    "metrics.*": Meaning(
        "new figure about people: {name}", given(_WEAKER), "new_figure", "no more figure: {name}"
    ),
    "consent.notices.*": Meaning("notice in {name}", changed, gone="no more notice in {name}"),
    "statistics": Meaning("one-shot sums before the rounds", changed, gone="no more one-shot sums"),
    "dp.blt": Meaning(
        "how noise cancels over rounds is fixed", changed, gone="how noise cancels is left open"
    ),
    "dp.record": Meaning("record level besides", _if_enabled, "weaker_dp", "no more record level"),
}
"""Meaning of a table that comes or goes as a whole; its fields are not told one by one then."""
