"""What a given epsilon buys: every figure of docs/utility.md and of the README.

    python benchmarks/utility.py [--only NAME ...] [--out benchmarks/results/utility.json]

Runs the command line's own code, one setting after another, and prints one line each. MovieLens
needs HOMEBODY_DATA; without it those rows are left out, and the output says so.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from homebody_privacy.environment import DATA, silence

_CONFIG = Path(__file__).parent.parent / "privacy.toml"


@dataclass(frozen=True, slots=True)
class Setting:
    """One row: a data set at one epsilon, over some seeds."""

    name: str
    data: str
    epsilon: float | None
    seeds: tuple[int, ...]
    mechanism: Literal["blt", "gaussian"] | None = None
    cohort: int | None = None


SETTINGS = (
    Setting("complete-journey-eps4", "complete-journey", 4.0, (1, 2, 3), "blt"),
    Setting("complete-journey-eps8", "complete-journey", 8.0, (1, 2, 3), "blt"),
    Setting("complete-journey-eps4-gaussian", "complete-journey", 4.0, (1, 2, 3), "gaussian"),
    Setting("complete-journey-eps8-gaussian", "complete-journey", 8.0, (1, 2, 3), "gaussian"),
    Setting("complete-journey-inf", "complete-journey", None, (1,)),
    Setting("movielens-100k-eps8", "movielens-100k", 8.0, (1, 2, 3), "blt", 188),
    Setting("movielens-100k-eps8-gaussian", "movielens-100k", 8.0, (1, 2, 3), "gaussian"),
    Setting("movielens-100k-inf", "movielens-100k", None, (1, 2, 3)),
    Setting("movielens-1m-eps8", "movielens-1m", 8.0, (1, 2, 3), "blt"),
    Setting("movielens-1m-eps8-gaussian", "movielens-1m", 8.0, (1, 2, 3), "gaussian"),
    Setting("movielens-1m-inf", "movielens-1m", None, (1,)),
)


def measure(setting: Setting) -> dict[str, object]:
    """Run one setting and return its figures."""
    from homebody import simulate  # noqa: PLC0415 after telemetry is off

    with tempfile.TemporaryDirectory() as folder:
        runs = [
            simulate(
                setting.data,
                config=_CONFIG,
                epsilon=setting.epsilon,
                mechanism=setting.mechanism,
                cohort=setting.cohort,
                seed=seed,
                runs=folder,
                name=f"{setting.name}-{seed}",
            )
            for seed in setting.seeds
        ]
    utility = [run.report["utility"] for run in runs]
    ndcg = [u["model"]["ndcg@10"] for u in utility]
    first = [u["first_time"] for u in utility if "first_time" in u]
    popularity = utility[0]["baselines"]["popularity"]
    return {
        **asdict(setting),
        "task": utility[0]["task"],
        "unamplified": [
            run.report["privacy"] and run.report["privacy"]["epsilon_unamplified"] for run in runs
        ],
        "spent": [run.epsilon and run.epsilon["user"]["spent"] for run in runs],
        "ndcg@10": float(np.mean([n["mean"] for n in ndcg])),
        "ndcg@10_sd": float(np.std([n["mean"] for n in ndcg])),
        "ndcg@10_low": [n["low"] for n in ndcg],
        "hit@10": float(np.mean([u["model"]["hit@10"]["mean"] for u in utility])),
        "popularity_ndcg@10": popularity["ndcg@10"]["mean"],
        "local_only_ndcg@10": utility[0]["baselines"].get("local-only", {}).get("ndcg@10"),
        "first_time_ndcg@10": [f["model"]["ndcg@10"]["mean"] for f in first],
        "first_time_popularity_ndcg@10": [f["popularity"]["ndcg@10"]["mean"] for f in first][:1],
        "rounds": runs[0].report["rounds"],
        "seconds": [round(run.report["seconds"], 1) for run in runs],
        "devices_per_second": [round(run.report["devices_per_second"]) for run in runs],
        "bundle_bytes": runs[0].report["bundle"]["bytes"],
    }


_HEAD = (
    "data set, epsilon",
    "task",
    "ndcg@10: mean (sd; seeds)",
    "least lower bound",
    "popularity",
    "local-only",
    "first time (popularity)",
    "rounds",
)


def table(results: dict[str, dict[str, Any]]) -> str:
    """Return the results as the table of docs/utility.md."""
    rows = [_HEAD, ("---",) * len(_HEAD), *(_cells(row) for row in results.values())]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    epsilon = "no privacy" if row["epsilon"] is None else f"ε {row['epsilon']:g}"
    if row["epsilon"] is not None:
        epsilon += f" {row['mechanism']} ({row['unamplified'][0]:.1f} if seen who takes part)"
    first, local = row["first_time_ndcg@10"], row["local_only_ndcg@10"]
    new = f"{np.mean(first):.4f} ({row['first_time_popularity_ndcg@10'][0]:.4f})" if first else "-"
    return (
        f"{row['data']}, {epsilon}",
        row["task"],
        f"{row['ndcg@10']:.4f} ({row['ndcg@10_sd']:.4f}; {len(row['seeds'])})",
        f"{min(row['ndcg@10_low']):.4f}",
        f"{row['popularity_ndcg@10']:.4f}",
        f"{local['mean']:.4f}" if local else "-",
        new,
        str(row["rounds"]),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what was asked for and keep the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=[s.name for s in SETTINGS])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/utility.json")
    parser.add_argument("--table", action="store_true", help="print what was kept, run nothing")
    asked = parser.parse_args(arguments)
    silence()
    asked.out.parent.mkdir(exist_ok=True)
    results = json.loads(asked.out.read_text("utf-8")) if asked.out.exists() else {}
    if asked.table:
        print(table(results))
        return
    for setting in SETTINGS:
        if setting.name not in asked.only:
            continue
        if setting.data.startswith("movielens") and not os.environ.get(DATA):
            print(f"{setting.name}: left out, {DATA} is not set")
            continue
        results[setting.name] = measure(setting)
        results = {s.name: results[s.name] for s in SETTINGS if s.name in results}
        print(json.dumps(results[setting.name]), flush=True)
        asked.out.write_text(json.dumps(results, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
