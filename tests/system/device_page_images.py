"""Take the pictures of the device page for the docs: ``python -m tests.system.device_page_images``.

Three made-up people: one bakes, one drinks tea, one said no. Written to ``docs/images``.
"""

import tempfile
from pathlib import Path
from typing import Final

from homebody_client.api.serve import LocalServer
from homebody_client.consent.egress import EgressEntry
from homebody_client.device import Device
from tests.client.api_home import NOW, allow, seed_event, shop_device

from .device_pages import Browser, Watched, chromium, served

IMAGES: Final = Path(__file__).parents[2] / "docs" / "images"


def person(folder: Path, *products: str) -> Device:
    """Return a device that allowed suggestions and kept some purchases."""
    device = shop_device(folder)
    if products:
        device.consent.set_age_band("18_plus")
        allow(device)
        device.consent.grant("training", features=["purchases"])
    for hour, product in enumerate(products, 7):
        at = f"2027-01-14T{hour:02}:12:00Z"
        device.record(seed_event(product_id=product, event="purchase", timestamp=at))
    return device


def take(browser: Browser, folder: Path) -> None:
    """Write every picture."""
    ann = person(folder / "ann", "BREAD-01", "DAIRY-05", "BREAD-06")
    ben = person(folder / "ben", "TEA-01", "SWEET-02")
    cleo = person(folder / "cleo")
    update = EgressEntry(
        time=NOW - 4_000,
        kind="update",
        purpose="training",
        bytes=61_440,
        summary="An update of the shared model, round 3.",
        round=3,
    )
    ann.egress.append(update)
    with ann, ben, cleo:
        with served([("This phone", ann)]) as server:
            for name, size, scheme in (
                ("device-page", (1180, 1000), "light"),
                ("device-page-dark", (1180, 1000), "dark"),
                ("device-page-phone", (360, 860), "light"),
            ):
                picture(browser, server, name, size, scheme)
        labelled = [
            ("Ann, who bakes", ann),
            ("Ben, who likes tea", ben),
            ("Cleo, who said no", cleo),
        ]
        with served(labelled) as server:
            picture(browser, server, "device-page-three", (1360, 900), "light")


def picture(
    browser: Browser, server: LocalServer, name: str, size: tuple[int, int], scheme: str
) -> None:
    """Write one picture."""
    width, height = size
    watched = Watched(
        browser,
        server,
        viewport={"width": width, "height": height},
        color_scheme=scheme,
        reduced_motion="reduce",
    )
    watched.page.wait_for_selector("text=Because you")
    if not name.endswith("three"):
        watched.page.locator(".card summary").nth(1).click()
    watched.settled()
    watched.page.mouse.move(0, 0)
    watched.page.screenshot(path=IMAGES / f"{name}.png")
    watched.close()


if __name__ == "__main__":
    IMAGES.mkdir(parents=True, exist_ok=True)
    with chromium() as started, tempfile.TemporaryDirectory() as temporary:
        take(started, Path(temporary))
