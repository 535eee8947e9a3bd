"""S01: whatever state a device is in, it opens, lists, and can be erased and begun anew."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from homebody_client.device import Device
from homebody_client.keystores import FileKeyStore
from homebody_client.setup import Shop
from homebody_privacy.consent_terms import DAY_S
from homebody_privacy.errors import ConsentMissingError, HomebodyError

from .device_life import allow, live, make, shown, state_of
from .device_shop import NOW, DemoShop, open_device

CATALOG = 60
SHUT = ("consent-closed", "store-unreadable")


@dataclass(frozen=True)
class State:
    """A way to spoil a profile that was lived with, and what its lists then say."""

    reason: str | None
    spoil: Callable[[Path], object] = lambda _: None
    options: dict[str, Any] = field(default_factory=dict)
    problem: str = ""
    mended_by_erase: bool = True


def overwrite(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda profile: (profile / name).write_bytes(content)


def cut(name: str, keep: float) -> Callable[[Path], object]:
    def spoil(profile: Path) -> None:
        content = (profile / name).read_bytes()
        (profile / name).write_bytes(content[: int(len(content) * keep)])

    return spoil


def last_receipt_gone(profile: Path) -> None:
    lines = (profile / "receipts.jsonl").read_bytes().splitlines(keepends=True)
    (profile / "receipts.jsonl").write_bytes(b"".join(lines[:-1]))


def damaged_vault(profile: Path) -> None:
    (state_of(profile) / "keys.vault").write_bytes(b"\x00" * 512)


def key_others_may_read(profile: Path) -> None:
    FileKeyStore(state_of(profile)).path.chmod(0o644)


def backup_put_back(profile: Path) -> None:
    """Put the profile back as it was before the person switched everything off."""
    backup = profile.with_name("backup")
    shutil.copytree(profile, backup)
    with Device.open(profile, now=lambda: NOW) as device:
        device.consent.withdraw("recommend")
    shutil.copytree(backup, profile, dirs_exist_ok=True)


def models_gone(profile: Path) -> None:
    shutil.rmtree(profile / "bundles")
    shutil.rmtree(profile / "catalogs")


def store_a_folder(profile: Path) -> None:
    (profile / "store.sqlite").unlink()
    (profile / "store.sqlite").mkdir()


def damaged_pages(profile: Path) -> None:
    content = bytearray((profile / "store.sqlite").read_bytes())
    content[4096:] = bytes(len(content) - 4096)
    (profile / "store.sqlite").write_bytes(content)


NO_MODEL = {"bundle": None, "catalog": None}
STATES = {
    "whole": State(None),
    "bundle refused": State(None, options={"bundle": Path("/nowhere")}, problem="nowhere"),
    "nothing on offer": State(None, options=NO_MODEL),
    "no key pinned": State(
        "no-model",
        options={"trusted_key": None, "shop": Shop(fallback=[f"P-{i}" for i in range(20)])},
        problem="no publisher's key",
        mended_by_erase=False,
    ),
    "models gone": State(
        "no-model",
        models_gone,
        {**NO_MODEL, "shop": Shop(fallback=[f"P-{i}" for i in range(20)])},
        mended_by_erase=False,
    ),
    "models damaged": State(
        None,
        lambda p: [f.write_bytes(b"x") for f in (p / "bundles").rglob("*") if f.is_file()],
    ),
    "store of random bytes": State("store-unreadable", overwrite("store.sqlite", b"\x9d" * 9000)),
    "store cut to half": State("store-unreadable", cut("store.sqlite", 0.5)),
    "store with blank pages": State("store-unreadable", damaged_pages),
    "store gone": State(
        "no-history", lambda p: (p / "store.sqlite").unlink(), problem="store.sqlite: it is gone"
    ),
    "store a folder": State(
        "store-unreadable",
        store_a_folder,
    ),
    "vault gone": State(
        "store-unreadable", lambda p: (state_of(p) / "keys.vault").unlink(), problem="keys.vault"
    ),
    "vault damaged": State("store-unreadable", damaged_vault, problem="keys.vault"),
    "state folder gone": State(
        "consent-closed",
        lambda p: shutil.rmtree(state_of(p)),
        problem="keys.vault: it is not there",
    ),
    "key others may read": State("store-unreadable", key_others_may_read, problem="kek.key"),
    "vault gone, nothing on offer": State(
        "store-unreadable", damaged_vault, NO_MODEL, problem="keys.vault"
    ),
    "receipts cut": State("consent-closed", last_receipt_gone, problem="receipts.jsonl"),
    "receipts gone": State(
        "consent-closed", lambda p: (p / "receipts.jsonl").unlink(), problem="receipts.jsonl"
    ),
    "receipts of random bytes": State(
        "consent-closed", overwrite("receipts.jsonl", b"\xff" * 99), problem="receipts.jsonl"
    ),
    "profile from a backup": State("consent-closed", backup_put_back, problem="receipts.jsonl"),
    "publisher's key damaged": State(
        "no-model",
        overwrite("publisher.pub", b"no key"),
        {"trusted_key": None, "shop": Shop(fallback=[f"P-{i}" for i in range(20)])},
        problem="publisher.pub",
        mended_by_erase=False,
    ),
    "invalid config": State(
        "consent-closed",
        overwrite("privacy.toml", b"schema = 7"),
        {"config": None},
        problem="privacy.toml",
        mended_by_erase=False,
    ),
    "no config": State(
        "consent-closed",
        options={"config": Path("/nowhere/privacy.toml")},
        problem="privacy.toml",
        mended_by_erase=False,
    ),
    "clock turned back": State("consent-closed", options={"now": lambda: NOW - 600}),
    "consent run out": State("consent-closed", options={"now": lambda: NOW + 400 * DAY_S}),
    "egress log of random bytes": State(None, overwrite("egress.jsonl", b"\xff}\n" * 9)),
}


@pytest.fixture(scope="session")
def lived_in(shop: DemoShop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a profile that was lived with; it is copied, never opened."""
    profile = tmp_path_factory.mktemp("lived") / "profile"
    make(shop, profile)
    return profile


