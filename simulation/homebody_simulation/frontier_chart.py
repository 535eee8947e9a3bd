"""The chart of a frontier: ndcg@10 against epsilon, and coverage below it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from homebody_simulation.drawing import GRID, Drawing, Pen, Point
from homebody_simulation.frontier import Frontier
from homebody_simulation.frontier_rows import Row

_WIDTH: Final = 720
_LEFT, _RIGHT, _TOP = 64, 164, 44
_UPPER, _BETWEEN, _LOWER, _BOTTOM = 260, 46, 110, 44
_HEIGHT: Final = _TOP + _UPPER + _BETWEEN + _LOWER + _BOTTOM
_EDGE: Final = 24  # from the frame to the first epsilon
_BARE: Final = 84  # of the axis for no-dp, behind the break
_TICKS: Final = 4
_LABEL_PX: Final = 14
_KEY_PX: Final = 200

_COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's; curves differ by marker, too, and what they are compared with by dash."""
_DASHES: Final = ((6.0, 4.0), (2.0, 3.0), (10.0, 4.0), (8.0, 3.0, 2.0, 3.0), (4.0, 4.0))

Curve = tuple[str, str | None, str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Panel:
    """One pair of axes."""

    top: float
    height: float
    high: float

    def y(self, value: float) -> float:
        return self.top + (1.0 - value / self.high) * self.height


@dataclass(frozen=True, slots=True, kw_only=True)
class _Axis:
    """The logarithmic axis of epsilon; behind a break, where there is no noise."""

    first: float
    last: float
    broken: bool

    @property
    def end(self) -> float:
        return _WIDTH - _RIGHT - (_BARE if self.broken else 0.0)

    @property
    def bare(self) -> float:
        return _WIDTH - _RIGHT - _BARE / 2.0 + 10.0

    def x(self, epsilon: float | None) -> float:
        if epsilon is None:
            return self.bare
        left, right = _LEFT + _EDGE, self.end - _EDGE
        span = math.log(self.last / self.first)
        return left + (right - left) * (math.log(epsilon / self.first) / span if span else 0.5)


def frontier_chart(frontier: Frontier) -> Drawing:
    """Return the chart; every figure of it stands in the frontier's rows."""
    rows = frontier.rows
    points = [row for row in rows if row.kind == "point"]
    bare = [row for row in rows if row.kind == "no-dp"]
    level = [row for row in rows if row.kind != "point"]
    epsilons = [row.epsilon for row in points if row.epsilon is not None]
    axis = _Axis(first=min(epsilons), last=max(epsilons), broken=bool(bare))
    highest = max(row.ndcg.high for row in rows)
    upper = _Panel(top=_TOP, height=_UPPER, high=_round_up(highest))
    widest = max(row.coverage for row in (*points, *bare))
    lower = _Panel(top=_TOP + _UPPER + _BETWEEN, height=_LOWER, high=_round_up(widest))
    drawing = Drawing(
        width=_WIDTH,
        height=_HEIGHT,
        title=f"{frontier.grid.data}: ndcg@10 and coverage against user-level epsilon",
    )
    _frame(drawing, upper, axis, "ndcg@10")
    _frame(drawing, lower, axis, "coverage@10")
    _epsilons(drawing, axis, sorted(set(epsilons)))
    _levels(drawing, upper, level)
    curves = _curves(points)
    for number, (curve, own) in enumerate(curves.items()):
        alike = [row for row in bare if row.name == curve[0] and row.recipe == curve[2]]
        colour = _COLOURS[number % len(_COLOURS)]
        _band(drawing, upper, axis, own, colour)
        _line(drawing, upper, axis, own, alike, number)
        _coverage(drawing, lower, axis, own, alike, number)
        if len(curves) > 1:
            _key(drawing, number, " ".join(part for part in curve if part))
    _knees(drawing, [(axis.x(row.epsilon), upper.y(row.ndcg.mean)) for row in points if row.knee])
    return drawing


def _curves(points: Sequence[Row]) -> dict[Curve, list[Row]]:
    found: dict[Curve, list[Row]] = {}
    for row in points:
        found.setdefault((row.name, row.mechanism, row.recipe), []).append(row)
    return found


def _frame(drawing: Drawing, panel: _Panel, axis: _Axis, label: str) -> None:
    for tick in range(_TICKS + 1):
        value = panel.high * tick / _TICKS
        y = panel.y(value)
        drawing.line([(_LEFT, y), (axis.end, y)], Pen(colour=GRID))
        if axis.broken:
            drawing.line([(axis.end + 12, y), (_WIDTH - _RIGHT, y)], Pen(colour=GRID))
        drawing.words((_LEFT - 6, y + 4), f"{value:.3g}", "end")
    drawing.words((14, panel.top + panel.height / 2), label, turned=True)
    if axis.broken:  # two strokes: the axis does not go on
        y = panel.y(0.0)
        for x in (axis.end, axis.end + 8):
            drawing.line([(x, y + 5), (x + 5, y - 5)], Pen())


def _epsilons(drawing: Drawing, axis: _Axis, epsilons: Sequence[float]) -> None:
    y = _HEIGHT - _BOTTOM + 16
    for epsilon in epsilons:
        drawing.words((axis.x(epsilon), y), f"{epsilon:g}")
    if axis.broken:
        drawing.words((axis.bare, y), "no-dp")
    drawing.words(((_LEFT + axis.end) / 2, _HEIGHT - 8), "epsilon (user level, log scale)")


def _levels(drawing: Drawing, panel: _Panel, rows: Sequence[Row]) -> None:
    """Draw what needs no epsilon as dashed lines with their names at the right."""
    placed = sorted(rows, key=lambda row: -row.ndcg.mean)
    at = -math.inf
    named: set[str] = set()
    for number, row in enumerate(placed):
        y = panel.y(row.ndcg.mean)
        name = "no-dp" if row.kind == "no-dp" else row.name
        pen = Pen(width=1.2, dash=_DASHES[number % len(_DASHES)])
        drawing.line([(_LEFT, y), (_WIDTH - _RIGHT, y)], pen)
        if name in named:
            continue
        named.add(name)
        at = max(y + 4, at + _LABEL_PX)
        drawing.line([(_WIDTH - _RIGHT, y), (_WIDTH - _RIGHT + 10, at - 4)], Pen(colour=GRID))
        drawing.words((_WIDTH - _RIGHT + 13, at), f"{name} {row.ndcg.mean:.4f}", "start")


def _band(drawing: Drawing, panel: _Panel, axis: _Axis, rows: Sequence[Row], colour: str) -> None:
    above = [(axis.x(row.epsilon), panel.y(row.ndcg.high)) for row in rows]
    below = [(axis.x(row.epsilon), panel.y(max(row.ndcg.low, 0.0))) for row in rows]
    if len(rows) > 1:
        drawing.area([*above, *reversed(below)], colour, 0.18)
    for high, low in zip(above, below, strict=True):
        drawing.line([high, low], Pen(colour=colour))


def _line(
    drawing: Drawing,
    panel: _Panel,
    axis: _Axis,
    rows: Sequence[Row],
    bare: Sequence[Row],
    number: int,
) -> None:
    colour = _COLOURS[number % len(_COLOURS)]
    places = [(axis.x(row.epsilon), panel.y(row.ndcg.mean)) for row in rows]
    drawing.line(places, Pen(colour=colour, width=2.0))
    for row, place in zip(rows, places, strict=True):
        _marker(drawing, place, number)
        if row.knee:
            drawing.ring(place, 10.0, Pen(width=2.0))
    for row in bare:
        x = axis.bare
        ends = [(x, panel.y(row.ndcg.high)), (x, panel.y(max(row.ndcg.low, 0.0)))]
        drawing.line(ends, Pen(colour=colour))
        _marker(drawing, (x, panel.y(row.ndcg.mean)), number)


def _knees(drawing: Drawing, places: Sequence[Point]) -> None:
    """Name the rings; one word for those that stand close together."""
    named: list[Point] = []
    for x, y in sorted(places, key=lambda place: place[1]):
        if all(math.dist((x, y), other) > 2 * _LABEL_PX for other in named):
            drawing.words((x, y - 15), "knee")
            named.append((x, y))


def _coverage(
    drawing: Drawing,
    panel: _Panel,
    axis: _Axis,
    rows: Sequence[Row],
    bare: Sequence[Row],
    number: int,
) -> None:
    places = [(axis.x(row.epsilon), panel.y(row.coverage)) for row in rows]
    drawing.line(places, Pen(colour=_COLOURS[number % len(_COLOURS)], width=2.0))
    for place in [*places, *((axis.bare, panel.y(row.coverage)) for row in bare)]:
        _marker(drawing, place, number)


def _marker(drawing: Drawing, place: Point, number: int) -> None:
    """Fill a small polygon: a disc, a square, a triangle, a diamond, in turn."""
    corners, turn, size = ((16, 0.0, 4.5), (4, 45.0, 6.0), (3, -90.0, 6.5), (4, 0.0, 6.5))[
        number % 4
    ]
    angles = (math.radians(turn + 360.0 * i / corners) for i in range(corners))
    around = [(place[0] + size * math.cos(a), place[1] + size * math.sin(a)) for a in angles]
    drawing.area(around, _COLOURS[number % len(_COLOURS)])


def _key(drawing: Drawing, number: int, label: str) -> None:
    per_line = (_WIDTH - _LEFT) // _KEY_PX
    x, y = _LEFT + _KEY_PX * (number % per_line), 14.0 + 16.0 * (number // per_line)
    colour = _COLOURS[number % len(_COLOURS)]
    drawing.line([(x, y), (x + 24, y)], Pen(colour=colour, width=2.0))
    _marker(drawing, (x + 12, y), number)
    drawing.words((x + 30, y + 4), label, "start")


def _round_up(value: float) -> float:
    """Return the next figure of 1, 1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8 times a power of ten.

    Examples:
        >>> _round_up(0.113), _round_up(0.08)
        (0.12, 0.08)
    """
    if value <= 0.0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    steps = (1.0, 1.2, 1.6, 2.0, 2.4, 3.2, 4.0, 6.0, 8.0, 10.0)
    return next(step * power for step in steps if step * power >= value * (1.0 - 1e-9))
