"""Measure a card through the command line, seed by seed, and write down what came out.

A run that is finished is found again in the folder of runs, so that an interrupted measurement goes
on; nothing is ever taken from another command than the card's own.
"""

import json
import os
import shlex
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cards import CONFIGS, Card
from special import cold_run, csv_of

from homebody_simulation.frontier_rows import Interval, combined

ROOT = Path(__file__).parents[2]
SCHEMA = "card/1"


def measure(card: Card, work: Path) -> dict[str, Any]:
    """Measure a card and return what its file holds.

    Args:
        card: What to measure.
        work: Folder of runs; what is finished there is not run again.
    """
    work.mkdir(parents=True, exist_ok=True)
    found = {
        "run": _runs,
        "csv": _runs,
        "cold": _cold,
        "baselines": _baselines,
        "sweep": _sweep,
    }[card.kind](card, work)
    names = ("homebody", "numpy", "torch", "opacus", "flwr", "dp-accounting")
    return {
        "schema": SCHEMA,
        "card": card.name,
        "kind": card.kind,
        "data": card.data,
        "seeds": list(card.seeds),
        "chosen": card.chosen,
        "source": card.source,
        "target": card.target,
        "goal": card.goal,
        **found,
        "date": datetime.now(UTC).date().isoformat(),
        "versions": {name: version(name) for name in names},
        "commit": _commit(),
    }


def command(card: Card, seed: int, data: str | None = None) -> list[str]:
    """Return the words of the command that makes one run of a card, from the repository's root."""
    words = ["homebody", "simulate", "--data", data or card.data]
    words += ["--config", str((CONFIGS / f"{card.config}.toml").relative_to(ROOT))]
    words += ["--epsilon", "inf" if card.epsilon is None else f"{card.epsilon:g}"]
    words += ["--recipe", card.recipe, *(["--refit"] if card.refit else [])]
    return [*words, "--seed", str(seed)]


def shown(card: Card) -> str:
    """Return the command of a card as one line, for its first seed."""
    if card.kind == "baselines":
        return shlex.join(_baselines_command(card))
    if card.kind == "sweep":
        return shlex.join(_sweep_command(card))
    if card.kind == "csv":
        return shlex.join(command(card, card.seeds[0], "interactions:events.csv"))
    if card.kind == "cold":
        return f"python benchmarks/utility --only {card.name}"
    return shlex.join(command(card, card.seeds[0]))


