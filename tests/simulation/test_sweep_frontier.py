"""The frontier: rows over seeds, a knee that the test cannot move, files that load nothing."""

import csv
import io
import json
import re
import struct
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homebody_privacy.errors import InvalidFileError
from homebody_simulation.frontier import COLUMNS, Frontier
from homebody_simulation.frontier_chart import frontier_chart
from homebody_simulation.frontier_page import render
from homebody_simulation.frontier_rows import Interval, RunFigures, combined, knee_of
from homebody_simulation.sweep_console import table_of

from .sweep_world import frontier, one, report

VALUES: dict[float | None, float] = {1.0: 0.06, 2.0: 0.095, 4.0: 0.1, 8.0: 0.099, None: 0.12}
SHARES = st.floats(0.0, 1.0)


def test_the_knee_is_the_smallest_epsilon_that_keeps_nine_tenths_of_the_gain() -> None:
    # Popularity has .05 on validation, the best epsilon .1: .095 keeps exactly 90 %.
    knee = frontier(VALUES).knee()
    assert knee is not None
    assert knee.epsilon == 2.0
    assert [row.epsilon for row in frontier(VALUES).rows if row.knee] == [2.0]


@given(st.lists(SHARES, min_size=5, max_size=5))
def test_no_figure_of_the_test_moves_the_knee(tests: list[float]) -> None:
    found = frontier(VALUES)
    moved = frontier(VALUES, tests=dict(zip(VALUES, tests, strict=True)))
    assert moved.knees() == found.knees()
    assert (moved.knee() or found.rows[0]).epsilon == 2.0


def test_the_knee_follows_validation() -> None:
    moved = {**VALUES, 1.0: 0.1}
    assert frontier(moved, tests=VALUES).knees() == {("two-tower", None, None): 1.0}


def test_private_data_is_chosen_by_what_devices_sent() -> None:
    finite: dict[float | None, float] = {**VALUES}
    del finite[None]
    sent = {1.0: 0.1, 2.0: 0.02, 4.0: 0.04, 8.0: 0.11}
    found = frontier(finite, sent=sent)
    assert found.knees() == {("two-tower", None, None): 1.0}
    assert "devices sent" in found.rule
    assert not [row for row in found.rows if row.kind == "no-dp"]


def test_private_data_of_which_nothing_was_sent_has_no_knee() -> None:
    found = frontier({1.0: 0.06, 8.0: 0.1}, sent={1.0: 0.1, 8.0: 0.1})
    mute = replace(found, runs=tuple(replace(run, released=None) for run in found.runs))
    assert mute.knee() is None


@pytest.mark.parametrize(
    ("values", "floor"),
    [({4.0: 0.5}, 0.1), ({1.0: 0.1, 4.0: 0.1}, 0.1), ({1.0: None, 4.0: 0.5}, 0.1), ({}, 0.1)],
)
def test_where_nothing_is_gained_or_known_there_is_no_knee(
    values: dict[float, float | None], floor: float
) -> None:
    assert knee_of(values, floor) is None


@given(
    st.dictionaries(st.sampled_from([0.5, 1.0, 2.0, 4.0, 8.0]), SHARES, min_size=2),
    st.floats(0.0, 0.5),
)
def test_every_knee_keeps_the_gain_and_no_smaller_epsilon_does(
    values: dict[float, float], floor: float
) -> None:
    knee = knee_of(dict(values), floor)
    best = max(values.values())
    if best <= floor:
        assert knee is None
        return
    assert knee is not None
    enough = floor + 0.9 * (best - floor)
    assert values[knee] >= enough
    assert all(value < enough for epsilon, value in values.items() if epsilon < knee)


def test_s06_rows_are_curves_then_floors_then_no_dp_then_the_ceiling() -> None:
    rows = frontier(VALUES).rows
    assert [row.epsilon for row in rows[:4]] == [1.0, 2.0, 4.0, 8.0]
    assert [(row.kind, row.name) for row in rows[4:]] == [
        ("baseline", "popularity"),
        ("baseline", "rules"),
        ("baseline", "local-only"),
        ("no-dp", "two-tower"),
        ("baseline", "ease-windowed"),
    ]
    no_dp = rows[7].ndcg.mean
    for row in (*rows[:7], rows[8]):
        assert row.against == pytest.approx(row.ndcg.mean / no_dp - 1.0)


def test_more_seeds_narrow_the_noise_and_not_the_devices() -> None:
    devices = Interval(mean=0.5, low=0.4, high=0.6)
    same, sd = combined([devices] * 5)
    assert sd == 0.0
    assert (same.low, same.high) == pytest.approx((0.4, 0.6))
    apart = [Interval(mean=m, low=m - 0.01, high=m + 0.01) for m in (0.4, 0.5, 0.6)]
    wide, sd = combined(apart)
    assert sd == pytest.approx(0.1)
    # Student's 97.5 % point with two degrees of freedom is 4.3027.
    assert wide.half == pytest.approx((0.01**2 + (4.3027 * 0.1 / 3**0.5) ** 2) ** 0.5, rel=1e-4)


