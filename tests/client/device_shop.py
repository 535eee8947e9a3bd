"""A device of the made-up shop, with its clock in the test's hands."""

from pathlib import Path
from typing import Any, Final

from homebody_client.demo.shop import Shop as DemoShop
from homebody_client.device import Device

NOW: Final = 1_800_000_000
"""2027-01-15T08:00:00Z."""

__all__ = ["NOW", "DemoShop", "event", "open_device"]


def event(
    product: str,
    kind: str = "product_view",
    *,
    user: str = "12345",
    minute: int = 0,
    **more: object,
) -> dict[str, object]:
    """Return the JSON of an event of that morning."""
    return {
        "user_id": user,
        "event": kind,
        "product_id": product,
        "timestamp": f"2027-01-15T07:{minute % 60:02d}:{minute // 60 % 60:02d}Z",
        "device": "mobile",
        **more,
    }


def open_device(shop: DemoShop, profile: Path, /, **options: object) -> Device:
    """Open a profile with everything the shop has."""
    usual: dict[str, Any] = {
        "config": shop.config,
        "bundle": shop.bundle,
        "catalog": shop.catalog,
        "trusted_key": shop.key,
        "now": lambda: NOW,
    }
    usual.update(options)
    return Device.open(profile, **usual)
