"""A real fleet through a storm: four nodes in processes of their own, TLS, ten rounds, one run.

The judge is the same as in one process: a replay in clear with exactly the nodes of each sum, the
raw ledger, and bytes that may stand on no road and in no file of the server.
"""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from flwr.app import Message

from homebody_client.flower_app import build_client_app
from homebody_client.host import shard
from homebody_privacy.accounting import spent_epsilon
from homebody_privacy.charges import charge_from_dict, round_up
from homebody_privacy.closed_form import epsilon_unamplified
from homebody_privacy.ledger_record import INTERRUPTED
from homebody_server import flower_app
from homebody_server.fleet.fleet import Fleet
from homebody_server.fleet.processes import Process
from homebody_server.replies import integers_of
from homebody_server.run_folder import RunFolder
from homebody_server.run_spec import SAMPLER_EPSILON, RunSpec
from homebody_simulation import setup
from homebody_simulation.deploy_assign import Assignment
from homebody_simulation.grid import CohortGrid, app_cohort
from homebody_simulation.hosting import host_of
from homebody_simulation.setup import Prepared, prepare
from tests.approving import approve_fleet
from tests.system.fleet_wire import Needles, files_of, pieces, vector_pieces
from tests.system.fleet_world import nothing_left

from . import oracle
from .observed import Outcome, What
from .proxy import Road
from .storm import ROUNDS, STRIKES, Storm, sums_of, watch_sums

pytestmark = pytest.mark.chaos

DEVICES, NODES, DEADLINE_S = 40, 4, 240
STARTS = 6


@dataclass
class Stormed:
    """A run that went through the storm.

    Attributes:
        fleet: Its fleet; it is down.
        run: Its folder.
        key: Its key, read while it was open.
        roads: What passed between nodes and SuperLink.
        struck: What happened.
        failed: What could not be made to happen.
        ends: How each start of the command ended.
        copies: Of the server's database, while the run was on.
        sums: Who was in each sum.
    """

    fleet: Fleet
    run: RunFolder
    key: bytes
    roads: dict[str, Road]
    struck: list[str]
    failed: list[str]
    ends: list[int]
    copies: list[bytes]
    sums: list[dict[str, Any]]
    open_when_cut: list[int] = field(default_factory=list)

    @property
    def spec(self) -> RunSpec:
        """The run's constants."""
        return RunSpec.from_dict(self.run.read_json("run.json")["spec"])

    @property
    def lines(self) -> list[oracle.Entry]:
        """The raw entries of the ledger."""
        return oracle.raw_lines(self.run)


@pytest.fixture(scope="module")
def stormed(
    tmp_path_factory: pytest.TempPathFactory, write_config: Callable[..., Path]
) -> Iterator[Stormed]:
    """Make a fleet behind bad roads, and train on it through the storm."""
    root = tmp_path_factory.mktemp("storm")
    folder = root / "fleet"
    small = f'[activity]\npopulation = {DEVICES}\n[ledger]\nwitness = "none"\n'
    config = write_config(rounds=ROUNDS, cohort_size=DEVICES, cohort_cap=80, delta=1e-3, more=small)
    _do(root, "fleet", "init", folder, "--nodes", str(NODES), "--port", "0")
    plan = ("--data", "synthetic", "--devices", str(DEVICES), "-c", config)
    _do(root, "fleet", "assign", folder, *plan)
    approve_fleet(folder)
    fleet = Fleet.open(folder)
    roads = {name: Road((fleet.file.host, fleet.file.port)) for name in fleet.nodes()}
    for name, road in roads.items():
        paths = fleet.paths.node(name)
        told = paths.runtime().model_copy(update={"server": f"127.0.0.1:{road.port}"})
        told.save(paths.path / "runtime.toml")
    try:
        fleet.up(timeout_s=180.0)
        watch_sums(fleet, root / "sums")
        yield _trained(root, fleet, roads)
        fleet.down()
        nothing_left(fleet)
    finally:
        fleet.down()
        for road in roads.values():
            road.close()


