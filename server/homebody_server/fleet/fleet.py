"""A fleet from Python: what ``homebody fleet`` does, and the runs of it."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

from homebody_privacy.errors import (
    DependencyError,
    HomebodyError,
    InvalidFileError,
    PolicyViolationError,
)
from homebody_privacy.signing import SigningKey

from .check_approvals import APPROVALS
from .control import Control, Run
from .create import DEFAULT_PORT, create_fleet
from .finding import Finding, Severity
from .layout import FleetFile, FleetPaths, NodePaths
from .lifecycle import START_S, await_up, begin, bring_down
from .preflight import examine
from .registry import Registry
from .status import FleetStatus, status_of

_POLL_S: Final = 1.0
_REFUSALS: Final[dict[int, type[HomebodyError]]] = {
    error.exit_code: error for error in (DependencyError, InvalidFileError, PolicyViolationError)
}


class Fleet:
    """The folder of a fleet, and what can be done with it.

    Args:
        paths: Of the fleet.

    Examples:
        Two nodes on one machine, up and down::

            fleet = Fleet.create(Path("fleet"), nodes=2)
            fleet.up()
            fleet.down()
    """

    def __init__(self, paths: FleetPaths) -> None:
        """Keep the paths; everything is read when it is needed."""
        self.paths = paths
        self.control = Control(paths)
        self.registry = Registry(paths.path / "registry")

    @classmethod
    def create(
        cls, path: Path, *, nodes: int, name: str | None = None, port: int = DEFAULT_PORT
    ) -> Self:
        """Make a fleet with local nodes on loopback; 0 takes free ports."""
        return cls(create_fleet(path, name=name or path.resolve().name, nodes=nodes, port=port))

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the folder of a fleet.

        Raises:
            InvalidFileError: If it is none.
        """
        paths = FleetPaths(path.resolve())
        paths.read()
        return cls(paths)

    @property
    def file(self) -> FleetFile:
        """What the fleet is."""
        return self.paths.read()

    @property
    def aggregator(self) -> SigningKey:
        """Identity of the server app. Secret."""
        return SigningKey.load(self.paths.path / "aggregator.key")

    @property
    def authority(self) -> bytes:
        """Public key that signs nodes' certificates, 32 bytes."""
        return SigningKey.load(self.paths.path / "authority.key").public

    def nodes(self) -> dict[str, NodePaths]:
        """Return the folders of local nodes by name."""
        return {name: self.paths.node(name) for name in self.file.nodes}

    def preflight(self) -> list[Finding]:
        """Return what a preflight finds, good or bad."""
        return examine(self.paths)

    def up(self, *, timeout_s: float = START_S) -> None:
        """Start everything and wait until all local nodes are online.

        Raises:
            HomebodyError: The gravest finding of the preflight; nothing was started.
            UsageError: If it is up already.
            DependencyError: If it does not come up in time. The supervisor goes on trying.
        """
        bring_up(self.paths, timeout_s=timeout_s)

    def down(self) -> int:
        """End every process of the fleet; return how many had to be killed."""
        return bring_down(self.paths)

    def status(self) -> FleetStatus:
        """Return how the fleet stands."""
        return status_of(self.paths)

    def start_run(
        self, app: Path, run_config: Mapping[str, str | int | float | bool] | None = None
    ) -> str:
        """Start the apps on the fleet and return Flower's id of the run.

        Args:
            app: Folder with the run's ``pyproject.toml``. Code in it is not run: guards start the
                installed apps.
            run_config: In the place of the app's own settings, whose names must stand in it.

        Raises:
            DependencyError: If the SuperLink does not take it.
        """
        return self.control.start_run(app, run_config or {})

    def run_status(self, flower_id: str) -> Run:
        """Return how a run stands, as Flower says.

        Raises:
            DependencyError: If the SuperLink does not answer.
        """
        return self.control.run(flower_id)

    def wait(self, flower_id: str, *, timeout_s: float) -> Run:
        """Wait until a run is over; how it went for homebody stands in its ``outcome.json``.

        A SuperLink that is restarted meanwhile is waited for.

        Raises:
            DependencyError: If it is not over in time.
        """
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            try:
                run = self.run_status(flower_id)
            except DependencyError:
                pass  # the SuperLink may be on its way back
            else:
                if run.ended:
                    return run
            time.sleep(_POLL_S)
        raise DependencyError(
            f"the run was not over in {timeout_s:.0f} s",
            fix=f"homebody fleet status {self.paths.path}",
        )

    def stop_run(self, flower_id: str) -> None:
        """Stop a run: its ServerApp ends, and nothing more is asked of nodes."""
        self.control.stop_run(flower_id)


def bring_up(paths: FleetPaths | NodePaths, *, timeout_s: float = START_S) -> None:
    """Examine, start and wait: of a fleet until its nodes are online.

    Raises:
        HomebodyError: The gravest finding of the preflight.
        UsageError: If it is up already.
        DependencyError: If it does not come up in time.
    """
    demand(paths)
    await_up(paths, begin(paths), timeout_s=timeout_s)


def demand(paths: FleetPaths | NodePaths) -> list[Finding]:
    """Return what a preflight finds, if none of it is an error.

    Missing approvals keep runs from starting, not the fleet from being up: people sign meanwhile.

    Raises:
        PolicyViolationError: If one is of rights, the guard or telemetry.
        InvalidFileError: If one is of a file.
        DependencyError: If one is of the machine.
    """
    findings = examine(paths)
    errors = [
        finding
        for finding in findings
        if finding.severity is Severity.ERROR and finding.check != APPROVALS
    ]
    if errors:
        worst = max(errors, key=lambda finding: finding.exit_code)
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        message = f"{worst.what}: {worst.why}{more}"
        raise _REFUSALS[worst.exit_code](message, fix=worst.fix)
    return findings
