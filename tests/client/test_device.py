"""A device records what it may, ranks, explains and forgets, in every state it can be in."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from homebody_client.device import Device
from homebody_privacy.errors import InvalidFileError, PolicyViolationError, UsageError

from .device_shop import DemoShop, event, open_device


@pytest.fixture
def device(shop: DemoShop, tmp_path: Path) -> Iterator[Device]:
    with open_device(shop, tmp_path / "profile") as opened:
        yield opened


def test_cr_01_cr_25_first_list_is_for_all_and_not_empty(device: Device) -> None:
    answer = device.recommend()
    assert len(answer) == 10
    assert answer.fallback_reason == "consent-closed"


def test_next_list_knows_what_was_recorded(device: Device) -> None:
    device.consent.grant("recommend", features=["purchases"])
    assert device.recommend().fallback_reason == "no-history"
    assert device.record(event("TEA-01"))
    answer = device.recommend(n=3)
    assert answer.fallback_reason is None
    assert {device.title(item.product_id) for item in answer} & {"Green tea", "Peppermint tea"}


def test_why_names_the_cause_and_forgetting_it_takes_it_away(device: Device) -> None:
    device.consent.grant("recommend", features=["purchases"])
    device.record(event("TEA-01"))
    device.record(event("BREAD-01", minute=1))
    assert device.why("TEA-02").causes == ("TEA-01",)
    assert device.forget("TEA-01") == 1
    assert device.why("TEA-02").causes == ()
    assert [row.values["product_id"] for row in device.knows()] == ["BREAD-01"]


def test_why_of_an_unknown_product_is_refused(device: Device) -> None:
    with pytest.raises(UsageError, match="not in the catalog"):
        device.why("GONE")


def test_what_was_recorded_is_there_after_a_restart(shop: DemoShop, tmp_path: Path) -> None:
    with open_device(shop, tmp_path / "p") as device:
        device.consent.grant("recommend", features=["purchases"])
        device.record(event("TEA-01"))
        before = device.recommend(5)
    with open_device(shop, tmp_path / "p", bundle=None, catalog=None) as device:
        assert device.recommend(5).items == before.items
        assert not device.record(event("TEA-01"))  # known by its id: counted once
        assert len(device.knows()) == 1


def test_a_profile_is_one_persons(device: Device) -> None:
    device.consent.grant("recommend", features=["purchases"])
    assert device.owns("anybody")
    device.record(event("TEA-01", user="12345"))
    assert device.owns("12345")
    assert not device.owns("999")
    with pytest.raises(PolicyViolationError, match="another person"):
        device.record(event("TEA-02", user="999"))


def test_another_process_is_kept_out_until_it_is_closed(shop: DemoShop, tmp_path: Path) -> None:
    with (
        open_device(shop, tmp_path / "p"),
        pytest.raises(UsageError, match="another process"),
    ):
        open_device(shop, tmp_path / "p")
    with open_device(shop, tmp_path / "p") as again:
        assert again.recommend(1)


def test_a_missing_key_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidFileError, match="public key"):
        Device.open(tmp_path / "p", trusted_key=tmp_path / "none.pub")


def test_strength_is_kept_and_bounded(shop: DemoShop, tmp_path: Path) -> None:
    with open_device(shop, tmp_path / "p") as device:
        device.strength = 40
        with pytest.raises(ValueError, match="strength"):
            device.strength = 101
    with open_device(shop, tmp_path / "p") as device:
        assert device.strength == 40


def test_everybody_who_subscribed_is_told_until_they_leave(device: Device) -> None:
    told: list[int] = []
    end = device.subscribe(lambda: told.append(1))
    device.consent.grant("recommend", features=["purchases"])
    granted = len(told)
    device.record(event("TEA-01"))
    end()
    device.record(event("TEA-02"))
    assert granted >= 1
    assert len(told) == granted + 1


def test_a_like_said_on_the_device_needs_no_id(device: Device) -> None:
    device.consent.grant("recommend", features=["tastes"])
    assert device.react("TEA-02", "like")
    assert device.owns("anybody")
    assert device.recommend(1)[0].product_id == "TEA-02"


def test_the_floor_of_models_shuts_out_no_catalog(shop: DemoShop, tmp_path: Path) -> None:
    with open_device(shop, tmp_path / "p", floor_serial=10**12) as device:
        assert device.catalog is not None
        assert device.bundle is None
        assert any("serial" in problem for problem in device.problems)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('sensitivity = "elevated"', "risk_ref"),
        ('fields = ["product_id", "shoe_size"]', "shoe_size"),
    ],
)
def test_a_config_no_device_could_keep_opens_nothing(
    shop: DemoShop, tmp_path: Path, line: str, problem: str
) -> None:
    text = shop.config.read_text("utf-8")
    first = 'fields = ["product_id", "category", "timestamp", "rating"]'
    old = first if line.startswith("fields") else 'sensitivity = "ordinary"'
    assert old in text
    config = tmp_path / "privacy.toml"
    config.write_text(text.replace(old, line), "utf-8")
    with open_device(shop, tmp_path / "p", config=config) as device:
        assert problem in " ".join(device.problems)
        assert device.consent.matrix() == []
        assert device.recommend(3).fallback_reason == "consent-closed"
