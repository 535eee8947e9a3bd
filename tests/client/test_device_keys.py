"""Where a device's key lies: a pass phrase, a key store of the app, one process at a time."""

import threading
from pathlib import Path

import numpy as np
import pytest

from homebody_client.device import Device
from homebody_client.keystores import FileKeyStore
from homebody_client.local_model import DeviceModel
from homebody_models.interactions import Catalog
from homebody_models.zoo import ModelSpec
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.errors import InvalidFileError, UsageError

from .device_life import allow, files_of, live, make, shown, state_of
from .device_shop import DemoShop, open_device

PHRASE = "correct horse battery"


class MemoryKeys:
    """A key store of an app that forgets with the process."""

    kind = "memory"
    weaker = "it forgets when the process ends"

    def __init__(self) -> None:
        """Hold nothing."""
        self.held: bytes | None = None

    def read(self) -> bytes | None:
        """Return what is held."""
        return self.held

    def write(self, key: bytes) -> None:
        """Replace it."""
        self.held = key

    def erase(self) -> None:
        """Forget it."""
        self.held = None


def test_wrong_pass_phrase_opens_nothing_and_destroys_nothing(
    shop: DemoShop, tmp_path: Path
) -> None:
    make(shop, tmp_path / "p", passphrase=PHRASE)
    assert not any(PHRASE.encode() in file.read_bytes() for file in files_of(tmp_path / "p"))
    for wrong in ("wrong", "", None):
        with pytest.raises(UsageError) as refused:
            open_device(shop, tmp_path / "p", passphrase=wrong)
        assert "wrong" not in str(refused.value).split()
    with open_device(shop, tmp_path / "p", passphrase=PHRASE) as device:  # the lock was given back
        assert device.recommend().personalised
        assert device.key_store[0] == "passphrase"
        device.erase()
        allow(device)
        live(device)
        before = shown(device.recommend())
    with open_device(shop, tmp_path / "p", passphrase=PHRASE) as device:
        assert shown(device.recommend()) == before


def test_app_may_bring_its_own_key_store_and_erase_mends_it(shop: DemoShop, tmp_path: Path) -> None:
    keys = MemoryKeys()
    make(shop, tmp_path / "p", keys=keys)
    assert not FileKeyStore(state_of(tmp_path / "p")).path.exists()
    with open_device(shop, tmp_path / "p", keys=keys) as device:
        assert device.recommend().personalised
        assert device.key_store == (keys.kind, keys.weaker)
    keys.write(bytes(32))  # the app lost it
    with open_device(shop, tmp_path / "p", keys=keys) as device:
        assert device.recommend().fallback_reason == "store-unreadable"
        before = device.readable
        device.erase()
        assert (before, device.readable) == (False, True)
        allow(device)
        live(device)
    with open_device(shop, tmp_path / "p", keys=keys) as device:
        assert device.recommend().personalised


def test_receipts_nobody_can_vouch_for_are_set_aside_not_destroyed(
    shop: DemoShop, tmp_path: Path
) -> None:
    profile = tmp_path / "p"
    make(shop, profile)
    before = (profile / "receipts.jsonl").read_bytes()
    (state_of(profile) / "keys.vault").unlink()
    with open_device(shop, profile) as device:
        device.erase()
        allow(device)
        assert len(device.consent.receipts()) == 1
    aside = [file.read_bytes() for file in profile.glob("receipts.jsonl.broken-*")]
    assert aside == [before]


def test_refused_model_leaves_the_one_in_use(shop: DemoShop, tmp_path: Path) -> None:
    with open_device(shop, tmp_path / "p") as device:
        allow(device)
        live(device)
        before = shown(device.recommend())
        told: list[int] = []
        device.subscribe(lambda: told.append(1))
        with pytest.raises(InvalidFileError):
            device.install(bundle=tmp_path / "nothing")
        with pytest.raises(InvalidFileError):
            device.install(catalog=tmp_path / "nothing")
        assert shown(device.recommend()) == before
        device.install(bundle=shop.bundle, catalog=shop.catalog)
        assert shown(device.recommend()) == before
        assert told == [1]


def test_closed_device_may_be_closed_again_and_leaves_no_thread(
    shop: DemoShop, tmp_path: Path
) -> None:
    before = set(threading.enumerate())
    device = open_device(shop, tmp_path / "p")
    allow(device)
    live(device)
    device.close()
    device.close()
    for thread in set(threading.enumerate()) - before:  # told to end; nobody waits for them
        thread.join(5.0)
    assert set(threading.enumerate()) <= before
    with open_device(shop, tmp_path / "p") as again:
        assert len(again.knows()) == 6
    with pytest.raises(UsageError, match="closed"):
        live(device, "TEA-02")


def test_profile_in_a_place_that_cannot_be_written_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InvalidFileError, match="cannot be opened"):
        Device.open(tmp_path / "file" / "p")
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "profile.id").write_text("../../elsewhere")
    with pytest.raises(InvalidFileError, match="32 hex digits"):
        Device.open(tmp_path / "p")


def test_ceiling_of_records_needs_their_files(shop: DemoShop) -> None:
    config = PrivacyConfig.load(shop.config)
    values = config.model_dump(by_alias=True)
    values["dp"]["record"] = {
        "enabled": True,
        "max_grad_norm": 1.0,
        "noise_multiplier": 1.0,
        "sampling_rate": 0.5,
        "steps": 2,
        "delta": 1e-5,
        "epsilon_max": 4.0,
    }
    limited = PrivacyConfig.model_validate(values)
    one = Catalog(
        ids=("A",),
        titles=("A",),
        categories=("",),
        features=np.zeros((1, 0), np.float32),
        feature_names=(),
    )
    model = ModelSpec("two-tower", {"dim": 2, "cuts": 1}).build(one)
    DeviceModel(config=config, model=model, catalog=one, example_key=bytes(32))
    with pytest.raises(ValueError, match="records must be given"):
        DeviceModel(config=limited, model=model, catalog=one, example_key=bytes(32))
