"""Columns of joins decide as the record of single devices does, and a killed run finds them."""

import math
import shutil
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homebody_client.participation import Allowance
from homebody_client.participation_store import ParticipationStore
from homebody_privacy.errors import IntegrityError, UsageError
from homebody_simulation.join_columns import JoinColumns

DEVICES = 9
MODEL, OTHER = "d" * 64, "e" * 64
RULES = Allowance(
    run="autumn",
    rounds=100,
    min_separation=10,
    max_rounds=4,
    loss_per_run=0.0,
    loss_per_join=0.25,
    delta=1e-5,
    epsilon_max=8.0,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "joins.log"


def of(*devices: int) -> npt.NDArray[np.int64]:
    return np.array(devices, np.int64)


LOSSES = st.sampled_from([0.0, 0.25, 0.25, 0.5, 0.5, 1e154, math.inf])


@st.composite
def allowances(draw: st.DrawFn) -> Allowance:
    """Give rules, of a few runs: some change within a run, some allow next to nothing."""
    return Allowance(
        run=draw(st.sampled_from(["autumn", "autumn", "autumn|gram", "winter"])),
        rounds=draw(st.sampled_from([6, 300, 300])),
        min_separation=draw(st.integers(1, 3)),
        max_rounds=draw(st.sampled_from([1, 3, 5])),
        loss_per_run=draw(LOSSES),
        loss_per_join=draw(LOSSES),
        delta=1e-5,
        epsilon_max=draw(st.sampled_from([None, 1.2, 2.5, 4.0, math.inf])),
        max_runs=draw(st.sampled_from([None, None, 1, 2])),
        first=draw(st.sampled_from([0, 1])),
        again=draw(st.sampled_from([True, True, False])),
    )


ASKED = st.lists(st.integers(0, DEVICES - 1), unique=True, min_size=3, max_size=DEVICES)
STEPS = st.sampled_from([0, 0, 1, 1, 1, 2, 3, -1])  # from the last round that was asked
CALLS = st.tuples(
    ASKED, st.sampled_from([0, 0, 1, 2]), STEPS, st.sampled_from([MODEL] * 3 + [OTHER])
)


@settings(max_examples=100, deadline=None)
@given(st.lists(allowances(), min_size=3, max_size=3), st.lists(CALLS, max_size=16), st.data())
def test_columns_decide_as_the_record_of_single_devices(
    rules: list[Allowance],
    calls: list[tuple[list[int], int, int, str]],
    data: st.DataObject,
) -> None:
    reopened = data.draw(st.integers(0, max(len(calls), 1)))
    with TemporaryDirectory() as folder, ExitStack() as stack:
        path = Path(folder) / "joins.log"
        rows = stack.enter_context(
            ParticipationStore.open(Path(folder) / "joins.db", anchors=None, durable=False)
        )
        columns = JoinColumns.open(path, DEVICES)
        numbers = np.cumsum([step for _, _, step, _ in calls]).tolist()
        for place, (devices, which, _, model) in enumerate(calls):
            number = numbers[place]
            if place == reopened:
                columns.close()
                columns = JoinColumns.open(path, DEVICES)
            asked = np.array(devices, np.int64)
            expected = rows.join_many(asked, rules[which], number, model)
            found = columns.join_many(asked, rules[which], number, model)
            assert found.tolist() == expected.tolist()
        with columns:
            lives = [rows.life(device) for device in range(DEVICES)]
            assert columns.squares.tolist() == [life.square for life in lives]
            for run in {own.run for own in rules}:
                assert columns.joins(run).tolist() == [life.joins(run) for life in lives]


def test_each_rule_alone_decides(path: Path) -> None:
    with JoinColumns.open(path, DEVICES) as columns:
        everyone = np.arange(DEVICES)
        assert columns.join_many(everyone[:3], RULES, 1, MODEL).tolist() == [0, 1, 2]
        assert columns.join_many(everyone, RULES, 1, OTHER).tolist() == list(range(3, DEVICES))
        assert columns.join_many(everyone, RULES, 1, MODEL).tolist() == [0, 1, 2]
        assert not len(columns.join_many(everyone, replace(RULES, again=False), 1, MODEL))
        assert not len(columns.join_many(everyone, RULES, 10, MODEL))
        assert len(columns.join_many(everyone, RULES, 11, MODEL)) == DEVICES
        assert not len(columns.join_many(everyone, replace(RULES, min_separation=9), 41, MODEL))
        assert not len(columns.join_many(everyone, RULES, 101, MODEL))
        assert not len(columns.join_many(everyone, replace(RULES, epsilon_max=0.5), 21, MODEL))
        other = replace(RULES, run="winter", max_runs=1)
        assert not len(columns.join_many(everyone, other, 1, MODEL))
        for number in (21, 31):
            assert len(columns.join_many(everyone, RULES, number, MODEL)) == DEVICES
        assert not len(columns.join_many(everyone, RULES, 41, MODEL))
        assert columns.joins("autumn").tolist() == [4] * DEVICES


def test_what_was_joined_is_on_disk_before_it_is_told(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "as a killed process leaves it"
    with JoinColumns.open(path, DEVICES) as columns:
        for number in (1, 11):
            columns.join_many(of(2, 5), RULES, number, MODEL)
            shutil.copy(path, copy)
            with JoinColumns.open(copy, DEVICES) as found:
                assert (found.joins("autumn") == columns.joins("autumn")).all()
                assert (found.squares == columns.squares).all()


def writing(path: Path, few: int = 1) -> Iterator[int]:
    """Write joins, and give the size of the file before each."""
    with JoinColumns.open(path, 100) as columns:
        for number, devices in ((1, np.arange(100)), (11, np.arange(few)), (21, np.arange(80))):
            yield path.stat().st_size
            columns.join_many(devices, RULES, number, MODEL)


def test_a_write_cut_short_at_any_byte_counts_for_nothing_and_is_written_again(
    path: Path, tmp_path: Path
) -> None:
    sizes = list(writing(path))
    whole, copy = path.read_bytes(), tmp_path / "cut"
    header = range(sizes[-1], sizes[-1] + 24)
    for end in (*header, *range(header.stop, len(whole), 37), len(whole) - 1):
        copy.write_bytes(whole[:end])
        with JoinColumns.open(copy, 100) as columns:
            assert columns.joins("autumn").tolist() == [2] + [1] * 99
            assert len(columns.join_many(np.arange(80), RULES, 21, MODEL)) == 80
        assert copy.read_bytes() == whole


@pytest.mark.parametrize("back", [0, 1, 2])
def test_a_byte_that_is_not_what_was_written_is_refused(path: Path, back: int) -> None:
    starts = [*writing(path, few=3), path.stat().st_size]
    whole = path.read_bytes()
    start, end = starts[-2 - back], starts[-1 - back]
    for place in range(start, end, 11):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(IntegrityError):
            JoinColumns.open(path, 100)


def test_entries_put_in_another_order_or_taken_out_are_refused(path: Path) -> None:
    first, second, third = writing(path)
    whole = path.read_bytes()
    for wrong in (whole[second:], whole[:second] + whole[third:], b"?" * 99):
        path.write_bytes(wrong)
        with pytest.raises(IntegrityError):
            JoinColumns.open(path, 100)
    assert first == 0


def test_a_record_is_of_one_population_and_open_once(path: Path) -> None:
    with JoinColumns.open(path, DEVICES) as columns:
        columns.join_many(of(1), RULES, 1, MODEL)
        with pytest.raises(UsageError, match="another process"):
            JoinColumns.open(path, DEVICES)
    with pytest.raises(IntegrityError, match="this population"):
        JoinColumns.open(path, DEVICES + 1)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("devices", [[3, 3], [-1], [0, DEVICES]], ids=str)
def test_devices_that_are_none_or_named_twice_are_refused(path: Path, devices: list[int]) -> None:
    with JoinColumns.open(path, DEVICES) as columns:
        with pytest.raises(ValueError, match=r"device may not|devices must"):
            columns.join_many(of(*devices), RULES, 1, MODEL)
        assert not columns.squares.any()
    assert path.read_bytes() == b""


def test_a_disk_that_is_full_keeps_nobody_from_joining_later(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with JoinColumns.open(path, DEVICES) as columns:
        columns.join_many(of(1), RULES, 1, MODEL)
        full = _Full(columns._log._file)  # noqa: SLF001 - the disk is not ours to fill
        monkeypatch.setattr(columns._log, "_file", full)  # noqa: SLF001 - as above
        with pytest.raises(OSError, match="No space"):
            columns.join_many(of(2), RULES, 1, MODEL)
        monkeypatch.undo()
        assert columns.join_many(of(3), RULES, 1, MODEL).tolist() == [3]
    with JoinColumns.open(path, DEVICES) as columns:
        assert np.flatnonzero(columns.joins("autumn")).tolist() == [1, 3]


@dataclass(slots=True)
class _Full:
    """A file on a disk that takes ten bytes more."""

    file: object
    left: int = 10

    def write(self, data: memoryview) -> int:
        if not self.left:
            raise OSError(28, "No space left on device")
        written = self.file.write(data[: self.left])  # type: ignore[attr-defined]
        self.left -= written
        return written  # type: ignore[no-any-return]

    def __getattr__(self, name: str) -> object:
        return getattr(self.file, name)
