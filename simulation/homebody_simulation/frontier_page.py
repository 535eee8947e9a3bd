"""``frontier.html``: made from a frontier and from nothing else; one file that loads nothing."""

from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from homebody_simulation.frontier import Frontier
from homebody_simulation.frontier_chart import frontier_chart

_TASKS = {"again": "next item, repeats included", "new": "next new item"}


def render(frontier: Frontier) -> str:
    """Return the page.

    Raises:
        jinja2.UndefinedError: If the template asks for what a frontier does not have.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["figure"] = lambda value: "" if value is None else f"{value:.4f}"
    environment.filters["kilobytes"] = lambda value: (
        "" if value is None else f"{value / 1000:,.1f} kB"
    )
    environment.filters["percent"] = lambda value: "" if value is None else f"{100 * value:+.0f} %"
    source = files("homebody_simulation").joinpath("templates/frontier.html").read_text("utf-8")
    # The chart escapes its own text; autoescape would show the tags.
    chart = Markup(frontier_chart(frontier).svg())  # noqa: S704
    return environment.from_string(source).render(
        f=frontier,
        rows=frontier.rows,
        knee=frontier.knee(),
        chart=chart,
        task=_TASKS[frontier.task],
    )
