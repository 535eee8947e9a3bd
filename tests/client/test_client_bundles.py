"""Opening a bundle on the device: refusals end with the right exit code and name the step."""

import shutil
from pathlib import Path

import pytest

from homebody_client.bundles import open_model, read_public_key, trust_key
from homebody_models.bundle import Installed
from homebody_privacy.errors import IntegrityError, InvalidFileError
from homebody_privacy.signing import SigningKey

from .conftest import KEY, NOW, publish


def test_genuine_bundle_opens(runs: Path) -> None:
    bundle = open_model(runs / "shop" / "model.hbm", trust_key(KEY.public), now=NOW)
    assert bundle.manifest.facts.version == "v1"


def test_tampered_bundle_exits_14_and_names_the_step(runs: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(runs / "shop" / "model.hbm", tmp_path / "model.hbm")
    data = (folder / "items.json").read_bytes().replace(b"BREAD", b"BRAED")
    (folder / "items.json").write_bytes(data)
    with pytest.raises(IntegrityError, match="step 7") as refusal:
        open_model(folder, trust_key(KEY.public), now=NOW)
    assert refusal.value.exit_code == 14
    assert (folder / "items.json").read_bytes() == data  # kept as it is


def test_bundle_of_another_publisher_exits_14(runs: Path) -> None:
    other = trust_key(SigningKey.generate().public)
    with pytest.raises(IntegrityError, match="step 2"):
        open_model(runs / "shop" / "model.hbm", other, now=NOW)


def test_older_bundle_exits_14(runs: Path) -> None:
    trust = trust_key(KEY.public, installed=Installed(2, "0" * 64))
    with pytest.raises(IntegrityError, match="step 5"):
        open_model(runs / "shop" / "model.hbm", trust, now=NOW)


def test_expired_bundle_is_not_activated_but_the_active_one_serves_on(tmp_path: Path) -> None:
    folder = publish(tmp_path / "model.hbm", expires=NOW)
    trust = trust_key(KEY.public)
    with pytest.raises(IntegrityError, match="step 6"):
        open_model(folder, trust, now=NOW + 1)
    assert open_model(folder, trust, now=NOW + 1, active=True).stale


def test_missing_bundle_exits_2(tmp_path: Path) -> None:
    with pytest.raises(InvalidFileError, match="no bundle") as refusal:
        open_model(tmp_path / "model.hbm", trust_key(KEY.public), now=NOW)
    assert refusal.value.exit_code == 2


@pytest.mark.parametrize("data", [KEY.public, KEY.public.hex().encode() + b"\n"])
def test_public_key_is_read_raw_or_as_hex(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "publisher.pub"
    path.write_bytes(data)
    assert read_public_key(path) == KEY.public


@pytest.mark.parametrize("data", [None, b"", b"x" * 31, b"z" * 64, b"\xff" * 64, b"x" * 65])
def test_file_that_is_no_public_key_exits_2(tmp_path: Path, data: bytes | None) -> None:
    path = tmp_path / "publisher.pub"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(InvalidFileError, match=r"publisher\.pub"):
        read_public_key(path)
