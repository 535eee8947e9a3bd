"""A drawing as PNG, by Pillow: no browser, no fonts of the system, the same bytes each time."""

import io
import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from homebody_simulation.drawing import GRID, INK, Area, Drawing, Path, Point, Ring, Words

_PAPER: Final = {INK: "#1b1b1b", GRID: "#c9ced4"}
_FONT_PX: Final = 12
_SHARPER: Final = 2  # painted so much larger, then scaled down: smooth edges
_ANCHORS: Final = {"start": "ls", "middle": "ms", "end": "rs"}


def paint(drawing: Drawing, scale: int) -> bytes:
    """Return a drawing as a PNG on white.

    Args:
        drawing: What to paint.
        scale: Pixels of the picture for one of the drawing, at least 1.
    """
    large = scale * _SHARPER
    image = Image.new("RGB", (drawing.width * large, drawing.height * large), "white")
    canvas = _Canvas(image, large)
    for shape in drawing.shapes:
        if isinstance(shape, Path):
            canvas.path(shape)
        elif isinstance(shape, Area):
            canvas.area(shape)
        elif isinstance(shape, Ring):
            canvas.ring(shape)
        else:
            canvas.words(shape)
    size = (drawing.width * scale, drawing.height * scale)
    out = io.BytesIO()
    image.resize(size, Image.Resampling.LANCZOS).save(out, "PNG", optimize=True)
    return out.getvalue()


class _Canvas:
    """An image with a brush."""

    def __init__(self, image: Image.Image, large: int) -> None:
        """Paint on ``image``, ``large`` pixels for one of the drawing."""
        self._image = image
        self._large = large
        self._brush = ImageDraw.Draw(image, "RGBA")
        self._font = ImageFont.load_default(_FONT_PX * large)

    def _at(self, point: Point) -> Point:
        return (point[0] * self._large, point[1] * self._large)

    def _width(self, width: float) -> int:
        return max(1, round(width * self._large))

    def path(self, path: Path) -> None:
        for piece in _dashes(path.points, path.pen.dash):
            self._brush.line(
                [self._at(point) for point in piece],
                fill=_PAPER.get(path.pen.colour, path.pen.colour),
                width=self._width(path.pen.width),
                joint="curve",
            )

    def area(self, area: Area) -> None:
        fill = f"{area.colour}{round(255 * area.opacity):02x}"
        self._brush.polygon([self._at(point) for point in area.points], fill=fill)

    def ring(self, ring: Ring) -> None:
        (x, y), r = ring.centre, ring.radius
        self._brush.ellipse(
            [self._at((x - r, y - r)), self._at((x + r, y + r))],
            outline=_PAPER.get(ring.pen.colour, ring.pen.colour),
            width=self._width(ring.pen.width),
        )

    def words(self, words: Words) -> None:
        # The font that needs no file knows Latin letters alone.
        plain = words.words.encode("ascii", "replace").decode()
        x, y = self._at(words.at)
        if not words.turned:
            anchor = _ANCHORS[words.anchor]
            self._brush.text((x, y), plain, fill=_PAPER[INK], font=self._font, anchor=anchor)
            return
        _, top, right, bottom = self._font.getbbox(plain, anchor="ls")
        tile = Image.new("RGB", (math.ceil(right), math.ceil(bottom - top)), "white")
        brush = ImageDraw.Draw(tile)
        brush.text((0, -top), plain, fill=_PAPER[INK], font=self._font, anchor="ls")
        turned = tile.transpose(Image.Transpose.ROTATE_90)
        self._image.paste(turned, (round(x + top), round(y - right / 2)))


def _dashes(points: Sequence[Point], dash: tuple[float, ...]) -> Iterator[Sequence[Point]]:
    """Return the pieces of a line that are drawn: the whole where it is solid."""
    if not dash:
        yield points
        return
    left, number = dash[0], 0
    for (x1, y1), (x2, y2) in pairwise(points):
        length, done = math.dist((x1, y1), (x2, y2)), 0.0
        while done < length:
            step = min(left, length - done)
            ends = [(done + part) / length for part in (0.0, step)]
            if number % 2 == 0:
                yield [(x1 + (x2 - x1) * t, y1 + (y2 - y1) * t) for t in ends]
            done, left = done + step, left - step
            if left <= 0.0:
                number += 1
                left = dash[number % len(dash)]
