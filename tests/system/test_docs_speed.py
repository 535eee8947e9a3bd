"""docs/speed.md shows what benchmarks/speed kept; the benchmark's own parts do what they say."""

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
BENCHMARK = ROOT / "benchmarks" / "speed"
RESULTS = ROOT / "benchmarks" / "results" / "speed.json"
SYSTEMS = ["flower", "pfl", "pfl-2", "fedjax", "reference", "torch", "numba", "numba-2", "triton"]


def asked(*words: str) -> str:
    """Return what the benchmark prints."""
    command = [sys.executable, str(BENCHMARK), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return what imports a module of the benchmark, none of which stays imported."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(BENCHMARK.parent))
    monkeypatch.syspath_prepend(str(BENCHMARK))
    yield importlib.import_module
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None) or ""
        if Path(file).is_relative_to(BENCHMARK.parent):
            del sys.modules[name]


@pytest.fixture(scope="module")
def kept() -> dict[str, Any]:
    """Return the results that were kept."""
    found: dict[str, Any] = json.loads(RESULTS.read_text("utf-8"))
    return found


def test_the_page_shows_the_kept_figures() -> None:
    assert asked("--table").strip() in (ROOT / "docs/speed.md").read_text("utf-8")


def test_everything_that_can_be_measured_is_listed() -> None:
    listed = [line.partition(":")[0] for line in asked("--list").splitlines()]
    assert listed[: len(SYSTEMS)] == SYSTEMS
    assert {"cohorts", "pass", "movielens", "evaluation", "million", "sweep"} <= set(listed)


def test_the_table_has_every_system_with_all_that_a_figure_needs(kept: dict[str, Any]) -> None:
    assert kept["schema"] == "speed/1"
    rows = kept["table"]["rows"]
    assert [row["name"] for row in rows] == SYSTEMS
    for row in rows:
        if row["status"] != "measured":
            assert row["why"]
            continue
        assert row["distance"] <= row["bound"]
        assert 0.0 < row["devices_s"]["median"] <= row["devices_s"]["best"]
        assert row["per_core_s"] > 0.0
        assert row["peak_bytes"] > 10_000_000
        assert row["rounds"] >= 1
        assert row["versions"]["numpy"]
        if row["peer"] is None:
            assert row["lattice"]["holds"]
            assert row["lattice"]["most_steps"] <= 1


def test_results_name_a_machine_by_what_it_is_alone(kept: dict[str, Any]) -> None:
    for part in (kept["table"], *kept["sections"].values()):
        names = {"cores", "processor", "gpu", "python", "load", "versions"}
        assert set(part["machine"]) in (names, {"gpu"})
    assert "/home" not in RESULTS.read_text("utf-8")
    assert "/tmp" not in RESULTS.read_text("utf-8")  # noqa: S108 looked for, not used