def _homebody(words: list[str]) -> str:
    """Run a command of ours and return what it printed.

    Raises:
        RuntimeError: If it was refused.
    """
    environ = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    done = subprocess.run(  # noqa: S603 our own words
        [sys.executable, "-m", *words],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{shlex.join(words)} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout


def _report(card: Card, seed: int, work: Path, data: str | None = None) -> dict[str, Any]:
    """Return the report of one run; it is made unless it is there."""
    name = f"{card.name}-s{seed}"
    file = work / name / "report.json"
    if not file.exists():
        if (work / name).exists():
            words = ["homebody", "simulate", "--resume", name]
        else:
            words = [*command(card, seed, data), "--name", name]
        _homebody([*words, "--runs", str(work), "--format", "json"])
    return json.loads(file.read_text("utf-8"))


def _runs(card: Card, work: Path) -> dict[str, Any]:
    data = csv_of(card.data, work / "events.csv") if card.kind == "csv" else None
    reports = [_report(card, seed, work, data) for seed in card.seeds]
    first = reports[0]
    utility = first["utility"]
    spec = json.loads((work / f"{card.name}-s{card.seeds[0]}" / "run.json").read_text("utf-8"))
    user = [report["epsilon"]["user"]["spent"] for report in reports if report["epsilon"]]
    parts: dict[str, Any] = {}
    for name in utility["stages"]:
        parts[name] = _figures([r["utility"]["stages"][name] for r in reports])
    first_time = {}
    if "first_time" in utility:
        fresh = [report["utility"]["first_time"] for report in reports]
        first_time = {
            name: _figures([each[name] for each in fresh])
            for name in ("model", "popularity")
            if name in fresh[0]
        }
    return {
        "task": utility["task"],
        "command": shown(card),
        "epsilon": card.epsilon,
        "delta": first["epsilon"]["user"]["delta"] if first["epsilon"] else None,
        "spent": max(user, default=None),
        "unit": "user",
        "recipe": first["recipe"],
        "refit": first["refit"],
        "settings": spec["spec"].get("statistics_settings"),
        "noise": (first["privacy"] or {}).get("statistics"),
        "rounds": first["rounds"],
        "devices": first["data"]["devices"],
        "items": first["data"]["items"],
        "upload_bytes": first["upload_bytes"],
        "uploads": first["uploads"],
        "shipped": [report["shipping"]["shipped"] for report in reports],
        **_figures([report["utility"]["model"] for report in reports]),
        "stages": parts,
        "first_time": first_time,
        "popularity": _one(utility["baselines"]["popularity"]),
        "local_only": _one(utility["baselines"].get("local-only")),
        "seconds": [round(report["seconds"], 1) for report in reports],
    }


def _one(values: dict[str, Any] | None) -> dict[str, float] | None:
    return None if values is None else {"ndcg@10": values["ndcg@10"]["mean"]}


def _figures(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return ndcg@10 and hit@10 over seeds and devices."""
    found: dict[str, Any] = {}
    for name in ("ndcg@10", "hit@10"):
        each = [
            Interval(mean=row[name]["mean"], low=row[name]["low"], high=row[name]["high"])
            for row in rows
        ]
        whole, sd = combined(each)
        found[name] = {
            "mean": whole.mean,
            "sd": sd,
            "low": whole.low,
            "high": whole.high,
            "seeds": [one.mean for one in each],
        }
    found["coverage@10"] = statistics.fmean(row["coverage@10"] for row in rows)
    return found


def _cold(card: Card, work: Path) -> dict[str, Any]:
    rows = [cold_run(card, seed, work) for seed in card.seeds]
    return {
        "task": "cold items among cold items",
        "command": shown(card),
        "epsilon": card.epsilon,
        "delta": rows[0]["delta"],
        "unit": "user",
        "recipe": card.recipe,
        "refit": True,
        "devices": rows[0]["devices"],
        "items": rows[0]["items"],
        "upload_bytes": rows[0]["upload_bytes"],
        **_figures(rows),
        "popularity": None,
    }


def _baselines_command(card: Card) -> list[str]:
    return ["homebody", "baselines", "--data", card.data, "--format", "json"]


def _baselines(card: Card, work: Path) -> dict[str, Any]:
    file = work / f"{card.name}.json"
    if not file.exists():
        file.write_text(_homebody(_baselines_command(card)), "utf-8")
    table = json.loads(file.read_text("utf-8"))
    return {
        "command": shlex.join(_baselines_command(card)),
        "epsilon": None,
        "devices": table["devices"],
        "items": table["items"],
        "protocol": table["protocol"],
        "rows": [
            {name: value for name, value in row.items() if name not in ("segments", "seconds")}
            for row in table["rows"]
        ],
    }


def _sweep_command(card: Card, out: str = "sweep") -> list[str]:
    config = str((CONFIGS / f"{card.config}.toml").relative_to(ROOT))
    words = ["homebody", "sweep", "--data", card.data, "--config", config]
    words += ["--epsilon", "1,2,4,8,inf", "--seeds", str(len(card.seeds))]
    return [*words, "--recipe", card.recipe, "--out", out]


def _sweep(card: Card, work: Path) -> dict[str, Any]:
    out = work / card.name
    started = time.monotonic()
    if (out / "sweep.json").exists():
        _homebody(["homebody", "sweep", "--out", str(out), "--resume"])
    else:
        _homebody(_sweep_command(card, str(out)))
    results = json.loads((out / "results.json").read_text("utf-8"))
    picture = ROOT / "docs" / "images" / f"frontier-{card.data}.png"
    picture.write_bytes((out / "frontier.png").read_bytes())
    return {
        "command": shown(card),
        "task": results["task"],
        "epsilon": None,  # each row has its own
        "delta": results["delta"],
        "devices": results["devices"],
        "rule": results["rule"],
        "rows": results["rows"],
        "seconds": [round(time.monotonic() - started, 1)],
    }


def _commit() -> str:
    found = subprocess.run(
        ["git", "rev-parse", "HEAD"],  # noqa: S607 the developer's own git
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip() or "unknown"
