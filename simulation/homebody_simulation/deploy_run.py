"""Carry a run on a fleet: the same two Flower apps, in the server's and the nodes' own processes.

The ServerApp runs beside the SuperLink, not here: this process starts it, watches the run's folder,
and concludes. If it is killed, the ServerApp goes on; ``--resume`` then takes up the watch. If the
ServerApp is gone, too, resuming starts another Flower run on the same ledger, and the round that
was cut short is void.
"""

import shutil
import ssl
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from homebody_privacy.errors import DependencyError, HomebodyError, InvalidFileError
from homebody_server.fleet import Fleet
from homebody_server.fleet.control import health
from homebody_server.flower_app import HOME, RUN_FOLDER
from homebody_server.rounds import Observer
from homebody_server.secure.permit import Permit
from homebody_simulation.cost import Meter
from homebody_simulation.flower_project import write_project
from homebody_simulation.setup import Prepared
from homebody_simulation.watching import Watch

_FLOWER: Final = "flower.json"
_ROOM: Final = 1 << 20  # bytes: a server app that ended freed what it had been writing
_POLL_S: Final = 0.5
_ASK_S: Final = 30.0  # Flower's command line takes seconds of a core: it is asked seldom


def demand_up(fleet: Fleet) -> None:
    """Refuse a fleet that does not answer, before anything is written or charged.

    Raises:
        DependencyError: If its SuperLink is not there, or is another's.
    """
    fix = f"homebody fleet up {fleet.paths.path}, and homebody fleet status"
    try:
        well = health(fleet.file.address, fleet.paths.path / "ca.crt") is not None
    except ssl.SSLError as error:
        raise DependencyError(
            "what answers at the fleet's address does not have its certificate", fix=fix
        ) from error
    if not well:
        raise DependencyError("the fleet does not answer: it is not up", fix=fix)


def run_deploy(prepared: Prepared, observe: Observer) -> Meter:
    """Train on the fleet of the request until there is an outcome.

    Args:
        prepared: The run.
        observe: Called with each release that is seen.

    Returns:
        Nothing measured: devices tell nobody what their part cost.

    Raises:
        DependencyError: If the fleet is not up, or Flower's run ended without an outcome.
    """
    if _finished(prepared):
        return Meter()
    fleet = Fleet.open(_fleet(prepared))
    demand_up(fleet)
    flower = _running(prepared, fleet)
    if flower is None:
        flower = _start(prepared, fleet)
    try:
        _watch(prepared, observe, fleet, flower)
    except KeyboardInterrupt:  # who interrupts a run means all of it
        with suppress(DependencyError):
            fleet.stop_run(flower)
        raise
    (prepared.folder.path / _FLOWER).unlink(missing_ok=True)
    return Meter()


def _fleet(prepared: Prepared) -> Path:
    if prepared.request.fleet is None:
        raise ValueError("a deployed run has a fleet")
    return prepared.request.fleet


def _outcome(prepared: Prepared) -> Path:
    return prepared.folder.path / "outcome.json"


def _finished(prepared: Prepared) -> bool:
    """Tell whether the run came to its end, and only its conclusion is missing."""
    if not _outcome(prepared).exists():
        return False
    return bool(prepared.folder.read_json("outcome.json")["ended"] == "finished")


def _running(prepared: Prepared, fleet: Fleet) -> str | None:
    """Return the Flower run that still carries this run; None if there is none."""
    try:
        flower = str(prepared.folder.read_json(_FLOWER)["run"])
    except (InvalidFileError, KeyError):
        return None
    return None if fleet.control.run(flower).ended else flower


def _start(prepared: Prepared, fleet: Fleet) -> str:
    """Start a Flower run that names two folders on the server's machine, and nothing else."""
    Permit(folder=prepared.folder, spec=prepared.spec, fleet=fleet.paths.path).demand()
    _outcome(prepared).unlink(missing_ok=True)
    with TemporaryDirectory(prefix="homebody-app-") as work:
        settings = {
            RUN_FOLDER: str(prepared.folder.path.resolve()),
            HOME: str(fleet.paths.path),
        }
        flower = fleet.start_run(write_project(Path(work) / "app", settings))
    prepared.folder.write_json(_FLOWER, {"run": flower})
    return flower


def _ended_badly(prepared: Prepared) -> HomebodyError:
    path = prepared.folder.path
    if shutil.disk_usage(path).free < _ROOM:
        return InvalidFileError(
            f"{path}: no room is left on its disk, so the server app ended",
            fix="make room, then continue with homebody train --resume",
        )
    return DependencyError(
        "the server app ended without an outcome",
        fix="read homebody fleet logs; then continue with homebody train --resume",
    )


def _is_over(fleet: Fleet, flower: str) -> bool:
    """Tell whether a Flower run ended; a SuperLink that is away may be on its way back."""
    try:
        return fleet.control.run(flower).ended
    except DependencyError:
        return False


def _watch(prepared: Prepared, observe: Observer, fleet: Fleet, flower: str) -> None:
    """Observe releases as they appear in the folder, until there is an outcome."""
    watch, ask_at = Watch(prepared.folder, observe), time.monotonic() + _ASK_S
    while True:
        done, over = _outcome(prepared).exists(), False
        if not done and time.monotonic() >= ask_at:
            over = _is_over(fleet, flower)
            ask_at = time.monotonic() + _ASK_S
            done = over and _outcome(prepared).exists()  # written between the two looks
        watch.look()
        if done:
            return
        if over:
            raise _ended_badly(prepared)
        time.sleep(_POLL_S)
