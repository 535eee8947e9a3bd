"""A sweep without training: reports as runs write them, and a worker that only pretends."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from homebody_simulation.frontier import Frontier
from homebody_simulation.frontier_rows import Interval, Row, RunFigures
from homebody_simulation.sweep_grid import Grid, Point

SHELF = {"popularity": 0.05, "rules": 0.06, "local-only": 0.02, "ease-windowed": 0.2}
WORKER = """
import json, os, signal, sys
from pathlib import Path

REPORT = json.loads({report!r})
for line in sys.stdin:
    piece = json.loads(line)
    folder, name = Path(piece["folder"]), piece["name"]
    with (folder / "seen.txt").open("a") as seen:
        seen.write(name + "\\n")
    strike = folder / f"strike-{{name}}"
    if strike.exists():
        strike.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    if (folder / f"refuse-{{name}}").exists():
        refused = {{"code": "infeasible", "message": "too few", "fix": "more"}}
        print(json.dumps({{"refused": refused, "ended": True}}), flush=True)
        continue
    if piece["point"] is None:
        kept = {{"devices": 40, "rows": []}}
        (folder / "baselines.json").write_text(json.dumps(kept))
    else:
        run = folder / "runs" / name
        run.mkdir(parents=True, exist_ok=True)
        (run / "report.json").write_text(json.dumps(REPORT))
    print(json.dumps({{"ended": True}}), flush=True)
"""


def report(
    *, epsilon: float | None = 4.0, ndcg: float = 0.1, validation: float = 0.1
) -> dict[str, Any]:
    """Return what a sweep reads of a run's report."""
    around = {"mean": ndcg, "low": 0.9 * ndcg, "high": 1.1 * ndcg, "n": 40}
    user = {"mechanism": "blt", "spent": epsilon}
    return {
        "epsilon": None if epsilon is None else {"user": user, "record": None},
        "recipe": "rounds",
        "privacy": None if epsilon is None else {"noise_multiplier": 3.0, "statistics": []},
        "released": {},
        "rounds": 4,
        "upload_bytes": 1000.0,
        "utility": {
            "task": "new",
            "validation": {"ndcg@10": validation},
            "model": {"ndcg@10": around, "hit@10": around, "coverage@10": 0.5},
            "baselines": {"popularity": {"validation_ndcg@10": 0.05}},
        },
        "digests": {"model": "0" * 64},
    }


def baseline(name: str, ndcg: float) -> Row:
    """Return a row that no run trained."""
    around = Interval(mean=ndcg, low=0.9 * ndcg, high=1.1 * ndcg)
    return Row(kind="baseline", name=name, ndcg=around, hit=ndcg, coverage=0.1, validation=ndcg)


def frontier(
    values: Mapping[float | None, float],
    *,
    tests: Mapping[float | None, float] | None = None,
    seeds: Sequence[int] = (0, 1),
    sent: Mapping[float, float] | None = None,
) -> Frontier:
    """Return a frontier.

    Args:
        values: ndcg@10 on validation by epsilon.
        tests: ndcg@10 on the test by epsilon; None for the same.
        seeds: Noise seeds.
        sent: Figures that devices sent, by epsilon; the data is then private.
    """
    grid = Grid(
        data="synthetic",
        epsilons=tuple(values),
        seeds=tuple(seeds),
        tuning="public" if sent is None else "private",
    )
    runs = []
    for point in grid.points():
        test = (tests or values)[point.epsilon] * (1.0 + 0.01 * point.seed)
        made = report(epsilon=point.epsilon, ndcg=test, validation=values[point.epsilon])
        if sent is not None and point.epsilon is not None:
            figures = {"ndcg@10": {"value": sent[point.epsilon], "noise_sd": 0.01}}
            made["released"] = {"metrics/quality/4": figures}
        runs.append(RunFigures.of(point, made))
    return Frontier(
        grid=grid,
        task="new",
        delta=1e-5,
        devices=40,
        runs=tuple(runs),
        baselines=tuple(baseline(name, ndcg) for name, ndcg in SHELF.items()),
        tuning="said",
    )


def names(grid: Grid) -> list[str]:
    """Return the names of a grid's points."""
    return [point.name for point in grid.points()]


def one(epsilon: float | None) -> Point:
    """Return a point."""
    return Point(epsilon=epsilon, model="two-tower", mechanism=None, recipe=None, seed=0)


def pretender(folder: Path) -> Path:
    """Write the program of a worker that only pretends, and return it."""
    program = folder / "pretender.py"
    program.write_text(WORKER.format(report=json.dumps(report())), "utf-8")
    return program
