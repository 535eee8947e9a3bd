"""``homebody baselines``: what a data set allows without privacy, in one table."""

import json
import sys
from typing import Annotated

import typer

from homebody_privacy.environment import silence
from homebody_simulation.data_options import loader_options
from homebody_simulation.run_options import (
    BadRows,
    Columns,
    Data,
    Devices,
    ItemKind,
    Output,
    check_output,
)

app = typer.Typer(help="Measure baselines.", no_args_is_help=True)


@app.command("baselines")
def baselines(
    data: Data = "complete-journey",
    only: Annotated[
        str | None, typer.Option(help="Some of them, by name, with commas between; all without.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Draws initial values and batches.")] = 0,
    devices: Devices = None,
    items: ItemKind = None,
    column: Columns = None,
    on_bad: BadRows = None,
    output: Output = "text",
) -> None:
    """Measure recommenders without privacy: the floor and the ceiling of what a run can reach."""
    silence()
    check_output(output)
    options = loader_options(devices=devices, items=items, column=column, on_bad=on_bad)
    names = None if only is None else [name.strip() for name in only.split(",")]
    from homebody_simulation.baselines import baselines as measure

    table = measure(data, only=names, seed=seed, **options)
    if output == "json":
        sys.stdout.write(json.dumps(table.to_dict(), ensure_ascii=False) + "\n")
        return
    from homebody_simulation.baselines_text import baselines_text

    sys.stdout.write(baselines_text(table))
