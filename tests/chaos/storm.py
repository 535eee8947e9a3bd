"""What happens to a real fleet while it trains: signals, bad roads, lost files, wrong keys."""

import json
import shutil
import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from homebody_privacy.errors import HomebodyError
from homebody_privacy.identity import NodeIdentity
from homebody_server.fleet.fleet import Fleet
from homebody_server.fleet.lifecycle import begin, supervisor_of
from homebody_server.fleet.processes import Process, of_folder
from homebody_server.run_folder import RunFolder
from tests.system.fleet_world import process_of

from .oracle import raw_lines
from .proxy import Road

_POLL_S: Final = 0.2
_APP: Final = "run_installed_app.py"
_SUM_SEAM: Final = """
import json as _json
from homebody_privacy.secagg.server import SecAggServer as _Sum

_result = _Sum.result

def _watched(self, workers=1):
    summed = _result(self, workers)
    seen = {{
        "session": self._terms.session,
        "round": self._terms.round,
        "survivors": sorted(one.hex() for one in summed.survivors),
        "total": [int(one) for one in summed.total],
    }}
    with open({file!r}, "a") as file:
        file.write(_json.dumps(seen) + chr(10))
    return summed

_Sum.result = _watched
"""


def watch_sums(fleet: Fleet, file: Path) -> None:
    """Let the server app of this test write down who is in each sum; no product does."""
    script = fleet.paths.path / "guard" / _APP
    text = script.read_text()
    mark = "from homebody_server.flower_app import app\n"
    assert mark in text
    script.write_text(text.replace(mark, mark + _SUM_SEAM.format(file=str(file))))


@dataclass
class Storm:
    """A fleet under way, and the hands that hurt it.

    Attributes:
        fleet: The fleet; it is up.
        roads: The road of each node to the SuperLink.
        run: The run's folder.
        train: Starts the command that trains; the storm may kill it.
        struck: What has happened, in order.
    """

    fleet: Fleet
    roads: Mapping[str, Road]
    run: RunFolder
    train: Process | None = None
    struck: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    _end: threading.Event = field(default_factory=threading.Event)

    def opened(self) -> int:
        """Return the last round that was opened."""
        with suppress(OSError, ValueError):
            return max(
                (e["round"] for e in raw_lines(self.run) if e["kind"] == "intent"), default=0
            )
        return 0

    def rage(self) -> None:
        """Strike in turn, each once its round is open; to be run in a thread."""
        for strike in STRIKES:
            while self.opened() < strike.number:
                if self._end.wait(_POLL_S):
                    return
            if self._end.wait(strike.after_s):
                return
            try:
                strike.do(self)
                self.struck.append(strike.name)
            except (AssertionError, HomebodyError, OSError) as error:
                self.failed.append(f"{strike.name}: {error!r}")

    def stop(self) -> None:
        """Strike no more."""
        self._end.set()

    # Hands.

    def app_of(self, folder: Path, timeout_s: float = 90.0) -> Process:
        """Return the app's process of a node, or of the server, once there is one."""
        end = time.monotonic() + timeout_s
        script = str(folder / "guard" / _APP)
        while time.monotonic() < end and not self._end.is_set():
            for process in of_folder(self.fleet.paths.path):
                if script in process.words:
                    return process
            time.sleep(0.05)
        raise AssertionError("no app came")

    def node(self, name: str) -> Path:
        """Return a node's folder."""
        return self.fleet.paths.node(name).path

    def role(self, name: str) -> Process:
        """Return the process of a role."""
        return process_of(self.fleet.status(), name)


def _delay(storm: Storm) -> None:
    storm.roads["n1"].delay_s = 0.3


def _no_delay(storm: Storm) -> None:
    storm.roads["n1"].delay_s = 0.0


def _corrupt(storm: Storm) -> None:
    storm.roads["n3"].corrupt = 6


def _cut(storm: Storm) -> None:
    for _ in range(4):
        storm.roads["n2"].cut()
        time.sleep(1.0)


