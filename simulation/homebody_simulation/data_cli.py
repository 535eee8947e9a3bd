"""``homebody data``: what a data set holds, in specs and never in values."""

import json
from dataclasses import asdict
from enum import StrEnum
from typing import Annotated, Any

import typer

from homebody_simulation.data_options import loader_options
from homebody_simulation.datasets import Summary, load_dataset, summarise
from homebody_simulation.run_options import BadRows, Columns, Devices, ItemKind

app = typer.Typer(
    name="data",
    help="Look at data sets.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


class Format(StrEnum):
    """How to print."""

    TEXT = "text"
    JSON = "json"


@app.callback()
def data() -> None:
    """Look at data sets."""


@app.command()
def describe(  # a command's options are its parameters
    name: Annotated[
        str,
        typer.Argument(help="complete-journey, movielens-100k, synthetic, interactions:PATH ..."),
    ] = "complete-journey",
    *,
    devices: Devices = None,
    items: ItemKind = None,
    column: Columns = None,
    on_bad: BadRows = None,
    format_: Annotated[Format, typer.Option("--format", help="How to print.")] = Format.TEXT,
) -> None:
    """Print sizes, shares, dates, what was left out, source and licence of a data set.

    Raises:
        HomebodyError: If there is no such data set, or it does not take an option, or a file of it
            is missing or wrong.
    """
    given = loader_options(devices=devices, items=items, column=column, on_bad=on_bad)
    specs = summarise(load_dataset(name, root=None, **given))
    if format_ is Format.JSON:
        typer.echo(json.dumps(asdict(specs), ensure_ascii=False, indent=2))
    else:
        typer.echo(as_text(specs))


def as_text(specs: Summary) -> str:
    """Lay a summary out for people."""
    hides = "may repeat" if specs.repeats else "hides"
    rows = {
        "devices": f"{specs.devices:,} (one device = one {specs.unit})",
        "events": f"{specs.events:,} of {specs.raw_events:,} rows",
        "items": f"{specs.items:,} in the catalog, {specs.items_used:,} with an event",
        "events per device": _line(asdict(specs.events_per_device)),
        "distinct items per device": _line(asdict(specs.items_per_device)),
        "repeated events": f"{specs.repeated_share:.1%}; ranking {hides} what a device has had",
        "head share": f"{specs.head_share:.1%} of events on the top 10 % of items",
        "time span": f"{specs.first_day} to {specs.last_day}",
        "content": f"{specs.features:,} features, {specs.categories:,} categories",
        "skipped": "; ".join(f"{why}: {n:,}" for why, n in specs.skipped.items()) or "nothing",
        "source": specs.source,
        "licence": specs.licence,
        "catalog digest": specs.catalog_digest,
    }
    lines = [specs.name, *(f"  {label:<26}{value}" for label, value in rows.items())]
    return "\n".join([*lines, *(f"  note: {note}" for note in specs.notes)])


def _line(quantiles: dict[str, Any]) -> str:
    return "p10/p50/p90 = " + "/".join(f"{value:,}" for value in quantiles.values())
