"""Run every command of the reviewer's guide for real, from a bad config to a changed byte.

The guide is the script: each line of its console blocks that begins with ``$`` is run in a fresh
copy of the sample project, in order, and must end with the exit code that stands behind it, as in
``# 10``, or with 0. With ``--refresh`` what the commands said is put into the page.

    python docs/examples/compliance/demo.py              # make demo-compliance
    python docs/examples/compliance/demo.py --refresh
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
GUIDE = HERE.parents[1] / "reviewers-guide.md"
BLOCK = re.compile(r"(?ms)^```console\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?")
_FILES = ("privacy.toml", "proposed.toml", "next.toml", "policy.toml", "notices")
_MEMORY = "/dev/shm"  # noqa: S108 - a folder of our own in it; what no one keeps needs no disk
_LEFT_OUT = "..."
_KEPT = {"homebody simulate": re.compile(r"approvals|cohort|User level|round=4")}
"""Of a command that says much, the lines that the guide quotes."""


@dataclass(frozen=True, slots=True)
class Step:
    """One command of the guide.

    Attributes:
        command: What is typed.
        expected: Exit code it must end with.
    """

    command: str
    expected: int


def steps(block: str) -> Iterator[Step]:
    """Return the commands of a console block."""
    for line in re.findall(r"(?m)^\$ (.*)$", block.replace("\\\n", " ")):
        command, _, code = line.partition("  # ")
        yield Step(command.strip(), int(code.split()[0]) if code else 0)


def run(step: Step, folder: Path) -> str:
    """Run one command and return what it said, refusals included.

    Raises:
        SystemExit: If it ends with another exit code than the guide says.
    """
    own = str(Path(sys.executable).parent)
    settings = {
        "HOMEBODY_STATE": str(folder / "state"),
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "110",
        "TERM": "dumb",
        "PATH": f"{own}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
    }
    ended = subprocess.run(  # noqa: S603 - the guide's own commands, in a folder of their own
        ["/bin/sh", "-c", step.command],
        cwd=folder,
        env=os.environ | settings,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if ended.returncode != step.expected:
        sys.exit(
            f"{ended.stdout}\n$ {step.command}\nended with {ended.returncode}, "
            f"the guide says {step.expected}"
        )
    return ended.stdout.replace(str(folder), ".")


def quoted(step: Step, said: str) -> str:
    """Return what the guide quotes of an output: all of it, or the lines that matter."""
    lines = [line.rstrip() for line in said.strip("\n").splitlines()]
    for start, kept in _KEPT.items():
        if step.command.startswith(start):
            lines = list(_elided(lines, kept))
    return "".join(f"{line}\n" for line in lines)


def play(page: str, folder: Path) -> str:
    """Run a page's commands in order; return the page with what they said.

    Args:
        page: Text of the guide.
        folder: Empty folder of the sample project.
    """
    for name in _FILES:
        copy = shutil.copytree if (HERE / name).is_dir() else shutil.copy
        copy(HERE / name, folder / name)

    def block(found: re.Match[str]) -> str:
        said = ""
        for step in steps(found[1]):
            sys.stdout.write(f"$ {step.command}\n")
            sys.stdout.flush()
            start = time.monotonic()
            words = quoted(step, run(step, folder))
            said += words
            seconds = time.monotonic() - start
            sys.stdout.write(f"{words}[exit {step.expected}, {seconds:.1f} s]\n\n")
        output = f"\n```text\n{said}```\n" if said else ""
        return f"```console\n{found[1]}```\n{output}"

    return BLOCK.sub(block, page)


def main() -> None:
    """Run the guide; with ``--refresh`` write what was said into it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--refresh", action="store_true", help="put what was said into the page")
    asked = parser.parse_args()
    page = GUIDE.read_text("utf-8")
    start = time.monotonic()
    memory = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="compliance-", dir=memory) as folder:
        played = play(page, Path(folder))
    sys.stdout.write(f"every command ended as the guide says; {time.monotonic() - start:.0f} s\n")
    if asked.refresh:
        GUIDE.write_text(played, "utf-8")


def _elided(lines: list[str], kept: re.Pattern[str]) -> Iterator[str]:
    left_out = False
    for line in lines:
        if kept.search(line):
            left_out = False
            yield line
        elif not left_out:
            left_out = True
            yield _LEFT_OUT


if __name__ == "__main__":
    main()
