"""``homebody fleet assign`` and ``homebody train``: a fleet's nodes get their part, and train."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from homebody_privacy.environment import silence
from homebody_privacy.errors import PolicyViolationError, UsageError
from homebody_simulation.data_options import loader_options
from homebody_simulation.run_options import (
    BadRows,
    Cohort,
    Columns,
    Devices,
    Epsilon,
    ItemKind,
    MechanismName,
    Model,
    Output,
    Policy,
    Reviewers,
    Rounds,
    check_output,
    parse_epsilon,
)

if TYPE_CHECKING:
    from homebody_client.secure.node_file import NodeFile

app = typer.Typer(help="Train on a fleet.", no_args_is_help=True)


@app.command("assign")
def assign(
    fleet: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the fleet.")],
    data: Annotated[str, typer.Option(help="Data set whose rows the nodes get.")],
    epsilon: Epsilon = "4",
    rounds: Rounds = None,
    cohort: Cohort = None,
    model: Model = "two-tower",
    mechanism: MechanismName = None,
    config: Annotated[
        Path, typer.Option("--config", "-c", help="The privacy config to complete and approve.")
    ] = Path("privacy.toml"),
    person: Annotated[
        list[str] | None,
        typer.Option(
            help="NODE=PROFILE: the node hosts this profile of homebody device init instead of "
            "rows; may be repeated."
        ),
    ] = None,
    ready: Annotated[
        bool,
        typer.Option(
            "--ready", help="The machines of --person are idle, on mains and on a free network."
        ),
    ] = False,
    reviewers: Reviewers = None,
    floor: Annotated[
        Path | None, typer.Option(help="The least that the local nodes' devices ask for.")
    ] = None,
    policy: Policy = None,
    devices: Devices = None,
    items: ItemKind = None,
    column: Columns = None,
    on_bad: BadRows = None,
    output: Output = "text",
) -> None:
    """Plan a run and give each local node its config, its catalog and its own rows."""
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
        runtime="deploy",
        fleet=fleet,
    )
    from homebody_simulation.deploy_assign import Pinned
    from homebody_simulation.deploy_assign import assign as give

    pinned = Pinned(reviewers=reviewers, floor=floor, policy=policy)
    given = give(fleet, request, _people(person or [], ready=ready), pinned)
    if output == "json":
        facts = {"nodes": given.nodes, "devices": given.devices, "config": given.config_sha256}
        sys.stdout.write(json.dumps(facts) + "\n")
        return
    sys.stdout.write(
        f"{given.nodes} nodes host {given.devices:,} devices of {given.data}\n"
        f"complete config  {fleet / 'privacy.toml'}\n"
        f"its digest       {given.config_sha256}\n"
        f"approve          homebody approve {fleet / 'privacy.toml'} --installed ...\n"
        f"train            homebody train --fleet {fleet}\n"
    )


@app.command("train")
def train(
    fleet: Annotated[Path, typer.Option(help="Folder of the fleet; it is up.")],
    data: Annotated[
        str | None, typer.Option(help="Data set the nodes were assigned, to be sure of it.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the run.")] = None,
    resume: Annotated[
        str | None, typer.Option(help="Continue the interrupted run of this name.")
    ] = None,
    secagg: Annotated[
        bool, typer.Option(help="Sum by secure aggregation; a fleet does nothing else.")
    ] = True,
    seed: Annotated[
        int | None, typer.Option(help="Refused: whoever knows it subtracts the noise.")
    ] = None,
    deadline: Annotated[
        float, typer.Option(help="Seconds after which a round goes on without who is missing.")
    ] = 600.0,
    runs: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
    output: Output = "text",
) -> None:
    """Train on a fleet what its nodes were assigned, and end with a signed model that ranks."""
    silence()
    check_output(output)
    if not secagg:
        raise PolicyViolationError(
            "a fleet sums by secure aggregation: without it the server would see each update",
            fix="leave --no-secagg out; homebody simulate takes it",
        )
    from homebody_simulation.request import check_seed

    check_seed("deploy", seed)
    from homebody_simulation.console import show_device, show_progress, show_summary
    from homebody_simulation.deploy import train as start
    from homebody_simulation.simulate import resume as go_on

    progress = show_progress()
    if resume is None:
        run = start(fleet, data=data, runs=runs, name=name, deadline_s=deadline, progress=progress)
    else:
        run = go_on(runs, resume, progress, fleet=fleet)
    if output == "json":
        sys.stdout.write(json.dumps(run.to_dict(), ensure_ascii=False) + "\n")
        return
    show_summary(run)
    show_device(run)


def _people(pairs: list[str], *, ready: bool) -> "dict[str, NodeFile]":
    from homebody_client.secure.node_file import NodeFile

    people: dict[str, NodeFile] = {}
    for pair in pairs:
        node, equals, profile = pair.partition("=")
        if not (node and equals and profile) or node in people:
            raise UsageError(f"--person takes NODE=PROFILE, once a node, got {pair!r}")
        people[node] = NodeFile(
            kind="device",
            config_sha256="0" * 64,
            population=1,
            number=0,
            profile=str(Path(profile).resolve()),
            idle=ready,
            charging=ready,
            unmetered=ready,
        )
    return people
