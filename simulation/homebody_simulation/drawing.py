"""A picture as a list of shapes: the same one as inline SVG and, without a browser, as PNG."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Final, Literal, TypeAlias

INK: Final = "ink"
GRID: Final = "grid"
Point = tuple[float, float]
Anchor = Literal["start", "middle", "end"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pen:
    """How a line is drawn.

    Attributes:
        colour: ``INK``, ``GRID`` or ``#rrggbb``.
        width: Pixels.
        dash: Lengths of dashes and gaps in pixels; empty for a solid line.
    """

    colour: str = INK
    width: float = 1.0
    dash: tuple[float, ...] = ()

    def svg(self) -> str:
        """Return the attributes of an SVG element."""
        if self.colour == GRID:
            return 'class="grid"'
        colour = "currentColor" if self.colour == INK else self.colour
        dash = f' stroke-dasharray="{" ".join(f"{d:g}" for d in self.dash)}"' if self.dash else ""
        return f'stroke="{colour}" stroke-width="{self.width:g}"{dash}'


@dataclass(frozen=True, slots=True)
class Path:
    """A line through points."""

    points: Sequence[Point]
    pen: Pen

    def svg(self) -> str:
        """Return the element."""
        shown = " ".join(f"{x:.1f},{y:.1f}" for x, y in self.points)
        return f'<polyline fill="none" {self.pen.svg()} points="{shown}"/>'


@dataclass(frozen=True, slots=True)
class Area:
    """A filled polygon."""

    points: Sequence[Point]
    colour: str
    opacity: float

    def svg(self) -> str:
        """Return the element."""
        shown = " ".join(f"{x:.1f},{y:.1f}" for x, y in self.points)
        return f'<polygon fill="{self.colour}" fill-opacity="{self.opacity:g}" points="{shown}"/>'


@dataclass(frozen=True, slots=True)
class Ring:
    """A circle, not filled."""

    centre: Point
    radius: float
    pen: Pen

    def svg(self) -> str:
        """Return the element."""
        x, y = self.centre
        return f'<circle fill="none" {self.pen.svg()} cx="{x:.1f}" cy="{y:.1f}" r="{self.radius}"/>'


@dataclass(frozen=True, slots=True)
class Words:
    """Words on a baseline."""

    at: Point
    words: str
    anchor: Anchor
    turned: bool

    def svg(self) -> str:
        """Return the element."""
        x, y = self.at
        turn = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if self.turned else ""
        start = f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{self.anchor}"{turn}>'
        return f"{start}{escape(self.words)}</text>"


Shape: TypeAlias = Path | Area | Ring | Words


@dataclass(slots=True, kw_only=True)
class Drawing:
    """Shapes over a plain ground, later ones on top.

    Attributes:
        width: Pixels.
        height: Pixels.
        title: Said by screen readers.
    """

    width: int
    height: int
    title: str
    _shapes: list[Shape] = field(default_factory=list)

    def line(self, points: Sequence[Point], pen: Pen) -> None:
        """Draw a line through ``points``."""
        self._shapes.append(Path(points, pen))

    def area(self, points: Sequence[Point], colour: str, opacity: float = 1.0) -> None:
        """Fill the polygon of ``points``."""
        self._shapes.append(Area(points, colour, opacity))

    def ring(self, centre: Point, radius: float, pen: Pen) -> None:
        """Draw a circle, not filled."""
        self._shapes.append(Ring(centre, radius, pen))

    def words(
        self, at: Point, words: str, anchor: Anchor = "middle", *, turned: bool = False
    ) -> None:
        """Write words on the baseline through ``at``; ``turned`` reads upward."""
        self._shapes.append(Words(at, words, anchor, turned))

    def svg(self) -> str:
        """Return the picture as an SVG element; texts are escaped."""
        return "\n".join(
            [
                f'<svg role="img" viewBox="0 0 {self.width} {self.height}" class="chart">',
                f"<title>{escape(self.title)}</title>",
                *(shape.svg() for shape in self._shapes),
                "</svg>",
            ]
        )

    def png(self, scale: int = 2) -> bytes:
        """Return the picture as a PNG on white.

        Args:
            scale: Pixels of the picture for one of the drawing, at least 1.
        """
        from homebody_simulation.painting import paint  # noqa: PLC0415 for those who ask for one

        return paint(self, scale)

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """The shapes, in the order they are drawn."""
        return tuple(self._shapes)
