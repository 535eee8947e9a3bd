"""``homebody simulate`` and ``homebody data``: the laptop's commands."""

import json
import math
import sys
from pathlib import Path
from typing import Annotated

import typer

from homebody_privacy.environment import silence
from homebody_privacy.errors import UsageError
from homebody_simulation.data_options import Items, OnBad, loader_options

app = typer.Typer(help="Simulate federated training on a laptop.", no_args_is_help=True)

_FORMATS = ("text", "json")


def parse_epsilon(text: str) -> float | None:
    """Return the epsilon asked for; None for ``inf``, a reference without differential privacy.

    Raises:
        UsageError: If it is no number, or NaN.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if math.isnan(value):
        raise UsageError(
            f"--epsilon must be a number or 'inf', got {text!r}", fix="for example --epsilon 4"
        )
    return None if value == math.inf else value


@app.command("simulate")
def simulate(
    data: Annotated[
        str, typer.Option(help="Data set; 'homebody data describe --help' says which.")
    ] = "complete-journey",
    epsilon: Annotated[
        str, typer.Option(help="User-level epsilon to spend; 'inf' trains without privacy.")
    ] = "4",
    rounds: Annotated[int | None, typer.Option(help="Rounds; at most dp.rounds.")] = None,
    cohort: Annotated[
        int | None, typer.Option(help="Expected devices a round, instead of dp.cohort_size.")
    ] = None,
    model: Annotated[str, typer.Option(help="two-tower, matrix-factorization or popularity.")] = (
        "two-tower"
    ),
    runtime: Annotated[
        str, typer.Option(help="cohort (this process) or ray (Flower's simulation).")
    ] = "cohort",
    seed: Annotated[
        int | None, typer.Option(help="Key everything random: reproducible, not publishable.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the run.")] = None,
    resume: Annotated[
        str | None,
        typer.Option(help="Continue the interrupted run of this name, as it was started."),
    ] = None,
    config: Annotated[Path, typer.Option(help="The privacy config.")] = Path("privacy.toml"),
    devices: Annotated[int | None, typer.Option(help="synthetic: number of devices.")] = None,
    items: Annotated[Items | None, typer.Option(help="complete-journey: what an item is.")] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="interactions: ROLE=NAME, e.g. user=customer_id.")
    ] = None,
    on_bad: Annotated[OnBad | None, typer.Option(help="interactions: rows that are none.")] = None,
    runs: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
    output: Annotated[str, typer.Option("--format", help="text or json.")] = "text",
) -> None:
    """Train a recommender over simulated devices, and end with a signed model that ranks."""
    silence()
    if output not in _FORMATS:
        raise UsageError(f"--format must be text or json, got {output!r}")
    from homebody_simulation.request import Request

    request = Request(
        data=data,
        options=loader_options(devices=devices, items=items, column=column, on_bad=on_bad),
        config_file=config,
        epsilon=parse_epsilon(epsilon),
        rounds=rounds,
        cohort=cohort,
        model=model,
        runtime=runtime,  # type: ignore[arg-type]  # checked by Request
        seed=seed,
        name=name,
        runs=runs,
    )
    # The heavy half of the package loads once the options make sense.
    from homebody_simulation.console import show_device, show_progress, show_summary
    from homebody_simulation.simulate import resume as go_on
    from homebody_simulation.simulate import simulate as start

    progress = show_progress()
    run = start(request, progress) if resume is None else go_on(runs, resume, progress)
    if output == "json":
        sys.stdout.write(json.dumps(run.to_dict(), ensure_ascii=False) + "\n")
        return
    show_summary(run)
    show_device(run)