def _do(root: Path, *words: object) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "homebody", *map(str, words)],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def _trained(root: Path, fleet: Fleet, roads: dict[str, Road]) -> Stormed:
    run = RunFolder(root / "runs" / "storm")
    storm = Storm(fleet, roads, run)
    raging = threading.Thread(target=storm.rage)
    raging.start()
    ends, copies, key, cut = list[int](), list[bytes](), b"", list[int]()
    try:
        while not ends or (ends[-1] != 0 and len(ends) < STARTS):
            first = not (run.path / "run.json").exists()
            new = ["--name", "storm", "--deadline", str(DEADLINE_S)]
            words = new if first else ["--resume", "storm"]
            command = [sys.executable, "-m", "homebody", "train", *words]
            command += ["--fleet", str(fleet.paths.path)]
            with (root / "train.log").open("ab") as log:
                child = subprocess.Popen(command, cwd=root, stdout=log, stderr=log)
                storm.train = Process.of(child.pid)
                while child.poll() is None:
                    if not key and run.has_key():
                        key = run.read_key()
                    copies += files_of(fleet.paths.path, ["state.db", "state.db-wal"]).values()
                    time.sleep(5.0)
            ends.append(child.returncode)
            if ends[-1]:
                cut.append(storm.opened())
    finally:
        storm.stop()
        if storm.train is not None:
            storm.train.send(signal.SIGKILL)
        raging.join()
    return Stormed(
        fleet=fleet,
        run=run,
        key=key,
        roads=roads,
        struck=storm.struck,
        failed=storm.failed,
        ends=ends,
        copies=copies,
        sums=sums_of(root / "sums"),
        open_when_cut=cut,
    )


def test_the_storm_struck_and_the_run_came_to_its_end(
    stormed: Stormed, record_property: Callable[[str, object], None]
) -> None:
    assert stormed.failed == []
    assert stormed.struck == [strike.name for strike in STRIKES]
    assert stormed.ends[-1] == 0, stormed.ends
    assert len(stormed.ends) >= 3, "train and the server app were both killed"
    assert stormed.roads["n3"].flipped > 0
    real = [strike.name for strike in STRIKES if not strike.mends]
    record_property("chaos faults of a real fleet", "; ".join(real))


def test_each_round_was_charged_once_and_says_why_it_released_nothing(
    stormed: Stormed, record_property: Callable[[str, object], None]
) -> None:
    lines, spec = stormed.lines, stormed.spec
    oracle.check_ledger(lines, spec)
    voids = {e["round"]: e["reason"] for e in lines if e["kind"] == "void"}
    assert set(voids.values()) <= oracle.REASONS
    assert [n for n, why in voids.items() if why == INTERRUPTED] == [6]
    assert 6 in stormed.open_when_cut
    assert 10 not in voids, "nothing hurt the last round"
    report = stormed.run.read_json("report.json")
    raw = [charge_from_dict(e["charge"]) for e in lines if e.get("charge") is not None]
    decided = bool(set(voids.values()) - {INTERRUPTED})
    own = (epsilon_unamplified if decided else spent_epsilon)(raw, spec.accounted_delta)
    assert report["epsilon"]["user"]["spent"] == round_up(own + SAMPLER_EPSILON, 3)
    assert report["epsilon"]["user"]["void_rounds"] == len(voids)
    said = {void["what"]: void["reason"] for void in report["voids"]}
    assert said == {f"round {number}": why for number, why in voids.items()}
    record_property("chaos void of a real fleet", "; ".join(voids.values()))


@dataclass(frozen=True)
class Replayed:
    """The same run in this process, with exactly the nodes of each sum.

    Attributes:
        prepared: The run.
        models: Before the first round, and after each.
        singles: What each device alone added.
    """

    prepared: Prepared
    models: list[npt.NDArray[np.float32]]
    singles: list[npt.NDArray[np.int64]]


@pytest.fixture(scope="module")
def replayed(stormed: Stormed, tmp_path_factory: pytest.TempPathFactory) -> Replayed:
    """Replay the run from its key; a test may, nobody else can."""
    assignment = Assignment.load(stormed.fleet.paths.path)
    runs = tmp_path_factory.mktemp("replayed")
    request = assignment.request(stormed.fleet.paths.path, runs=runs, name="storm")
    request = replace(request, runtime="cohort", fleet=None, secagg=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setup, "run_key", lambda *_: stormed.key)
        prepared = prepare(request, assignment.accept)
    singles: list[npt.NDArray[np.int64]] = []
    script = oracle.Scripted(_grid(prepared, singles), *_script(stormed), moved={})
    models = [prepared.folder.load_state().parameters]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flower_app, "Plain", lambda **_: script)
        flower_app.run_rounds(script.grid, prepared.folder, lambda _, model: models.append(model))
    return Replayed(prepared, models, singles)


