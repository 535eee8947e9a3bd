"""A run on a real fleet goes on whatever dies, spends nothing twice, and says what was lost.

Every test hurts the processes of one fleet of four nodes while a run of two rounds is on. Minutes
each: Flower needs a minute to notice that a node is gone, and to let it in again.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from homebody_server.fleet import Fleet
from homebody_server.fleet.processes import Process, of_folder
from tests.approving import approve_fleet

from .conftest import Cli, Finished
from .fleet_world import nothing_left, process_of, states, until

pytestmark = pytest.mark.slow

DEVICES, NODES = 40, 4
ONLINE_S, RUN_S = 240.0, 900.0


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, cli: Cli, tiny_config: Path) -> Iterator[Fleet]:
    """Return a fleet that is up and knows what to train."""
    folder = tmp_path_factory.mktemp("resilient") / "fleet"

    def do(*words: str | Path) -> None:
        done = cli(*words, cwd=folder.parent)
        assert done.returncode == 0, done.stderr

    do("fleet", "init", folder, "--nodes", str(NODES), "--port", "0")
    plan: list[str | Path] = ["--data", "synthetic", "--devices", str(DEVICES), "-c", tiny_config]
    do("fleet", "assign", folder, *plan)
    approve_fleet(folder)
    fleet = Fleet.open(folder)
    try:
        fleet.up(timeout_s=ONLINE_S)
        yield fleet
    finally:
        fleet.down()
    nothing_left(fleet)


@dataclass
class Training:
    """A run under way, in a process of its own."""

    process: "subprocess.Popen[str]"
    folder: Path

    def entries(self, kind: str = "") -> list[dict[str, Any]]:
        """Return the entries of its ledger, of one kind."""
        file = self.folder / "ledger.jsonl"
        if not file.exists():
            return []
        whole = file.read_bytes().rpartition(b"\n")[0].splitlines()
        found = [json.loads(line)["entry"] for line in whole]
        return [entry for entry in found if not kind or entry["kind"] == kind]

    def in_round(self, number: int) -> None:
        """Wait until a round was opened."""

        def opened() -> bool:
            assert self.process.poll() is None, self.end().stderr
            return any(entry["round"] == number for entry in self.entries("intent"))

        until(opened, RUN_S)

    def end(self) -> Finished:
        """Wait for its end."""
        out, error = self.process.communicate(timeout=RUN_S)
        return subprocess.CompletedProcess(self.process.args, self.process.returncode, out, error)

    def report(self) -> dict[str, Any]:
        """Wait for a good end, and return the report."""
        ended = self.end()
        assert ended.returncode == 0, ended.stderr
        report: dict[str, Any] = json.loads((self.folder / "report.json").read_text("utf-8"))
        return report


Begin = Callable[..., Training]


@pytest.fixture
def train(fleet: Fleet, tmp_path: Path, environ: dict[str, str]) -> Iterator[Begin]:
    """Starter of a run; all nodes are online before it, and nothing of it is left after it."""
    online = dict.fromkeys(fleet.nodes(), "online")
    until(lambda: states(fleet) == online, ONLINE_S, 2.0)
    begun: list[Training] = []

    def begin(
        *words: str, name: str = "one", deadline: int = 600, runs: Path = tmp_path
    ) -> Training:
        command = [sys.executable, "-m", "homebody", "train", "--fleet", str(fleet.paths.path)]
        command += ["--runs", str(runs), "--format", "json", *words]
        if "--resume" not in words:
            command += ["--name", name, "--deadline", str(deadline)]
        process = subprocess.Popen(
            command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        begun.append(Training(process, runs / name))
        return begun[-1]

    yield begin
    for training in begun:
        if training.process.poll() is None:
            training.process.kill()
            training.process.communicate()
    for process in server_apps(fleet):
        process.send(signal.SIGKILL)


def server_apps(fleet: Fleet) -> list[Process]:
    """Return the processes of server apps that run on the fleet."""
    script = str(fleet.paths.path / "guard" / "run_installed_app.py")
    return [one for one in of_folder(fleet.paths.path) if script in one.words]


def spent_once(training: Training) -> None:
    """Assert that each round was charged once and closed at most once."""
    for kind in ("intent", "release", "void"):
        rounds = [entry["round"] for entry in training.entries(kind) if "round" in entry]
        assert rounds == sorted(set(rounds)), kind
    assert len(training.entries("intent")) == 2


def explained(report: dict[str, Any]) -> None:
    """Assert that the report says of each void round that it was, and why."""
    voids = [line for line in report["limits"] if "released nothing" in line]
    user = report["epsilon"]["user"]
    assert len([line for line in voids if ":" in line]) >= user["void_rounds"]
    assert user["spent"] <= user["ceiling"]


@pytest.mark.parametrize("restart", [True, False], ids=["and restarted", "for good"])
def test_a_node_killed_in_a_round_costs_no_round(
    fleet: Fleet,
    train: Begin,
    restart: bool,  # noqa: FBT001 - both ways
) -> None:
    training = train()
    training.in_round(1)
    ended = threading.Event()

    def kill() -> None:
        while not ended.wait(1.0):
            for process in fleet.status().processes:
                if process.role == "n3.supernode" and process.pid is not None:
                    os.kill(process.pid, signal.SIGKILL)
                    if restart:
                        return

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        report = training.report()
    finally:
        ended.set()
        thread.join()
    assert report["rounds"] == 2
    assert report["epsilon"]["user"]["void_rounds"] == 0
    spent_once(training)


def test_a_superlink_killed_in_a_round_comes_back_and_the_run_goes_on(
    fleet: Fleet, train: Begin
) -> None:
    training = train()
    training.in_round(1)
    process_of(fleet.status(), "superlink").send(signal.SIGKILL)
    report = training.report()
    assert report["rounds"] == 2
    explained(report)
    spent_once(training)
    assert len(training.entries("release")) >= 1


def test_a_server_app_killed_in_rounds_is_resumed_and_what_it_cut_is_void(
    fleet: Fleet, train: Begin
) -> None:
    training = train()
    flower = set()
    for number, wait in ((1, 0.0), (2, 4.0)):
        training.in_round(number)
        time.sleep(wait)
        flower.add((training.folder / "flower.json").read_text("utf-8"))
        for process in server_apps(fleet):
            process.send(signal.SIGKILL)
        ended = training.end()
        assert ended.returncode == 1
        assert "server app ended" in ended.stderr
        training = train("--resume", "one")
    report = training.report()
    assert len(flower) == 2, "another Flower run each time"
    assert report["rounds"] == 2
    assert [entry["reason"] for entry in training.entries("void")] == ["interrupted"] * 2
    assert training.entries("release") == []
    explained(report)
    spent_once(training)


def test_a_killed_train_command_takes_up_the_watch_again(fleet: Fleet, train: Begin) -> None:
    training = train()
    training.in_round(1)
    flower = (training.folder / "flower.json").read_text("utf-8")
    training.process.kill()
    training.process.communicate()
    assert len(server_apps(fleet)) == 1, "the server app goes on without it"
    again = train("--resume", "one")
    again.in_round(2)
    assert (again.folder / "flower.json").read_text("utf-8") == flower
    report = again.report()
    assert (report["rounds"], report["epsilon"]["user"]["void_rounds"]) == (2, 0)
    spent_once(again)
    assert server_apps(fleet) == []


def test_nodes_that_stand_still_now_and_then_are_waited_for(fleet: Fleet, train: Begin) -> None:
    training = train()
    training.in_round(1)
    ended = threading.Event()

    def flap() -> None:
        turn = 0
        while not ended.wait(3.0):
            turn += 1
            slow = process_of(fleet.status(), f"n{1 + turn % NODES}.supernode")
            slow.send(signal.SIGSTOP)
            ended.wait(5.0)
            slow.send(signal.SIGCONT)

    thread = threading.Thread(target=flap)
    thread.start()
    try:
        report = training.report()
    finally:
        ended.set()
        thread.join()
    assert (report["rounds"], report["epsilon"]["user"]["void_rounds"]) == (2, 0)
    spent_once(training)


def test_a_round_of_too_few_nodes_is_void_and_says_so(fleet: Fleet, train: Begin) -> None:
    training = train(deadline=300)
    training.in_round(1)
    for name in ("n1.supernode", "n2.supernode"):
        process_of(fleet.status(), name).send(signal.SIGKILL)
    report = training.report()
    voids = training.entries("void")
    assert voids
    assert {entry["round"] for entry in voids} >= {1}
    assert all(entry["reason"] for entry in voids)
    assert report["epsilon"]["user"]["void_rounds"] == len(voids)
    explained(report)
    spent_once(training)


def test_a_full_disk_is_named_and_the_run_goes_on_when_there_is_room(
    train: Begin, tmp_path: Path
) -> None:
    runs = tmp_path / "small"
    runs.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "homebody-test", str(runs)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no small file system can be mounted here")
    try:
        training = train(runs=runs)
        training.in_round(1)
        with pytest.raises(OSError, match="No space"):
            (runs / "ballast").write_bytes(bytes(2_000_000))
        ended = training.end()
        assert ended.returncode == 2, ended.stderr
        assert "disk" in ended.stderr
        assert "make room" in ended.stderr
        (runs / "ballast").unlink()
        again = train("--resume", "one", runs=runs)
        report = again.report()
        assert report["rounds"] == 2
        spent_once(again)
        explained(report)
    finally:
        unmount = ["umount", "-l", str(runs)]
        subprocess.run(unmount, check=True)
