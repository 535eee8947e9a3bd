"""What sealing and secure sums cost: a node's time and bytes, the server's time, a whole run.

    python benchmarks/transport.py [--quick] [--out benchmarks/results/transport.json] [--table]

1. a node's part of one sum, all legs, its state written between them, its messages sealed;
2. the server's unmasking where three nodes in ten vanished after they shared;
3. sealing and opening a megabyte;
4. bytes and messages of a node in one round;
5. a whole run with sealing and secure sums beside the same without.

Times are of the CPU, which a busy machine changes least, but for several threads and whole runs. A
target that is missed is shown as missed. Some minutes on two cores.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy loads

import argparse
import copy
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from device_figure import Figure, table
from transport_fleet import LEGS, Fleet, megabyte_envelope
from transport_run import whole_run

from homebody_privacy.legs import Step
from homebody_privacy.secagg.masks import Mask, apply_masks

_PARAMETERS = 250_000
_MEGABYTE = 1_000_000
_K = 64
"""Neighbours the target speaks of: a complete graph of one node more."""


def cpu(work: Callable[[], object], repeats: int = 5) -> float:
    """Return the least seconds of the CPU of some repeats."""
    seconds = []
    for _ in range(repeats):
        started = time.process_time()
        work()
        seconds.append(time.process_time() - started)
    return min(seconds)


def masks_s(count: int) -> float:
    """Return seconds of the keystreams of so many masks and their addition, and nothing else."""
    total = np.zeros(_PARAMETERS, "<u4")
    few = min(count, 60)
    return cpu(lambda: apply_masks(total, [Mask(bytes(32), add=True)] * few)) * count / few


def node(fleet: Fleet, name: str, *, target: bool) -> list[Figure]:
    """Return what all legs of one sum cost a node: the median over the measured nodes."""
    sizes = fleet.server.sizes
    total = [
        sum(leg.cpu_s + leg.sealing_s for leg in legs.values()) for legs in fleet.cost.values()
    ]
    up = [sum(leg.up for leg in legs.values()) for legs in fleet.cost.values()]
    return [
        Figure(
            what=f"a node's part of a sum of {_PARAMETERS:,} words, {name}, k {sizes.neighbours}",
            unit="{:.1f} ms",
            value=1000 * statistics.median(total),
            reference=f"its {sizes.neighbours + 1} masks alone",
            beside=1000 * masks_s(sizes.neighbours + 1),
            relation="<=" if target else "",
            target=60.0,
        ),
        Figure(
            what=f"what it sends, {name}",
            unit="{:.3f} MB",
            value=statistics.median(up) / _MEGABYTE,
            reference="the vector alone",
            beside=4 * _PARAMETERS / _MEGABYTE,
            relation="<=" if target else "",
            target=1.1,
        ),
    ]


def unmasking(fleet: Fleet, gone: int, target_s: float) -> list[Figure]:
    """Return what opening the sum takes, alone and with all cores; the sum must be exact."""
    sizes = fleet.server.sizes
    pairs = gone * sizes.neighbours * (fleet.count - gone) / (fleet.count - 1)
    count = round(fleet.count - gone + pairs)
    figures = []
    for workers in dict.fromkeys((1, os.cpu_count() or 1)):
        server = copy.deepcopy(fleet.server)
        wall, busy = time.perf_counter(), time.process_time()
        summed = server.result(workers)
        wall, busy = time.perf_counter() - wall, time.process_time() - busy
        if not (summed.total == fleet.expected).all():
            raise RuntimeError("the sum is wrong")
        threads = "one thread" if workers == 1 else f"{workers} threads, wall"
        figures.append(
            Figure(
                what=f"unmasking, {fleet.count:,} nodes, {gone} of them gone, {threads}",
                unit="{:.2f} s",
                value=busy if workers == 1 else wall,
                reference=f"{count:,} masks alone, one thread",
                beside=masks_s(count),
                relation="<=",
                target=target_s,
            )
        )
    return figures


def sealing() -> list[Figure]:
    """Return seconds per megabyte of sealing and opening."""
    seal, opened = megabyte_envelope(_MEGABYTE)
    cipher, plain = AESGCM(bytes(32)), bytes(_MEGABYTE)
    alone = 1000 * cpu(lambda: cipher.encrypt(bytes(12), plain, None), 30)
    return [
        Figure(
            what=f"{what} 1 MB",
            unit="{:.2f} ms",
            value=1000 * cpu(work, 30),
            reference="AES-256-GCM alone",
            beside=alone,
            relation="<=",
            target=1.0,
        )
        for what, work in (("sealing", seal), ("opening", opened))
    ]


def traffic(fleet: Fleet) -> list[dict[str, Any]]:
    """Return bytes of each leg of one node, sealed; medians."""
    legs = []
    for step in LEGS:
        some = [cost[step] for cost in fleet.cost.values()]
        legs.append(
            {
                "nodes": fleet.count,
                "neighbours": fleet.server.sizes.neighbours,
                "step": str(step),
                "down_bytes": round(statistics.median(leg.down for leg in some)),
                "up_bytes": round(statistics.median(leg.up for leg in some)),
                "cpu_ms": 1000 * statistics.median(leg.cpu_s for leg in some),
                "sealing_ms": 1000 * statistics.median(leg.sealing_s for leg in some),
            }
        )
    return legs


def measure(*, quick: bool) -> dict[str, Any]:
    """Return all figures and the table of bytes."""
    figures, rows = [], []
    fleet = Fleet(_K + 1, _PARAMETERS, measured=range(_K + 1))
    fleet.run(gone=0)
    figures += node(fleet, f"{_K + 1} nodes", target=True)
    rows += traffic(fleet)
    for count, target_s in ((100, 1.5),) if quick else ((100, 1.5), (1000, 15.0)):
        fleet = Fleet(count, _PARAMETERS, measured=range(count - 5, count))
        gone = 3 * count // 10
        fleet.run(gone)
        figures += node(fleet, f"{count:,} nodes", target=False)
        figures += unmasking(fleet, gone, target_s)
        rows += traffic(fleet)
    del fleet
    figures += sealing()
    with tempfile.TemporaryDirectory() as folder:
        figures += whole_run(Path(folder), quick=quick)
    return {"figures": figures, "traffic": rows}


def traffic_table(rows: list[dict[str, Any]]) -> str:
    """Return bytes and messages of a node in one round, as Markdown."""
    model = 4 * _PARAMETERS + 16
    lines = [
        "| nodes (k) | leg | bytes to the node | bytes from it | its time | of sealing |",
        "|---|---|---|---|---|---|",
    ]
    for count in dict.fromkeys(row["nodes"] for row in rows):
        legs = [row for row in rows if row["nodes"] == count]
        for row in legs:
            brings = f" + model {model:,}" if row["step"] == Step.UPDATE else ""
            lines.append(
                f"| {count:,} ({row['neighbours']}) | {row['step']} "
                f"| {row['down_bytes']:,}{brings} | {row['up_bytes']:,} "
                f"| {row['cpu_ms']:.1f} ms | {row['sealing_ms']:.2f} ms |"
            )
        down, up = (sum(row[f"{way}_bytes"] for row in legs) for way in ("down", "up"))
        lines.append(
            f"| {count:,} ({legs[0]['neighbours']}) | **{len(legs)} messages each way** "
            f"| {down + model:,} | {up:,} | {sum(row['cpu_ms'] for row in legs):.1f} ms "
            f"| {sum(row['sealing_ms'] for row in legs):.2f} ms |"
        )
    return "\n".join(lines)


def words(machine: dict[str, Any]) -> str:
    """Return the sentence below the tables."""
    return (
        f"{machine['cores']} cores of {machine['processor']}, Python {machine['python']}, numpy "
        f"{machine['numpy']}; load average {machine['load']} at the start."
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and keep the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "results/transport.json"
    )
    parser.add_argument("--quick", action="store_true", help="no thousand nodes; keeps nothing")
    parser.add_argument("--table", action="store_true", help="print what was kept, run nothing")
    asked = parser.parse_args(arguments)
    if asked.table:
        kept = json.loads(asked.out.read_text("utf-8"))
        figures = [Figure.from_json(one) for one in kept["figures"]]
        print(f"{table(figures)}\n\n{traffic_table(kept['traffic'])}\n\n{words(kept['machine'])}")
        return
    machine = {
        "cores": os.cpu_count() or 1,
        "processor": platform.machine(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "load": round(os.getloadavg()[0], 2),
    }
    found = measure(quick=asked.quick)
    figures, rows = found["figures"], found["traffic"]
    print(f"{table(figures)}\n\n{traffic_table(rows)}\n\n{words(machine)}")
    if not asked.quick:
        asked.out.parent.mkdir(exist_ok=True)
        kept = {
            "machine": machine,
            "figures": [figure.to_json() for figure in figures],
            "traffic": rows,
        }
        asked.out.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
