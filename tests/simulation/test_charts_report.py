"""The report: one file that loads nothing, says every figure it was given and no more."""

import copy
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homebody_simulation.charts import Chart, Line
from homebody_simulation.report import render, write_report
from homebody_simulation.simulate import SimulatedRun

FINITE = st.floats(-1e6, 1e6)


def page_of(run: SimulatedRun) -> str:
    """Return the page a run wrote."""
    return (run.folder / "report.html").read_text("utf-8")


@pytest.fixture(params=["small_run", "correlated_run", "reference_run"])
def run(request: pytest.FixtureRequest) -> SimulatedRun:
    """Return a run with noise of either kind, or one without."""
    found: SimulatedRun = request.getfixturevalue(request.param)
    return found


def test_the_page_loads_nothing_and_runs_nothing(run: SimulatedRun) -> None:
    page = page_of(run)
    loads = re.findall(r"""(?:src|href|srcset|action|xlink:href)\s*=|url\(|@import|//""", page)
    assert loads == []
    assert not re.search(r"<\s*(script|iframe|object|embed|link|img|base|form)\b", page)
    assert not re.search(r"\son\w+\s*=", page)
    assert "default-src 'none'" in page
    assert len(page.encode()) < 500_000


def test_charts_are_on_the_page_and_are_well_formed(small_run: SimulatedRun) -> None:
    charts = re.findall(r"<svg.*?</svg>", page_of(small_run), re.DOTALL)
    titles = [ET.fromstring(chart).findtext("title") for chart in charts]  # noqa: S314 - our own
    assert [title.partition(" by ")[0] for title in titles if title] == [
        "User-level epsilon spent",
        "ndcg@10 of the validation item",
        "Loss of the validation item",
        *["ndcg@10"] * len(small_run.report["utility"]["segments"]),
    ]


def figures(report: Mapping[str, Any]) -> list[str]:
    """Return figures of ``report.json`` as the page must show them."""
    utility = report["utility"]
    own = utility["model"]["ndcg@10"]
    shown = [f"{own[key]:.4f}" for key in ("mean", "low", "high")]
    shown.append(f"{utility['baselines']['popularity']['ndcg@10']['mean']:.4f}")
    shown += [f"{point['ndcg@10']:.4f}" for point in report["curve"]]
    shown += [f"{report['bundle']['bytes'] / 1000:,.1f} kB", report["data"]["population"]]
    shown += [report["digests"]["model"], report["digests"]["config"], str(report["rounds"])]
    if report["epsilon"]:
        user, privacy = report["epsilon"]["user"], report["privacy"]
        shown += [str(user[key]) for key in ("spent", "ceiling", "delta", "mechanism")]
        shown += [str(privacy[key]) for key in ("clip_norm", "cohort_size", "lattice_step")]
        shown += [f"{privacy['noise_multiplier']:.4f}", str(privacy["epsilon_unamplified"])]
        shown += [f"{part} {value}" for part, value in user["parts"].items()]
        shown.append(f"{privacy['epsilon_release']}: ")
        shown += rules(user, privacy)
        shown.append(str(privacy["epsilon_prv"]))
    return shown


def rules(user: Mapping[str, Any], privacy: Mapping[str, Any]) -> list[str]:
    """Return what the page must say of how devices take part."""
    if "blt" not in privacy:
        return [f"q = {privacy['sampling_rate']:.5f}", f"at most {privacy['cohort_cap']} devices"]
    blt = privacy["blt"]
    return [
        *map(str, (*blt["theta"], *blt["omega"], blt["fine_bits"])),
        f"{blt['sensitivity']:.4f} clip norms",
        f"at most {blt['joins']} rounds, {blt['min_separation']} apart",
        f"{user['void_rounds']} void",
        "the rounds of a run are one release",
    ]


def test_figures_that_left_devices_are_on_the_page(
    correlated_run: SimulatedRun, small_run: SimulatedRun
) -> None:
    page = page_of(correlated_run)
    released = correlated_run.report["released"]
    assert set(released) == {"metrics/quality/3", "metrics/quality/6"}
    for purchase, values in released.items():
        assert f"<th>{purchase}</th>" in page
        for name, value in values.items():
            assert f"{name} {value['value']:.4f}" in page
    assert small_run.report["released"] == {}
    assert "Figures that left devices" not in page_of(small_run)


def test_figures_of_the_report_are_on_the_page(run: SimulatedRun) -> None:
    page = page_of(run)
    missing = [figure for figure in figures(run.report) if figure not in page]
    assert missing == []


