"""Files that nobody named: what lies in a run's folder and is none of what a run writes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from .verify_lines import Line, note

_PUBLIC: Final = frozenset(
    {
        *("privacy.toml", "policy.toml", "run.json", "ledger.jsonl", "checkpoint", "state.npz"),
        *("features.npy", "statistics.npz", "start.npy", "session", "metrics.jsonl"),
        *("egress.jsonl", "report.json", "report.html", "audit.json", "audit.html", "audit.svg"),
        *("model.hbm", "catalog", "flower.json", "outcome.json", "flower.log", "notices"),
    }
)
_SECRET: Final = frozenset({"run.key", "noise", "devices", "aggregator", "replay.sqlite", "ray"})
"""What an open run keeps, and a closed one destroys."""


def check_names(folder: Path) -> tuple[Line, ...]:
    """Say which files of a run's folder nothing vouches for, and which should be gone."""
    return tuple(_lines(sorted(path.name for path in folder.iterdir()), folder))


def _lines(names: list[str], folder: Path) -> Iterator[Line]:
    is_closed = (folder / "report.json").exists()
    secret = [name for name in names if name in _SECRET or name.startswith("replay.sqlite")]
    for name in secret if is_closed else ():
        yield note(f"{name} is there still: the run has not ended, or did not clean up")
    others = [name for name in names if name not in _PUBLIC and name not in secret]
    shown = sum(1 for name in others if not name.startswith("."))
    if shown:
        yield note(f"{shown} files are there that no run writes: nothing vouches for them")
