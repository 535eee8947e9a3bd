"""Charts of whom the model serves, from the report's tables."""

from collections.abc import Mapping
from typing import Any

from homebody_simulation.bars import Bar, Bars


def segment_chart(table: Mapping[str, Any]) -> str | None:
    """Return a table of parts as a chart; None for a table of nobody."""
    rows = [(row["name"], (_bar(row["own"]), _bar(row["other"]))) for row in table["rows"]]
    if not rows:
        return None
    return Bars(
        title=f"ndcg@10 by {table['by']}: the model beside popularity, 95 % intervals",
        x_label="ndcg@10",
        labels=("model", "popularity"),
        rows=rows,
    ).svg()


def _bar(estimate: Mapping[str, float]) -> Bar:
    return Bar(value=estimate["mean"], low=estimate["low"], high=estimate["high"])
