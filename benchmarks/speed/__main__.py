"""How fast rounds are simulated, beside others: every figure of docs/speed.md.

    python benchmarks/speed [--only NAME ...] [--quick] [--skip-peers] [--list] [--table] [--page]

The same work in each system, checked against one oracle before the clock starts, then in turn,
twice. Others (pfl, fedjax) get virtual environments of their own, installed once; Flower's runtime
is our own ``ray`` extra. Without a name the table and the short sections are measured: minutes.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

import history
from comparing import COHORT, compare, exit_code
from kept import RESULTS, Kept
from page import put_in, tables
from picture import draw
from running import NotHereError, WorkerFailedError
from sections import BY_NAME as SECTIONS
from sections import from_gpu_program, measure, shown
from systems import BY_NAME as BY_SYSTEM
from systems import SYSTEMS, System

_ROOT = Path(__file__).parents[2]
_PAGE = _ROOT / "docs" / "speed.md"
_PICTURE = _ROOT / "docs" / "images" / "speed.png"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what was asked for; print and keep it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="*", help="these systems and sections, by name")
    parser.add_argument("--quick", action="store_true", help="few rounds; keeps nothing")
    parser.add_argument("--skip-peers", action="store_true", help="homebody alone")
    parser.add_argument("--history", action="store_true", help="our own, as lines of a history")
    parser.add_argument("--list", action="store_true", help="print what can be measured")
    parser.add_argument("--table", action="store_true", help="print what was kept, run nothing")
    parser.add_argument("--page", action="store_true", help="put what was kept into docs/speed.md")
    parser.add_argument("--gpu", type=Path, help="keep what gpu.py --json wrote elsewhere")
    parser.add_argument("--out", type=Path, default=RESULTS, help="file of results")
    asked = parser.parse_args(arguments)
    if asked.list:
        for name, title in (
            *((system.name, system.title.strip("*")) for system in SYSTEMS),
            *((section.name, section.title) for section in SECTIONS.values()),
        ):
            print(f"{name}: {title}")
        return 0
    if asked.table:
        print(tables(Kept.read(asked.out)))
        return 0
    if asked.page:
        kept = Kept.read(asked.out)
        _PAGE.write_text(put_in(_PAGE.read_text("utf-8"), kept), "utf-8")
        _PICTURE.write_bytes(draw(kept).png())
        return 0
    if asked.gpu:
        found = json.loads(asked.gpu.read_text("utf-8"))
        kept = Kept.begin(asked.out)
        kept.take_section("gpu", shown(SECTIONS["gpu"], from_gpu_program(found)), found["gpu"])
        kept.write(asked.out)
        return 0
    if asked.history:
        return _history(quick=asked.quick)
    unknown = [name for name in asked.only or () if name not in {*BY_SYSTEM, *SECTIONS}]
    if unknown:
        parser.error(f"nothing is called {unknown[0]}; --list says what there is")
    return _measure(asked)


def _history(*, quick: bool) -> int:
    rows = compare([BY_SYSTEM[name] for name in history.SYSTEMS], quick=quick)
    if not quick:
        print("\n".join(history.append(rows)))
    return exit_code(rows, skip_peers=False)


def _measure(asked: argparse.Namespace) -> int:
    kept = Kept.begin(asked.out)
    systems = _systems(asked)
    code = 0
    if systems:
        rows = compare(systems, quick=asked.quick)
        # Ratios are those of one run: part of a table is printed, and not kept.
        kept.take_table(rows, COHORT)
        code = exit_code(rows, skip_peers=asked.skip_peers)
    for section in SECTIONS.values():
        if section.name in asked.only if asked.only is not None else not section.slow:
            try:
                kept.take_section(section.name, measure(section, quick=asked.quick))
            except NotHereError as error:
                print(f"{section.name}: left out: {error}", flush=True)
            except WorkerFailedError as error:
                code = 1
                print(f"{section.name}: failed: {error}", file=sys.stderr, flush=True)
    print(f"\n{tables(kept.fresh())}")
    if asked.quick or (systems and len(systems) < len(SYSTEMS)):
        print("\nnothing kept: what is kept is of whole runs, and ratios are those of one run")
    else:
        kept.write(asked.out)
    return code


def _systems(asked: argparse.Namespace) -> list[System]:
    return [
        system
        for system in SYSTEMS
        if (asked.only is None or system.name in asked.only)
        and not (asked.skip_peers and system.peer)
    ]


if __name__ == "__main__":
    sys.exit(main())
