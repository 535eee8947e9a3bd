"""A device records, ranks and explains on its own."""

from pathlib import Path

import pytest

from homebody_client.device import Device
from homebody_privacy.errors import IntegrityError, InvalidFileError

from .conftest import IDS, NOW, publish


@pytest.fixture
def device(runs: Path) -> Device:
    return Device.open(
        runs / "shop" / "model.hbm", trusted_key=runs / "publisher.pub", now=lambda: NOW
    )


def test_first_list_is_not_personal_and_not_empty(device: Device) -> None:
    answer = device.recommend()
    assert len(answer) == len(IDS)
    assert answer.fallback_reason == "no-history"


def test_next_list_knows_what_was_recorded(device: Device) -> None:
    before = [item.product_id for item in device.recommend(n=3)]
    for _ in range(3):
        device.record("BISCUITS")
    after = device.recommend(n=3)
    assert [item.product_id for item in after] != before
    assert [item.product_id for item in after][:2] == ["TEA", "BISCUITS"]
    assert device.history == ("BISCUITS",) * 3


def test_why_names_the_cause_and_forgetting_it_takes_it_away(device: Device) -> None:
    device.record("BREAD")
    device.record("TEA")
    assert device.why("MILK").causes[0] == "BREAD"
    score = {item.product_id: item.score for item in device.recommend()}["MILK"]
    assert device.forget("BREAD") == 1
    assert "BREAD" not in device.why("MILK").causes
    assert {item.product_id: item.score for item in device.recommend()}["MILK"] < score


def test_why_of_an_unknown_product_is_refused(device: Device) -> None:
    with pytest.raises(ValueError, match="not in the catalog"):
        device.why("GONE")


def test_product_the_model_does_not_know_is_kept_and_skipped(device: Device) -> None:
    device.record("NEW")
    assert device.history == ("NEW",)
    assert device.recommend().fallback_reason == "unknown-history"


def test_empty_product_id_is_refused(device: Device) -> None:
    with pytest.raises(ValueError, match="product_id"):
        device.record("")


def test_seen_products_can_be_hidden(device: Device) -> None:
    device.record("BREAD")
    assert device.recommend(n=1)[0].product_id == "BREAD"
    assert device.recommend(n=1, hide_seen=True)[0].product_id == "MILK"


def test_device_without_bundle_or_key_does_not_open(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidFileError):
        Device.open(tmp_path / "none", trusted_key=runs / "publisher.pub")
    with pytest.raises(InvalidFileError):
        Device.open(runs / "shop" / "model.hbm", trusted_key=tmp_path / "none.pub")


def test_device_does_not_open_an_expired_bundle_by_the_clock_it_is_given(
    runs: Path, tmp_path: Path
) -> None:
    folder = publish(tmp_path / "model.hbm", expires=NOW)
    with pytest.raises(IntegrityError, match="expired"):
        Device.open(folder, trusted_key=runs / "publisher.pub", now=lambda: NOW + 1)
