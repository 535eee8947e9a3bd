"""Bars in pairs with their intervals, as inline SVG: readable without scripts and in one colour."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDTH = 560
_LEFT, _RIGHT, _TOP, _BOTTOM = 132, 20, 30, 40
_ROW, _BAR = 44, 14
_TICKS = 4
_KEY = 150
_PENS = ('fill="#0072B2"', 'fill="none" stroke="#D55E00" stroke-width="2" stroke-dasharray="4 2"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A value with its interval.

    Attributes:
        value: Length of the bar, at least 0.
        low: Low end of its interval.
        high: High end.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """Pairs of bars, one pair a row.

    Attributes:
        title: Said by screen readers.
        x_label: What a bar's length is.
        labels: Name of the first and of the second bar of each pair.
        rows: Name of each row and its two bars; at least one.
    """

    title: str
    x_label: str
    labels: tuple[str, str]
    rows: Sequence[tuple[str, tuple[Bar, Bar]]]

    def __post_init__(self) -> None:
        """Refuse a chart of nothing."""
        if not self.rows:
            raise ValueError("a chart needs at least one row")

    def svg(self) -> str:
        """Return the chart as an SVG element."""
        height = _TOP + _ROW * len(self.rows) + _BOTTOM
        most = max(bar.high for _, pair in self.rows for bar in pair) or 1.0
        parts = [
            f'<svg role="img" viewBox="0 0 {_WIDTH} {height}" class="chart">',
            f"<title>{escape(self.title)}</title>",
            *self._axis(most, height),
            *self._legend(),
        ]
        for place, (name, pair) in enumerate(self.rows):
            top = _TOP + _ROW * place + 6
            parts.append(_text(_LEFT - 8, top + _BAR + 5, name, "end"))
            for i, bar in enumerate(pair):
                parts += _drawn(bar, top + i * (_BAR + 3), most, _PENS[i])
        return "\n".join([*parts, "</svg>"])

    def _axis(self, most: float, height: int) -> list[str]:
        parts = []
        for i in range(_TICKS + 1):
            x = _x(most * i / _TICKS, most)
            parts.append(
                f'<line class="grid" x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" '
                f'y2="{height - _BOTTOM}"/>'
            )
            parts.append(_text(x, height - _BOTTOM + 16, f"{most * i / _TICKS:.3f}"))
        parts.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, height - 6, self.x_label))
        return parts

    def _legend(self) -> list[str]:
        parts = []
        for i, label in enumerate(self.labels):
            x = _LEFT + _KEY * i
            parts.append(f'<rect {_PENS[i]} x="{x}" y="6" width="24" height="10"/>')
            parts.append(_text(x + 30, 16, label, "start"))
        return parts


def _drawn(bar: Bar, top: float, most: float, pen: str) -> list[str]:
    middle, left, right = top + _BAR / 2, _x(max(bar.low, 0.0), most), _x(bar.high, most)
    whisker = 'stroke="currentColor" stroke-width="1.5"'
    length = _x(bar.value, most) - _LEFT
    return [
        f'<rect {pen} x="{_LEFT}" y="{top}" width="{length:.1f}" height="{_BAR}"/>',
        f'<line {whisker} x1="{left:.1f}" y1="{middle}" x2="{right:.1f}" y2="{middle}"/>',
    ]


def _x(value: float, most: float) -> float:
    return _LEFT + value / most * (_WIDTH - _LEFT - _RIGHT)


def _text(x: float, y: float, words: str, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'