def row(name: str, rate: float, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return a row of a table."""
    found = {"name": name, "title": name, "peer": None, "status": "measured", "why": ""}
    rates = {"devices_s": {"median": rate, "best": rate}, "per_core_s": rate}
    return found | rates | {"peak_bytes": 1e9, "distance": 1e-3} | more


def test_ratios_are_to_the_better_of_a_peers_rows_and_a_missed_target_is_told(parts: Any) -> None:  # noqa: ANN401
    rows = [
        *(row("pfl", 100.0, peer="pfl"), row("pfl-2", 200.0, peer="pfl")),
        *(row("fedjax", 500.0, peer="fedjax"), row("flower", 10.0, peer="flower")),
        *(row("numba", 6_000.0), row("numba-2", 11_000.0)),
        row("triton", 0.0, status="not here", why="no CUDA device"),
    ]
    assert parts("page").ratio(rows[4], rows, ("pfl", "pfl-2")) == pytest.approx(30.0)
    judged = {figure.what.split(",")[0]: figure for figure in parts("targets").figures(rows)}
    assert judged["numba against pfl"].met is False
    assert judged["numba against a fedjax-style sparse step by hand"].met is True
    assert judged["2 threads against Flower's 2 actors"].met is True
    assert judged["2 threads against 1"].met is True
    found = parts("kept").Kept({**part(), "rows": rows, "cohort": 500})
    shown = parts("page").tables(found)
    assert "| triton | not here: no CUDA device |" in shown
    assert "**missed**" in shown
    page = f"before {parts('page').BEGIN} old {parts('page').END} after"
    assert parts("page").put_in(page, found) == f"before {shown} after"
    with pytest.raises(ValueError, match="place"):
        parts("page").put_in("no mark", found)
    assert parts("picture").draw(found).png().startswith(b"\x89PNG")


def part() -> dict[str, Any]:
    """Return what a table is stamped with."""
    machine = {"cores": 2, "processor": "some", "gpu": "", "python": "3.11", "load": 0.1}
    machine |= {"versions": {"numpy": "2"}}
    return {"date": "2026-01-01", "commit": "abc", "machine": machine}


def test_a_missing_peer_fails_the_run_unless_it_was_to_be_skipped(parts: Any) -> None:  # noqa: ANN401
    code = parts("comparing").exit_code
    gone = row("pfl", 0.0, peer="pfl", status="not here", why="no network")
    no_gpu = row("triton", 0.0, status="not here", why="no CUDA device")
    assert code([row("numba", 1.0), no_gpu], skip_peers=False) == 0
    assert code([row("numba", 1.0), gone], skip_peers=False) == 1
    assert code([row("numba", 1.0), gone], skip_peers=True) == 0
    assert code([row("numba", 1.0, status="failed", why="its sum")], skip_peers=True) == 1


def test_the_history_tells_a_loss_of_ratio(parts: Any, tmp_path: Path) -> None:  # noqa: ANN401
    history = parts("history")
    file = tmp_path / "speed.jsonl"
    first = history.append([row("reference", 100.0), row("numba", 5_000.0)], file)
    assert first == ["numba: 50.0 x the reference"]
    again = history.append([row("reference", 50.0), row("numba", 2_400.0)], file)
    assert "LOOK" not in again[0]  # a slower machine, not a slower kernel
    lost = history.append([row("reference", 100.0), row("numba", 2_000.0)], file)
    assert lost[0].endswith("LOOK")
    assert [line["to_reference"] for line in history.read(file)] == [50.0, 48.0, 20.0]


def test_the_oracle_follows_the_rule_of_one_step_by_finite_differences(parts: Any) -> None:  # noqa: ANN401
    epoch, world = parts("epoch"), parts("world")
    rng = np.random.default_rng(0)
    table, user = rng.normal(size=(world.ITEMS, 4)), rng.normal(size=4)
    history = np.array([5, 9, 5], np.int32)  # one batch; an item met twice
    drawn = world.negatives(np.uint32(7), 3)

    def loss(q: np.ndarray[Any, Any], p: np.ndarray[Any, Any]) -> float:
        own, others = q[history] @ p, q[drawn] @ p
        return float(np.logaddexp(0, -own).sum() + np.logaddexp(0, others).sum()) / 3

    rates = world.Rates(rows=0.5, user=0.25)
    after_table, after_user = table.copy(), user.copy()
    epoch.train(after_table, after_user, history, 7, rates)
    for item, column in ((5, 0), (9, 2), (int(drawn[1, 2]), 1)):
        bumped = [table.copy(), table.copy()]
        bumped[0][item, column] += 1e-6
        bumped[1][item, column] -= 1e-6
        slope = (loss(bumped[0], user) - loss(bumped[1], user)) / 2e-6
        changed = after_table[item, column] - table[item, column]
        assert changed == pytest.approx(-0.5 * slope, abs=1e-8)
    bump = np.array([0.0, 1e-6, 0.0, 0.0])
    slope = (loss(table, user + bump) - loss(table, user - bump)) / 2e-6
    assert after_user[1] - user[1] == pytest.approx(-0.25 * slope, abs=1e-8)
    untouched = np.setdiff1d(np.arange(world.ITEMS), [*history, *drawn.ravel()])
    assert (after_table[untouched] == table[untouched]).all()
    assert np.linalg.norm(epoch.clipped(np.full((3, 3), 7.0))) == pytest.approx(0.5)
    assert (epoch.clipped(np.full((3, 3), 0.01)) == 0.01).all()


def test_seconds_and_memory_of_a_process_tree_include_its_children(parts: Any) -> None:  # noqa: ANN401
    tree = parts("tree")
    code = "import time; x = bytearray(60_000_000)\nwhile time.process_time() < 0.4: pass\nprint(1)"
    before = tree.cpu_seconds()
    child = subprocess.Popen(
        [sys.executable, "-c", f"{code}\ninput()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    child.stdout.readline()
    grown = tree.memory_bytes(child.pid)
    child.communicate(b"\n")
    assert tree.cpu_seconds() - before >= 0.35
    assert grown > 60_000_000
    assert 10_000_000 < tree.own_peak() < 10**11


@pytest.mark.slow  # compiles, and makes the world
def test_a_first_look_at_our_own_runs_and_agrees_with_the_oracle() -> None:
    shown = asked("--quick", "--only", "numba", "reference")
    assert "check: numba: its sum differs by" in shown
    assert "nothing kept" in shown
