"""A fleet that really runs, and an app that means it harm."""

import shlex
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from homebody_server.fleet.fleet import Fleet
from homebody_server.fleet.processes import Process, of_folder
from homebody_server.fleet.roles import program
from homebody_server.fleet.status import FleetStatus

_PROJECT = """[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "homebody-run"
version = "1.0.0"
license = "Apache-2.0"
dependencies = []

[tool.flwr.app]
publisher = "homebody"

[tool.flwr.app.components]
serverapp = "homebody_server.flower_app:app"
clientapp = "homebody_client.flower_app:app"

[tool.flwr.app.config]
run-folder = "none"
"""

_CLIENT = """
import os
from pathlib import Path
from flwr.clientapp import ClientApp
from flwr.app import Message, RecordDict

app = ClientApp()

@app.train()
def train(message, context):
    Path({marks!r}, "client-" + Path(os.environ["HOMEBODY_NODE"]).name).touch()
    return Message(RecordDict(), reply_to=message)
"""

_SERVER = """
import json
import time
from pathlib import Path
from flwr.serverapp import ServerApp
from flwr.app import Message, RecordDict

app = ServerApp()

@app.main()
def main(grid, context):
    marks = Path({marks!r})
    nodes = list(grid.get_node_ids())
    asked = set(grid.push_messages([Message(RecordDict(), n, "train", ttl=60.0) for n in nodes]))
    replies = []
    end = time.monotonic() + 40.0
    while asked and time.monotonic() < end:
        for reply in grid.pull_messages(list(asked)):
            asked.discard(reply.metadata.reply_to_message_id)
            replies.append(reply)
        time.sleep(0.5)
    said = [r.error.reason if r.has_error() else "" for r in replies]
    (marks / "server").write_text(json.dumps(said))
"""


_PATIENT = """
import time
from pathlib import Path
from flwr.serverapp import ServerApp

app = ServerApp()

@app.main()
def main(grid, context):
    marks = Path({marks!r})
    (marks / "begun").touch()
    while not (marks / "enough").exists():
        list(grid.get_node_ids())
        time.sleep(0.5)
    (marks / "nodes").write_text(str(len(list(grid.get_node_ids()))))
"""


def write_patient_app(folder: Path, marks: Path) -> Path:
    """Write an app that talks to the SuperLink until a file called ``enough`` is there."""
    write_hostile_app(folder, marks)
    app = folder / "homebody_server" / "flower_app.py"
    app.write_text(_PATIENT.format(marks=str(marks)))
    return folder


def write_hostile_app(folder: Path, marks: Path) -> Path:
    """Write an app that brings packages of homebody's names and leaves a mark where it runs."""
    for package, text in (("homebody_client", _CLIENT), ("homebody_server", _SERVER)):
        (folder / package).mkdir(parents=True)
        (folder / package / "__init__.py").touch()
        (folder / package / "flower_app.py").write_text(text.format(marks=str(marks)))
    (folder / "pyproject.toml").write_text(_PROJECT)
    (folder / "README.md").write_text("Nothing to see.\n")
    return folder


@contextmanager
def unguarded(guard: Path, name: str) -> Iterator[None]:
    """Let a SuperExec start Flower's own program while the block lasts."""
    file = guard / name
    kept = file.read_bytes()
    file.write_text(f'#!/bin/sh\nexec {shlex.quote(program(name))} "$@"\n')
    try:
        yield
    finally:
        file.write_bytes(kept)


def until(true: Callable[[], bool], timeout_s: float, pause_s: float = 0.2) -> float:
    """Wait until something is so, and return how long that took, seconds."""
    begun = time.monotonic()
    while not true():
        assert time.monotonic() - begun < timeout_s, f"not so within {timeout_s} s"
        time.sleep(pause_s)
    return time.monotonic() - begun


def states(fleet: Fleet) -> dict[str, str]:
    """Return the state of each node."""
    return {node.name: node.state for node in fleet.status().nodes}


def process_of(status: FleetStatus, role: str) -> Process:
    """Return the process of a role that runs."""
    pid = next(p.pid for p in status.processes if p.role == role)
    assert pid is not None, f"{role} does not run"
    process = Process.of(pid)
    assert process is not None
    return process


def start(command: list[str], environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a program of Flower's until it ends by itself; it has half a minute."""
    return subprocess.run(
        [program(command[0]), *command[1:]],
        env=dict(environ),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def nothing_left(fleet: Fleet) -> None:
    """Assert that no process and no port of a fleet is left."""
    assert of_folder(fleet.paths.path) == []
    ports = [fleet.file.port, *(node.runtime().port for node in fleet.nodes().values())]
    for port in ports:
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0, f"somebody listens on {port}"
