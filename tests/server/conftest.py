"""A population of twelve devices behind a real ClientApp, and the folder of its run."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from homebody_models.split import Split, leave_one_out
from homebody_privacy.config import PrivacyConfig
from homebody_simulation.datasets import load_dataset

from .world import DEVICES, Builder, build_model


@pytest.fixture(scope="session")
def base_config(write_config: Callable[..., Path]) -> PrivacyConfig:
    """Return the repository's config, for twelve devices."""
    return PrivacyConfig.load(write_config(cohort_size=12, cohort_cap=40, delta=1e-3))


@pytest.fixture(scope="session")
def split() -> Split:
    """Return the events of twelve devices, the last of each held out; read only."""
    return leave_one_out(load_dataset("synthetic", devices=DEVICES, items=20).interactions)


@pytest.fixture
def make_world(tmp_path: Path, base_config: PrivacyConfig, split: Split) -> Iterator[Builder]:
    """Builder of a world in a fresh folder; fields of the spec may be given."""
    with ExitStack() as stores:
        yield Builder(
            base=base_config,
            split=split,
            model=build_model(split.train),
            root=tmp_path,
            stores=stores,
        )
