"""A kill loses no join; a store that was deleted, edited or put back opens no more."""

import shutil
import signal
import sqlite3
from pathlib import Path

import pytest

from homebody_client.participation_store import ParticipationStore
from homebody_privacy.anchor import START
from homebody_privacy.errors import IntegrityError, PolicyViolationError, UsageError

from .device_home import FREE, MODEL, RULES, Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.mark.parametrize(
    ("moment", "joins"),
    [
        ("after admission", 0),
        ("before the commit", 0),
        ("before the anchor", 1),
        ("after the record", 1),
    ],
)
def test_pf_14_a_kill_at_any_step_loses_no_join_that_was_handed_over(
    home: Home, moment: str, joins: int
) -> None:
    home.join(1, rules=FREE)
    with home.process(moment, 2, 3) as process:
        output, _ = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert output == ("2\n" if moment == "after the record" else "")
    with home.open() as store:
        assert store.joins(0, "autumn") == 1 + joins
        store.admit(0, FREE, 2)
        store.record(0, FREE, 2, MODEL)
        assert store.joins(0, "autumn") == 2
        mark = home.book().mark("participation")
        assert mark is not None
        assert mark.size == 2


def test_pf_14_a_kill_at_a_random_moment_loses_no_join_that_was_reported(home: Home) -> None:
    first = 1
    for lines in (1, 9, 17):
        with home.process("never", first, 10**6) as process:
            assert process.stdout is not None
            for _ in range(lines):
                process.stdout.readline()
            process.kill()
            reported = first - 1 + lines + len(process.stdout.read().splitlines())
        with home.open() as store:
            joins = store.joins(0, "autumn")
        assert reported <= joins <= reported + 1
        first = joins + 1


def test_several_processes_lose_no_join_of_each_other(home: Home) -> None:
    processes = [home.process("never", 1, 31, device) for device in range(3)]
    for process in processes:  # all three find no file and make it
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        assert len(output.split()) == 30
    with home.open() as store:
        assert [store.joins(device, "autumn") for device in range(3)] == [30, 30, 30]
    mark = home.book().mark("participation")
    assert mark is not None
    assert mark.size == 90


def test_pf_17_an_admission_does_not_outlast_what_another_process_joined(home: Home) -> None:
    with home.open() as one, home.open() as two:
        one.admit(0, RULES, 5)
        two.admit(0, RULES, 1)
        two.record(0, RULES, 1, MODEL)
        with pytest.raises(PolicyViolationError, match="too few rounds"):
            one.record(0, RULES, 5, MODEL)
        assert one.joins(0, "autumn") == two.joins(0, "autumn") == 1


def test_pf_42_cr_33_every_older_copy_is_refused_by_every_call(home: Home) -> None:
    copies = []
    for number in (1, 11, 21):
        home.join(number)
        copies.append(home.folder / f"copy {number}")
        shutil.copy(home.path, copies[-1])
    for copy in copies[:-1]:
        shutil.copy(copy, home.path)
        with pytest.raises(IntegrityError, match="older copy was put back") as refused:
            home.open()
        assert refused.value.exit_code == 14
    shutil.copy(copies[-1], home.path)
    with home.open() as store:
        assert store.joins(0, "autumn") == 3


def test_pf_42_a_store_that_is_open_shuts_when_an_older_copy_is_put_back(home: Home) -> None:
    home.join(1)
    older = home.path.read_bytes()
    home.join(11)
    with home.open() as store:
        home.path.write_bytes(older)
        with pytest.raises(IntegrityError):
            store.admit(0, RULES, 21)
        with pytest.raises(IntegrityError):
            store.admit_many([1], RULES, 21)
        with pytest.raises(IntegrityError):
            store.record(0, RULES, 21, MODEL)
        with pytest.raises(IntegrityError):
            store.spent(0, 1e-5)
        with pytest.raises(IntegrityError):
            store.joins(0, "autumn")
    with pytest.raises(IntegrityError):
        home.open()


@pytest.mark.parametrize("left", ["nothing", "an empty file"])
def test_pf_42_a_deleted_file_is_refused_and_not_made_anew(home: Home, left: str) -> None:
    home.join(1)
    home.path.unlink()
    if left == "an empty file":
        home.path.touch()
    for _ in range(2):
        with pytest.raises(IntegrityError, match="it was deleted"):
            home.open()
    assert home.path.exists() == (left == "an empty file")


def test_pf_42_a_reinstalled_device_joins_again_only_as_another(home: Home) -> None:
    home.join(1, 11)
    home.path.unlink()
    with pytest.raises(IntegrityError):
        home.open()
    other = home.folder / "second.db"
    with pytest.raises(IntegrityError):
        ParticipationStore.open(other, anchors=home.book())
    with ParticipationStore.open(other, anchors=home.book(), name="participation/2") as store:
        with pytest.raises(PolicyViolationError):
            store.admit(0, RULES, 12, known_joins=4)  # what the server knows still counts
        store.admit(0, RULES, 12)


