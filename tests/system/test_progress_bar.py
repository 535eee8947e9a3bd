"""On a terminal the command shows a bar; elsewhere one plain line a round."""

import os
import pty
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def small_run(folder: Path) -> list[str]:
    config = (ROOT / "privacy.toml").read_text("utf-8")
    config = config.replace("cohort_size = 493", "cohort_size = 20")
    config = config.replace("report_goal = 300", "report_goal = 12")
    (folder / "privacy.toml").write_text(config, "utf-8")
    shown = ["--data", "synthetic", "--devices", "60", "--rounds", "2", "--seed", "1"]
    return [sys.executable, "-m", "homebody", "simulate", *shown]


def test_terminal_shows_a_bar_with_epsilon_by_unit(tmp_path: Path) -> None:
    parent, child = pty.openpty()
    process = subprocess.Popen(small_run(tmp_path), cwd=tmp_path, stdout=child, stderr=child)
    os.close(child)
    shown = bytearray()
    try:
        while chunk := os.read(parent, 65_536):
            shown += chunk
    except OSError:  # Linux says EIO once the other end is closed
        pass
    os.close(parent)
    assert process.wait() == 0
    text = shown.decode("utf-8", "replace")
    assert "━" in text
    assert "2/2" in text
    assert "(user)" in text
    assert "round=1" not in text


def test_pipe_gets_one_plain_line_a_round_and_no_colour(tmp_path: Path) -> None:
    done = subprocess.run(
        small_run(tmp_path), cwd=tmp_path, capture_output=True, text=True, check=True
    )
    rounds = [line for line in done.stderr.splitlines() if line.startswith("round=")]
    # Round 0 is where the statistics led.
    assert [line.split()[0] for line in rounds] == ["round=0", "round=1", "round=2"]
    assert all("eps_user=" in line for line in rounds)
    assert "\x1b" not in done.stderr + done.stdout
    assert "Ranked on the device" in done.stdout
