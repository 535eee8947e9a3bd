"""What was kept as the tables of docs/speed.md."""

from collections.abc import Sequence
from typing import Any, Final

from device_figure import Figure, short, table
from kept import Kept
from targets import figures

BEGIN: Final = "<!-- figures: printed by python benchmarks/speed --table -->"
END: Final = "<!-- end of figures -->"
_HEAD: Final = (
    "system",
    "devices/s: median (best)",
    "per core-second",
    "most memory",
    *("to Flower", "to pfl", "to fedjax"),
    "sum off by",
)
Row = dict[str, Any]

_PEERS: Final = (("flower",), ("pfl", "pfl-2"), ("fedjax",))
_PICTURE: Final = "![Devices per core-second of each system](images/speed.png)"


def tables(kept: Kept) -> str:
    """Return all tables, as the page has them."""
    parts = [BEGIN]
    if kept.table:
        parts += [_systems(kept.rows), _PICTURE, _words(kept.table)]
        judged = figures(kept.rows)
        parts += [table(judged)] if judged else []
    for part in kept.sections.values():
        parts.append(f"### {part['title']}")
        if part.get("head"):
            parts.append(_markdown(part["head"], part["rows"]))
        if part["figures"]:
            parts.append(table([Figure.from_json(one) for one in part["figures"]]))
        parts.append(_words(part))
    return "\n\n".join([*parts, END])


def put_in(page: str, kept: Kept) -> str:
    """Return a page with what was kept in place of what it shows.

    Raises:
        ValueError: If the page has no place for it.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("the page has no place for the figures")
    return f"{before}{tables(kept)}{after}"


def ratio(row: Row, rows: Sequence[Row], names: Sequence[str]) -> float | None:
    """Return a row's devices per core-second over the best of some others; None without them."""
    others = [
        one["per_core_s"] for one in rows if one["name"] in names and one["status"] == "measured"
    ]
    return row["per_core_s"] / max(others) if others else None


def _systems(rows: Sequence[Row]) -> str:
    return _markdown(_HEAD, [_line(row, rows) for row in rows])


def _line(row: Row, rows: Sequence[Row]) -> list[str]:
    if row["status"] != "measured":
        return [row["title"], f"{row['status']}: {row['why']}", *[""] * (len(_HEAD) - 2)]
    rate = row["devices_s"]
    times = [ratio(row, rows, names) for names in _PEERS]
    return [
        row["title"],
        f"{rate['median']:,.0f} ({rate['best']:,.0f})",
        f"{row['per_core_s']:,.0f}",
        f"{row['peak_bytes'] / 1e9:.2f} GB",
        *("" if one is None else f"{short(one)} x" for one in times),
        f"{row['distance']:.0e}",
    ]


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    shown = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in shown)


def _words(part: dict[str, Any]) -> str:
    """Return the sentence below a table."""
    machine = part["machine"]
    when = f"{part['date']}, commit {part['commit'] or 'unknown'}"
    if "cores" not in machine:
        return f"{when}: {machine['gpu']}, in another machine."
    versions = ", ".join(f"{name} {text}" for name, text in _versions(part).items())
    gpu = f", {machine['gpu']}" if machine["gpu"] else ""
    return (
        f"{when}: {machine['cores']} cores of "
        f"{machine['processor']}{gpu}; load average {machine['load']} at the end; "
        f"Python {machine['python']}, {versions}."
    )


def _versions(part: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = dict(part["machine"]["versions"])
    for row in part.get("rows", []):
        if isinstance(row, dict) and row.get("peer"):
            found |= {
                name: text for name, text in row.get("versions", {}).items() if name != "numpy"
            }
    return found
