"""Worlds for accidents, and what a suite of them came to."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from homebody_models.split import Split, leave_one_out
from homebody_privacy.config import PrivacyConfig
from homebody_simulation.datasets import load_dataset
from tests.server.world import DEVICES, Builder, build_model


@pytest.fixture(scope="session")
def base_config(write_config: Callable[..., Path]) -> PrivacyConfig:
    """Return the repository's config, for twelve devices."""
    return PrivacyConfig.load(write_config(cohort_size=12, cohort_cap=40, delta=1e-3))


@pytest.fixture(scope="session")
def split() -> Split:
    """Return the events of twelve devices, the last of each held out; read only."""
    return leave_one_out(load_dataset("synthetic", devices=DEVICES, items=20).interactions)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Return a fresh folder, in memory where there is one: these machines stop by an exception."""
    memory = Path("/dev/shm")  # noqa: S108
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with TemporaryDirectory(prefix="homebody-chaos-", dir=memory) as own:
        yield Path(own)


@pytest.fixture
def build(folder: Path, base_config: PrivacyConfig, split: Split) -> Iterator[Builder]:
    """Builder of a world in a fresh folder."""
    with ExitStack() as stores:
        yield Builder(
            base=base_config,
            split=split,
            model=build_model(split.train),
            root=folder,
            stores=stores,
        )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many accidents struck, by kind, and what came of them."""
    found: dict[str, Counter[str]] = {}
    for report in terminalreporter.stats.get("passed", []):
        for name, value in report.user_properties:
            if name.startswith("chaos "):
                found.setdefault(name, Counter()).update(str(value).split("; ") if value else ())
    for name, counter in sorted(found.items()):
        told = ", ".join(f"{what} {many}" for what, many in sorted(counter.items()))
        terminalreporter.write_line(f"{name} ({counter.total()}): {told}")
