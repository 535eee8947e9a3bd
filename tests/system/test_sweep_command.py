"""``homebody sweep`` in processes: the same bytes from one or two, over an interruption too."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .conftest import Cli

GRID = (
    "--data",
    "synthetic",
    "--devices",
    "40",
    "--epsilon",
    "4,8",
    "--seeds",
    "2",
    "--rounds",
    "2",
)


def children(parent: int) -> set[int]:
    """Return the processes that a process started and that live."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            after = stat.read_text("utf-8").rpartition(")")[2].split()
        except OSError:
            continue
        if int(after[1]) == parent and after[0] != "Z":
            found.add(int(stat.parent.name))
    return found


@pytest.mark.slow
def test_the_same_seeds_give_the_same_bytes_over_jobs_and_interruptions(
    cli: Cli, environ: dict[str, str], tiny_config: Path, tmp_path: Path
) -> None:
    common = ("sweep", *GRID, "--config", tiny_config)
    one = cli(*common, "--jobs", "1", "--out", "one", cwd=tmp_path)
    assert one.returncode == 0, one.stderr
    assert "target ε" in one.stdout
    assert "popularity" in one.stdout
    assert "declared public" in one.stdout

    command = [sys.executable, "-m", "homebody", *map(str, common), "--jobs", "2", "--out", "two"]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environ, stderr=subprocess.PIPE, start_new_session=True
    )
    assert process.stderr is not None
    done = 0
    while done < 2:
        line = json.loads(process.stderr.readline())
        done = line.get("done", done)
    workers = children(process.pid)
    assert workers
    process.send_signal(signal.SIGINT)
    said = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait(60) == 130
    assert "homebody sweep --out DIR --resume" in said
    time.sleep(0.2)
    assert {pid for pid in workers if Path(f"/proc/{pid}").exists()} == set()
    assert not (tmp_path / "two/results.csv").exists()

    finished = {
        file.parent.name: file.stat().st_mtime_ns
        for file in tmp_path.glob("two/runs/*/report.json")
    }
    resumed = cli("sweep", "--out", "two", "--resume", "--format", "json", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    results = json.loads(resumed.stdout)
    assert results == json.loads((tmp_path / "two/results.json").read_text("utf-8"))
    for name, written in finished.items():
        assert (tmp_path / f"two/runs/{name}/report.json").stat().st_mtime_ns == written
    assert (tmp_path / "one/results.csv").read_bytes() == (
        tmp_path / "two/results.csv"
    ).read_bytes()


def test_what_cannot_be_swept_is_refused_by_its_code(
    cli: Cli, tiny_config: Path, tmp_path: Path
) -> None:
    private = cli("sweep", *GRID[:4], "--tuning", "private", "--config", tiny_config, cwd=tmp_path)
    assert private.returncode == 10
    assert "cannot be charged" in private.stderr
    assert not (tmp_path / "sweep").exists()
