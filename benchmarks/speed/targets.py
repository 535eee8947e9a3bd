"""What the table must show: ratios of one run, each with its target."""

from collections.abc import Sequence
from typing import Any

from device_figure import Figure

Row = dict[str, Any]


def figures(rows: Sequence[Row]) -> list[Figure]:
    """Return the targets that can be judged from a table, as far as its systems were measured."""
    by_name = {row["name"]: row for row in rows if row["status"] == "measured"}
    found = []
    for name, peers, target in (
        ("pfl", ("pfl", "pfl-2"), 50.0),
        ("a fedjax-style sparse step by hand", ("fedjax",), 10.0),
    ):
        others = [by_name[peer]["per_core_s"] for peer in peers if peer in by_name]
        if others and "numba" in by_name:
            found.append(
                Figure(
                    what=f"numba against {name}, devices per core-second",
                    unit="{:,.0f}",
                    value=by_name["numba"]["per_core_s"],
                    reference="its best",
                    beside=max(others),
                    relation=">=",
                    target=target,
                    of_ratio=True,
                )
            )
    found += _by_wall(by_name, "numba-2", "flower", "2 threads against Flower's 2 actors", 1000.0)
    found += _by_wall(by_name, "numba-2", "numba", "2 threads against 1", 1.5)
    if "triton" in by_name:
        found.append(
            Figure(
                what="Triton on a GPU, cohort 500",
                unit="{:,.0f} devices/s",
                value=by_name["triton"]["devices_s"]["median"],
                relation=">=",
                target=350_000.0,
            )
        )
    return found


def _by_wall(
    by_name: dict[str, Row], own: str, other: str, what: str, target: float
) -> list[Figure]:
    if not {own, other} <= set(by_name):
        return []
    return [
        Figure(
            what=f"{what}, devices/s",
            unit="{:,.0f}",
            value=by_name[own]["devices_s"]["median"],
            reference="it",
            beside=by_name[other]["devices_s"]["median"],
            relation=">=",
            target=target,
            of_ratio=True,
        )
    ]
