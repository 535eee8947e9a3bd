"""The table: every system checked against the oracle, then timed in turn, pass after pass."""

import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from environments import PeerMissingError, cache_folder
from epoch import GOLDEN, distance, oracle
from job import save_world
from running import NotHereError, WorkerFailedError, run
from systems import System
from world import CHECKED, DEVICES, TIMED, World, cohort, differences, make_world

COHORT: Final = 500
PASSES: Final = 2
_GOLDEN_ERROR: Final = 2e-6

Row = dict[str, Any]


class WorldError(Exception):
    """The workload is not what it must be: nothing measured with it could be compared."""


def world_files() -> Path:
    """Return the folder of the world's files, after making and checking them.

    Raises:
        WorldError: If the world or the oracle's sums are not those known.
    """
    world = make_world()
    wrong = differences(world)
    if wrong:
        raise WorldError(f"this machine made another world: {wrong}")
    folder = cache_folder() / f"world-{DEVICES}"
    save_world(world, folder)
    return folder


def checked_oracle(world: World) -> npt.NDArray[np.float64]:
    """Return the oracle's sum at the rates of the check, after checking the oracle itself.

    Raises:
        WorldError: If it is not what is known of it.
    """
    rows = cohort(world, 0, COHORT)
    sums = {check: oracle(world, rows, CHECKED if check else TIMED) for check in (True, False)}
    for check, total in sums.items():
        norm = float(np.linalg.norm(total))
        if abs(norm - GOLDEN[check]) > _GOLDEN_ERROR:
            raise WorldError(f"the oracle's sum has norm {norm:.6f}, not {GOLDEN[check]:.6f}")
    return sums[True]


def compare(systems: Sequence[System], *, quick: bool) -> list[Row]:
    """Check and time systems; one that cannot run has a row that says why.

    Args:
        systems: Which, in the order of the table.
        quick: One pass, few rounds.
    """
    files = world_files()
    rows = _checked(systems, files)
    for number in range(1 if quick else PASSES):
        for system, row in zip(systems, rows, strict=True):
            if row["status"] != "measured":
                continue
            try:
                found, _ = run(
                    system,
                    files,
                    check=False,
                    cohort=COHORT,
                    rounds=max(1, system.rounds // 4) if quick else None,
                )
            except WorkerFailedError as error:
                row.update(status="failed", why=str(error))
                continue
            row["passes"].append(found)
            print(f"pass {number + 1}: {said(row)}", flush=True)
    for row in rows:
        _finish(row)
    return rows


def _checked(systems: Sequence[System], files: Path) -> list[Row]:
    """Return a row of each system, after comparing its sum with the oracle's."""
    rows: list[Row] = []
    expected = checked_oracle(_world(files))
    for system in systems:
        row: Row = {
            "name": system.name,
            "title": system.title,
            "peer": system.peer,
            "cores": system.cores,
            "status": "measured",
            "why": "",
            "bound": system.bound,
            "distance": None,
            "passes": [],
        }
        rows.append(row)
        try:
            found, total = run(system, files, check=True, cohort=COHORT)
        except (PeerMissingError, NotHereError) as error:
            row.update(status="not here", why=str(error))
        except WorkerFailedError as error:
            row.update(status="failed", why=str(error))
        else:
            row["versions"] = found.get("versions", {})
            row["lattice"] = found.get("lattice")
            row["distance"] = distance(np.asarray(total), expected)
            if row["distance"] > system.bound:
                row.update(status="failed", why=f"its sum is off by {row['distance']:.1e}")
            elif row["lattice"] and not row["lattice"]["holds"]:
                row.update(status="failed", why=f"its integers differ: {row['lattice']}")
        print(f"check: {_verdict(row)}", flush=True)
    return rows


def _world(files: Path) -> World:
    return World(*(np.load(files / f"{name}.npy") for name in ("ptr", "items", "table", "users")))


def _verdict(row: Row) -> str:
    if row["status"] != "measured":
        return f"{row['name']}: {row['status']}: {row['why']}"
    return f"{row['name']}: its sum differs by {row['distance']:.1e}, allowed {row['bound']:.0e}"


def said(row: Row) -> str:
    """Return the last pass of a row in one line."""
    walls, busy = row["passes"][-1]["walls"], row["passes"][-1]["cpu_s"]
    return (
        f"{row['name']}: {COHORT / statistics.median(walls):,.0f} devices/s, "
        f"{COHORT * len(walls) / busy:,.0f} per core-second, load {row['passes'][-1]['load']}"
    )


def _finish(row: Row) -> None:
    """Add what the passes come to."""
    passes = row.pop("passes")
    if row["status"] != "measured":
        return
    walls = [wall for found in passes for wall in found["walls"]]
    busy = sum(found["cpu_s"] for found in passes)
    row.update(
        devices_s={"median": COHORT / statistics.median(walls), "best": COHORT / min(walls)},
        per_core_s=COHORT * len(walls) / busy,
        rounds=len(walls),
        peak_bytes=max(found["peak_bytes"] for found in passes),
        load=max(found["load"] for found in passes),
    )


def exit_code(rows: Sequence[Row], *, skip_peers: bool) -> int:
    """Return 1 if a system failed, or a peer that should have run did not; else 0."""
    missing = [row["name"] for row in rows if row["status"] == "not here" and row["peer"]]
    failed = [row["name"] for row in rows if row["status"] == "failed"]
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    if missing and not skip_peers:
        print(f"not compared: {', '.join(missing)}; --skip-peers does without", file=sys.stderr)
    return int(bool(failed or (missing and not skip_peers)))
