"""``homebody plan``: the forecast of a run, in words or as JSON."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from homebody_privacy.environment import silence
from homebody_privacy.errors import InfeasibleError, InvalidFileError
from homebody_simulation.data_options import loader_options
from homebody_simulation.run_options import (
    BadRows,
    Cohort,
    Columns,
    Config,
    Data,
    Devices,
    Epsilon,
    ItemKind,
    MechanismName,
    Model,
    Output,
    RecipeName,
    Rounds,
    check_output,
    parse_epsilon,
)

if TYPE_CHECKING:
    from homebody_simulation.forecast import Plan

app = typer.Typer(help="Plan a run.", no_args_is_help=True)


@app.command("plan")
def plan(
    data: Data = "complete-journey",
    epsilon: Epsilon = "4",
    rounds: Rounds = None,
    cohort: Cohort = None,
    model: Model = "two-tower",
    mechanism: MechanismName = None,
    recipe: RecipeName = None,
    config: Config = Path("privacy.toml"),
    strict: Annotated[
        bool, typer.Option(help="End with exit 12 if the plan is not useful.")
    ] = False,
    write: Annotated[
        Path | None,
        typer.Option(help="Write the config with the planned noise filled in to this new file."),
    ] = None,
    devices: Devices = None,
    items: ItemKind = None,
    column: Columns = None,
    on_bad: BadRows = None,
    runs: Annotated[Path, typer.Option(help="Folder of all runs, for a budget they share.")] = Path(
        "runs"
    ),
    output: Output = "text",
) -> None:
    """Say what a run will cost and whether it can be useful, before anything trains."""
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
        runs=runs,
    )
    from homebody_privacy.variants import to_toml
    from homebody_simulation.forecast import make_plan
    from homebody_simulation.plan_text import plan_text

    if write is not None and write.exists():  # before the work, not after it
        raise _refused(write, "File exists")
    found = make_plan(request)
    if write is not None:
        _write_new(write, to_toml(found.planned.config))
    if output == "json":
        sys.stdout.write(json.dumps(found.to_dict(), ensure_ascii=False) + "\n")
    else:
        sys.stdout.write(plan_text(found))
    if strict and not found.useful:
        raise InfeasibleError(
            f"the plan is not useful: {_why_not(found)}",
            fix="have " + ", or ".join(found.options()),
        )


def _why_not(plan: "Plan") -> str:
    if plan.statistics is not None:
        utility = plan.statistics.utility
        return (
            f"ndcg@10 may come to {utility.low:.4f}, the same list for all has "
            f"{utility.popularity:.4f}; the sums reach {utility.strength:.3g} of the noise"
        )
    snr = 0.0 if plan.rounds is None else plan.rounds.run_snr
    return f"over the run the updates are expected to reach {snr:.3f} of the noise"


def _write_new(file: Path, text: str) -> None:
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        raise _refused(file, error.strerror) from error


def _refused(file: Path, reason: str | None) -> InvalidFileError:
    return InvalidFileError(
        f"{file}: cannot be written: {reason}", fix="name a file that is not there yet"
    )
