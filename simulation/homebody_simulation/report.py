"""Write ``report.html`` from ``report.json`` and from nothing else: one self-contained file."""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from homebody_simulation.charts import Chart, Line
from homebody_simulation.segment_charts import segment_chart

_LEAST_POINTS = 2
"""A line of one point shows nothing."""

_BANNED = (
    "anonym",
    "cannot be traced",
    "fully private",
    "100 % private",
    "zero risk",
    "guaranteed safe",
    "proven by audit",
    "gdpr compliant",
    "your data never leaves",
    "military-grade",
    "unbreakable",
)
"""Claims no figure can carry; a report that holds one is not written."""


def render(report: Mapping[str, Any]) -> str:
    """Return the page for a report.

    Raises:
        ValueError: If the text makes a claim that no figure can carry.
        jinja2.UndefinedError: If the report lacks a field.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["figure"] = _figure
    environment.filters["signed"] = _signed
    environment.filters["kilobytes"] = lambda value: f"{value / 1000:,.1f} kB"
    source = files("homebody_simulation").joinpath("templates/report.html").read_text("utf-8")
    # The figures escape their own text; autoescape would show the tags.
    audited = report["audit"] or {"figures": ()}
    figures = [Markup(svg) for svg in audited["figures"]]  # noqa: S704
    page = environment.from_string(source).render(
        r=report, charts=_charts(report), audit_figures=figures, parts=_part_charts(report)
    )
    claims = [words for words in _BANNED if words in page.lower()]
    if claims:
        raise ValueError(f"the report claims what no figure carries: {', '.join(claims)}")
    return page


def write_report(folder: Path, report: Mapping[str, Any]) -> Path:
    """Write the page beside the run's other files and return its path."""
    path = folder / "report.html"
    path.write_text(render(report), "utf-8")
    return path


def _figure(value: float) -> str:
    return f"{value:.4f}"


def _signed(value: float) -> str:
    return f"{value:+.4f}"


def _part_charts(report: Mapping[str, Any]) -> list[Markup | None]:
    """Return a chart for each table of segments, in their order."""
    charts = [segment_chart(table) for table in report["utility"]["segments"]]
    return [None if svg is None else Markup(svg) for svg in charts]  # noqa: S704 escaped inside


def _charts(report: Mapping[str, Any]) -> dict[str, Markup]:
    curve = report["curve"]
    if len(curve) < _LEAST_POINTS:
        return {}
    charts = {**_looks(report), **_spending(report)}
    # The charts escape their own text; autoescape would show the tags.
    return {name: Markup(chart.svg()) for name, chart in charts.items()}  # noqa: S704


def _looks(report: Mapping[str, Any]) -> dict[str, Chart]:
    """Return the charts of what was looked at; none where devices trained on that, too."""
    curve = [point for point in report["curve"] if point["loss"] is not None]
    if not curve:
        return {}
    baselines = report["utility"]["baselines"]
    rounds = [point["round"] for point in curve]
    return {
        "loss": Chart(
            title="Loss of the validation item by round",
            x_label="round",
            y_label="loss (nats)",
            lines=[Line(label="loss", points=[(p["round"], p["loss"]) for p in curve])],
        ),
        "ndcg": Chart(
            title="ndcg@10 of the validation item by round",
            x_label="round",
            y_label="ndcg@10",
            lines=[
                Line(label="model", points=[(p["round"], p["ndcg@10"]) for p in curve]),
                Line(
                    label="popularity",
                    points=[(x, baselines["popularity"]["validation_ndcg@10"]) for x in rounds],
                    colour="#D55E00",
                    dash="6 4",
                ),
            ],
        ),
    }


def _spending(report: Mapping[str, Any]) -> dict[str, Chart]:
    """Return the chart of epsilon by round; none for a run paid at once."""
    curve = report["curve"]
    rounds = [point["round"] for point in curve]
    if len({point["epsilon"] for point in curve}) < _LEAST_POINTS:
        return {}
    ceiling = report["epsilon"]["user"]["ceiling"]
    return {
        "epsilon": Chart(
            title="User-level epsilon spent by round, against the ceiling",
            x_label="round",
            y_label="epsilon (user)",
            lines=[
                Line(label="spent", points=[(p["round"], p["epsilon"]) for p in curve]),
                Line(
                    label="ceiling",
                    points=[(x, ceiling) for x in rounds],
                    colour="#D55E00",
                    dash="6 4",
                ),
            ],
        )
    }
