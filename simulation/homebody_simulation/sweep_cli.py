"""``homebody sweep``: utility against epsilon, over a grid of runs."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from homebody_privacy.environment import silence
from homebody_simulation.data_options import loader_options
from homebody_simulation.run_options import (
    BadRows,
    Cohort,
    Columns,
    Config,
    Data,
    Devices,
    ItemKind,
    Output,
    Rounds,
    check_output,
)

app = typer.Typer(help="Compare runs.", no_args_is_help=True)


@app.command("sweep")
def sweep(
    data: Data = "complete-journey",
    epsilon: Annotated[
        str, typer.Option(help="User-level epsilons with commas; 'inf' trains without privacy.")
    ] = "1,2,4,8,inf",
    seeds: Annotated[
        str, typer.Option(help="Noise seeds: how many (0, 1, ...), or which, with commas.")
    ] = "3",
    model: Annotated[
        str,
        typer.Option(
            help="two-tower, matrix-factorization, logistic-factorization, popularity; with commas."
        ),
    ] = "two-tower",
    mechanism: Annotated[
        str | None, typer.Option(help="blt, gaussian or both with a comma, not the config's.")
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="statistics, rounds, both, with commas, instead of the config's."),
    ] = None,
    rounds: Rounds = None,
    cohort: Cohort = None,
    tuning: Annotated[
        str | None,
        typer.Option(
            help="public: nobody's data, or others'; private: charge what is chosen by it."
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Three epsilons, one seed, few rounds: a first look.")
    ] = False,
    jobs: Annotated[int | None, typer.Option(help="Processes; by default one a core.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the sweep.")] = Path("sweep"),
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the sweep in --out, as it was begun.")
    ] = False,
    config: Config = Path("privacy.toml"),
    devices: Devices = None,
    items: ItemKind = None,
    column: Columns = None,
    on_bad: BadRows = None,
    output: Output = "text",
) -> None:
    """Run a grid of settings and show what each epsilon buys, with its knee."""
    silence()
    check_output(output)
    from homebody_simulation.sweep_grid import parse_epsilons, parse_names, parse_seeds

    asked: dict[str, Any] = {
        "epsilon": parse_epsilons(epsilon),
        "seeds": parse_seeds(seeds),
        "model": parse_names(model),
        "mechanism": parse_names(mechanism),
        "recipe": parse_names(recipe),
        **loader_options(devices=devices, items=items, column=column, on_bad=on_bad),
    }
    from homebody_simulation.sweep_console import show_frontier, show_progress
    from homebody_simulation.sweep_run import sweep as run

    frontier = run(
        data,
        config=config,
        rounds=rounds,
        cohort=cohort,
        tuning=tuning,  # type: ignore[arg-type]  # checked by Grid
        quick=quick,
        jobs=jobs,
        out=out,
        resume=resume,
        progress=show_progress(),
        **asked,
    )
    if output == "json":
        sys.stdout.write(json.dumps(frontier.to_dict(), ensure_ascii=False) + "\n")
        return
    show_frontier(frontier)
    for name in ("frontier.html", "frontier.png", "results.csv", "results.json"):
        sys.stdout.write(f"{out / name}\n")
