"""An app with a device in it, on the made-up shop; it writes into the folder it is started in."""

import time
from datetime import UTC, datetime
from pathlib import Path

from homebody import Device
from homebody_client.demo.shop import write_shop


def buy(device: Device, product: str) -> None:
    """Tell the device of a purchase, as the app's checkout would."""
    device.record(
        {
            "user_id": "12345",
            "event": "purchase",
            "product_id": product,
            "timestamp": datetime.now(UTC).isoformat(),
        }
    )


def show(device: Device, title: str) -> None:
    """Print a list and its reasons."""
    found = device.recommend(n=3)
    print(f"{title} ({found.fallback_reason or 'personal'})")
    for item in found:
        print(f"  {device.title(item.product_id)}: {item.reason.text}")


def main(folder: Path) -> None:
    """Live a short life with one person."""
    shop = write_shop(folder / "shop", now=int(time.time()))  # ship your own instead
    with Device.open(
        folder / "profile",
        config=shop.config,
        bundle=shop.bundle,
        catalog=shop.catalog,
        trusted_key=shop.key,
    ) as device:
        show(device, "Before anything was allowed")
        device.consent.grant("recommend", features=["purchases"], method="tap")
        buy(device, "TEA-01")
        buy(device, "BREAD-01")
        show(device, "After a yes and two purchases")
        print("Why TEA-02:", device.why("TEA-02").text)
        device.export(folder / "mine.json")
        device.consent.withdraw("recommend", method="tap")
        show(device, "After the yes was taken back")
        print("Rows kept:", len(device.knows()))
        device.erase()
        print("Receipts kept as proof:", len(device.consent.receipts()))


if __name__ == "__main__":
    main(Path())
