"""Features of a device: through the gate, sealed, gone with the consent they were made under."""

from pathlib import Path

import pytest

from homebody_client.device import Device
from homebody_client.feature_store import FeatureStore
from homebody_client.features import DEFAULT_SPECS, FeatureSpec
from homebody_privacy.consent_terms import DAY_S
from homebody_privacy.errors import ConsentMissingError

from .device_shop import NOW, DemoShop, event, open_device


def store_of(device: Device, specs: tuple[FeatureSpec, ...] = DEFAULT_SPECS) -> FeatureStore:
    gates = device._core.parts.gates  # noqa: SLF001 what the facade computes with
    assert gates is not None
    return FeatureStore(gates, specs)


def test_values_follow_the_rows_that_are_open(shop: DemoShop, tmp_path: Path) -> None:
    with open_device(shop, tmp_path / "p") as device:
        device.consent.grant("recommend", features=["purchases"])
        for minute in range(3):
            device.record(event("TEA-01", minute=minute))
        device.record(event("BREAD-01", "purchase", minute=5))
        values = device.features()
        assert values["views_7d"] == 3
        assert values["purchases_90d"] == 1
        affinity = values["category_affinity_90d"]
        assert isinstance(affinity, dict)
        assert set(affinity) == {"hot drinks", "bakery"}
        assert device.features(at=NOW - 3 * DAY_S)["views_7d"] == 0


def test_nothing_open_is_an_error_with_its_code(shop: DemoShop, tmp_path: Path) -> None:
    with open_device(shop, tmp_path / "p") as device:
        with pytest.raises(ConsentMissingError, match="not_asked"):
            device.features()
        device.consent.grant("recommend", features=["purchases"])
        with pytest.raises(ConsentMissingError):
            device.features("training")


def test_s30_an_example_holds_nothing_of_its_future(shop: DemoShop, tmp_path: Path) -> None:
    with open_device(shop, tmp_path / "p") as device:
        device.consent.grant("recommend", features=["purchases"])
        device.record(event("TEA-01", minute=0))
        at = NOW - 3_600 + 60  # a minute after the first
        before = device.features(at=at)
        for minute in range(2, 9):
            device.record(event("BABY-01" if minute % 2 else "CARE-04", "purchase", minute=minute))
        assert device.features(at=at) == before
        assert device.features() != before


def test_kept_values_are_sealed_and_end_with_consent_and_time(
    shop: DemoShop, tmp_path: Path
) -> None:
    with open_device(shop, tmp_path / "p") as device:
        features = store_of(device)
        device.consent.grant("recommend", features=["purchases"])
        device.record(event("TEA-01"))
        values = features.values("recommend", now=NOW)
        assert features.kept("recommend", now=NOW) == values
        assert "views_7d" not in (features.kept("recommend", now=NOW + 8 * DAY_S) or {})
        assert features.kept("recommend", now=NOW - 1) == {}  # a clock that went back
        assert b"hot drinks" not in (tmp_path / "p" / "store.sqlite").read_bytes()
        device.consent.withdraw("recommend")
        assert features.kept("recommend", now=NOW) is None


def test_declarations_are_listed_without_values(shop: DemoShop, tmp_path: Path) -> None:
    with open_device(shop, tmp_path / "p") as device:
        listed = store_of(device).describe()
    assert [one["name"] for one in listed] == [spec.name for spec in DEFAULT_SPECS]
    assert all("value" not in one for one in listed)


def test_two_features_of_one_name_are_refused(shop: DemoShop, tmp_path: Path) -> None:
    with (
        open_device(shop, tmp_path / "p") as device,
        pytest.raises(ValueError, match="unique"),
    ):
        store_of(device, (DEFAULT_SPECS[0], DEFAULT_SPECS[0]))
