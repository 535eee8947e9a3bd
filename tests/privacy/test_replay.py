"""A message is taken once: the same twice, an old session, after a restart and after kill -9."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homebody_privacy.errors import (
    IntegrityError,
    InvalidFileError,
    SealRefusedError,
    UsageError,
)
from homebody_privacy.replay import ReplayCache
from homebody_privacy.sealing import open_sealed, read_context

from .sealed_world import NODE, NOW, OTHER, SERVER_KEY, context, counted, opened, sealed

KEY = counted(0x70, 32)
_TAKES_UNTIL_KILLED = """\
import sys
from contextlib import closing
from pathlib import Path
from homebody_privacy.replay import ReplayCache
cache = ReplayCache(Path(sys.argv[1]), bytes.fromhex(sys.argv[2]), durable=sys.argv[3] == "True")
for session in range(10_000):
    assert cache.accept("autumn", session, "update", bytes(32), "up")
    print(session, flush=True)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "replay.db"


def asked(cache: ReplayCache, statement: str) -> int:
    """Return the one number a statement gives on the cache's own connection."""
    return int(cache._db.execute(statement).fetchone()[0])  # noqa: SLF001 - nothing else shows it


def taken_rows(path: Path) -> list[tuple[bytes, bytes]]:
    """Return tag and run of each row, as anybody sees them who has the file."""
    with closing(sqlite3.connect(path)) as db:
        return db.execute("SELECT tag, run FROM taken").fetchall()


def fill(cache: ReplayCache) -> None:
    """Take new messages for ever."""
    while True:
        cache.accept("autumn", 1, "update", os.urandom(32), "up")


def received(cache: ReplayCache, envelope: bytes) -> bool:
    """Take an envelope as a server does: opened first, then held against the cache."""
    opened(envelope)
    head = read_context(envelope)
    return cache.accept(head.run, head.session, head.step, head.node_id, head.direction)


def test_pf_38_the_same_envelope_twice_is_taken_once(path: Path) -> None:
    with ReplayCache(path, KEY) as cache:
        envelope = sealed()
        assert received(cache, envelope)
        assert not received(cache, envelope)
        assert not received(cache, sealed(b"another body in the same place"))


def test_pf_38_an_envelope_of_an_old_session_is_refused(path: Path) -> None:
    with ReplayCache(path, KEY) as cache:
        cache.close_session("autumn", 12)
        for session in (0, 11, 12):
            assert not cache.accept("autumn", session, "update", NODE.node_id, "up")
        assert cache.accept("autumn", 13, "update", NODE.node_id, "up")
        assert cache.accept("winter", 12, "update", NODE.node_id, "up")
    with pytest.raises(SealRefusedError, match="wrong-session"):
        opened(sealed(session=11))


def test_pf_38_an_envelope_under_another_nodes_id_is_refused(path: Path) -> None:
    with pytest.raises(SealRefusedError, match="wrong-node"):
        opened(sealed(node_id=OTHER.node_id))
    with pytest.raises(SealRefusedError, match="bad-signature"):
        open_sealed(
            sealed(node_id=OTHER.node_id),  # signed by ``NODE``
            expected=context(node_id=OTHER.node_id),
            key=SERVER_KEY,
            sender=OTHER.signing.public,
            now=NOW,
        )
    with ReplayCache(path, KEY) as cache:
        assert cache.accept("autumn", 12, "update", NODE.node_id, "up")
        assert cache.accept("autumn", 12, "update", OTHER.node_id, "up")


def test_pf_38_what_was_taken_stays_taken_after_the_cache_was_reopened(path: Path) -> None:
    envelope = sealed()
    with ReplayCache(path, KEY) as cache:
        assert received(cache, envelope)
        cache.close_session("winter", 3)
    with ReplayCache(path, KEY) as cache:
        assert not received(cache, envelope)
        assert not cache.accept("winter", 3, "update", NODE.node_id, "up")
        assert cache.accept("autumn", 13, "update", NODE.node_id, "up")


@pytest.mark.parametrize("durable", [True, False])
def test_pf_38_what_was_taken_survives_kill_9(path: Path, durable: bool) -> None:  # noqa: FBT001
    command = [sys.executable, "-c", _TAKES_UNTIL_KILLED, str(path), KEY.hex(), str(durable)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as taker:
        assert taker.stdout is not None
        said = [taker.stdout.readline() for _ in range(20)]
        taker.kill()
        said += taker.stdout.readlines()
    told = [int(line) for line in said if line.endswith("\n")]
    assert told[:20] == list(range(20))
    with ReplayCache(path, KEY) as cache:
        assert not any(cache.accept("autumn", one, "update", bytes(32), "up") for one in told)
        assert cache.accept("autumn", told[-1] + 2, "update", bytes(32), "up")


WHERE = st.tuples(
    st.sampled_from(["autumn", "winter"]),
    st.integers(0, 3),
    st.sampled_from(["share", "update"]),
    st.sampled_from([NODE.node_id, OTHER.node_id]),
    st.sampled_from(["up", "down"]),
)


@given(st.lists(WHERE | st.tuples(st.sampled_from(["autumn", "winter"]), st.integers(0, 3))))
def test_the_cache_is_a_set_that_forgets_closed_sessions_and_never_reopens_them(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[object, ...]]
) -> None:
    path = tmp_path_factory.mktemp("replay") / "replay.db"
    taken: set[tuple[str, int, str, bytes, str]] = set()
    closed = {"autumn": -1, "winter": -1}
    with ReplayCache(path, KEY, durable=False) as cache:
        for step in steps:
            match step:
                case (str(run), int(session)):
                    cache.close_session(run, session)
                    closed[run] = max(closed[run], session)
                case (str(run), int(session), str(leg), bytes(node), str(direction)):
                    message = (run, session, leg, node, direction)
                    fresh = message not in taken and session > closed[run]
                    assert cache.accept(*message) == fresh
                    taken.add(message)
        rows = taken_rows(path)
    gone = {run: range(last + 1) for run, last in closed.items()}
    assert len(rows) == len([run for run, session, *_ in taken if session not in gone[run]])


