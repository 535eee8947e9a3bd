"""docs/device.md shows the figures that benchmarks/device.py kept, a missed target as missed."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "device.py"


@pytest.fixture(scope="module")
def kept() -> dict[str, Any]:
    """Return the results that were kept."""
    found: dict[str, Any] = json.loads((ROOT / "benchmarks/results/device.json").read_text("utf-8"))
    return found


def shown(*words: str | Path) -> str:
    """Return what the benchmark prints without running anything."""
    command = [sys.executable, str(SCRIPT), "--table", *map(str, words)]
    ended = subprocess.run(command, check=True, capture_output=True, text=True)
    return ended.stdout.strip()


def test_the_page_shows_the_kept_figures() -> None:
    page = (ROOT / "docs/device.md").read_text("utf-8")
    between = page.partition("<!-- figures -->")[2].partition("<!-- /figures -->")[0]
    assert between.strip() == shown()


def test_every_target_of_a_device_has_its_figure(kept: dict[str, Any]) -> None:
    judged = {one["what"]: one for one in kept["figures"] if one["relation"]}
    for part in (
        "record and recommend, 10,000 items",
        "top 10 of 3,706 items",
        "top 10 of 100,000 int8 items",
        "top 10 of 100,000 items, accelerator",
        "GET /recommendations, standard library",
        "GET /recommendations, FastAPI",
        "process start to first list, 3,706 items",
        "memory, 3,706 items",
        "base install",
        "events into the store",
        "withdrawal complete",
        "sockets opened by 1,000 lists",
    ):
        [*found] = [one for what, one in judged.items() if what.startswith(part)]
        assert found, part
        assert all(one["value"] is not None and one["reference"] for one in found), part


def test_what_a_busy_machine_does_not_change_keeps_to_its_target(kept: dict[str, Any]) -> None:
    for what in ("memory", "base install", "sockets opened", "withdrawal complete"):
        [figure] = [one for one in kept["figures"] if one["what"].startswith(what)]
        assert figure["met"], what


def test_a_missed_target_is_shown_as_missed(kept: dict[str, Any], tmp_path: Path) -> None:
    late = {**kept["figures"][0], "value": 1e6, "target": 50.0}
    file = tmp_path / "device.json"
    file.write_text(json.dumps({**kept, "figures": [late]}), "utf-8")
    assert "**missed**" in shown("--out", file)
    file.write_text(json.dumps({**kept, "figures": [{**late, "value": 1.0}]}), "utf-8")
    assert "**missed**" not in shown("--out", file)
