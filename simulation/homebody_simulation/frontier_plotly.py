"""A frontier as a figure of plotly, for notebooks; plotly is loaded by those who ask for it."""

from typing import Any

import plotly.graph_objects as go

from homebody_simulation.frontier import Frontier


def figure(frontier: Frontier) -> Any:  # noqa: ANN401 plotly ships no types
    """Return ndcg@10 against epsilon: a line with 95 % bars a curve, dashed levels beside them."""
    drawn = go.Figure()
    points = [row for row in frontier.rows if row.kind == "point"]
    names = [
        " ".join(part for part in (row.name, row.mechanism, row.recipe) if part) for row in points
    ]
    for name in dict.fromkeys(names):
        rows = [row for row, own in zip(points, names, strict=True) if own == name]
        means = [row.ndcg.mean for row in rows]
        drawn.add_scatter(
            name=name,
            x=[row.epsilon for row in rows],
            y=means,
            mode="lines+markers",
            error_y={
                "type": "data",
                "array": [row.ndcg.high - row.ndcg.mean for row in rows],
                "arrayminus": [row.ndcg.mean - row.ndcg.low for row in rows],
            },
            marker={"symbol": ["circle-open-dot" if row.knee else "circle" for row in rows]},
        )
    for row in frontier.rows:
        if row.kind != "point":
            words = "no-dp" if row.kind == "no-dp" else row.name
            drawn.add_hline(y=row.ndcg.mean, line_dash="dash", annotation_text=words)
    drawn.update_xaxes(type="log", title="epsilon (user level)")
    drawn.update_yaxes(title="ndcg@10", rangemode="tozero")
    return drawn
