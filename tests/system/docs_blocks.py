"""Pages of the documentation, as tests read them: tables by their first column, blocks by kind."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def page(name: str) -> str:
    """Return a page of ``docs``."""
    return (ROOT / "docs" / name).read_text("utf-8")


def section(text: str, heading: str) -> str:
    """Return what stands under a heading, down to the next of its level or a higher one."""
    level = heading.partition(" ")[0]
    (found,) = re.findall(rf"(?ms)^{re.escape(heading)}\n(.*?)(?=^#{{1,{len(level)}}} |\Z)", text)
    return str(found)


def first_column(text: str, head: str) -> list[str]:
    """Return the first cells of the table whose first header cell is ``head``, without quotes."""
    (rows,) = re.findall(rf"(?m)^\| {re.escape(head)} \|.*\n\|[-|]+\n((?:\|.*\n)+)", text)
    return [row.split(" | ")[0].removeprefix("| ").strip("`") for row in rows.splitlines()]


def blocks(text: str, kind: str) -> list[str]:
    """Return the fenced blocks of a kind, such as ``python``."""
    return re.findall(rf"(?ms)^```{kind}\n(.*?)^```", text)


def told(text: str) -> list[tuple[str, str]]:
    """Return each Python block with the output that the page shows right after it, or nothing."""
    return re.findall(r"(?ms)^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```)?", text)


def run(code: str, folder: Path) -> str:
    """Run a block as a program in a folder, keys and anchors inside of it; return its output."""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=folder,
        env={"HOMEBODY_STATE": str(folder / "state"), "PATH": "", "TZ": "UTC"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout
