"""The budget chart: epsilon after each charge against its cap, as inline SVG and in words."""

import math
from collections.abc import Sequence
from html import escape
from typing import Final

from homebody_server.evidence.figures import Figures, Spent

_WIDTH: Final = 640
_HEIGHT: Final = 220
_LEFT: Final = 52
_RIGHT: Final = 18
_TOP: Final = 26
_BOTTOM: Final = 42
_TICKS: Final = 4
_NAMED: Final = 'aria-labelledby="chart-title chart-words"'


def budget_chart(figures: Figures) -> str:
    """Return the chart as an SVG element; a table of the same figures stands beside it on the page.

    Args:
        figures: With at least one step.
    """
    steps = figures.steps
    top = _TICKS * _nice(1.05 * max(figures.cap, figures.epsilon) / _TICKS)
    words = alternative(figures)
    parts = [
        f'<svg class="chart" role="img" viewBox="0 0 {_WIDTH} {_HEIGHT}" {_NAMED}>',
        '<title id="chart-title">Privacy budget</title>',
        f'<desc id="chart-words">{escape(words)}</desc>',
        *_grid(top),
        _cap(figures.cap, top),
        *_curve(steps, top),
        "</svg>",
    ]
    return "\n".join(parts)


def alternative(figures: Figures) -> str:
    """Return the chart in words."""
    first, last = figures.steps[0], figures.steps[-1]
    return (
        f"Epsilon at user level, delta {figures.delta:g}, after each charge of the ledger: "
        f"{first.epsilon:g} after {first.name}, {last.epsilon:g} after {last.name}, of at most "
        f"{figures.cap:g}."
    )


def _nice(step: float) -> float:
    """Return the least of 1, 1.25, 2, 2.5 and 5 times a power of ten that is not below a step."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(n * power for n in (1.0, 1.25, 2.0, 2.5, 5.0, 10.0) if n * power >= step)


def _x(place: int, steps: int) -> float:
    """Return where a step begins: steps are evenly spread, whatever the entries between them."""
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * place / steps


def _y(epsilon: float, top: float) -> float:
    return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * epsilon / top


def _grid(top: float) -> list[str]:
    found = []
    for part in range(_TICKS + 1):
        value = top * part / _TICKS
        y = _y(value, top)
        found.append(
            f'<line class="grid" x1="{_LEFT}" y1="{y:.1f}" x2="{_WIDTH - _RIGHT}" y2="{y:.1f}"/>'
        )
        found.append(f'<text x="{_LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>')
    found.append(f'<text x="{_LEFT}" y="14">epsilon spent, user level</text>')
    return found


def _cap(cap: float, top: float) -> str:
    y = _y(cap, top)
    return (
        f'<line class="cap" x1="{_LEFT}" y1="{y:.1f}" x2="{_WIDTH - _RIGHT}" y2="{y:.1f}"/>'
        f'<text class="cap-text" x="{_WIDTH - _RIGHT}" y="{y - 6:.1f}" text-anchor="end">'
        f"cap {cap:g}</text>"
    )


def _curve(steps: Sequence[Spent], top: float) -> list[str]:
    count = len(steps)
    points = [(_x(0, count), _y(0.0, top))]
    found = []
    for place, step in enumerate(steps):
        left, right, y = _x(place, count), _x(place + 1, count), _y(step.epsilon, top)
        points += [(left, y), (right, y)]
        middle = (left + right) / 2
        found.append(
            f'<text x="{middle:.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">'
            f"{step.index}</text>"
        )
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    area = f"{line} {points[-1][0]:.1f},{_y(0.0, top):.1f}"
    label = _HEIGHT - 6
    return [
        f'<polygon class="area" points="{area}"/>',
        f'<polyline class="spent" points="{line}"/>',
        *found,
        f'<text x="{_LEFT}" y="{label}">charge, by its entry in the ledger</text>',
    ]
