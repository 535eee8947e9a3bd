"""Bars in pairs: as long as their values, inside their frame, and text is text."""

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homebody_simulation.bars import Bar, Bars
from homebody_simulation.segment_charts import segment_chart

VALUES = st.floats(0, 1e3, allow_subnormal=False)


def bar(value: float) -> Bar:
    """Return a bar with an interval around it."""
    return Bar(value=value, low=value / 2, high=value * 1.5)


def drawn(*pairs: tuple[float, float]) -> list[float]:
    """Return the lengths of the bars of a chart, row by row, without the legend's."""
    rows = [(f"row {i}", (bar(a), bar(b))) for i, (a, b) in enumerate(pairs)]
    svg = Bars(title="t", x_label="x", labels=("model", "popularity"), rows=rows).svg()
    rects = ET.fromstring(svg).findall("rect")  # noqa: S314 - our own
    return [float(rect.attrib["width"]) for rect in rects[2:]]


@settings(max_examples=50)
@given(st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=6))
def test_bars_are_as_long_as_their_values_and_stay_inside(pairs: list[tuple[float, float]]) -> None:
    lengths = drawn(*pairs)
    values = [value for pair in pairs for value in pair]
    top = max(values)
    for value, length in zip(values, lengths, strict=True):
        share = value / (1.5 * top) if top else 0.0
        assert length == pytest.approx(408 * share, abs=0.1)


def test_names_are_escaped_and_a_chart_of_nothing_is_refused() -> None:
    rows = [("<b>", (bar(1.0), bar(2.0)))]
    svg = Bars(title="a<b", x_label="&", labels=("<i>", "y"), rows=rows).svg()
    assert ET.fromstring(svg).findtext("title") == "a<b"  # noqa: S314 - our own
    assert "<b>" not in svg
    assert "<i>" not in svg
    with pytest.raises(ValueError, match="at least one row"):
        Bars(title="", x_label="", labels=("", ""), rows=[])


def test_a_table_of_nobody_has_no_chart() -> None:
    assert segment_chart({"by": "age", "rows": []}) is None
