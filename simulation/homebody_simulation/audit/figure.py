"""An audit's figures as inline SVG: intervals against the claim, correlations by distance."""

from dataclasses import dataclass
from html import escape

from homebody_simulation.audit.conformance import Conformance
from homebody_simulation.audit.estimates import Interval
from homebody_simulation.charts import Chart, Line

_WIDTH, _ROW, _TOP, _BOTTOM = 560, 34, 26, 34
_LEFT, _RIGHT = 150, 24
_INK, _CLAIM = "#0072B2", "#D55E00"  # Okabe-Ito; the claim is dashed as well


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One interval beside what the claim says of it.

    Attributes:
        label: What was measured.
        interval: What was found.
        claimed: What the claim says.
        is_least: Whether the claim is a least value; else it is a greatest one.
    """

    label: str
    interval: Interval
    claimed: float
    is_least: bool = False

    @property
    def words(self) -> str:
        """The row without a picture."""
        kind = "at least" if self.is_least else "at most"
        return (
            f"{self.interval.lower_bound:.4f} to {self.interval.upper_bound:.4f}, "
            f"claim {kind} {self.claimed:g}"
        )


def rows_of(found: Conformance) -> tuple[Row, ...]:
    """Return the intervals of tier 1, in the order they are drawn."""
    rows = [
        Row(label="noise std / stated", interval=found.noise, claimed=1.0, is_least=True),
        Row(label="amplitude / clip norm", interval=found.amplitude, claimed=1.0),
        Row(label="loudest canary", interval=found.loudest, claimed=1.0),
    ]
    if found.stray is not None:
        rows.append(Row(label="in rounds not joined", interval=found.stray, claimed=0.0))
    if found.sampling is not None:
        rows.append(Row(label="draws / stated", interval=found.sampling, claimed=1.0))
    return tuple(rows)


def intervals_svg(rows: tuple[Row, ...]) -> str:
    """Draw intervals as bars over one axis, the claim as a dashed mark."""
    axis = _Axis.over(rows)
    floor = _TOP + _ROW * len(rows)
    marks = sorted({0.0, 1.0, round(axis.high, 2)})
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" class="chart" font-size="12" '
        f'font-family="sans-serif" viewBox="0 0 {_WIDTH} {floor + _BOTTOM}">'
    )
    parts = [
        head,
        "<title>Intervals at 99.9 % confidence, against the claim</title>",
        _text(_LEFT, 14, "bar: measured   dashed: claim", "start"),
        *(axis.draw(row, _TOP + _ROW * (i + 0.5)) for i, row in enumerate(rows)),
        *(_text(axis.x(mark), floor + 16, f"{mark:g}", "middle") for mark in marks),
        "</svg>",
    ]
    return "\n".join(parts)


@dataclass(frozen=True, slots=True)
class _Axis:
    """From figures to pixels."""

    low: float
    high: float

    @classmethod
    def over(cls, rows: tuple[Row, ...]) -> "_Axis":
        """Return an axis that shows every row, and 0 and 1."""
        ends = [(r.interval.lower_bound, r.interval.upper_bound, r.claimed) for r in rows]
        return cls(min(0.0, *map(min, ends)), max(1.25, *map(max, ends)))

    def x(self, value: float) -> float:
        span = self.high - self.low
        return _LEFT + (value - self.low) / span * (_WIDTH - _LEFT - _RIGHT)

    def draw(self, row: Row, y: float) -> str:
        left, right = self.x(row.interval.lower_bound), self.x(row.interval.upper_bound)
        claim, width = self.x(row.claimed), max(right - left, 2.0)
        return (
            f"<g><title>{escape(f'{row.label}: {row.words}')}</title>"
            + _text(_LEFT - 10, y + 4, row.label, "end")
            + _stroke((_LEFT, y), (_WIDTH - _RIGHT, y), 'class="grid" stroke="#999"')
            + f'<rect x="{left:.1f}" y="{y - 5:.1f}" width="{width:.1f}" height="10" '
            f'fill="{_INK}"/>'
            + _stroke(
                (claim, y - 12),
                (claim, y + 12),
                f'stroke="{_CLAIM}" stroke-width="2" stroke-dasharray="3 2"',
            )
            + "</g>"
        )


def lags_svg(found: Conformance) -> str | None:
    """Draw the correlation of rounds by distance; None for a run of one round."""
    if not found.lags:
        return None
    limits = [(lag, c.limit) for lag, c in enumerate(found.lags, start=1)]
    chart = Chart(
        title="Correlation of the noise of two rounds by their distance",
        x_label="distance (rounds)",
        y_label="correlation",
        lines=[
            Line(label="found", points=[(i, c.estimate) for i, c in enumerate(found.lags, 1)]),
            Line(label="limit of chance", points=limits, colour=_CLAIM, dash="6 4"),
            Line(
                label="its negative", points=[(x, -y) for x, y in limits], colour=_CLAIM, dash="6 4"
            ),
        ],
    )
    return chart.svg()


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="currentColor">'
        f"{escape(words)}</text>"
    )


def _stroke(start: tuple[float, float], end: tuple[float, float], pen: str) -> str:
    (x1, y1), (x2, y2) = start, end
    return f'<line {pen} x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'
