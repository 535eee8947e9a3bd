"""What an app embeds: the wheel and its few dependencies open a bundle and rank."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from homebody_simulation.simulate import SimulatedRun

ROOT = Path(__file__).resolve().parents[2]
MOST_BYTES = 130_000_000
USE = """
import json, sys
import homebody_client
from homebody import Device
device = Device.open(sys.argv[1], trusted_key=sys.argv[2])
device.record("item-3")
heavy = [m for m in ("torch", "flwr", "opacus", "polars", "scipy") if m in sys.modules]
print(json.dumps({"ranked": len(list(device.recommend(n=10))), "heavy": heavy}))
"""


def run(*words: str | Path) -> str:
    """Run a command, and return what it printed."""
    ended = subprocess.run(
        list(map(str, words)), capture_output=True, text=True, timeout=600, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.slow
def test_the_base_install_is_small_and_ranks(tmp_path: Path, tiny_run: SimulatedRun) -> None:
    venv = tmp_path / "venv"
    run(sys.executable, "-m", "venv", venv)
    python = venv / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", ROOT)
    answer = json.loads(run(python, "-I", "-c", USE, tiny_run.bundle, tiny_run.trusted_key))
    assert answer == {"ranked": 10, "heavy": []}
    packages = next((venv / "lib").glob("python*/site-packages"))
    size = sum(
        file.stat().st_size
        for file in packages.rglob("*")
        if file.is_file()
        and not file.relative_to(packages).parts[0].startswith(("pip", "setuptools"))
    )
    assert size <= MOST_BYTES
    installed = {folder.name for folder in packages.iterdir()}
    assert installed.isdisjoint({"torch", "flwr", "opacus", "scipy", "polars"})
    assert "homebody_client" in installed
    assert "tests" not in installed