@pytest.fixture
def profile(lived_in: Path, tmp_path: Path) -> Path:
    """Return a copy of it, with a state folder of its own."""
    copy = tmp_path / "profile"
    shutil.copytree(lived_in, copy)
    fresh = f"{abs(hash(tmp_path)):032x}"[-32:]
    state = state_of(lived_in)
    (copy / "profile.id").write_text(fresh)
    shutil.copytree(state, state.with_name(fresh))
    return copy


def refused_or_done(call: Callable[[], object]) -> str:
    """Return what a call says in refusing; empty if it does not."""
    try:
        call()
    except HomebodyError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", STATES)
def test_s01_list_has_n_items_or_all_and_says_why_it_is_not_personal(
    shop: DemoShop, profile: Path, name: str
) -> None:
    state = STATES[name]
    state.spoil(profile)
    store = profile / "store.sqlite"
    with open_device(shop, profile, **state.options) as device:
        before = store.read_bytes() if store.is_file() else b""
        for n in (1, 3, 10, 1000):
            answer = device.recommend(n)
            most = len(state.options["shop"].fallback) if "shop" in state.options else CATALOG
            assert len(answer) == min(n, most)
            assert len({item.product_id for item in answer}) == len(answer)
            assert answer.fallback_reason == state.reason
            assert answer.personalised == (state.reason is None)
            assert answer.personalised or not any(item.reason.causes for item in answer)
        for surface, beside in (("product", "TEA-01"), ("cart", None)):
            assert len(device.recommend(5, surface=surface, product_id=beside)) == 5
        assert state.problem in " ".join(device.problems)
        assert bool(device.problems) or not state.problem
        kept = device.react("FRUIT-01", "like")
        assert kept == (state.reason not in SHUT)
        assert len(device.knows()) in (0, 1, 6, 7)
        if state.reason == "consent-closed":
            assert store.read_bytes() == before  # S23
        said = [
            refused_or_done(lambda: device.forget("TEA-01")),
            refused_or_done(lambda: device.consent.set_signal("sec_gpc", on=True)),
            refused_or_done(lambda: device.consent.withdraw("recommend")),
            refused_or_done(device.tick),
        ]
        assert "TEA-01" not in " ".join(said)
        assert not device.export_data().get("rows")
        assert len(device.recommend()) == 10
        assert not device.recommend().personalised


@pytest.mark.parametrize("name", STATES)
def test_s01_erase_begins_anew_and_the_device_works_again(
    shop: DemoShop, profile: Path, name: str
) -> None:
    state = STATES[name]
    state.spoil(profile)
    with open_device(shop, profile, **state.options) as device:
        device.erase()
        assert device.knows() == []
        assert device.recommend().fallback_reason in ("consent-closed", "no-model")
        if not state.mended_by_erase:
            return
        assert device.owns("somebody else")
        with pytest.raises(ConsentMissingError):
            device.features()
        allow(device)
        live(device)
        assert device.recommend().personalised
        before = shown(device.recommend())
    options = {k: v for k, v in state.options.items() if k == "now"}
    with open_device(shop, profile, bundle=None, catalog=None, **options) as again:
        assert shown(again.recommend()) == before
        assert len(again.knows()) == 6
        assert not again.problems


def test_s01_cold_device_lists_for_all(shop: DemoShop, tmp_path: Path) -> None:
    with open_device(shop, tmp_path / "p") as device:
        assert device.recommend().fallback_reason == "consent-closed"
        allow(device)
        assert device.recommend().fallback_reason == "no-history"
        assert len(device.recommend(1000)) == CATALOG


def test_s01_app_without_model_or_words_of_its_own_shows_an_empty_shelf(tmp_path: Path) -> None:
    with Device.open(tmp_path / "p", now=lambda: NOW) as device:
        assert len(device.recommend()) == 0
        assert device.recommend().fallback_reason == "consent-closed"


def test_s01_store_that_breaks_while_open_leaves_the_list_for_all(
    shop: DemoShop, profile: Path
) -> None:
    clock = [float(NOW)]
    with open_device(shop, profile, now=lambda: clock[0]) as device:
        assert device.recommend().personalised
        damaged_pages(profile)
        clock[0] += 120.0
        assert len(device.recommend()) == 10
        device.erase()
        allow(device)
        live(device)
        assert device.recommend().personalised
