"""Releases of a server app in another process are seen in its folder, each once, in order."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from homebody_server.run_folder import RunFolder, TrainState
from homebody_simulation.watching import Watch


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """Return a run before its first release."""
    made = RunFolder(tmp_path)
    made.save_state(state(1, 0.0))
    return made


def state(next_round: int, value: float) -> TrainState:
    """Return where a run stands, with a model of one number."""
    return TrainState(next_round, np.full(1, value, np.float32), {})


def test_the_start_is_round_0_and_rounds_follow_each_once(folder: RunFolder) -> None:
    seen: list[tuple[int, float]] = []

    def observe(number: int, model: npt.NDArray[np.float32]) -> None:
        seen.append((number, float(model[0])))

    watch = Watch(folder, observe)
    watch.look()
    assert seen == []
    np.save(folder.start_file, np.full(1, 0.5, np.float32))
    folder.save_state(state(1, 0.5))
    watch.look()
    watch.look()
    assert seen == [(0, 0.5)]
    folder.save_state(state(3, 2.0))  # two rounds came between two looks: the latest is shown
    watch.look()
    watch.look()
    assert seen == [(0, 0.5), (2, 2.0)]


def test_what_was_there_before_is_not_told_again(folder: RunFolder) -> None:
    np.save(folder.start_file, np.full(1, 0.5, np.float32))
    folder.save_state(state(4, 3.0))
    seen: list[int] = []
    watch = Watch(folder, lambda number, _: seen.append(number))
    watch.look()
    folder.save_state(state(5, 4.0))
    watch.look()
    assert seen == [4]
