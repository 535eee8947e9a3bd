"""The picture of the table: devices per core-second of each system, on a logarithmic axis."""

import math
from typing import Final

from kept import Kept

from homebody_simulation.drawing import GRID, Drawing, Pen

_WIDTH, _LEFT, _RIGHT, _TOP, _BAR, _GAP = 760, 300, 76, 20, 18, 12
_OWN, _OTHER = "#0072B2", "#E69F00"  # Okabe-Ito
_LEAST: Final = 10.0


def draw(kept: Kept) -> Drawing:
    """Return a bar for each system that was measured, slowest first."""
    rows = sorted(
        (row for row in kept.rows if row["status"] == "measured"), key=lambda row: row["per_core_s"]
    )
    decades = math.ceil(math.log10(max(row["per_core_s"] for row in rows) / _LEAST))
    height = _TOP + len(rows) * (_BAR + _GAP) + 44
    drawing = Drawing(width=_WIDTH, height=height, title="Devices per core-second of each system")
    foot = height - 44
    for decade in range(decades + 1):
        x = _x(_LEAST * 10.0**decade, decades)
        drawing.line([(x, _TOP - 8), (x, foot)], Pen(colour=GRID))
        drawing.words((x, foot + 16), f"{_LEAST * 10.0**decade:,.0f}")
    drawing.words(
        ((_LEFT + _WIDTH - _RIGHT) / 2, foot + 36), "devices per core-second, logarithmic"
    )
    for number, row in enumerate(rows):
        top = _TOP + number * (_BAR + _GAP)
        end = _x(max(row["per_core_s"], _LEAST), decades)
        colour = _OTHER if row["peer"] else _OWN
        drawing.area([(_LEFT, top), (end, top), (end, top + _BAR), (_LEFT, top + _BAR)], colour)
        drawing.words((_LEFT - 8, top + _BAR - 5), row["title"].strip("*"), "end")
        drawing.words((end + 6, top + _BAR - 5), f"{row['per_core_s']:,.0f}", "start")
    return drawing


def _x(value: float, decades: int) -> float:
    return _LEFT + math.log10(value / _LEAST) / decades * (_WIDTH - _LEFT - _RIGHT)
