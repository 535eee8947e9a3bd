"""docs/protocol.md shows what benchmarks/transport.py kept, a missed target as missed."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "transport.py"


@pytest.fixture(scope="module")
def kept() -> dict[str, Any]:
    """Return the results that were kept."""
    file = ROOT / "benchmarks" / "results" / "transport.json"
    found: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return found


def test_the_page_shows_the_kept_figures() -> None:
    page = (ROOT / "docs/protocol.md").read_text("utf-8")
    between = page.partition("<!-- figures -->")[2].partition("<!-- /figures -->")[0]
    command = [sys.executable, str(SCRIPT), "--table"]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert between.strip() == shown.strip()


def test_every_target_of_transport_has_its_figure(kept: dict[str, Any]) -> None:
    judged = [one["what"] for one in kept["figures"] if one["relation"]]
    for part in (
        "a node's part of a sum",
        "what it sends",
        "unmasking, 100 nodes, 30 of them gone",
        "unmasking, 1,000 nodes, 300 of them gone",
        "sealing 1 MB",
    ):
        assert any(what.startswith(part) for what in judged), part
    assert any(one["what"].startswith("a whole run") and one["ratio"] for one in kept["figures"])


def test_bytes_do_not_depend_on_the_machine_and_keep_to_their_target(kept: dict[str, Any]) -> None:
    [sent] = [one for one in kept["figures"] if one["what"] == "what it sends, 65 nodes"]
    assert sent["met"]
    legs = [row for row in kept["traffic"] if row["nodes"] == 65]
    assert [row["step"] for row in legs] == ["advertise", "share", "update", "confirm", "unmask"]
    assert sum(row["up_bytes"] for row in legs) == round(sent["value"] * 1e6)
    (update,) = (row["up_bytes"] for row in legs if row["step"] == "update")
    assert 0 < update - 4 * 250_000 - 40 < 2_500  # envelope and header