def _script(stormed: Stormed) -> tuple[dict[What, Outcome], dict[int, frozenset[int]]]:
    """Return who was in the sum of each round, and why others released nothing."""
    hosted = {
        node.folder.identity().node_id.hex(): frozenset(range(part, DEVICES, NODES))
        for part, node in enumerate(stormed.fleet.nodes().values())
    }
    script: dict[What, Outcome] = {}
    present: dict[int, frozenset[int]] = {}
    for one in stormed.sums:
        survivors = frozenset(bytes.fromhex(name) for name in one["survivors"])
        total = np.array(one["total"], np.int64)
        session = int(one["session"])
        script["", int(one["round"])] = Outcome(session=session, survivors=survivors, total=total)
        present[session] = frozenset().union(*(hosted[name] for name in one["survivors"]))
    for entry in stormed.lines:
        if entry["kind"] == "void":
            script["", entry["round"]] = Outcome(session=0, void=entry["reason"])
    return script, present


def _grid(prepared: Prepared, singles: list[npt.NDArray[np.int64]]) -> CohortGrid:
    everyone = host_of(prepared)

    def listen(reply: Message) -> None:
        integers = integers_of(reply)
        if integers is not None:
            singles.append(integers)

    client = build_client_app(
        lambda context: replace(
            everyone, devices=shard(DEVICES, int(context.node_config["partition-id"]), DEVICES)
        ),
        shielded=False,
    )
    nodes = {1 + i: {"partition-id": i} for i in range(DEVICES)}
    return CohortGrid(app_cohort(client, on_call=listen), nodes, {})  # type: ignore[arg-type]


def test_the_released_model_is_that_of_the_nodes_of_each_sum_bit_for_bit(
    stormed: Stormed, replayed: Replayed, record_property: Callable[[str, object], None]
) -> None:
    np.testing.assert_array_equal(stormed.run.load_state().parameters, replayed.models[-1])
    assert (replayed.models[-1] != replayed.models[0]).any()
    ends = {"release": "model", "void": "reason"}
    own, other = (
        [(e["round"], e[ends[e["kind"]]]) for e in lines if e["kind"] in ends]
        for lines in (stormed.lines, oracle.raw_lines(replayed.prepared.folder))
    )
    assert own == other
    made = [f"of {len(one['survivors'])} nodes" for one in stormed.sums]
    record_property("chaos sums of a real fleet", "; ".join(made))


def hidden(stormed: Stormed, replayed: Replayed) -> Needles:
    """Return what may stand nowhere: keys, models, what one device added, sums before noise."""
    secrets = [stormed.key, stormed.fleet.aggregator.secret]
    secrets += [node.folder.identity().signing.secret for node in stormed.fleet.nodes().values()]
    totals = [np.array(one["total"], np.int64) for one in stormed.sums]
    return Needles(
        {
            "a key": tuple(secret[:16] for secret in secrets),
            "a model": tuple(p for model in replayed.models for p in pieces(model)[:4]),
            "a device's vector": tuple(p for v in replayed.singles for p in vector_pieces(v)[:6]),
            "a sum": tuple(p for total in totals for p in vector_pieces(total)[:12]),
        }
    )


def test_nothing_of_a_person_stood_on_a_road_or_in_the_servers_files(
    stormed: Stormed, replayed: Replayed
) -> None:
    needles = hidden(stormed, replayed)
    assert all(needles.by_name.values())
    for name, road in stormed.roads.items():
        assert len(road.passed) > 100_000
        oracle.check_unseen(f"the road of {name}", bytes(road.passed), needles)
    assert len(stormed.copies) > 10
    folder = stormed.fleet.paths.path
    own = files_of(folder, ["state.db*"])
    logs = files_of(folder / "logs", ["*"])
    for content in [*stormed.copies, *own.values(), *logs.values()]:
        oracle.check_unseen("a file of the fleet", content, needles)
    planted = bytes(stormed.roads["n1"].passed) + needles.by_name["a device's vector"][-1]
    with pytest.raises(oracle.WrongError, match="a device's vector"):
        oracle.check_unseen("the road of n1", planted, needles)


def test_the_report_is_whole(stormed: Stormed) -> None:
    report = stormed.run.read_json("report.json")
    assert (report["runtime"], report["rounds"]) == ("deploy", ROUNDS)
    assert not stormed.run.has_key()
