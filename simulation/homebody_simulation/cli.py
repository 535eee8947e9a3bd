"""``homebody simulate`` and ``homebody data``: the laptop's commands."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from homebody_privacy.environment import silence
from homebody_simulation.data_options import loader_options
from homebody_simulation.run_options import (
    Availability,
    BadRows,
    Cohort,
    Columns,
    Config,
    Data,
    Devices,
    DropOut,
    EngineChoice,
    Epsilon,
    ItemKind,
    MechanismName,
    Model,
    Output,
    Policy,
    RecipeName,
    Reviewers,
    Rounds,
    Slow,
    Threads,
    check_output,
    parse_epsilon,
)

app = typer.Typer(help="Simulate federated training on a laptop.", no_args_is_help=True)


@app.command("simulate")
def simulate(
    data: Data = "complete-journey",
    epsilon: Epsilon = "4",
    rounds: Rounds = None,
    cohort: Cohort = None,
    model: Model = "two-tower",
    runtime: Annotated[
        str, typer.Option(help="cohort (this process) or ray (Flower's simulation).")
    ] = "cohort",
    mechanism: MechanismName = None,
    recipe: RecipeName = None,
    refit: Annotated[
        bool,
        typer.Option(
            "--refit", help="Train on all but the last event: no item is held back to choose by."
        ),
    ] = False,
    seed: Annotated[
        int | None, typer.Option(help="Key everything random: reproducible, not publishable.")
    ] = None,
    secagg: Annotated[
        bool | None,
        typer.Option(
            "--secagg/--no-secagg",
            help="Seal replies and sum them by secure aggregation; off in cohort, on in ray.",
            show_default=False,
        ),
    ] = None,
    engine: EngineChoice = "auto",
    threads: Threads = None,
    availability: Availability = 1.0,
    drop_out: DropOut = 0.0,
    slow: Slow = 0.0,
    profile: Annotated[
        bool, typer.Option("--profile", help="Print where the time went, by stage.")
    ] = False,
    name: Annotated[str | None, typer.Option(help="Name of the run.")] = None,
    resume: Annotated[
        str | None,
        typer.Option(help="Continue the interrupted run of this name, as it was started."),
    ] = None,
    config: Config = Path("privacy.toml"),
    policy: Policy = None,
    reviewers: Reviewers = None,
    devices: Devices = None,
    items: ItemKind = None,
    column: Columns = None,
    on_bad: BadRows = None,
    runs: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
    output: Output = "text",
) -> None:
    """Train a recommender over simulated devices, and end with a signed model that ranks."""
    silence()
    check_output(output)
    from homebody_simulation.request import Request

    request = Request(
        data=data,
        options=loader_options(devices=devices, items=items, column=column, on_bad=on_bad),
        config_file=config,
        epsilon=parse_epsilon(epsilon),
        rounds=rounds,
        cohort=cohort,
        model=model,
        mechanism=mechanism,  # type: ignore[arg-type]  # checked by Request
        recipe=recipe,  # type: ignore[arg-type]  # checked by Request
        refit=refit,
        runtime=runtime,  # type: ignore[arg-type]  # checked by Request
        seed=seed,
        secagg=secagg,
        engine=engine,  # type: ignore[arg-type]  # checked by Request
        threads=threads,
        availability=availability,
        drop_out=drop_out,
        slow=slow,
        name=name,
        runs=runs,
        policy=policy,
        reviewers=reviewers,
    )
    # The heavy half of the package loads once the options make sense.
    from homebody_simulation.console import (
        show_device,
        show_profile,
        show_progress,
        show_summary,
    )
    from homebody_simulation.simulate import resume as go_on
    from homebody_simulation.simulate import simulate as start

    progress = show_progress()
    run = start(request, progress) if resume is None else go_on(runs, resume, progress)
    if output == "json":
        sys.stdout.write(json.dumps(run.to_dict(), ensure_ascii=False) + "\n")
        return
    show_summary(run)
    if profile:
        show_profile(run)
    show_device(run)