def test_no_id_can_be_read_in_the_file_and_dropped_rows_are_gone_from_it(path: Path) -> None:
    with ReplayCache(path, KEY) as cache:
        for number in range(40):
            assert cache.accept("autumn", 5, "update", counted(number, 32), "up")
        tags = [tag for tag, _ in taken_rows(path)]
        assert len(tags) == len(set(tags)) == 40
        before = _everything(path)
        assert any(tag in before for tag in tags)
        for number in range(40):
            assert counted(number, 32) not in before
            assert counted(number, 32).hex().encode() not in before
        assert b"autumn" not in before
        assert KEY not in before
        cache.close_session("autumn", 5)
        after = _everything(path)
        assert not any(tag in after for tag in tags)


def _everything(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(path.parent.glob("replay.db*")))


def test_another_key_names_the_same_message_otherwise_and_does_not_open_the_file(
    path: Path, tmp_path: Path
) -> None:
    ReplayCache(path, KEY).close()
    with pytest.raises(IntegrityError, match="another key"):
        ReplayCache(path, bytes(32))
    tags = []
    for number, key in enumerate((KEY, bytes(32))):
        file = tmp_path / f"{number}.db"
        with ReplayCache(file, key) as cache:
            assert cache.accept("autumn", 1, "update", NODE.node_id, "up")
        tags += taken_rows(file)
    assert set(tags[0]).isdisjoint(tags[1])


def test_every_answer_is_synced_before_it_is_given(path: Path) -> None:
    with ReplayCache(path, KEY) as cache:
        assert asked(cache, "SELECT journal_mode = 'wal' FROM pragma_journal_mode") == 1
        assert asked(cache, "PRAGMA synchronous") == 2  # FULL
        assert asked(cache, "PRAGMA secure_delete") == 1
    with ReplayCache(path, KEY, durable=False) as cache:
        assert asked(cache, "PRAGMA synchronous") == 1  # NORMAL: told apart by a power cut alone


def test_the_file_is_its_owners_alone(path: Path) -> None:
    with ReplayCache(path, KEY) as cache:
        assert cache.accept("autumn", 1, "update", NODE.node_id, "up")
        modes = {file.stat().st_mode & 0o777 for file in path.parent.glob("replay.db*")}
    assert modes == {0o600}
    path.chmod(0o640)
    with pytest.raises(InvalidFileError, match="others than the owner"):
        ReplayCache(path, KEY)


def test_two_processes_share_one_memory(path: Path) -> None:
    with ReplayCache(path, KEY) as one, ReplayCache(path, KEY) as other:
        assert one.accept("autumn", 1, "update", NODE.node_id, "up")
        assert not other.accept("autumn", 1, "update", NODE.node_id, "up")
        other.close_session("autumn", 1)
        assert not one.accept("autumn", 1, "update", OTHER.node_id, "up")


def test_a_damaged_file_is_refused(path: Path) -> None:
    path.write_bytes(b"no database" * 100)
    path.chmod(0o600)
    with pytest.raises(IntegrityError, match="damaged"):
        ReplayCache(path, KEY)


def test_a_file_of_another_version_is_refused(path: Path) -> None:
    ReplayCache(path, KEY).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 2")
    with pytest.raises(IntegrityError, match="version"):
        ReplayCache(path, KEY)


def test_a_file_another_process_keeps_locked_is_a_refusal(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("homebody_privacy.replay._PATIENCE_S", 0.01)
    with ReplayCache(path, KEY) as cache:
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(UsageError, match="locked"):
            cache.accept("autumn", 1, "update", NODE.node_id, "up")
        holder.execute("ROLLBACK")
        holder.close()
        assert cache.accept("autumn", 1, "update", NODE.node_id, "up")


def test_a_full_disk_is_a_refusal_and_nothing_was_taken(path: Path) -> None:
    with ReplayCache(path, KEY) as cache:
        pages = asked(cache, "PRAGMA page_count")
        asked(cache, f"PRAGMA max_page_count = {pages}")
        assert cache.accept("autumn", 1, "update", NODE.node_id, "up")
        with pytest.raises(InvalidFileError, match="nothing can be written") as refusal:
            fill(cache)
        assert "room on the disk" in refusal.value.fix
        kept = len(taken_rows(path))
        asked(cache, "PRAGMA max_page_count = 100000")
        assert not cache.accept("autumn", 1, "update", NODE.node_id, "up")
        assert cache.accept("autumn", 1, "update", OTHER.node_id, "up")
        assert len(taken_rows(path)) == kept + 1


@pytest.mark.parametrize("session", [-1, 2**53, True, 1.0])
def test_a_session_is_a_serial_from_0(path: Path, session: int) -> None:
    with ReplayCache(path, KEY) as cache:
        with pytest.raises(ValueError, match="session"):
            cache.accept("autumn", session, "update", NODE.node_id, "up")
        with pytest.raises(ValueError, match="session"):
            cache.close_session("autumn", session)


def test_a_key_has_32_bytes(path: Path) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        ReplayCache(path, bytes(31))
