"""Line charts as inline SVG: readable without scripts, on paper and in a screen reader."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT = 560, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 36, 40
_TICKS = 4
_KEY = 150


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One series.

    Attributes:
        label: What it shows.
        points: (x, y) pairs, finite, x ascending.
        colour: CSS colour; Okabe-Ito, told apart by dash as well.
        dash: SVG dash pattern, "" for a solid line.
    """

    label: str
    points: Sequence[tuple[float, float]]
    colour: str = "#0072B2"
    dash: str = ""

    def pen(self) -> str:
        """Return the SVG attributes the line is drawn with."""
        dash = f' stroke-dasharray="{self.dash}"' if self.dash else ""
        return f'stroke="{self.colour}" stroke-width="2"{dash}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A chart of lines over one pair of axes.

    Attributes:
        title: Said by screen readers.
        x_label: Name of the x axis.
        y_label: Name of the y axis.
        lines: At least one line with at least one point.
    """

    title: str
    x_label: str
    y_label: str
    lines: Sequence[Line]

    def __post_init__(self) -> None:
        """Refuse a chart of nothing."""
        if not any(line.points for line in self.lines):
            raise ValueError("a chart needs at least one point")

    def svg(self) -> str:
        """Return the chart as an SVG element."""
        xs = [x for line in self.lines for x, _ in line.points]
        ys = [y for line in self.lines for _, y in line.points]
        scale = _Scale(min(xs), max(xs), *_room(min(ys), max(ys)))
        parts = [
            f'<svg role="img" viewBox="0 0 {_WIDTH} {_HEIGHT}" class="chart">',
            f"<title>{escape(self.title)}</title>",
            *self._axes(scale),
            *(self._line(line, scale) for line in self.lines if line.points),
            *self._legend(),
            "</svg>",
        ]
        return "\n".join(parts)

    def _axes(self, scale: "_Scale") -> list[str]:
        parts = []
        for i in range(_TICKS + 1):
            value = scale.low + (scale.high - scale.low) * i / _TICKS
            y = scale.y(value)
            parts.append(_stroke((_LEFT, y), (_WIDTH - _RIGHT, y), 'class="grid"'))
            parts.append(_text(_LEFT - 6, y + 4, f"{value:.3g}", "end"))
        marks = sorted({scale.first, (scale.first + scale.last) // 2, scale.last})
        parts += [_text(scale.x(x), _HEIGHT - _BOTTOM + 16, f"{x:g}") for x in marks]
        parts.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 6, self.x_label))
        turned = _text(14, _HEIGHT / 2, self.y_label)
        parts.append(f'<g transform="rotate(-90 14 {_HEIGHT / 2})">{turned}</g>')
        return parts

    def _line(self, line: Line, scale: "_Scale") -> str:
        points = " ".join(f"{scale.x(x):.1f},{scale.y(y):.1f}" for x, y in line.points)
        return f'<polyline fill="none" {line.pen()} points="{points}"/>'

    def _legend(self) -> list[str]:
        if len(self.lines) == 1:
            return []
        parts = []
        for i, line in enumerate(self.lines):
            x, y = _LEFT + _KEY * i, _TOP - 20  # above the plot: no line runs through it
            parts.append(_stroke((x, y), (x + 24, y), line.pen()))
            parts.append(_text(x + 30, y + 4, line.label, "start"))
        return parts


def _text(x: float, y: float, words: str, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def _stroke(start: tuple[float, float], end: tuple[float, float], pen: str) -> str:
    (x1, y1), (x2, y2) = start, end
    return f'<line {pen} x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


@dataclass(frozen=True, slots=True)
class _Scale:
    """From data to pixels."""

    first: float
    last: float
    low: float
    high: float

    def x(self, value: float) -> float:
        span = (self.last - self.first) or 1.0
        return _LEFT + (value - self.first) / span * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        span = (self.high - self.low) or 1.0
        return _TOP + (1.0 - (value - self.low) / span) * (_HEIGHT - _TOP - _BOTTOM)


def _room(low: float, high: float) -> tuple[float, float]:
    """Widen a range so that a line does not run along the frame."""
    margin = 0.08 * (high - low) or 0.08 * abs(high) or 1.0
    return low - margin, high + margin
