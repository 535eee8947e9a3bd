"""A run killed at any moment goes on to the same model, for the same epsilon, charged once."""

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from homebody import simulate
from homebody_simulation.simulate import SimulatedRun

DEVICES, ROUNDS, KILLS = 120, 8, 4
ROOT = Path(__file__).parents[2]
FIGURE = """
[metrics.quality]
purpose = "metrics"
features = ["purchases"]
noise_multiplier = 5.0
releases_per_run = 1
"""


@pytest.fixture(scope="module", params=[pytest.param("gaussian", marks=pytest.mark.slow), "blt"])
def config(request: pytest.FixtureRequest, write_config: Callable[..., Path]) -> Path:
    """Return a config of eight rounds for each mechanism, with a figure after the last."""
    plan: dict[str, Any] = {"rounds": ROUNDS, "cohort_cap": 180, "delta": 1e-3, "more": FIGURE}
    if request.param == "gaussian":
        return write_config(**plan, cohort_size=DEVICES)
    return write_config(
        **plan,
        mechanism="blt",
        cohort_size=DEVICES // 3,
        min_separation=3,
        max_rounds_per_device=3,
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, config: Path) -> SimulatedRun:
    """Return the same run, never interrupted."""
    runs = tmp_path_factory.mktemp("whole")
    return simulate("synthetic", devices=DEVICES, config=config, runs=runs, seed=11, name="whole")


def entries(ledger: Path) -> list[dict[str, Any]]:
    """Return the whole lines of a ledger, without what has a name or a time of its own.

    A bundle is signed at a time, and signed again where a kill came between it and the report.
    """
    if not ledger.exists():
        return []
    whole_lines = ledger.read_bytes().rpartition(b"\n")[0].splitlines()
    found = [json.loads(line)["entry"] for line in whole_lines]
    kept = [entry for entry in found if entry["kind"] != "model_released"]
    return [{k: v for k, v in entry.items() if k != "run"} for entry in kept]


def command(config: Path, runs: Path) -> Iterator[list[str]]:
    """Give the command that starts the run, then the one that goes on with it."""
    base = [sys.executable, "-m", "homebody", "simulate", "--runs", str(runs), "--format", "json"]
    plan = ["--data", "synthetic", "--devices", str(DEVICES), "--seed", "11", "--name", "cut"]
    yield [*base, *plan, "--config", str(config)]
    while True:
        yield [*base, "--resume", "cut"]


def kill_once(words: list[str], environ: dict[str, str], ledger: Path, moment: float) -> bool:
    """Start a process and kill it ``moment`` seconds after it wrote to the ledger."""
    before = len(entries(ledger))
    with subprocess.Popen(
        words, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        end = time.monotonic() + 120
        while len(entries(ledger)) <= before and process.poll() is None:
            assert time.monotonic() < end, "the run does not go on"
            time.sleep(0.005)
        time.sleep(moment)
        process.send_signal(signal.SIGKILL)
        return process.wait() == -signal.SIGKILL


def test_a_run_killed_again_and_again_ends_as_if_it_never_was(
    tmp_path: Path, config: Path, whole: SimulatedRun, environ: dict[str, str]
) -> None:
    ledger = tmp_path / "cut" / "ledger.jsonl"
    chance = random.Random(5)  # noqa: S311 - moments, no secret
    commands = command(config, tmp_path)
    killed = sum(
        kill_once(next(commands), environ, ledger, chance.uniform(0.0, 0.1)) for _ in range(KILLS)
    )
    assert killed >= 2, "the run ended before it was killed: the test saw nothing"
    ended = subprocess.run(
        next(commands), env=environ, capture_output=True, text=True, timeout=240, check=False
    )
    assert ended.returncode == 0, ended.stderr
    answer = json.loads(ended.stdout)
    assert answer["model_digest"] == whole.report["digests"]["model"]
    assert answer["epsilon"] == whole.report["epsilon"]
    assert answer["released"] == whole.report["released"]
    assert answer["rounds"] == ROUNDS
    assert entries(ledger) == entries(whole.folder / "ledger.jsonl")
    intents = [entry["round"] for entry in entries(ledger) if entry["kind"] == "intent"]
    assert intents == list(range(1, ROUNDS + 1))
    names = {file.name for file in (tmp_path / "cut").iterdir()}
    assert names == {file.name for file in whole.folder.iterdir()}


def test_a_run_that_ended_can_be_asked_for_again(whole: SimulatedRun) -> None:
    # Through the face there is no resume: the command line's is this function.
    from homebody_simulation.simulate import resume  # noqa: PLC0415

    again = resume(whole.folder.parent, "whole")
    assert again.report["digests"] == whole.report["digests"]
    assert again.to_dict()["run"] == "whole"


@pytest.mark.slow
@pytest.mark.parametrize("mechanism", ["blt", "gaussian"])
def test_complete_journey_killed_at_a_random_moment_has_the_same_epsilon_and_model(
    tmp_path: Path, environ: dict[str, str], mechanism: str
) -> None:
    base = [sys.executable, "-m", "homebody", "simulate", "--runs", str(tmp_path)]
    plan = ["--mechanism", mechanism, "--rounds", "3", "--cohort", "200", "--seed", "7"]
    plan += ["--config", str(ROOT / "privacy.toml"), "--format", "json"]

    def finish(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words, env=environ, capture_output=True, text=True, timeout=400, check=False
        )

    ended = [finish(*base, *plan, "--name", "whole")]
    # Any moment from the first charge on; three rounds and what follows take longer.
    moment = random.SystemRandom().uniform(0.0, 4.0)
    ledger = tmp_path / "cut" / "ledger.jsonl"
    assert kill_once([*base, *plan, "--name", "cut"], environ, ledger, moment), moment
    ended.append(finish(*base, "--resume", "cut", "--format", "json"))
    assert [run.returncode for run in ended] == [0, 0], (moment, [run.stderr for run in ended])
    whole, resumed = (json.loads(run.stdout) for run in ended)
    assert resumed["epsilon"] == whole["epsilon"]
    assert resumed["model_digest"] == whole["model_digest"]
    assert resumed["released"] == whole["released"]
    assert entries(ledger) == entries(tmp_path / "whole" / "ledger.jsonl")