def _kill_app(name: str) -> Callable[[Storm], None]:
    return lambda storm: storm.app_of(storm.node(name)).send(signal.SIGKILL)


def _partition(storm: Storm) -> None:
    road = storm.roads["n4"]
    road.shut = True
    road.cut()
    time.sleep(25.0)
    road.shut = False


def _send(role: str, number: signal.Signals) -> Callable[[Storm], None]:
    return lambda storm: storm.role(role).send(number)


def _stop_and_go(storm: Storm) -> None:
    process = storm.role("n3.supernode")
    process.send(signal.SIGSTOP)
    time.sleep(12.0)
    process.send(signal.SIGCONT)


def _lose_state(storm: Storm) -> None:
    for file in storm.node("n4").glob("state.db*"):
        file.unlink()


def _kill_server_app(storm: Storm) -> None:
    storm.app_of(storm.fleet.paths.path).send(signal.SIGKILL)


def _kill_train(storm: Storm) -> None:
    assert storm.train is not None
    storm.train.send(signal.SIGKILL)


def _wrong_key(storm: Storm) -> None:
    folder = storm.node("n2")
    shutil.copy2(folder / "identity.key", folder / "identity.kept")
    (folder / "identity.key").unlink()
    NodeIdentity.generate().save(folder / "identity.key")


def _right_key(storm: Storm) -> None:
    folder = storm.node("n2")
    (folder / "identity.kept").replace(folder / "identity.key")


def _kill_supervisor(storm: Storm) -> None:
    process = supervisor_of(storm.fleet.paths)
    assert process is not None
    process.send(signal.SIGKILL)
    while process.alive:
        time.sleep(_POLL_S)
    storm.role("n1.supernode").send(signal.SIGKILL)  # nobody is there to start it again
    time.sleep(2.0)
    begin(storm.fleet.paths)


@dataclass(frozen=True, slots=True, kw_only=True)
class Strike:
    """One accident of a real fleet.

    Attributes:
        name: What it is.
        number: Round that must be open.
        after_s: Seconds after that, or after the accident before it.
        do: Does it.
        mends: Whether it only takes an earlier one back.
    """

    name: str
    number: int
    after_s: float
    do: Callable[[Storm], None]
    mends: bool = False


STRIKES: Final = (
    Strike(name="slow road", number=1, after_s=0.0, do=_delay),
    Strike(name="bits flipped under TLS", number=1, after_s=1.0, do=_corrupt),
    Strike(name="connections cut", number=1, after_s=2.0, do=_cut),
    Strike(name="client app killed", number=2, after_s=0.0, do=_kill_app("n1")),
    Strike(name="road as before", number=2, after_s=0.0, do=_no_delay, mends=True),
    Strike(name="SuperExec ended", number=2, after_s=2.0, do=_send("n2.superexec", signal.SIGTERM)),
    Strike(name="partition", number=3, after_s=2.0, do=_partition),
    Strike(
        name="SuperNode killed", number=4, after_s=2.0, do=_send("n2.supernode", signal.SIGKILL)
    ),
    Strike(name="SuperNode stopped a while", number=4, after_s=1.0, do=_stop_and_go),
    Strike(name="node's state lost", number=5, after_s=0.0, do=_lose_state),
    Strike(name="SuperLink killed", number=5, after_s=4.0, do=_send("superlink", signal.SIGKILL)),
    Strike(name="server app killed", number=6, after_s=6.0, do=_kill_server_app),
    Strike(name="train killed", number=7, after_s=3.0, do=_kill_train),
    Strike(name="wrong signing key", number=8, after_s=0.0, do=_wrong_key),
    Strike(name="right key", number=9, after_s=0.0, do=_right_key, mends=True),
    Strike(name="supervisor killed", number=9, after_s=1.0, do=_kill_supervisor),
)
ROUNDS: Final = 10


def sums_of(file: Path) -> list[dict[str, object]]:
    """Return what the seam wrote down."""
    return [json.loads(line) for line in file.read_text().splitlines()]
