"""A device somebody has lived with, the files it keeps, and what may be in none of them."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from homebody_client.device import Device
from homebody_client.recommend import Recommendations
from homebody_privacy.environment import state_folder

from .device_shop import DemoShop, event, open_device

USER: Final = "person-77341"
BOUGHT: Final = ("TEA-01", "TEA-03", "BREAD-02", "COFFEE-01", "SWEET-01")
LIKED: Final = "DAIRY-05"


def allow(device: Device, *, leaving: bool = False) -> None:
    """Switch on what stays on the device, and what leaves it if asked."""
    device.consent.grant("recommend", features=["purchases", "tastes"])
    if leaving:
        device.consent.set_age_band("18_plus")
        device.consent.grant("training", features=["purchases"])
        device.consent.grant("metrics", features=["purchases"])


def live(device: Device, *products: str) -> None:
    """Record some purchases and a like."""
    for minute, product in enumerate(products or BOUGHT):
        assert device.record(event(product, "purchase", user=USER, minute=minute))
    if not products:
        assert device.react(LIKED, "like")


def make(shop: DemoShop, profile: Path, *, leaving: bool = False, **options: object) -> None:
    """Make a profile that was lived with, and close it."""
    with open_device(shop, profile, **options) as device:
        allow(device, leaving=leaving)
        live(device)


def shown(answer: Recommendations) -> tuple[object, ...]:
    """Return all of a list but its random id."""
    return (answer.fallback_reason, answer.model_version, answer.items, answer.propensities)


def state_of(profile: Path) -> Path:
    """Return the folder of what no backup of a profile may bring back."""
    return state_folder() / "devices" / (profile / "profile.id").read_text().strip()


def files_of(profile: Path) -> Iterator[Path]:
    """Return every file a device keeps, in the profile and outside of it."""
    for folder in (profile, state_of(profile)):
        yield from sorted(path for path in folder.rglob("*") if path.is_file())


def public(path: Path) -> bool:
    """Tell whether a file is one the shop published: it names every product."""
    return any(part in ("bundles", "catalogs") for part in path.parts)


def traces(profile: Path, *words: str) -> list[tuple[str, str]]:
    """Return in which files a word is found, as it is or as a plain hash of it."""
    found = []
    for path in files_of(profile):
        if public(path):
            continue
        content = path.read_bytes()
        for word in words:
            forms = [word.encode(), word.encode("utf-16-le")]
            for name in ("md5", "sha1", "sha256", "blake2b"):
                digest = hashlib.new(name, word.encode())
                forms += [digest.digest(), digest.hexdigest().encode()]
            found += [(path.name, word) for form in forms if form in content]
    return found
