"""The supervisor of a fleet or node: starts its processes, restarts what dies, ends all of them.

``python -m homebody_server.fleet.supervisor DIR``. It holds a lock while it lives, so there is one.
Processes are started in sessions of their own: they outlive a supervisor that was killed, and the
next one takes them over. SIGTERM ends everything in order: first what works on a run, then the
SuperNodes, which sign off while the SuperLink still listens, then the SuperLink.
"""

import fcntl
import json
import os
import random
import signal
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Final

from homebody_privacy.durable import write_durably
from homebody_privacy.errors import DependencyError, HomebodyError, UsageError

from .control import health
from .keeper import Keeper
from .layout import FleetPaths, NodePaths, Versions, open_folder
from .logs import rotate
from .processes import Process, end, of_folder, recall, remember
from .registration import register_key, unregistered
from .registry import Record, Registry
from .roles import Kind, Role, fleet_roles, node_roles

_TICK_S: Final = 0.2
_ROTATE_S: Final = 5.0
_PATIENCE_S: Final[dict[Kind, float]] = {
    Kind.SUPEREXEC: 5.0,
    Kind.SUPERNODE: 12.0,
    Kind.SUPERLINK: 12.0,
}


def roles_of(paths: FleetPaths | NodePaths) -> list[Role]:
    """Return the processes of a folder; of a fleet's local nodes, those that are in."""
    if isinstance(paths, NodePaths):
        return node_roles(paths)
    marks = Registry(paths.path / "registry").marks()
    out = {paths.node(name).path for name, revoked in marks.items() if revoked}
    return [role for role in fleet_roles(paths) if role.node not in out]


def supervisor_record(folder: Path) -> Path:
    """Return the file that remembers a folder's supervisor."""
    return folder / "pids" / "supervisor.json"


def state_file(folder: Path) -> Path:
    """Return the file in which the supervisor says how the processes stand."""
    return folder / "pids" / "state.json"


def sweep(paths: FleetPaths | NodePaths) -> int:
    """End every process of a folder but this one, in order; return how many had to be killed."""
    killed = 0
    everything = fleet_roles(paths) if isinstance(paths, FleetPaths) else node_roles(paths)
    for kind in (Kind.SUPEREXEC, Kind.SUPERNODE, Kind.SUPERLINK):
        found = [recall(role.record) for role in everything if role.kind is kind]
        killed += len(end(filter(None, found), patience_s=_PATIENCE_S[kind]))
    killed += len(end(of_folder(paths.path), patience_s=2.0))
    for role in everything:
        role.record.unlink(missing_ok=True)
    return killed