def test_segments_part_the_devices_and_their_figures_are_on_the_page(run: SimulatedRun) -> None:
    page, utility = page_of(run), run.report["utility"]
    devices = utility["model"]["ndcg@10"]["n"]
    for table in utility["segments"]:
        rows = table["rows"]
        assert devices - sum(row["own"]["n"] for row in rows) < 3  # a part of one has no row
        parts = sum(row["own"]["n"] * row["own"]["mean"] for row in rows)
        if devices == sum(row["own"]["n"] for row in rows):
            assert parts / devices == pytest.approx(utility["model"]["ndcg@10"]["mean"])
        assert f"<th>{table['by']}</th>" in page
        for row in rows:
            assert f"<td>{row['name']}" in page
            assert f"{row['gain']['low']:+.4f} to {row['gain']['high']:+.4f}" in page
    names = [table["by"] for table in utility["segments"]]
    assert names == ["length of history", "popularity of the item that came next"]


def test_labels_of_people_are_a_table_of_their_own(small_run: SimulatedRun) -> None:
    report = copy.deepcopy(dict(small_run.report))
    row = {**report["utility"]["segments"][0]["rows"][0], "name": "50 & over", "words": ""}
    report["utility"]["segments"].append({"by": "age", "rows": [row]})
    page = render(report)
    assert "<th>age</th>" in page
    assert "50 &amp; over" in page


def test_a_run_without_noise_says_so_and_claims_nothing(reference_run: SimulatedRun) -> None:
    page = page_of(reference_run)
    assert "no differential privacy" in page.lower()
    assert reference_run.report["epsilon"] is None
    assert "no guarantee" in page


def test_a_seeded_run_warns_of_its_seed(
    reference_run: SimulatedRun, small_run: SimulatedRun
) -> None:
    assert reference_run.report["seeded"]
    assert not small_run.report["seeded"]
    assert "seed" not in small_run.report["claim"]["statement"]


@pytest.mark.parametrize(
    "words", ["fully anonymous", "Zero risk", "your data never leaves", "military-grade"]
)
def test_claims_no_figure_carries_are_refused(small_run: SimulatedRun, words: str) -> None:
    report = copy.deepcopy(dict(small_run.report))
    report["claim"] = {"statement": f"This is {words}."}
    with pytest.raises(ValueError, match="no figure carries"):
        render(report)


@pytest.mark.parametrize(
    "path",
    [
        ("claim",),
        ("epsilon", "user", "delta"),
        ("privacy", "clip_norm"),
        ("utility", "model"),
        ("data", "licence"),
        ("digests", "model"),
        ("limits",),
        ("curve",),
    ],
    ids=".".join,
)
def test_a_missing_field_is_an_error_and_not_a_blank(
    small_run: SimulatedRun, path: tuple[str, ...]
) -> None:
    report = copy.deepcopy(dict(small_run.report))
    inner = report
    for name in path[:-1]:
        inner = inner[name]
    del inner[path[-1]]
    with pytest.raises((jinja2.UndefinedError, KeyError)):
        render(report)


def test_what_stands_in_the_data_is_text_on_the_page(small_run: SimulatedRun) -> None:
    report = copy.deepcopy(dict(small_run.report))
    report["data"]["source"] = "<script>alert(1)</script>"
    page = render(report)
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_the_page_is_a_function_of_the_report(small_run: SimulatedRun, tmp_path: Path) -> None:
    path = write_report(tmp_path, small_run.report)
    assert path.read_text("utf-8") == page_of(small_run)


def test_a_report_without_a_curve_and_segments_has_no_charts(small_run: SimulatedRun) -> None:
    utility = {**small_run.report["utility"], "segments": []}
    assert "<svg" not in render({**small_run.report, "curve": [], "utility": utility})


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(1, 500), FINITE), min_size=1, max_size=20))
def test_every_point_of_a_chart_lies_inside_its_frame(points: list[tuple[int, float]]) -> None:
    chart = Chart(
        title="t", x_label="x", y_label="y", lines=[Line(label="l", points=sorted(points))]
    )
    svg = ET.fromstring(chart.svg())  # noqa: S314 - our own
    line = svg.find("polyline")
    assert line is not None
    for pair in line.attrib["points"].split():
        x, y = map(float, pair.split(","))
        assert 0 <= x <= 560
        assert 0 <= y <= 240


def test_larger_values_stand_higher_and_later_rounds_further_right() -> None:
    line = Line(label="l", points=[(1, 1.0), (2, 5.0), (3, 2.0)])
    svg = ET.fromstring(Chart(title="", x_label="", y_label="", lines=[line]).svg())  # noqa: S314
    drawn = svg.find("polyline")
    assert drawn is not None
    xy = [tuple(map(float, pair.split(","))) for pair in drawn.attrib["points"].split()]
    assert xy[0][0] < xy[1][0] < xy[2][0]
    assert xy[1][1] < xy[2][1] < xy[0][1]


def test_labels_of_a_chart_are_escaped() -> None:
    line = Line(label="<b>", points=[(1, 1.0)])
    svg = Chart(title="a<b", x_label="&", y_label="y", lines=[line, line]).svg()
    assert ET.fromstring(svg).findtext("title") == "a<b"  # noqa: S314 - our own
    assert "<b>" not in svg


def test_a_chart_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one point"):
        Chart(title="", x_label="", y_label="", lines=[Line(label="", points=[])])
