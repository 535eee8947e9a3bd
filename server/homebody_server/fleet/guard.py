"""The guard: a SuperExec finds these programs by PATH, and they run the installed wheel alone.

A Flower run ships Python to every SuperNode, and Flower's Control API asks nobody who they are: on
a stock SuperNode a bundle that holds a package of the same name replaces the installed client. The
guard's ``flwr-clientapp`` never unpacks what was shipped and loads the wheel's app; the server's
``flwr-serverapp`` reads only settings from it. Every other program a SuperExec could be told to
start refuses. An exception's text would travel to the server: the guard keeps it back.

The programs name the Python they run by absolute path, in isolated mode (``-I``): no environment
variable and no current folder can put a module before the wheel's.
"""

import shlex
import sys
from pathlib import Path
from typing import Final, Literal

from homebody_privacy.durable import write_durably

Side = Literal["client", "server"]

PROGRAMS: Final = (
    "flwr-agentapp",
    "flwr-clientapp",
    "flwr-connector",
    "flwr-model",
    "flwr-serverapp",
    "flwr-simulation",
)
"""All a SuperExec of flwr 1.41 and 1.42 could start; a test compares with the installed one."""

_ALLOWED: Final[dict[Side, str]] = {"client": "flwr-clientapp", "server": "flwr-serverapp"}
_SCRIPT: Final = "run_installed_app.py"

_CLIENT: Final = '''\
"""Run the installed ClientApp, whatever the run brought along."""

import sys
from importlib import import_module

from homebody_server.fleet.launch import log_app

log_app()

from homebody_server.fleet.steady import steady

steady()

from flwr.app import Context, Message
from flwr.supernode.cli import flwr_clientapp

from homebody_client.flower_app import app

runtime = import_module("flwr.supernode.runtime.run_clientapp")


def run(message: Message, context: Context) -> Message:
    """Answer a message; what went wrong is this machine's business."""
    try:
        return app(message=message, context=context)
    except Exception as error:
        sys.stderr.write(f"the app failed: {type(error).__name__}\\n")
        raise RuntimeError("the app failed") from None


def refuse(*args: object, **kwargs: object) -> None:
    """Install nothing."""
    raise RuntimeError("nothing is installed when a run starts")


runtime.install_from_fab = lambda *args, **kwargs: None
runtime.install_app_dependencies = refuse
runtime.get_load_client_app_fn = lambda *args, **kwargs: lambda *fab: run
sys.argv[0] = "flwr-clientapp"
sys.exit(flwr_clientapp())
'''

_SERVER: Final = '''\
"""Run the installed ServerApp with the settings of the run, and none of its code."""

import sys
from importlib import import_module

from homebody_server.fleet.launch import log_app

log_app()

from homebody_server.fleet.steady import steady

steady()

from flwr.superlink.cli import flwr_serverapp

from homebody_server.flower_app import app

runtime = import_module("flwr.superlink.runtime.run_serverapp")  # the package has a function
run_app = runtime.run_


def refuse(*args: object, **kwargs: object) -> None:
    """Install nothing."""
    raise RuntimeError("nothing is installed when a run starts")


def run_installed(grid, server_app_dir, server_app_attr, context):
    """Run the wheel's app in the place of the one named."""
    return run_app(grid=grid, context=context, server_app_dir="", loaded_server_app=app)


runtime.install_app_dependencies = refuse
runtime.run_ = run_installed
sys.argv[0] = "flwr-serverapp"
sys.exit(flwr_serverapp())
'''


def programs(folder: Path, side: Side, python: Path | None = None) -> dict[str, bytes]:
    """Return the guard's files: name to content.

    Args:
        folder: Where they lie, absolute.
        side: Whose guard: a node's (``client``) or the server's.
        python: Interpreter that has the wheel; this one by default.
    """
    interpreter = shlex.quote(str(python or sys.executable))
    script = shlex.quote(str(folder / _SCRIPT))
    allowed = f'#!/bin/sh\nexec {interpreter} -I {script} "$@"\n'
    refused = '#!/bin/sh\necho "this machine does not run ${0##*/}" >&2\nexit 1\n'
    files = {name: (allowed if name == _ALLOWED[side] else refused).encode() for name in PROGRAMS}
    files[_SCRIPT] = (_CLIENT if side == "client" else _SERVER).encode()
    return files


def write_guard(folder: Path, side: Side) -> None:
    """Write the guard, in the place of whatever is there."""
    folder.mkdir(mode=0o700, exist_ok=True)
    folder.chmod(0o700)
    for name, content in programs(folder, side).items():
        write_durably(folder / name, content, mode=0o700)
    for file in folder.iterdir():
        if file.name not in {*PROGRAMS, _SCRIPT}:
            file.unlink()


def faults(folder: Path, side: Side) -> list[str]:
    """Return what is wrong with a guard; nothing if it stands.

    Args:
        folder: Where it lies.
        side: Whose guard.
    """
    if not folder.is_dir():
        return ["it is missing"]
    wanted = programs(folder, side)
    found = {file.name for file in folder.iterdir()}
    wrong = [f"{name} is missing" for name in sorted(wanted.keys() - found)]
    wrong += [f"{name} is no part of it" for name in sorted(found - wanted.keys())]
    for name in sorted(wanted.keys() & found):
        file = folder / name
        if file.is_symlink() or file.read_bytes() != wanted[name]:
            wrong.append(f"{name} is not what was written")
        elif file.stat().st_mode & 0o777 != 0o700:  # noqa: PLR2004
            wrong.append(f"{name} has other rights than 0700")
    if folder.stat().st_mode & 0o777 != 0o700:  # noqa: PLR2004
        wrong.append("the folder has other rights than 0700")
    return wrong