@dataclass(slots=True)
class Supervisor:
    """Keeps the processes of a folder running until it is told to stop.

    Attributes:
        paths: The folder.
        rng: Jitter of restarts.
        clock: Seconds, never back.
    """

    paths: FleetPaths | NodePaths
    rng: random.Random = field(default_factory=random.SystemRandom)
    clock: Callable[[], float] = time.monotonic
    _keepers: dict[str, Keeper] = field(default_factory=dict)
    _stopping: bool = False
    _unregistered: list[Record] | None = None
    _rotated: float = 0.0
    _complaint: str = ""

    def run(self) -> None:
        """Keep everything running until ``stop``, then end it.

        Raises:
            UsageError: If another supervisor has the folder.
        """
        with only_one(self.paths.path):
            own = Process.of(os.getpid())
            if own is not None:
                remember(supervisor_record(self.paths.path), own)
            try:
                self._take_over()
                while not self._stopping:
                    self._try_tick()
                    time.sleep(_TICK_S)
            finally:
                sweep(self.paths)
                state_file(self.paths.path).unlink(missing_ok=True)
                supervisor_record(self.paths.path).unlink(missing_ok=True)

    def stop(self, number: int = 0, frame: FrameType | None = None) -> None:
        """Let ``run`` come to its end; may be called by a signal."""
        del number, frame
        self._stopping = True

    def _take_over(self) -> None:
        """Adopt what an earlier supervisor left, and end what cannot be adopted."""
        self._meet(roles_of(self.paths))
        adopted = [keeper.process for keeper in self._keepers.values() if keeper.adopt()]
        kept = {process.pid for process in adopted if process is not None}
        strays = [
            process
            for process in of_folder(self.paths.path)
            if process.pid not in kept and _session(process) not in kept
        ]
        end(strays, patience_s=_PATIENCE_S[Kind.SUPERLINK])

    def _meet(self, roles: list[Role]) -> None:
        """Take on the processes that are wanted, and let go of those that are not."""
        wanted = {role.name: role for role in roles}
        for name in self._keepers.keys() - wanted.keys():
            gone = self._keepers.pop(name)
            gone.end(patience_s=_PATIENCE_S[gone.role.kind])
        for name, role in wanted.items():
            if name not in self._keepers:
                self._keepers[name] = Keeper(role=role, rng=self.rng, clock=self.clock)

    def _try_tick(self) -> None:
        """Do what is due; a full disk or a broken file must not take the processes down."""
        try:
            self._tick()
        except (OSError, HomebodyError) as error:
            text = f"{type(error).__name__}: {error}"
            if text != self._complaint:
                with suppress(OSError):
                    print(text, flush=True)  # noqa: T201 the supervisor's log
            self._complaint = text

    def _tick(self) -> None:
        self._meet(roles_of(self.paths))
        self._register()
        changed = False
        for keeper in list(self._keepers.values()):
            if self._may_run(keeper.role):
                changed |= keeper.tend()
        if changed:
            self._say()
        if self.clock() - self._rotated > _ROTATE_S:
            self._rotated = self.clock()
            for log in (self.paths.path / "logs").glob("*.log"):
                rotate(log)

    def _may_run(self, role: Role) -> bool:
        """Tell whether a process may start: a SuperNode the SuperLink does not know is refused."""
        if isinstance(self.paths, NodePaths) or role.kind is Kind.SUPERLINK:
            return True
        if self._unregistered is None:
            return False
        return role.node is None or role.node.name not in {r.name for r in self._unregistered}

    def _register(self) -> None:
        """Register the key of one local node the SuperLink does not know, if there is one."""
        if isinstance(self.paths, NodePaths) or self._unregistered == []:
            return
        fleet = self.paths.read()
        try:
            if health(fleet.address, self.paths.path / "ca.crt") is None:
                return
            if self._unregistered is None:
                self._unregistered = unregistered(self.paths)
                fleet.model_copy(update={"versions": Versions.installed()}).save(self.paths.file)
            for record in self._unregistered[:1]:
                register_key(self.paths, record)
                self._unregistered.remove(record)
        except (DependencyError, ssl.SSLError) as error:
            print(f"not open yet: {error}", flush=True)  # noqa: T201 the supervisor's log

    def _say(self) -> None:
        """Write down how the processes stand."""
        roles = {
            name: {
                "pid": keeper.process.pid if keeper.process else None,
                "restarts": keeper.restarts,
                "waits_s": round(keeper.waits_s, 1),
                "last": keeper.last,
            }
            for name, keeper in self._keepers.items()
        }
        file = state_file(self.paths.path)
        write_durably(file, json.dumps(roles).encode(), mode=0o600)


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold a folder's lock while the block lasts; the lock ends with the process."""
    descriptor = os.open(folder / "pids" / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise UsageError(
            f"{folder} is up already", fix=f"homebody fleet status {folder}, or down"
        ) from None
    finally:
        os.close(descriptor)


def _session(process: Process) -> int:
    """Return the session a process runs in; 0 if it ended."""
    with suppress(ProcessLookupError):
        return os.getsid(process.pid)
    return 0


def supervise(folder: Path) -> None:
    """Run the supervisor of a folder in this process until SIGTERM or SIGINT."""
    os.umask(0o077)
    supervisor = Supervisor(open_folder(folder))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, supervisor.stop)
    supervisor.run()


if __name__ == "__main__":
    try:
        supervise(Path(sys.argv[1]))
    except HomebodyError as refusal:
        sys.exit(f"{refusal} ({refusal.fix})")
