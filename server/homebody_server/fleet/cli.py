"""``homebody fleet``: make, examine, start, watch and end a fleet; let nodes in and out."""

import json
import sys
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from homebody_privacy.errors import MissingExtraError, UsageError

app = typer.Typer(
    name="fleet",
    help="Run a real fleet: certificates, SuperLink, nodes, and who is let in.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


class Format(StrEnum):
    """How a command answers."""

    TEXT = "text"
    JSON = "json"


FleetArgument = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the fleet.")]
EitherArgument = Annotated[
    Path, typer.Argument(metavar="DIR", help="Folder of the fleet, or of a node that joined one.")
]
ReviewersOption = Annotated[
    Path | None,
    typer.Option("--reviewers", help="Reviewers' keys to pin: whose signatures count."),
]
FloorOption = Annotated[
    Path | None, typer.Option("--floor", help="Floor to pin: the least its devices ask for.")
]
FormatOption = Annotated[Format, typer.Option("--format", help="text or json.")]


@app.callback()
def fleet() -> None:
    """Run a real fleet: certificates, SuperLink, nodes, and who is let in."""
    if find_spec("flwr") is None:
        raise MissingExtraError(
            "homebody fleet needs flwr, which is not installed",
            fix='pip install "homebody[server]", on a node "homebody[train]"',
        )


@app.command()
def init(
    directory: FleetArgument,
    nodes: Annotated[int, typer.Option(min=0, max=64, help="Local nodes: n1, n2, ...")] = 4,
    host: Annotated[str, typer.Option(help="Address the SuperLink listens on.")] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            min=0, max=65000, help="Its port; local nodes take those after it. 0: free ones."
        ),
    ] = 28443,
    name: Annotated[
        str | None, typer.Option(help="Name of the fleet; by default the folder's.")
    ] = None,
    san: Annotated[
        list[str] | None,
        typer.Option(help="More names or addresses nodes reach the server by; may be repeated."),
    ] = None,
    reviewers: ReviewersOption = None,
    floor: FloorOption = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Make every key, certificate and folder of a fleet. Nothing is made over anything."""
    import re

    from homebody_server.fleet.create import create_fleet
    from homebody_server.fleet.layout import HOST, NAME
    from homebody_server.fleet.pinning import check_pins, pin

    chosen = name or directory.resolve().name
    if not re.match(NAME, chosen):
        raise UsageError(f"--name must match {NAME}, got {chosen!r}", fix="add --name NAME")
    for address in (host, *(san or [])):
        if not re.match(HOST, address):
            raise UsageError(f"{address!r} is no DNS name and no IP address")
    check_pins(reviewers, floor)
    paths = create_fleet(directory, name=chosen, nodes=nodes, host=host, port=port, names=san or [])
    pin(paths.path, reviewers=reviewers)
    for node in paths.nodes():
        pin(node.path, reviewers=reviewers, floor=floor)
    from homebody_privacy.signing import SigningKey

    made = paths.read()
    authority = SigningKey.load(paths.path / "authority.key").key_id
    if output is Format.JSON:
        _print_json({"name": made.name, "address": made.address, "authority": authority})
        return
    typer.echo(f"fleet      {made.name}, {len(made.nodes)} local nodes")
    typer.echo(f"address    {made.address}")
    typer.echo(f"authority  {authority}")
    typer.echo(f"next       homebody fleet up {directory}")


@app.command()
def preflight(
    directory: EitherArgument,
    repair: Annotated[
        bool, typer.Option("--repair", help="Write the guards anew and close keys to others.")
    ] = False,
    output: FormatOption = Format.TEXT,
) -> None:
    """Look for whatever would keep it from running well: one line each, and what helps."""
    from homebody_server.fleet import preflight as examination
    from homebody_server.fleet.finding import Severity, exit_code_of
    from homebody_server.fleet.layout import open_folder

    paths = open_folder(directory)
    if repair:
        examination.repair(paths)
    findings = examination.examine(paths)
    code = exit_code_of(findings)
    if output is Format.JSON:
        _print_json({"ok": not code, "findings": [f.to_record() for f in findings]})
    else:
        marks = {Severity.OK: "ok  ", Severity.WARNING: "warn", Severity.ERROR: "FAIL"}
        for finding in findings:
            why = f": {finding.why}" if finding.why else ""
            typer.echo(f"{marks[finding.severity]} {finding.check}  {finding.what}{why}")
            if finding.fix:
                typer.echo(f"     fix: {finding.fix}")
    raise typer.Exit(code)


@app.command()
def up(
    directory: EitherArgument,
    foreground: Annotated[
        bool,
        typer.Option("--foreground", help="Stay, and end everything at SIGTERM: for services."),
    ] = False,
    timeout: Annotated[
        int, typer.Option(min=1, help="Seconds to wait until local nodes are online.")
    ] = 120,
    output: FormatOption = Format.TEXT,
) -> None:
    """Start everything, once preflight finds no fault, and wait until local nodes are online."""
    from homebody_server.fleet.fleet import bring_up, demand
    from homebody_server.fleet.layout import open_folder
    from homebody_server.fleet.supervisor import supervise

    paths = open_folder(directory)
    if foreground:
        demand(paths)
        supervise(paths.path)
        return
    bring_up(paths, timeout_s=timeout)
    _show_status(directory, output)


@app.command()
def down(directory: EitherArgument, output: FormatOption = Format.TEXT) -> None:
    """End every process of it, also where the supervisor was killed: none is left, and no port."""
    from homebody_server.fleet.layout import open_folder
    from homebody_server.fleet.lifecycle import bring_down

    killed = bring_down(open_folder(directory))
    if output is Format.JSON:
        _print_json({"killed": killed})
    else:
        typer.echo("down" if not killed else f"down; {killed} had to be killed")


@app.command()
def status(directory: EitherArgument, output: FormatOption = Format.TEXT) -> None:
    """Say how its processes, its server and its nodes stand. Ends with 1 if it is not up."""
    if not _show_status(directory, output):
        raise typer.Exit(1)


@app.command()
def logs(
    directory: EitherArgument,
    role: Annotated[
        str | None, typer.Option(help="One process, as homebody fleet status names it.")
    ] = None,
    tail: Annotated[int, typer.Option(min=1, help="Latest lines of each.")] = 20,
) -> None:
    """Show what its processes wrote. No line names a device."""
    from homebody_server.fleet.layout import open_folder
    from homebody_server.fleet.logs import tail as last_lines

    folder = open_folder(directory).path / "logs"
    names = sorted(file.stem for file in folder.glob("*.log"))
    if role is not None and role not in names:
        raise UsageError(
            f"no process called {role!r} has a log", fix=f"one of {', '.join(names) or 'none yet'}"
        )
    for name in names if role is None else [role]:
        for line in last_lines(folder / f"{name}.log", tail):
            sys.stdout.write(f"{name}  {line}\n" if role is None else f"{line}\n")


@app.command()
def join(
    directory: Annotated[Path, typer.Argument(metavar="NODE_DIR", help="Folder of the node.")],
    server: Annotated[
        str | None, typer.Option(help="HOST:PORT of the fleet's server, or of its proxy.")
    ] = None,
    ca: Annotated[
        Path | None, typer.Option(help="Certificate authority of that address: ca.crt.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--fleet", help="Name of the fleet; by default the authority's.")
    ] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Loopback port of the node's own; 0: a free one.")
    ] = 0,
    answer: Annotated[
        Path | None, typer.Option(help="The operator's answer: the second step.")
    ] = None,
    authority: Annotated[
        str | None, typer.Option(help="The authority's key id the operator read out.")
    ] = None,
    reviewers: ReviewersOption = None,
    floor: FloorOption = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Make a node's keys and its request; with --answer, take the operator's answer in."""
    from homebody_server.fleet import enrol
    from homebody_server.fleet.layout import NodePaths
    from homebody_server.fleet.pinning import check_pins, pin

    check_pins(reviewers, floor)
    if answer is not None:
        pin(directory, reviewers=reviewers, floor=floor)
        found = enrol.accept_answer(NodePaths(directory.resolve()), answer, authority=authority)
        if output is Format.JSON:
            _print_json({"authority": found})
        else:
            typer.echo(f"authority  {found}\nnext       homebody fleet up {directory}")
        return
    if server is None or ca is None:
        raise UsageError("a node joins with --server HOST:PORT and --ca FILE, later with --answer")
    request = enrol.join_fleet(directory, server=server, authority=ca, fleet=name, port=port)
    pin(directory, reviewers=reviewers, floor=floor)
    if output is Format.JSON:
        _print_json({"request": str(request)})
    else:
        typer.echo(
            f"request  {request}\nnext     bring it to the operator: homebody fleet register"
        )


