"""What a device takes: time, memory and disk, each beside a reference of the same run.

    python benchmarks/device.py [--quick] [--out benchmarks/results/device.json] [--table]

A figure that depends on the machine is worth little alone; its ratio to a reference measured in
turn with it holds from one machine to the next, and time of the CPU says what a busy machine hides.
A target that is missed is shown as missed.

Minutes on one core; one minute with ``--quick``. docs/device.md shows the table.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy loads; child processes too
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # pip compiles what it installs: so do we

import argparse
import json
import platform
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import device_calls
import device_others
import device_processes
import numpy as np
from device_figure import Figure, table
from device_shop import MIDDLE, SMALL, BenchShop, event, make_shop

_HISTORY = 400  # rows of a person who has used an app for a while
_BUSY = 0.5  # load a core, from which a machine is called loaded


def measure(folder: Path, *, quick: bool) -> list[Figure]:
    """Return all figures."""
    small = make_shop(folder / "small", SMALL)
    middle = make_shop(folder / "middle", MIDDLE)
    person = _person(small, folder / "person" / "profile")
    n = 1 if quick else 4
    return [
        device_calls.record_and_recommend(middle, folder / "calls" / "profile", 100 * n),
        *device_others.ranking(50 * n),
        *device_processes.answers(small, person, 100 * n),
        *device_processes.start(small, person, 5 * n),
        device_processes.memory(small, person),
        device_processes.base_install(folder),
        *device_calls.ingest(small, folder / "ingest" / "profile", 5_120 * n),
        device_calls.withdrawal(small, folder / "withdrawal", 10_000, n),
        device_processes.sockets(small, person),
        device_calls.opening(small, folder / "opening", 20_000, n),
        *device_others.browser(2 * n - 1),
    ]


def _person(shop: BenchShop, profile: Path) -> Path:
    with shop.open(profile, fresh=True) as device:
        for number in range(_HISTORY):
            device.record(event(number, shop.items))
    return profile


def words(machine: dict[str, Any]) -> str:
    """Return the sentence below the table."""
    return (
        f"{machine['cores']} cores of {machine['processor']}, Python {machine['python']}, numpy "
        f"{machine['numpy']}, one thread; the machine was {machine['state']}."
    )


def _machine(load: float) -> dict[str, Any]:
    cores = os.cpu_count() or 1
    return {
        "cores": cores,
        "processor": platform.machine(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "load": round(load, 2),
        "state": "loaded" if load > _BUSY * cores else "quiet",
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and keep the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/device.json")
    parser.add_argument("--quick", action="store_true", help="fewer repeats; keeps nothing")
    parser.add_argument("--table", action="store_true", help="print what was kept, run nothing")
    asked = parser.parse_args(arguments)
    if asked.table:
        kept = json.loads(asked.out.read_text("utf-8"))
        figures = [Figure.from_json(one) for one in kept["figures"]]
        print(f"{table(figures)}\n\n{words(kept['machine'])}")
        return
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), quick=asked.quick)
    machine = _machine(load)
    print(f"{table(figures)}\n\n{words(machine)}")
    if not asked.quick:
        asked.out.parent.mkdir(exist_ok=True)
        kept = {"machine": machine, "figures": [figure.to_json() for figure in figures]}
        asked.out.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
