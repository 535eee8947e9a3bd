"""How one process is kept running, found again and ended: real processes, a clock of ours."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from homebody_privacy.environment import FLEET
from homebody_privacy.errors import UsageError
from homebody_server.fleet.backoff import HELD_S, SETTLED_S
from homebody_server.fleet.create import create_fleet
from homebody_server.fleet.keeper import Keeper
from homebody_server.fleet.processes import Process, end, of_folder, recall, remember
from homebody_server.fleet.roles import Kind, Role
from homebody_server.fleet.supervisor import Supervisor, only_one

from .fleet_world import until

STAYS = (sys.executable, "-c", "import time; time.sleep(600)")
_DEAF = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("set", flush=True)
time.sleep(600)
"""
STUBBORN = (sys.executable, "-c", _DEAF)


@dataclass
class Clock:
    """A clock that is moved by hand."""

    now: float = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """Return a folder whose processes end with the test."""
    yield tmp_path
    for kept in KEPT:
        kept.end(patience_s=0)
    KEPT.clear()
    end(of_folder(tmp_path), patience_s=0)


KEPT: list[Keeper] = []


def keeper(place: Path, command: tuple[str, ...], kind: Kind = Kind.SUPEREXEC) -> Keeper:
    """Return the keeper of a command, not started yet."""
    role = Role(
        name="one",
        kind=kind,
        node=None,
        command=command,
        environ={FLEET: str(place), "PATH": os.environ["PATH"]},
        home=place,
        log=place / "one.log",
        record=place / "one.json",
    )
    KEPT.append(Keeper(role=role, rng=random.Random(1), clock=Clock()))  # noqa: S311 jitter
    return KEPT[-1]


def begun(kept: Keeper) -> Process:
    """Start it and return the process."""
    assert kept.tend()
    assert kept.process is not None
    assert not kept.tend()
    return kept.process


def kill(process: Process) -> None:
    process.send(signal.SIGKILL)
    until(lambda: not process.alive, 5, 0.02)


def advance(kept: Keeper, seconds: float) -> None:
    assert isinstance(kept.clock, Clock)
    kept.clock.now += seconds


def test_what_had_settled_is_started_again_at_once(place: Path) -> None:
    kept = keeper(place, STAYS)
    first = begun(kept)
    advance(kept, SETTLED_S)
    kill(first)
    assert kept.tend()
    assert kept.process is not None
    assert kept.process != first
    assert (kept.restarts, kept.last) == (1, "signal 9")
    assert recall(kept.role.record) == kept.process


def test_a_killed_supernode_is_not_started_while_flower_holds_it(place: Path) -> None:
    kept = keeper(place, STAYS, Kind.SUPERNODE)
    kill(begun(kept))
    assert kept.tend()
    assert HELD_S < kept.waits_s <= HELD_S + 20
    advance(kept, HELD_S)
    assert not kept.tend()
    advance(kept, 20)
    assert kept.tend()
    assert kept.process is not None


def test_what_never_settles_is_started_less_and_less_often(place: Path) -> None:
    kept = keeper(place, (sys.executable, "-c", "raise SystemExit(3)"))
    waits = []
    for _ in range(8):
        kept.tend()
        until(lambda: kept.process is None or not kept.process.alive, 10, 0.02)
        if kept.process is not None:
            kept.tend()
        assert kept.last == "exit 3"
        waits.append(kept.waits_s)
        advance(kept, kept.waits_s)
    assert waits[0] <= 1
    assert waits[3] > waits[0]
    assert 10 <= waits[-1] <= 20


def test_a_process_is_taken_over_if_it_is_the_same_command_and_alive(place: Path) -> None:
    first = begun(keeper(place, STAYS))
    heir = keeper(place, STAYS)
    assert heir.adopt()
    assert heir.process == first
    assert not keeper(place, (*STAYS, "more")).adopt()
    kill(first)
    assert not keeper(place, STAYS).adopt()
    assert heir.tend()
    assert heir.last == "ended, unseen"


def test_a_number_used_again_is_another_process(place: Path) -> None:
    own = Process.of(os.getpid())
    assert own is not None
    assert own.alive
    before = Process(own.pid, own.started - 1)
    assert not before.alive
    before.send(signal.SIGKILL)  # would end this test
    remember(place / "one.json", before)
    assert recall(place / "one.json") is None


def test_all_that_a_process_started_belongs_to_the_folder(place: Path) -> None:
    code = "import subprocess, sys, time; subprocess.Popen([*sys.argv[1:]]); time.sleep(600)"
    kept = keeper(place, (sys.executable, "-c", code, *STAYS))
    parent = begun(kept)
    until(lambda: len(of_folder(place)) == 2, 10)
    kill(parent)
    assert len(of_folder(place)) == 1
    assert end(of_folder(place), patience_s=5) == []
    assert of_folder(place) == []


def test_what_does_not_end_when_asked_is_killed(place: Path) -> None:
    kept = keeper(place, STUBBORN)
    process = begun(kept)
    until(lambda: kept.role.log.read_text() == "set\n", 10)
    started = time.monotonic()
    assert end([process], patience_s=0.5) == [process]
    assert time.monotonic() - started < 5
    assert not process.alive


def test_a_broken_file_does_not_take_a_supervisor_down(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = create_fleet(tmp_path / "home", name="home", nodes=0, port=0)
    paths.file.write_text("port = ")
    supervisor = Supervisor(paths)
    for _ in range(3):
        supervisor._try_tick()  # noqa: SLF001 what its loop does
    assert capsys.readouterr().out.count("InvalidFileError") == 1


def test_a_folder_has_one_supervisor_and_the_lock_ends_with_it(tmp_path: Path) -> None:
    (tmp_path / "pids").mkdir()
    code = (
        "import sys, time\nfrom pathlib import Path\n"
        "from homebody_server.fleet.supervisor import only_one\n"
        "with only_one(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(UsageError, match="is up already"), only_one(tmp_path):
            pass
        other.kill()
    with only_one(tmp_path):
        pass