@app.command()
def register(
    directory: FleetArgument,
    request: Annotated[Path, typer.Argument(metavar="REQUEST", help="The node's request.json.")],
    name: Annotated[str, typer.Option(help="Your name for the node: opaque, no person's.")],
    answer: Annotated[Path, typer.Option(help="File to write, to bring back to the node.")],
    output: FormatOption = Format.TEXT,
) -> None:
    """Let a node of another machine in: certificate, SuperNode key, and the answer to it."""
    from homebody_server.fleet.enrol import register_node
    from homebody_server.fleet.fleet import Fleet

    opened = Fleet.open(directory)
    register_node(opened.paths, request, name=name, answer=answer)
    from homebody_privacy.signing import key_id

    authority = key_id(opened.authority)
    if output is Format.JSON:
        _print_json({"answer": str(answer), "authority": authority})
    else:
        typer.echo(f"authority  {authority}, to be compared on the node")
        typer.echo(f"next       on the node: homebody fleet join NODE_DIR --answer {answer.name}")


@app.command()
def revoke(
    directory: FleetArgument,
    node: Annotated[str, typer.Argument(metavar="NODE", help="Name of the node.")],
) -> None:
    """Put a node out: its certificate counts no more, its SuperNode is refused. For good."""
    from homebody_server.fleet.enrol import revoke_node
    from homebody_server.fleet.fleet import Fleet

    revoke_node(Fleet.open(directory).paths, node)
    typer.echo(f"{node} is out")


