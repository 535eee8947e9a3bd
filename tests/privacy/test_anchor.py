"""Anchors: they only move forward, survive a kill, and show what was deleted, cut or put back."""

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homebody_privacy import anchor
from homebody_privacy.anchor import START, AnchorBook, Mark, check
from homebody_privacy.durable import write_durably
from homebody_privacy.errors import IntegrityError, InvalidFileError

_ADVANCE = """
import sys
from pathlib import Path
from homebody_privacy.anchor import AnchorBook, Mark
folder, name, times = sys.argv[1:]
book = AnchorBook.open(Path(folder))
for size in range(1, int(times) + 1):
    book.advance(name, Mark(size, f"{size:064x}"))
    print(size, flush=True)
"""


def mark(size: int) -> Mark:
    """Return a mark of this size whose head is the size."""
    return Mark(size, f"{size:064x}")


def chain(entries: list[bytes]) -> list[str]:
    """Return the head after each entry."""
    heads, head = [], bytes(32)
    for entry in entries:
        head = hashlib.sha256(head + entry).digest()
        heads.append(head.hex())
    return heads


def checked(kept: Mark | None, entries: list[bytes], *, anchored: bool = False) -> None:
    heads = chain(entries)
    check(
        kept,
        lambda i: heads[i - 1] if i <= len(heads) else None,
        len(heads),
        "thing",
        anchored=anchored,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state" / "anchors"


@pytest.fixture
def book(folder: Path) -> AnchorBook:
    """A book of two marks."""
    book = AnchorBook.open(folder)
    book.advance("ledger/b", mark(3))
    book.advance("ledger/a", mark(2))
    return book


def test_a_mark_is_there_after_a_restart(book: AnchorBook, folder: Path) -> None:
    again = AnchorBook.open(folder)
    assert again == book
    assert (again.mark("ledger/a"), again.mark("ledger/b")) == (mark(2), mark(3))
    assert again.mark("ledger/c") is None


def test_names_are_found_by_their_beginning(book: AnchorBook) -> None:
    book.advance("participation", START)
    assert book.names("ledger/") == ["ledger/a", "ledger/b"]
    assert book.names() == ["ledger/a", "ledger/b", "participation"]


def test_nobody_but_the_owner_may_read_the_folder_or_its_files(
    book: AnchorBook, folder: Path
) -> None:
    assert folder.stat().st_mode & 0o777 == 0o700
    modes = {file.name: file.stat().st_mode & 0o777 for file in folder.iterdir()}
    assert modes == {"anchors.json": 0o600, "anchors.key": 0o600, "anchors.lock": 0o600}
    assert book.key.hex() not in repr(book)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(size=st.integers(1, 6), head=st.integers(1, 6))
def test_a_mark_never_goes_back(book: AnchorBook, size: int, head: int) -> None:
    before = book.mark("ledger/b")
    assert before is not None
    new = Mark(size, f"{head:064x}")
    if size > before.size or new == before:
        book.advance("ledger/b", new)
        assert book.mark("ledger/b") == new
    else:
        with pytest.raises(IntegrityError, match="does not go back"):
            book.advance("ledger/b", new)
        assert book.mark("ledger/b") == before
    assert book.mark("ledger/a") == mark(2)


def test_the_start_may_be_announced_once_and_not_after_an_entry(book: AnchorBook) -> None:
    book.advance("new", START)
    book.advance("new", START)
    assert book.mark("new") == START
    book.advance("new", mark(1))
    with pytest.raises(IntegrityError):
        book.advance("new", START)


def test_the_same_mark_again_writes_nothing(book: AnchorBook, folder: Path) -> None:
    before = (folder / "anchors.json").stat()
    book.advance("ledger/a", mark(2))
    assert (folder / "anchors.json").stat() == before


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(where=st.integers(0, 10_000), flip=st.integers(1, 255))
def test_any_flipped_bit_is_noticed(book: AnchorBook, folder: Path, where: int, flip: int) -> None:
    path = folder / "anchors.json"
    whole = path.read_bytes()
    content = bytearray(whole)
    content[where % len(content)] ^= flip
    path.write_bytes(content)
    with pytest.raises(IntegrityError):
        book.mark("ledger/a")
    with pytest.raises(IntegrityError):
        book.advance("ledger/a", mark(9))
    path.write_bytes(whole)


def test_a_row_taken_out_of_the_file_is_noticed(book: AnchorBook, folder: Path) -> None:
    path = folder / "anchors.json"
    content = json.loads(path.read_bytes())
    del content["body"]["marks"]["ledger/a"]
    path.write_text(json.dumps(content, separators=(",", ":"), sort_keys=True))
    with pytest.raises(IntegrityError, match="tag does not fit"):
        book.names()


@pytest.mark.parametrize("name", ["anchors.json", "anchors.key"])
def test_a_missing_part_is_noticed(book: AnchorBook, folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(IntegrityError, match=f"{name}.*it is missing"):
        AnchorBook.open(folder)
    if name == "anchors.json":
        with pytest.raises(IntegrityError, match="it is missing"):
            book.mark("ledger/a")


@pytest.mark.parametrize("key", [bytes(32), bytes(31), b""])
def test_another_key_is_noticed(book: AnchorBook, folder: Path, key: bytes) -> None:
    assert book.key != key
    (folder / "anchors.key").write_bytes(key)
    with pytest.raises(IntegrityError):
        AnchorBook.open(folder)


def test_a_key_that_others_may_read_is_refused(book: AnchorBook) -> None:
    (book.folder / "anchors.key").chmod(0o640)
    with pytest.raises(InvalidFileError, match="rights to this key"):
        AnchorBook.open(book.folder)


def test_a_first_use_cut_short_is_made_again(folder: Path) -> None:
    AnchorBook.open(folder)
    (folder / "anchors.key").unlink()  # what a kill between marks and key leaves
    (folder / ".anchors.key.new").write_bytes(b"half")
    book = AnchorBook.open(folder)
    book.advance("ledger/a", mark(1))
    assert AnchorBook.open(folder).mark("ledger/a") == mark(1)


def test_a_first_use_stopped_between_its_two_files_is_made_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, calls = write_durably, []

    def stop_at_the_second(path: Path, content: bytes, *, mode: int) -> None:
        calls.append(path.name)
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, "no space left")
        put(path, content, mode=mode)

    with monkeypatch.context() as full:
        full.setattr(anchor, "write_durably", stop_at_the_second)
        with pytest.raises(OSError, match="no space"):
            AnchorBook.open(folder)
    assert len(calls) == 2
    assert AnchorBook.open(folder).names() == []


def test_marks_cut_short_before_they_were_put_in_place_change_nothing(
    book: AnchorBook, folder: Path
) -> None:
    (folder / ".anchors.json.new").write_bytes(b'{"body":')
    assert AnchorBook.open(folder).mark("ledger/b") == mark(3)
    book.advance("ledger/b", mark(4))
    assert book.mark("ledger/b") == mark(4)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"body":{"marks":{}}}', b"[" * 99_999])
