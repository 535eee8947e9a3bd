"""The consent matrix in words: which data may be used for what, after which question."""

from dataclasses import dataclass
from typing import Final

from homebody_privacy.config import PrivacyConfig

ASK: Final = "ask first"
"""The purpose may read the group, once the person has said yes to the pair."""

STARTS_ON: Final = "STARTS ON"
"""The switch is on before anybody was asked: refused by CON-010, shown as it is."""

NEVER: Final = "-"
"""The purpose never reads the group."""


@dataclass(frozen=True, slots=True)
class Row:
    """One feature group. Public.

    Attributes:
        feature: Its name.
        cells: ``ASK``, ``STARTS_ON`` or ``NEVER`` for each purpose, in the matrix's order.
        kept: How long and how much of it a device keeps.
        excluded: ``field:value`` pairs that are never collected.
        sensitivity: As the config says; with its risk where one is named.
    """

    feature: str
    cells: tuple[str, ...]
    kept: str
    excluded: tuple[str, ...]
    sensitivity: str


@dataclass(frozen=True, slots=True)
class Matrix:
    """Purposes across, feature groups down. Public.

    Attributes:
        purposes: Names of the purposes, in the order of the file.
        leaves: For each of them whether anything computed from the data leaves the device.
        rows: One for each feature group.
        needs: For each purpose the others that must be on too.
    """

    purposes: tuple[str, ...]
    leaves: tuple[bool, ...]
    rows: tuple[Row, ...]
    needs: tuple[tuple[str, ...], ...]


def matrix(config: PrivacyConfig) -> Matrix:
    """Return the consent matrix of a config, whether or not it may run.

    Args:
        config: A config that follows its schema.
    """
    purposes = config.purposes
    rows = tuple(
        Row(
            feature=name,
            cells=tuple(_cell(config, purpose, name) for purpose in purposes),
            kept=f"{_count(group.ttl_days, 'day')}, {_count(group.max_rows, 'row')}",
            excluded=group.exclude,
            sensitivity=group.sensitivity + (f", risk {group.risk_ref}" if group.risk_ref else ""),
        )
        for name, group in config.features.items()
    )
    return Matrix(
        purposes=tuple(purposes),
        leaves=tuple(one.leaves_device for one in purposes.values()),
        rows=rows,
        needs=tuple(one.requires for one in purposes.values()),
    )


def matrix_lines(shown: Matrix) -> list[str]:
    """Return the matrix as aligned lines of plain text, then what no cell can say."""
    head = ["", *shown.purposes, "kept"]
    body = [[row.feature, *row.cells, row.kept] for row in shown.rows]
    foot = ["", *("LEAVES DEVICE" if leaves else "stays on device" for leaves in shown.leaves), ""]
    table = [head, *body, foot]
    widths = [max(len(line[i]) for line in table) for i in range(len(head))]
    return [*(_aligned(line, widths) for line in table), *_remarks(shown)]


def _remarks(shown: Matrix) -> list[str]:
    """Return a line for each switch that hangs on another, and for each thing never collected."""
    named = zip(shown.purposes, shown.needs, strict=True)
    hang = [f"{name} works only while {_and(needs)} is on" for name, needs in named if needs]
    special = [
        f"{row.feature} is {row.sensitivity}" for row in shown.rows if row.sensitivity != "ordinary"
    ]
    never = [
        f"never collected into {row.feature}: {', '.join(row.excluded)}"
        for row in shown.rows
        if row.excluded
    ]
    return [*hang, *special, *never]


def _aligned(cells: list[str], widths: list[int]) -> str:
    first, *middle, last = cells
    name, *wide, _ = widths
    columns = [cell.rjust(width) for cell, width in zip(middle, wide, strict=True)]
    return "   ".join([first.ljust(name), *columns, last]).rstrip()


def _cell(config: PrivacyConfig, purpose: str, group: str) -> str:
    if purpose not in config.features[group].allow:
        return NEVER
    return ASK if config.purposes[purpose].default == "off" else STARTS_ON


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _and(names: tuple[str, ...]) -> str:
    return " and ".join(names)
