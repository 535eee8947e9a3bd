"""The untouched set, made once for all tests of this folder."""

from collections.abc import Callable
from itertools import count
from pathlib import Path
from shutil import copytree, rmtree

import pytest

from .world import World, build

Copy = Callable[[], World]


@pytest.fixture(scope="session")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Return an approved run, its project and its evidence pack; read only."""
    return build(tmp_path_factory.mktemp("untouched"))


@pytest.fixture
def copy(untouched: World, tmp_path: Path) -> Copy:
    """Return a maker of copies of everything, to be changed; the one before is removed."""
    numbers = count()

    def fresh() -> World:
        number = next(numbers)
        rmtree(tmp_path / f"copy-{number - 1}", ignore_errors=True)
        root = tmp_path / f"copy-{number}"
        copytree(untouched.root, root)
        return untouched.at(root)

    return fresh
