"""What is not installed is named with the smallest extra that brings all a command needs."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

_WITHOUT = """
import sys
sys.modules.update(dict.fromkeys(sys.argv[1].split(",")))  # None: importing it raises
from homebody import cli
sys.exit(cli.run(sys.argv[2:]))
"""


@pytest.mark.parametrize(
    ("command", "missing", "extra"),
    [
        ("check", "dp_accounting,torch,flwr,polars", "review"),
        ("simulate --rounds 1 --config", "flwr", "simulation"),
    ],
)
def test_what_is_missing_is_named_with_the_extra_of_the_command(
    write_config: Callable[..., Path], tmp_path: Path, command: str, missing: str, extra: str
) -> None:
    config = write_config(more="noise_multiplier = 2.0\n", delta=1e-5)
    words = [*command.split(), str(config)]
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT, missing, *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "missing-extra (exit 1)" in done.stderr
    assert f'pip install "homebody[{extra}]"' in " ".join(done.stderr.split())
