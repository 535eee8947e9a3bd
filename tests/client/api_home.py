"""A device of the made-up shop behind a handler, and requests to it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from homebody_client.api.handler import Handler
from homebody_client.api.messages import ApiRequest, ApiResponse
from homebody_client.api.profiles import Profile
from homebody_client.api.tokens import Tokens
from homebody_client.demo.shop import write_shop
from homebody_client.device import Device
from homebody_client.page.render import Page
from homebody_privacy.signing import SigningKey

NOW: Final = 1_800_000_000
PORT: Final = 8971
HOST: Final = f"127.0.0.1:{PORT}"
TOKEN: Final = "t" * 43  # as long as a real one
BREAD: Final = "BREAD-01"
SEED_EVENT: Final[Mapping[str, object]] = {
    "user_id": "12345",
    "event": "product_view",
    "product_id": BREAD,
    "timestamp": "2027-01-14T10:45:00Z",
    "device": "mobile",
}
"""The event of the seed, of a product and a day of the shop."""


def shop_device(folder: Path) -> Device:
    """Return a real device of the made-up shop, in a folder of its own; everything is off."""
    shop = write_shop(folder / "shop", now=NOW - 60, key=SigningKey(bytes(32)))
    return Device.open(
        folder / "profile",
        config=shop.config,
        bundle=shop.bundle,
        catalog=shop.catalog,
        trusted_key=shop.key,
        now=lambda: NOW,
    )


def seed_event(**fields: object) -> dict[str, object]:
    """Return the seed's event with some fields changed."""
    return {**SEED_EVENT, **fields}


def allow(device: Device, *features: str) -> None:
    """Say yes to suggestions from some feature groups; from all without names."""
    device.consent.grant("recommend", features=features or ("purchases", "tastes"))


def handler_of(*devices: Device, page: bool = True, port: int = PORT) -> Handler:
    """Return a handler whose install token is ``TOKEN``."""
    profiles = [Profile(f"Device {at}", device) for at, device in enumerate(devices)]
    tokens = Tokens(TOKEN)
    return Handler(profiles, tokens=tokens, port=port, page=Page() if page else None)


def request(
    method: str,
    target: str,
    body: object = None,
    *,
    drop: Sequence[str] = (),
    more: Mapping[str, str] | None = None,
) -> ApiRequest:
    """Return a request that passes every check, but for what is dropped or given besides."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"host": HOST, "authorization": f"Bearer {TOKEN}"}
    if body is not None:
        headers |= {"content-type": "application/json", "content-length": str(len(raw))}
    headers |= more or {}
    kept = tuple((name, value) for name, value in headers.items() if name not in drop)
    return ApiRequest(method=method, target=target, headers=kept, body=b"" if body is None else raw)


def told(answer: ApiResponse) -> Any:  # noqa: ANN401 - JSON of any shape
    """Return the JSON of an answer."""
    return json.loads(answer.body)