@app.command()
def rotate(directory: EitherArgument) -> None:
    """Make its TLS certificates anew, and local nodes' certificates. Authorities and keys stay."""
    from homebody_server.fleet.layout import FleetPaths, open_folder
    from homebody_server.fleet.rotate import rotate_fleet, rotate_node

    paths = open_folder(directory)
    if isinstance(paths, FleetPaths):
        rotate_fleet(paths)
    else:
        rotate_node(paths)
    typer.echo("new certificates are in use")


def _show_status(directory: Path, output: Format) -> bool:
    """Print how it stands and tell whether it is up."""
    from dataclasses import asdict

    from homebody_server.fleet.layout import open_folder
    from homebody_server.fleet.status import status_of

    found = status_of(open_folder(directory))
    if output is Format.JSON:
        _print_json({"up": found.up, **asdict(found)})
        return found.up
    typer.echo(f"{found.kind} {found.name}  {'up' if found.up else 'not up'}  {found.address}")
    if found.certificate_days is not None:
        typer.echo(f"certificate  {found.certificate_days} days")
    for process in found.processes:
        state = f"process {process.pid}" if process.pid else "does not run"
        waits = f", back in {process.waits_s:.0f} s" if process.waits_s else ""
        again = f", restarted {process.restarts} times" if process.restarts else ""
        typer.echo(f"{process.role:16} {state}{waits}{again}")
    for node in found.nodes:
        typer.echo(f"{node.name:16} {node.state}{'' if node.local else ' (remote)'}")
    return found.up


def _print_json(value: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
