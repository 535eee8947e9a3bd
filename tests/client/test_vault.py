"""A vault changes in one step; a key that was destroyed is in no copy that still opens."""

import os
import random
import signal
import time
from itertools import count
from pathlib import Path
from typing import NoReturn

import pytest

from homebody_client.keystores import FileKeyStore
from homebody_client.secret_files import replace_secret
from homebody_client.vault import Json, Vault
from homebody_privacy.errors import IntegrityError, UsageError

from .store_home import bytes_of, process

_CODE = """
import os, signal, sys
from pathlib import Path
from homebody_client import vault as module
from homebody_client.keystores import FileKeyStore
from homebody_client.vault import Vault
from homebody_privacy import durable

folder, die_at = Path(sys.argv[1]), int(sys.argv[2])
steps = 0
def step():
    global steps
    steps += 1
    if steps == die_at:
        os.kill(os.getpid(), signal.SIGKILL)

def stepping(call):
    def stepped(*args, **kwargs):
        step()
        result = call(*args, **kwargs)
        step()
        return result
    return stepped

store = FileKeyStore(folder)
vault = Vault.open(folder / "keys.vault", store)
if die_at:  # before and after each write of a file, and before each exchange of names
    Path.replace = stepping(Path.replace)
    module.replace_secret = stepping(module.replace_secret)
    FileKeyStore.write = stepping(FileKeyStore.write)
n = vault.value("n") or 0
while True:
    n += 1
    vault.change({"n": n, "old": n - 1}, new_keys=[f"purpose:{n}"], drop_keys=[f"purpose:{n - 1}"])
    print(n, flush=True)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "keys.vault"


def _open(file: Path) -> Vault:
    return Vault.open(file, FileKeyStore(file.parent))


def test_keys_and_values_outlive_a_restart(file: Path) -> None:
    vault = _open(file)
    assert (vault.names(), vault.key("a"), vault.value("a")) == ((), None, None)
    anchor: Json = {"count": 3, "head": "00ff", "seen": 1.5, "tags": ["a", None, True]}
    vault.change({"anchor": anchor, "epoch": 7}, new_keys=["purpose:training", "dedupe"])
    again = _open(file)
    assert again.names() == ("dedupe", "purpose:training", "anchor", "epoch")
    assert again.value("anchor") == anchor
    assert again.key("dedupe") == vault.key("dedupe")
    assert len(again.key("dedupe") or b"") == 32
    assert again.key("dedupe") != again.key("purpose:training")
    again.change({"epoch": None, "unknown": None}, drop_keys=["purpose:training", "unknown"])
    assert _open(file).names() == again.names() == ("dedupe", "anchor")
    assert (vault.kind, "whoever" in vault.weaker) == ("file", True)


def test_a_value_is_a_copy(file: Path) -> None:
    vault, given = _open(file), {"features": ["purchases"]}
    vault.change({"decision": given})
    given["features"].append("tastes")
    got = vault.value("decision")
    assert isinstance(got, dict)
    got["features"] = []
    assert vault.value("decision") == {"features": ["purchases"]}


def test_a_value_that_is_no_json_changes_nothing_and_is_not_quoted(file: Path) -> None:
    vault = _open(file)
    before = bytes_of(file.parent)
    loop: list[Json] = []
    loop.append(loop)
    wrong: tuple[object, ...] = (float("nan"), b"P-4711", {"P-4711"}, loop, {("P-4711",): 1})
    for value in wrong:
        with pytest.raises(ValueError, match="the value note is not JSON") as refused:
            vault.change({"note": value}, new_keys=["k"])  # type: ignore[dict-item]
        assert "4711" not in str(refused.value)
    assert (bytes_of(file.parent), vault.names()) == (before, ())


def test_files_and_repr_show_nothing(file: Path) -> None:
    vault = _open(file)
    vault.change({"note": "P-4711"}, new_keys=["purpose:training"])
    key = vault.key("purpose:training") or b""
    for kept in (bytes_of(file.parent), repr(vault).encode()):
        for secret in (key, key.hex().encode(), b"4711", b"purpose:training"):
            assert secret not in kept
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("how", ["dropped", "replaced"])
def test_r2_an_older_vault_does_not_open_once_a_key_was_destroyed(file: Path, how: str) -> None:
    vault = _open(file)
    vault.change(new_keys=["purpose:training"])
    old, key = file.read_bytes(), vault.key("purpose:training")
    if how == "dropped":
        vault.change(drop_keys=["purpose:training"])
        assert vault.key("purpose:training") is None
    else:
        vault.change(new_keys=["purpose:training"])
        assert vault.key("purpose:training") not in (None, key)
    file.write_bytes(old)
    with pytest.raises(IntegrityError, match="older copy"):
        _open(file)


def test_a_change_that_destroys_nothing_leaves_the_key_store_alone(file: Path) -> None:
    vault = _open(file)
    kek = (file.parent / "kek.key").read_bytes()
    vault.change({"epoch": 1}, new_keys=["a"], drop_keys=["unknown"])
    assert (file.parent / "kek.key").read_bytes() == kek
    vault.change(drop_keys=["a"])
    assert (file.parent / "kek.key").read_bytes() != kek


def test_r5_a_vault_that_is_gone_or_was_emptied_is_no_first_start(file: Path) -> None:
    _open(file).change({"epoch": 7})
    sound = file.read_bytes()
    file.unlink()
    with pytest.raises(IntegrityError, match="it is gone"):
        _open(file)
    for content in (b"", b"{}", sound[:-1], sound[:20], sound + b"x", sound[:-1] + b"x"):
        file.write_bytes(content)
        with pytest.raises(IntegrityError, match="damaged"):
            _open(file)
    file.write_bytes(sound)
    assert _open(file).value("epoch") == 7
    FileKeyStore(file.parent).erase()
    with pytest.raises(IntegrityError, match="gone from its key store"):
        _open(file)


def test_what_another_process_changed_is_not_written_over(file: Path) -> None:
    here, there = _open(file), _open(file)
    there.change(new_keys=["purpose:training"])
    with pytest.raises(UsageError, match="another process"):
        here.change({"epoch": 1})
    there.change(drop_keys=["purpose:training"])
    with pytest.raises(UsageError, match="another process"):
        here.change({"epoch": 1})
    assert _open(file).names() == ()
    file.unlink()
    with pytest.raises(IntegrityError, match="gone"):
        there.change({"epoch": 1})


def test_a_destroyed_vault_leaves_no_file_and_can_be_begun_anew(file: Path) -> None:
    vault = _open(file)
    vault.change({"epoch": 7}, new_keys=["a"])
    vault.destroy()
    assert list(file.parent.iterdir()) == []
    assert (vault.names(), _open(file).names()) == ((), ())


def test_a_destruction_that_was_interrupted_is_finished(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault = _open(file)
    vault.change({"epoch": 7}, new_keys=["a"])
    with monkeypatch.context() as patched:
        patched.setattr(f"{Vault.__module__}.remove_secret", _fail)
        with pytest.raises(UsageError):
            vault.destroy()
    assert _open(file).names() == ()


@pytest.mark.parametrize("failing", [1, 2, 3])
def test_a_dropped_key_is_gone_from_memory_even_if_the_disk_fails(
    file: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    vault = _open(file)
    vault.change({"epoch": 1}, new_keys=["a", "b"])
    old, kept, calls = file.read_bytes(), vault.key("b"), count(1)
    write = FileKeyStore.write

    def replaced(path: Path, content: bytes) -> None:
        _fail() if next(calls) == failing else replace_secret(path, content)

    def written(store: FileKeyStore, key: bytes) -> None:
        _fail() if next(calls) == failing else write(store, key)

    with monkeypatch.context() as patched:
        patched.setattr(f"{Vault.__module__}.replace_secret", replaced)
        patched.setattr(FileKeyStore, "write", written)
        with pytest.raises(UsageError):
            vault.change({"epoch": 2}, drop_keys=["a"])
    assert (vault.key("a"), vault.key("b")) == (None, kept)
    assert _open(file).key("b") == kept  # old or new
    vault.change({"epoch": 3})
    again = _open(file)
    assert (again.names(), again.key("b"), again.value("epoch")) == (("b", "epoch"), kept, 3)
    file.write_bytes(old)
    with pytest.raises(IntegrityError):
        _open(file)


def _check_after_kill(folder: Path, told: int) -> None:
    vault = _open(folder / "keys.vault")
    n = vault.value("n") or 0
    assert n in (told, told + 1)
    assert isinstance(n, int)
    assert vault.value("old") == (n - 1 if n else None)
    assert [name for name in vault.names() if ":" in name] == ([f"purpose:{n}"] if n else [])
    assert len((folder / "kek.key").read_bytes()) == 32  # one key, the other is forgotten


def test_r17_a_process_killed_at_any_step_leaves_the_old_state_or_the_new(tmp_path: Path) -> None:
    for die_at in range(1, 17):
        folder = tmp_path / str(die_at)
        vault = _open(folder / "keys.vault")
        vault.change({"n": 1, "old": 0}, new_keys=["purpose:1"])
        child = process(_CODE, folder, die_at)
        told, _ = child.communicate(timeout=20)
        assert child.returncode == -signal.SIGKILL
        _check_after_kill(folder, int((told.split() or ["1"])[-1]))


def test_r17_a_process_killed_at_any_moment_leaves_the_old_state_or_the_new(
    tmp_path: Path,
) -> None:
    rng, told = random.Random(4), 0  # noqa: S311 - moments, no secret
    for _ in range(8):
        child = process(_CODE, tmp_path, 0)
        assert child.stdout is not None
        told = int(child.stdout.readline())
        time.sleep(rng.uniform(0, 0.05))
        os.kill(child.pid, signal.SIGKILL)
        rest, _ = child.communicate(timeout=20)
        lines = rest.split("\n")[:-1]  # a line that was cut was not told
        told = int(lines[-1]) if lines else told
        _check_after_kill(tmp_path, told)


def _fail(*_: object) -> NoReturn:
    raise UsageError("the disk is full")
