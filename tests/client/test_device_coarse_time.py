"""What a device makes of time that its groups keep by the day alone: bursts, and order."""

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from .device_life import USER, allow, live
from .device_shop import NOW, DemoShop, event, open_device


@pytest.mark.parametrize("fields", ['"timestamp", "hour"', '"day", "hour"', '"hour"', '"day"', ""])
def test_s31_burst_of_views_is_put_aside_with_its_beginning_however_coarse_the_time(
    shop: DemoShop, tmp_path: Path, fields: str
) -> None:
    config = tmp_path / "privacy.toml"
    text = shop.config.read_text("utf-8").replace(
        '["product_id", "category", "timestamp", "hour", "device", "price_band"]',
        f'["product_id", "category"{fields and ", " + fields}]',
    )
    config.write_text(text.replace("max_rows = 1000", "max_rows = 3000"), "utf-8")
    with open_device(shop, tmp_path / "p", config=config) as device:
        allow(device)
        live(device, "BREAD-01")
        for number in range(1_100):
            device.record(event("TEA-01", event_id=f"v{number}", user=USER))
        assert device.quarantined["too_many_views"] == 100
        assert [row.values["product_id"] for row in device.knows()] == ["BREAD-01"]
        assert "TEA-01" not in device.why("TEA-02").causes


def test_order_of_a_day_is_that_of_telling_wherever_the_person_lives(
    shop: DemoShop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        config = tmp_path / "privacy.toml"
        text = shop.config.read_text("utf-8").replace('"timestamp", "hour"', '"day", "hour"')
        config.write_text(text, "utf-8")
        clock = [float(NOW) - 7200.0]
        with open_device(shop, tmp_path / "p", config=config, now=lambda: clock[0]) as device:
            allow(device)
            for product in ("TEA-01", "BREAD-01", "FRUIT-01"):
                at = datetime.fromtimestamp(clock[0], UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
                assert device.record({**event(product, "purchase"), "timestamp": at})
                clock[0] += 5 * 3600.0  # the second and third are after midnight in Tokyo
            kept = device._core.rows  # noqa: SLF001 - the order lists are made in
            assert kept is not None
            seen = [one.product_id for one in kept.interactions()]
            assert seen == ["TEA-01", "BREAD-01", "FRUIT-01"]
            kept.drop()
            assert [one.product_id for one in kept.interactions()] == seen
    finally:
        monkeypatch.undo()
        time.tzset()
