"""``homebody device init`` and ``status``: a profile begins with everything off, and says so."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from homebody_client.demo.shop import Shop
from homebody_privacy.errors import (
    IntegrityError,
    InvalidFileError,
    PolicyViolationError,
    UsageError,
)

from .device_commands import Commands, allow, begun, event, init, made_shop


@pytest.fixture(scope="module")
def fresh_shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return made_shop(tmp_path_factory.mktemp("begin"))


def test_init_says_where_the_key_is_that_it_is_weaker_and_that_everything_is_off(
    fresh_shop: Shop, tmp_path: Path
) -> None:
    profile = tmp_path / "p"
    begun(fresh_shop, profile)
    output = init(str(profile))  # again: it changes nothing and says the same
    assert "everything is off" in output
    assert "file. The key lies in a file beside what it opens" in output
    assert "which stays here" in output
    assert "demo-shop demo, serial 1" in output
    assert (profile / "privacy.toml").read_bytes() == fresh_shop.config.read_bytes()
    assert profile.stat().st_mode & 0o077 == 0


def test_init_copies_the_notices_the_config_names(fresh_shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "notice.txt").write_text("We suggest products.\n")
    config = tmp_path / "privacy.toml"
    notice = '\n[consent.notices]\nen = {{ file = "notice.txt", sha256 = "{}" }}\n'
    text = fresh_shop.config.read_text()
    config.write_text(text + notice.format("0" * 64))
    with pytest.raises(IntegrityError, match="notices"):
        init(str(tmp_path / "p"), "--config", str(config))
    assert not (tmp_path / "p" / "privacy.toml").exists()
    right = hashlib.sha256((tmp_path / "notice.txt").read_bytes()).hexdigest()
    config.write_text(text + notice.format(right))
    init(str(tmp_path / "p"), "--config", str(config))
    assert (tmp_path / "p" / "notice.txt").read_text() == "We suggest products.\n"


def test_without_a_config_nothing_can_be_allowed_and_status_says_so(tmp_path: Path) -> None:
    init(str(tmp_path / "p"))
    found = Commands(tmp_path / "p").json("status")
    assert found["config"] is None
    assert found["open"] == []
    assert found["model"] == {}
    assert found["problems"]
    assert found["readable"]
    assert Commands(tmp_path / "p").text("status").count("nothing can be allowed") == 1


def test_status_counts_rows_and_shows_none(fresh_shop: Shop, tmp_path: Path) -> None:
    commands = begun(fresh_shop, tmp_path / "p")
    allow(commands, "purchases")
    commands.text("record", event())
    found = commands.json("status")
    assert found["rows"] == {"purchases": 1}
    assert found["open"] == ["recommend:purchases"]
    assert found["key_store"]["kind"] == "file"
    assert len(found["device_key"]) == len(found["publisher_key"]) == 64
    assert "BREAD-01" not in json.dumps(found)


def test_a_mistyped_profile_is_refused_and_none_is_made(tmp_path: Path) -> None:
    with pytest.raises(InvalidFileError, match="no profile here") as refusal:
        Commands(tmp_path / "pofile").text("status")
    assert refusal.value.exit_code == 2
    assert "homebody device init" in refusal.value.fix
    assert not (tmp_path / "pofile").exists()


def test_a_model_without_its_publishers_key_is_refused(fresh_shop: Shop, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="publisher's key"):
        init(str(tmp_path / "p"), "--bundle", str(fresh_shop.bundle))
    assert not (tmp_path / "p").exists()


def test_another_publishers_key_is_never_taken_silently(fresh_shop: Shop, tmp_path: Path) -> None:
    begun(fresh_shop, tmp_path / "p")
    other = made_shop(tmp_path / "other")
    with pytest.raises(UsageError, match="another publisher's key"):
        init(str(tmp_path / "p"), "--key", str(other.key))
    with pytest.raises(IntegrityError):
        init(str(tmp_path / "p"), "--bundle", str(other.bundle))
    assert Commands(tmp_path / "p").json("status")["model"]["serial"] == 1


def test_a_config_of_a_lower_revision_is_refused_and_the_one_in_force_stays(
    fresh_shop: Shop, tmp_path: Path
) -> None:
    newer = tmp_path / "newer.toml"
    newer.write_text(fresh_shop.config.read_text().replace("revision = 1", "revision = 2"))
    commands = begun(fresh_shop, tmp_path / "p")
    init(str(tmp_path / "p"), "--config", str(newer))
    with pytest.raises(PolicyViolationError, match="revision"):
        init(str(tmp_path / "p"), "--config", str(fresh_shop.config))
    assert commands.json("status")["config"]["revision"] == 2
    allow(commands, "purchases")


def test_a_pass_phrase_seals_the_key_and_a_wrong_one_ends_with_2(
    fresh_shop: Shop, tmp_path: Path
) -> None:
    right, wrong, empty = (tmp_path / name for name in ("right", "wrong", "empty"))
    right.write_text("correct horse battery staple\n")
    wrong.write_text("Tr0ub4dor&3\n")
    empty.write_text("\n")
    commands = begun(fresh_shop, tmp_path / "p", "--passphrase-file", str(right))
    found = commands.json("status", "--passphrase-file", str(right))
    assert found["key_store"]["kind"] == "passphrase"
    assert "battery" not in json.dumps(found)
    for words, error in (
        (("--passphrase-file", str(wrong)), UsageError),
        ((), UsageError),
        (("--passphrase-file", str(empty)), InvalidFileError),
        (("--passphrase-file", str(tmp_path / "none")), InvalidFileError),
    ):
        with pytest.raises(error) as refusal:
            commands.text("status", *words)
        assert refusal.value.exit_code == 2
        assert "Tr0ub" not in f"{refusal.value}{refusal.value.fix}"


def test_damaged_keys_end_with_14_wherever_rows_are_shown(fresh_shop: Shop, tmp_path: Path) -> None:
    commands = begun(fresh_shop, tmp_path / "p")
    allow(commands, "purchases")
    commands.text("record", event())
    (tmp_path / "p" / "store.sqlite").write_bytes(b"not a store" * 1_000)
    for words in (
        ("knows",),
        ("record", event("TEA-01")),
        ("forget", "BREAD-01"),
        ("export", str(tmp_path / "mine.json")),
    ):
        with pytest.raises(IntegrityError):
            commands.text(*words)
    assert not commands.json("status")["readable"]
    assert len(commands.json("recommend")["recommended_products"]) == 10
    commands.text("erase", "--yes")
    assert commands.json("status")["readable"]
    assert commands.json("knows") == {"rows": []}


def test_a_lost_state_folder_ends_with_14_and_an_erase_begins_anew(
    fresh_shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOMEBODY_STATE", str(tmp_path / "state"))
    commands = begun(fresh_shop, tmp_path / "p")
    allow(commands, "purchases")
    (vault,) = (tmp_path / "state").glob("devices/*/keys.vault")
    vault.write_bytes(b"x" * 500)
    with pytest.raises(IntegrityError):
        commands.text("knows")
    assert "cannot be opened" in commands.text("status")
    commands.text("erase", "--yes")
    shutil.rmtree(tmp_path / "state")
    assert commands.json("status")["open"] == []