def test_the_csv_has_a_line_a_row_and_no_clock() -> None:
    found = frontier(VALUES)
    lines = list(csv.DictReader(io.StringIO(found.csv())))
    assert tuple(lines[0]) == COLUMNS
    assert len(lines) == len(found.rows)
    assert [line["knee"] for line in lines] == ["", "knee", *[""] * 7]
    assert not [name for name in COLUMNS if "second" in name or "time" in name]


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    found = frontier(VALUES)
    found.to_json(tmp_path / "results.json")
    again = Frontier.load(tmp_path / "results.json")
    assert again == found
    assert again.csv() == found.csv()
    assert render(again) == render(found)


def test_a_file_that_is_no_frontier_is_refused(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(json.dumps({"rows": []}), "utf-8")
    with pytest.raises(InvalidFileError, match="KeyError"):
        Frontier.load(tmp_path / "results.json")


def test_the_page_loads_nothing_runs_nothing_and_shows_every_figure() -> None:
    found = frontier(VALUES)
    page = render(found)
    loads = re.findall(r"""(?:src|href|srcset|action|xlink:href)\s*=|url\(|@import|//""", page)
    assert [load for load in loads if load != "//"] == []
    assert not re.search(r"<\s*(script|iframe|object|embed|link|img|base|form)\b", page)
    assert not re.search(r"\son\w+\s*=", page)
    assert "default-src 'none'" in page
    for row in found.rows:
        shown = [f"{row.ndcg.mean:.4f}", f"{row.ndcg.low:.4f} to {row.ndcg.high:.4f}"]
        assert [figure for figure in shown if figure not in page] == []
    assert found.rule in page.replace("&#39;", "'")


@pytest.mark.parametrize("words", ["anonym", "gdpr compliant", "zero risk", "fully private"])
def test_the_page_claims_nothing_that_no_figure_carries(words: str) -> None:
    assert words not in render(frontier(VALUES)).lower()


def test_what_stands_in_the_data_is_text_on_page_and_chart() -> None:
    found = frontier(VALUES)
    named = replace(found, grid=replace(found.grid, data="<script>alert(1)</script>"))
    assert "<script" not in render(named)


def test_the_chart_is_well_formed_with_a_ring_a_band_and_dashes() -> None:
    svg = ET.fromstring(frontier_chart(frontier(VALUES)).svg())  # noqa: S314 - our own
    assert len(svg.findall("circle")) == 1
    assert [area for area in svg.findall("polygon") if area.get("fill-opacity") == "0.18"]
    assert len([line for line in svg.findall("polyline") if line.get("stroke-dasharray")]) == 5
    words = [text.text for text in svg.findall("text")]
    assert {"1", "2", "4", "8", "no-dp", "knee", "ndcg@10", "coverage@10"} <= set(words)


@given(st.lists(SHARES, min_size=5, max_size=5))
def test_every_shape_lies_inside_the_chart(tests: list[float]) -> None:
    drawing = frontier_chart(frontier(VALUES, tests=dict(zip(VALUES, tests, strict=True))))
    svg = ET.fromstring(drawing.svg())  # noqa: S314 - our own
    for shape in (*svg.findall("polyline"), *svg.findall("polygon")):
        for pair in shape.attrib["points"].split():
            x, y = map(float, pair.split(","))
            assert 0 <= x <= drawing.width
            assert 0 <= y <= drawing.height


def test_the_picture_is_a_png_of_twice_the_size_and_always_the_same() -> None:
    drawing = frontier_chart(frontier(VALUES))
    picture = drawing.png()
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", picture[16:24]) == (2 * drawing.width, 2 * drawing.height)
    assert len(set(picture)) > 200
    assert drawing.png(scale=1) == drawing.png(scale=1)


def test_a_notebook_gets_every_point_and_level() -> None:
    found = frontier(VALUES)
    figure = found.to_plotly()
    (line,) = figure.data
    assert list(line.x) == [1.0, 2.0, 4.0, 8.0]
    assert list(line.y) == [row.ndcg.mean for row in found.rows[:4]]
    assert len(figure.layout.shapes) == len(found.rows) - 4


def test_the_table_has_the_columns_of_a_sweep() -> None:
    table = table_of(frontier(VALUES))
    heads = [str(column.header) for column in table.columns]
    assert heads == ["target ε", "noise", "ndcg@10", "coverage", "vs no-dp", "kB up", ""]
    assert list(table.columns[-1].cells) == ["", "◀ knee", *[""] * 7]
    assert list(table.columns[0].cells)[4:] == [
        *("popularity", "rules", "local-only", "no-dp", "ease-windowed"),
    ]


def test_the_noise_shown_is_that_of_the_largest_release() -> None:
    made: dict[str, Any] = report()
    assert RunFigures.of(one(4.0), made).noise == 3.0
    made["privacy"]["statistics"] = [
        {"name": "popularity", "noise_multiplier": 1.9},
        {"name": "gram", "noise_multiplier": 0.6},
    ]
    assert RunFigures.of(one(4.0), made).noise == 0.6
