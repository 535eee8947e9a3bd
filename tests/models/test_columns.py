"""A column in a file holds what it would hold in memory, and lets go of what was read."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homebody_models.columns import ColumnWriter, blocks, release, spans

KIND = np.dtype(np.int64)


def column(entries: list[list[int]], *, long: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    writer = ColumnWriter(KIND, long=long)
    for block in entries:
        writer.append(np.array(block, np.int64))
    found: np.ndarray[tuple[int], np.dtype[np.int64]] = writer.finish()
    return found


@given(
    entries=st.lists(st.lists(st.integers(-9, 9), max_size=4), max_size=6),
    long=st.integers(0, 20),
    size=st.integers(1, 9),
)
def test_blocks_come_back_in_order_from_memory_and_from_a_file(
    entries: list[list[int]], long: int, size: int
) -> None:
    whole = [entry for block in entries for entry in block]
    found = column(entries, long=long)
    assert (found.tolist(), found.dtype) == (whole, KIND)
    parts = list(blocks(found, size))
    assert [entry for part in parts for entry in part.tolist()] == whole
    assert all(len(part) == size for part in parts[:-1])


@given(lengths=st.lists(st.integers(0, 9), max_size=20), size=st.integers(1, 12))
def test_spans_are_all_devices_in_order_and_no_longer_than_asked_where_they_can_be(
    lengths: list[int], size: int
) -> None:
    found = list(spans(np.concatenate(([0], np.cumsum(lengths))).astype(np.int64), size))
    assert [u for span in found for u in range(span.start, span.stop)] == list(range(len(lengths)))
    for span in found:
        devices = span.stop - span.start
        assert sum(lengths[span]) <= size or devices == 1
        assert 0 < devices <= size


def test_a_long_column_is_read_only_and_has_no_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    long, short = column([[1, 2], [3]], long=2), column([[1, 2], [3]], long=3)
    assert (long == short).all()
    assert (long.flags.writeable, short.flags.writeable) == (False, True)
    assert list(tmp_path.iterdir()) == []


def resident(pages: np.ndarray[tuple[int], np.dtype[np.int64]]) -> int:
    """Return the bytes of a mapping that are in memory of this process."""
    start = pages.__array_interface__["data"][0]
    found = False
    for line in Path("/proc/self/smaps").read_text("utf-8").splitlines():
        if "-" in line.split(" ", 1)[0]:
            low, high = (int(edge, 16) for edge in line.split(" ", 1)[0].split("-"))
            found = low <= start < high
        elif found and line.startswith("Rss:"):
            return 1024 * int(line.split()[1])
    raise AssertionError("the column is not mapped")


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="Linux tells what is resident")
def test_released_pages_leave_memory_and_come_back_when_read() -> None:
    found = column([list(range(1000))] * 500, long=0)
    assert int(found.sum()) == 500 * 499_500
    assert resident(found) > 3_000_000
    release(found[7:9])
    assert resident(found) == 0
    assert int(found.sum()) == 500 * 499_500


def test_release_leaves_an_array_that_may_be_written_to_as_it_is(tmp_path: Path) -> None:
    np.save(tmp_path / "own.npy", np.zeros(5000))
    own = np.load(tmp_path / "own.npy", mmap_mode="c")
    own[:] = 7.0  # in memory alone: letting go would lose it
    memory = np.full(3, 7.0)
    for each in (own, own[10:], np.asarray(own), memory):
        release(each)
    assert (own == 7.0).all()
    assert (memory == 7.0).all()