def test_anchors_without_a_key_are_made_anew_only_if_no_mark_is_lost(
    book: AnchorBook, folder: Path, content: bytes
) -> None:
    (folder / "anchors.key").unlink()
    (folder / "anchors.json").write_bytes(content)
    if content == b'{"body":{"marks":{}}}':
        assert AnchorBook.open(folder).names() == []
        assert AnchorBook.open(folder).key != book.key
    else:
        with pytest.raises(IntegrityError):
            AnchorBook.open(folder)


@pytest.mark.parametrize(
    ("size", "head"),
    [(-1, "1" * 64), (1, "0" * 64), (0, "1" * 64), (1, "A" * 64), (1, "1" * 63), (2**53, "1" * 64)],
)
def test_a_mark_no_record_can_have_cannot_be_built(size: int, head: str) -> None:
    with pytest.raises(ValueError, match=r"size|head"):
        Mark(size, head)


@pytest.mark.parametrize("name", ["", "x" * 8193, "a\nb", "\ud800"])
def test_a_name_that_cannot_be_kept_is_refused(book: AnchorBook, name: str) -> None:
    with pytest.raises(ValueError, match="printable"):
        book.advance(name, mark(1))


ENTRIES = st.lists(st.binary(max_size=3), min_size=1, max_size=12)


@given(entries=ENTRIES, data=st.data())
def test_a_record_at_or_ahead_of_its_anchor_passes_and_behind_it_does_not(
    entries: list[bytes], data: st.DataObject
) -> None:
    size = data.draw(st.integers(1, len(entries)))
    kept = Mark(size, chain(entries)[size - 1])
    for length in range(size, len(entries) + 1):
        checked(kept, entries[:length], anchored=True)
    for length in range(1, size):
        with pytest.raises(IntegrityError, match="removed, or an older copy"):
            checked(kept, entries[:length], anchored=True)
    with pytest.raises(IntegrityError, match="it was deleted"):
        checked(kept, [], anchored=True)


@given(entries=ENTRIES, data=st.data())
def test_an_entry_exchanged_before_the_anchor_is_noticed_and_one_behind_it_is_not(
    entries: list[bytes], data: st.DataObject
) -> None:
    size = data.draw(st.integers(1, len(entries)))
    where = data.draw(st.integers(0, len(entries) - 1))
    kept = Mark(size, chain(entries)[size - 1])
    other = [*entries[:where], entries[where] + b"!", *entries[where + 1 :]]
    if where < size:
        with pytest.raises(IntegrityError, match="rewritten"):
            checked(kept, other)
    else:
        checked(kept, other)


def test_deleted_anchors_are_noticed_by_a_record_that_says_it_has_one() -> None:
    checked(None, [b"a"])
    with pytest.raises(IntegrityError, match="its anchor is gone"):
        checked(None, [b"a"], anchored=True)


def test_a_record_that_was_only_announced_may_be_missing() -> None:
    checked(START, [])
    checked(START, [b"a"], anchored=True)


def test_pf_42_no_refusal_says_how_far_a_record_had_come(book: AnchorBook) -> None:
    book.advance("ledger/b", mark(987_654))
    with pytest.raises(IntegrityError) as first:
        book.advance("ledger/b", mark(123_456))
    with pytest.raises(IntegrityError) as second:
        checked(mark(987_654), [b"a"])
    said = f"{first.value} {first.value.fix} {second.value} {second.value.fix}"
    assert "987654" not in said
    assert "123456" not in said
    assert mark(987_654).head not in said


def advancing(folder: Path, name: str, times: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", _ADVANCE, str(folder), name, str(times)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("after", [1, 20])
def test_every_mark_that_was_reported_outlives_a_kill(folder: Path, after: int) -> None:
    with advancing(folder, "ledger/a", 100_000) as process:
        assert process.stdout is not None
        for _ in range(after):
            process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
        reported = after + len(process.stdout.read().splitlines())
        assert process.wait() == -signal.SIGKILL
    kept = AnchorBook.open(folder).mark("ledger/a")
    assert kept in {mark(reported), mark(reported + 1)}


def test_several_processes_lose_no_mark_of_each_other(folder: Path) -> None:
    names = ["ledger/a", "ledger/b", "ledger/c"]  # all three find no anchors and make them
    processes = [advancing(folder, name, 30) for name in names]
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    book = AnchorBook.open(folder)
    assert [book.mark(name) for name in names] == [mark(30)] * 3
