"""Three made-up people with a device each, in a folder that is gone afterwards."""

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from homebody_client.device import Device
from homebody_client.keystores import FileKeyStore
from homebody_privacy.environment import STATE

from .shop import Shop, write_shop

_EVERY_S: Final = 5_400  # between two things a made-up person does
_SHOP_AGE_S: Final = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody made up.

    Attributes:
        name: What stands above the device.
        features: What they allowed, for suggestions on the device.
        did: What they did, oldest first: kind of event and product.
    """

    name: str
    features: tuple[str, ...]
    did: tuple[tuple[str, str], ...]


PEOPLE: Final = (
    Person(
        name="Ada, who bakes",
        features=("purchases",),
        did=(
            ("product_view", "BREAD-01"),
            ("purchase", "BREAD-01"),
            ("product_view", "DAIRY-04"),
            ("add_to_cart", "BREAD-06"),
        ),
    ),
    Person(
        name="Ben, who cooks",
        features=("purchases", "tastes"),
        did=(
            ("purchase", "PASTA-01"),
            ("purchase", "PASTA-05"),
            ("product_view", "VEG-01"),
            ("like", "VEG-06"),
            ("dislike", "SWEET-03"),
        ),
    ),
    Person(
        name="Chi, who drinks tea",
        features=("purchases", "tastes"),
        did=(
            ("product_view", "TEA-01"),
            ("purchase", "TEA-02"),
            ("like", "TEA-03"),
            ("product_view", "SWEET-02"),
        ),
    ),
)


@contextmanager
def demonstration(people: Sequence[Person] = PEOPLE) -> Iterator[list[tuple[str, Device]]]:
    """Open a device for each person, with what they allowed and did; remove all of it at the end.

    Profiles, keys and state lie in one temporary folder: no key store of the system is used, and
    the state folder of the user is not touched.
    """
    with (
        tempfile.TemporaryDirectory(prefix="homebody-demo-") as folder,
        _state_in(Path(folder) / "state"),
        ExitStack() as open_devices,
    ):
        shop = write_shop(Path(folder) / "shop", now=int(time.time()) - _SHOP_AGE_S)
        devices = []
        for number, person in enumerate(people):
            device = open_devices.enter_context(_device(shop, Path(folder), number))
            _live(device, person)
            devices.append((person.name, device))
        yield devices


def _device(shop: Shop, folder: Path, number: int) -> Device:
    keys = folder / "keys" / str(number)
    keys.mkdir(mode=0o700, parents=True)
    return Device.open(
        folder / "profiles" / str(number),
        config=shop.config,
        bundle=shop.bundle,
        catalog=shop.catalog,
        trusted_key=shop.key,
        keys=FileKeyStore(keys),
    )


def _live(device: Device, person: Person) -> None:
    device.consent.grant("recommend", features=person.features, method="demo")
    begun = time.time() - _EVERY_S * len(person.did)
    for number, (kind, product) in enumerate(person.did):
        at = datetime.fromtimestamp(begun + number * _EVERY_S, UTC).isoformat()
        device.record(
            {"user_id": person.name, "event": kind, "product_id": product, "timestamp": at}
        )


@contextmanager
def _state_in(folder: Path) -> Iterator[None]:
    """Let this process keep its state elsewhere, for a while."""
    before = os.environ.get(STATE)
    os.environ[STATE] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ[STATE]
        else:
            os.environ[STATE] = before
