"""What a node keeps between two messages: durable, private, and gone when the session is over."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from homebody_client.secure.leg_store import LegStore, shared_memory
from homebody_client.secure.opening import store_key
from homebody_client.secure.session import OpenSession
from homebody_privacy.errors import IntegrityError, UsageError
from homebody_privacy.legs import Step

from .secure_town import Town
from .secure_vectors import RUN, STEPS

KEY = bytes(range(32))
HOSTED = ((0, 1), (2,), (3,), (4, 5))


def everything_in(folder: Path) -> bytes:
    """Return all bytes of all files of a folder."""
    return b"".join(file.read_bytes() for file in sorted(folder.iterdir()))


def test_what_was_put_is_there_for_the_next_process_and_readable_to_its_owner_alone(
    tmp_path: Path,
) -> None:
    path = tmp_path / "state.db"
    store = LegStore.open(path, KEY)
    store.put({("autumn", "notes"): b"told", ("autumn", "answer", 3, "share"): b"reply"})
    store.close()
    assert path.stat().st_mode & 0o777 == 0o600
    again = LegStore.open(path, KEY)
    assert again.get("autumn", "notes") == b"told"
    assert again.get("autumn", "answer", 3, "share") == b"reply"
    assert again.get("autumn", "answer", 3, "confirm") is None
    again.close()


def test_a_file_tells_neither_values_nor_names_nor_runs(tmp_path: Path) -> None:
    store = LegStore.open(tmp_path / "state.db", KEY)
    store.put({("planted-run-7731", "planted-name"): b"planted-value-5119"})
    store.close()
    content = everything_in(tmp_path)
    assert b"planted" not in content
    assert KEY not in content


def test_a_value_under_another_nodes_key_is_not_found(tmp_path: Path) -> None:
    store = LegStore.open(tmp_path / "state.db", KEY)
    store.put({("autumn", "notes"): b"told"})
    store.close()
    other = LegStore.open(tmp_path / "state.db", bytes(32))
    assert other.get("autumn", "notes") is None
    other.close()


@settings(max_examples=50)
@given(at=st.integers(0, 200), bit=st.integers(0, 7))
def test_a_changed_value_is_refused(at: int, bit: int) -> None:
    db = shared_memory()
    store = LegStore.in_memory(KEY, db)
    store.put({("autumn", "notes"): bytes(100)})
    ((body,),) = db.execute("SELECT body FROM legs")
    at %= len(body)
    changed = body[:at] + bytes([body[at] ^ 1 << bit]) + body[at + 1 :]
    db.execute("UPDATE legs SET body = ?", (changed,))
    with pytest.raises(IntegrityError):
        store.get("autumn", "notes")


def test_a_value_put_in_the_place_of_another_is_refused() -> None:
    db = shared_memory()
    store = LegStore.in_memory(KEY, db)
    store.put({("autumn", "notes"): b"one", ("winter", "notes"): b"two"})
    (first,), (second,) = db.execute("SELECT body FROM legs ORDER BY rowid")
    db.execute("UPDATE legs SET body = ? WHERE body = ?", (first, second))
    with pytest.raises(IntegrityError):
        store.get("winter", "notes")


def test_stores_of_two_nodes_in_one_memory_do_not_see_each_other() -> None:
    db = shared_memory()
    one, other = LegStore.in_memory(KEY, db), LegStore.in_memory(bytes(32), db)
    one.put({("autumn", "session"): b"mine"})
    other.put({("autumn", "session"): b"yours"})
    one.put({}, forget="autumn")
    assert one.get("autumn", "session") is None
    assert other.get("autumn", "session") == b"yours"


class Kept(RuleBasedStateMachine):
    """A store beside a dictionary."""

    names = st.tuples(st.sampled_from(["autumn", "winter"]), st.sampled_from(["notes", "session"]))

    def __init__(self) -> None:
        """Begin with nothing."""
        super().__init__()
        self.store, self.model = LegStore.in_memory(KEY), dict[tuple[str, str], bytes]()

    @rule(name=names, value=st.binary(max_size=20))
    def put(self, name: tuple[str, str], value: bytes) -> None:
        """Keep a value."""
        self.store.put({name: value})
        self.model[name] = value

    @rule(name=names)
    def remove(self, name: tuple[str, str]) -> None:
        """Remove a value."""
        self.store.put({name: None})
        self.model.pop(name, None)

    @rule(run=st.sampled_from(["autumn", "winter"]), value=st.binary(max_size=20))
    def forget(self, run: str, value: bytes) -> None:
        """Forget a run but for one value."""
        self.store.put({(run, "notes"): value}, forget=run)
        self.model = {k: v for k, v in self.model.items() if k[0] != run} | {(run, "notes"): value}

    @invariant()
    def agrees(self) -> None:
        """Hold the same."""
        for run in ("autumn", "winter"):
            for name in ("notes", "session"):
                assert self.store.get(run, name) == self.model.get((run, name))


TestKept = Kept.TestCase


@pytest.mark.parametrize("content", [b"no database at all, but long enough to be one" * 40, None])
def test_a_file_that_is_no_store_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "state.db"
    if content is None:
        db = sqlite3.connect(path)
        db.execute("PRAGMA user_version = 9")
        db.close()
    else:
        path.write_bytes(content)
    with pytest.raises(IntegrityError):
        LegStore.open(path, KEY)


def test_a_full_disk_is_an_error_a_person_can_act_on_and_keeps_the_old_value(
    tmp_path: Path,
) -> None:
    store = LegStore.open(tmp_path / "state.db", KEY)
    store.put({("autumn", "session"): b"old"})
    store._db.execute("PRAGMA max_page_count = 3")  # noqa: SLF001 - as if the disk were full
    with pytest.raises(UsageError, match="cannot be written") as caught:
        store.put({("autumn", "session"): bytes(100_000)})
    assert "room" in caught.value.fix
    assert store.get("autumn", "session") == b"old"
    store.close()


def test_one_message_of_a_node_is_answered_at_a_time(tmp_path: Path) -> None:
    one, entered, order = LegStore.open(tmp_path / "state.db", KEY), threading.Event(), []

    def second() -> None:
        other = LegStore.open(tmp_path / "state.db", KEY)
        entered.set()
        with other.alone():
            order.append("second")
        other.close()

    with one.alone():
        thread = threading.Thread(target=second)
        thread.start()
        assert entered.wait(10)
        thread.join(0.3)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
    one.close()


def session_of(town: Town) -> tuple[bytes, bytes]:
    """Return the open session of a node: its keys, and the row they are sealed in."""
    store = town.members[0].store
    content = store.get(RUN, "session")
    assert content is not None
    name = store._name((RUN, "session"))  # noqa: SLF001 - the row itself
    ((row,),) = store._db.execute("SELECT body FROM legs WHERE name = ?", (name,))  # noqa: SLF001
    return OpenSession.from_bytes(content).device, row


def test_of_a_session_that_is_over_no_key_is_left_in_any_file(tmp_path: Path) -> None:
    town = Town.of(HOSTED, tmp_path)
    town.enrol()
    seen: list[bytes] = []
    asked = town.sum()
    for step in STEPS:
        asked.leg(step)
        if step is not Step.UNMASK:
            keys, row = session_of(town)
            content = everything_in(tmp_path)
            assert keys[:200] not in content
            # A long value lies on several pages, each of which begins with its own header.
            assert any(row[at : at + 60] in content for at in range(0, len(row), 60))
            seen.append(row)
    assert asked.result().survivors
    content = everything_in(tmp_path)
    for row in seen:
        assert not any(row[at : at + 60] in content for at in range(0, len(row) - 60, 60))
    town.members[0].store.close()
    assert sorted(file.suffix for file in tmp_path.iterdir()) == [".db"] * 4 + [".lock"] * 4


_KILLED = """
import os, sys
from pathlib import Path
from homebody_client.secure.leg_store import LegStore
store = LegStore.open(Path(sys.argv[1]), bytes(range(32)))
for n in range(10**6):
    session, answer = ("autumn", "session"), ("autumn", "answer", n, "share")
    store.put({session: b"%09d" % n * 100, answer: b"x" * 50})
    sys.stdout.write(f"{n}\\n")
    sys.stdout.flush()
