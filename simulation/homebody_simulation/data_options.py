"""Options of the data sets' loaders, as the command line gives them; loads nothing heavy."""

from enum import StrEnum

from homebody_privacy.errors import UsageError


class Items(StrEnum):
    """What an item of complete-journey is."""

    TYPES = "types"
    PRODUCTS = "products"


class OnBad(StrEnum):
    """What to do with a row that is no event."""

    REFUSE = "refuse"
    SKIP = "skip"


def loader_options(
    *,
    devices: int | None,
    items: Items | None,
    column: list[str] | None,
    on_bad: OnBad | None,
) -> dict[str, object]:
    """Return what was given, under the names the loaders take.

    Raises:
        UsageError: If a column is not ``role=name`` or a role is given twice.
    """
    options: dict[str, object] = {
        "devices": devices,
        "items": None if items is None else items.value,
        "columns": parse_columns(column) if column else None,
        "on_bad": None if on_bad is None else on_bad.value,
    }
    return {option: value for option, value in options.items() if value is not None}


def parse_columns(pairs: list[str]) -> dict[str, str]:
    """Turn ``role=name`` pairs into a mapping.

    Raises:
        UsageError: If a pair has no ``=``, or a role is given twice.

    Examples:
        >>> parse_columns(["user=customer_id", "timestamp=at"])
        {'user': 'customer_id', 'timestamp': 'at'}
    """
    columns: dict[str, str] = {}
    for pair in pairs:
        role, equals, name = pair.partition("=")
        if not (role and equals and name):
            raise UsageError(f"--column takes ROLE=NAME, got {pair!r}")
        if role in columns:
            raise UsageError(f"--column names {role} twice")
        columns[role] = name
    return columns
