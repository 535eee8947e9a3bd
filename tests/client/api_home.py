"""A handler over a small shop's device, and requests to it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from homebody_client.api.handler import Handler
from homebody_client.api.messages import ApiRequest, ApiResponse
from homebody_client.api.profiles import Profile
from homebody_client.api.tokens import Tokens
from homebody_client.bundles import open_model, trust_key
from homebody_client.page.render import Page

from .conftest import KEY, NOW
from .page_device import PageDevice

PORT = 8971
HOST = f"127.0.0.1:{PORT}"
TOKEN = "t" * 43  # as long as a real one
SEED_EVENT = {
    "user_id": "12345",
    "event": "product_view",
    "product_id": "BREAD",
    "timestamp": "2026-05-15T10:45:00Z",
    "device": "mobile",
}
"""The event of the seed, of a product the shop has."""


def shop_device(folder: Path, runs: Path, user: str = "12345") -> PageDevice:
    """Return a device with the shop's model; everything is off."""
    bundle = open_model(runs / "shop" / "model.hbm", trust_key(KEY.public), now=NOW)
    return PageDevice(folder, bundle, NOW, user)


def handler_of(*devices: PageDevice, page: bool = True, port: int = PORT) -> Handler:
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
    return ApiRequest(
        method=method, target=target, headers=kept, body=b"" if body is None else raw
    )


def told(answer: ApiResponse) -> Any:  # noqa: ANN401 - JSON of any shape
    """Return the JSON of an answer."""
    return json.loads(answer.body)


def allow(device: PageDevice, *features: str) -> None:
    """Say yes to suggestions from some feature groups."""
    device.consent.grant("recommend", features=features or ("purchases", "tastes"))