def test_pf_42_deleted_anchors_are_noticed(home: Home) -> None:
    home.join(1)
    shutil.rmtree(home.folder / "anchors")
    with pytest.raises(IntegrityError, match="its anchor is gone"):
        home.open()
    with pytest.raises(UsageError, match="without its anchors"):
        ParticipationStore.open(home.path, anchors=None)


def test_a_file_cannot_be_moved_to_another_anchor(home: Home) -> None:
    home.join(1)
    with pytest.raises(IntegrityError, match="another name"):
        ParticipationStore.open(home.path, anchors=home.book(), name="participation/2")


def test_a_file_may_not_lie_beside_its_own_anchor(home: Home) -> None:
    with pytest.raises(ValueError, match="folder of its anchors"):
        ParticipationStore.open(home.folder / "anchors" / "joins.db", anchors=home.book())


def test_a_file_without_anchors_says_so_and_can_be_anchored_later(home: Home) -> None:
    with ParticipationStore.open(home.path, anchors=None) as store:
        assert not store.anchored
        store.record(0, RULES, 1, MODEL)
    with home.open() as store:
        assert store.anchored
        assert store.joins(0, "autumn") == 1
    home.path.unlink()
    with pytest.raises(IntegrityError):
        home.open()


def test_a_first_start_cut_short_after_the_announcement_starts_again(home: Home) -> None:
    home.book().advance("participation", START)
    home.path.touch()
    home.join(1)
    with home.open() as store:
        assert store.joins(0, "autumn") == 1


EDITS = [
    "UPDATE joins SET round = 2 WHERE n = 1",
    "UPDATE joins SET square = 0.0 WHERE n = 2",
    "UPDATE joins SET square = -1.0 WHERE n = 2",
    "UPDATE joins SET device = 1 WHERE n = 3",
    "UPDATE joins SET device = 'one' WHERE n = 3",
    "UPDATE joins SET run = 'other' WHERE n = 3",
    "UPDATE joins SET model = 'text' WHERE n = 1",
    "UPDATE joins SET head = x'00' WHERE n = 3",
    "UPDATE joins SET n = 7 WHERE n = 3",
    "DELETE FROM joins WHERE n = 1",
    "DROP TABLE joins",
    "DELETE FROM anchor",
    "INSERT INTO anchor VALUES ('other')",
    "PRAGMA user_version = 2",
]


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_is_noticed_even_without_anchors(home: Home, edit: str) -> None:
    with ParticipationStore.open(home.path, anchors=None) as store:
        for number in (1, 11, 21):
            store.record(0, RULES, number, MODEL)
    _edit(home, edit)
    with pytest.raises(IntegrityError):
        ParticipationStore.open(home.path, anchors=None)


def test_a_join_taken_off_the_end_is_noticed_through_the_anchor_alone(home: Home) -> None:
    with ParticipationStore.open(home.path, anchors=None) as store:
        store.record_many(range(3), RULES, 1, MODEL)
    _edit(home, "DELETE FROM joins WHERE n = 3")
    with home.open() as store:  # weaker: nobody can tell; from here on it is anchored
        assert store.joins(2, "autumn") == 0
    _edit(home, "DELETE FROM joins WHERE n = 2")
    with pytest.raises(IntegrityError, match="removed, or an older copy"):
        home.open()


def test_an_open_store_without_anchors_sees_that_what_it_read_is_gone(home: Home) -> None:
    with ParticipationStore.open(home.path, anchors=None) as store:
        store.record(0, RULES, 1, MODEL)
        older = home.path.read_bytes()
        store.record(0, RULES, 11, MODEL)
        assert store.joins(0, "autumn") == 2
        home.path.write_bytes(older)
        with pytest.raises(IntegrityError, match="not there any more"):
            store.admit(0, RULES, 21)


def _edit(home: Home, statements: str) -> None:
    db = sqlite3.connect(home.path)
    db.executescript(statements)
    db.close()


def test_a_file_that_denies_its_anchor_is_held_to_it(home: Home) -> None:
    home.join(1, 11)
    _edit(home, "UPDATE anchor SET name = ''; DELETE FROM joins WHERE n = 2")
    with pytest.raises(IntegrityError, match="removed, or an older copy"):
        home.open()


def test_a_file_of_another_kind_is_refused(home: Home) -> None:
    home.path.write_bytes(b"no database at all, but long enough to have a header" * 10)
    with pytest.raises(IntegrityError, match="damaged or no record"):
        home.open()
    home.path.unlink()
    _edit(home, "CREATE TABLE notes (text TEXT)")
    with pytest.raises(IntegrityError, match="not a record"):
        home.open()