"""


def test_a_process_that_is_killed_leaves_what_it_said_was_kept(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    process = subprocess.Popen(
        [sys.executable, "-c", _KILLED, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for _ in range(7):
        process.stdout.readline()
    os.kill(process.pid, signal.SIGKILL)
    said = [*range(7), *map(int, process.stdout.read().split())]
    process.stdout.close()
    process.wait()
    store = LegStore.open(path, KEY)
    session = store.get("autumn", "session")
    assert session is not None
    last = int(session[:9])
    assert last in (said[-1], said[-1] + 1)
    for number in range(last + 1):
        assert store.get("autumn", "answer", number, "share") == b"x" * 50
    store.close()


def test_the_key_of_a_store_is_not_the_nodes_own() -> None:
    identity = Town.of(HOSTED[:1]).members[0].identity
    assert store_key(identity) != identity.signing.secret


def test_a_session_its_server_abandoned_is_wiped_by_the_next_message_of_any_run(
    tmp_path: Path,
) -> None:
    town = Town.of(HOSTED, tmp_path)
    town.enrol()
    town.sum().legs(until=Step.UPDATE)  # and then nothing more comes
    member = town.members[0]
    _, row = session_of(town)
    other = town.announcement(run="winter", session=1)
    member.node.answer(Step.ENROL, town.announce(other))
    assert member.store.get(RUN, "session") is not None  # it may still go on
    member.clock = lambda: town.now + 601
    later = town.announcement(run="winter", session=2)
    member.node.answer(Step.ENROL, town.announce(later))
    assert member.store.get(RUN, "session") is None
    content = everything_in(tmp_path)
    assert not any(row[at : at + 60] in content for at in range(0, len(row) - 60, 60))
