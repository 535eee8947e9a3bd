"""A genuine bundle, and the tools of whoever wants to change it: some hold the publisher's key."""

import base64
import hashlib
import json
import math
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from homebody_models.bundle import (
    BundleError,
    BundleFacts,
    ModelBundle,
    Trust,
    open_bundle,
    write_bundle,
)
from homebody_models.dsse import PAYLOAD_TYPE, key_id, pre_authentication
from homebody_models.recommender import Exported
from homebody_models.safetensors_format import encode_tensors
from homebody_models.strict_json import canonical

ITEMS, DIM = 12, 4
NOW = 1_800_000_000


def verify(public: bytes, signature: bytes, message: bytes) -> bool:
    """Verify by the ``cryptography`` package, as a device does."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


class Key:
    """A publisher's key, or a forger's."""

    def __init__(self, seed: int) -> None:
        """Make the key of a seed."""
        self._private = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
        self.public = self._private.public_key().public_bytes_raw()
        self.id = key_id(self.public)

    def sign(self, message: bytes) -> tuple[str, bytes]:
        """Return key id and signature."""
        return self.id, self._private.sign(message)


PUBLISHER, SECOND, STRANGER = Key(1), Key(2), Key(3)
TRUST = Trust(verify=verify, trusted={PUBLISHER.id: PUBLISHER.public})
TWO_KEYS = replace(
    TRUST,
    trusted={PUBLISHER.id: PUBLISHER.public, SECOND.id: SECOND.public},
    threshold=2,
)


class Forge:
    """A genuine bundle and the tools to change it."""

    def __init__(self, folder: Path) -> None:
        """Work on the bundle in ``folder``."""
        self.folder = folder

    def read(self, name: str) -> bytes:
        """Return a file's bytes."""
        return (self.folder / name).read_bytes()

    def write(self, name: str, data: bytes) -> None:
        """Change a file and nothing else."""
        (self.folder / name).write_bytes(data)

    def manifest(self) -> dict[str, Any]:
        """Return the manifest as an object."""
        manifest: dict[str, Any] = json.loads(self.read("manifest.json"))
        return manifest

    def sign_bytes(self, manifest: bytes, *keys: Key) -> None:
        """Write a manifest with good signatures."""
        self.write("manifest.json", manifest)
        signed = [key.sign(pre_authentication(manifest)) for key in keys or (PUBLISHER,)]
        self.write_signatures(*signed)

    def write_signatures(self, *signed: tuple[str, bytes]) -> None:
        """Replace the signatures."""
        entries = [
            {"keyid": name, "sig": base64.b64encode(value).decode()} for name, value in signed
        ]
        content = {"payloadType": PAYLOAD_TYPE, "signatures": entries}
        self.write("manifest.sig.json", json.dumps(content).encode())

    def change(self, changed: dict[str, Any]) -> None:
        """Change fields of the manifest and sign it again, as only the publisher can."""
        self.sign_bytes(canonical(self.manifest() | changed))

    def replace_file(self, name: str, data: bytes) -> None:
        """Change a file and sign the manifest that lists it."""
        self.write(name, data)
        files = self.manifest()["files"]
        files[name] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        self.change({"files": files})

    def tensors(self) -> dict[str, Any]:
        """Return writable tensors of the genuine model."""
        data = self.read("model.safetensors")
        start = 8 + int.from_bytes(data[:8], "little")
        header = json.loads(data[8:start])
        kinds = {"F32": np.float32, "I8": np.int8}
        return {
            name: np.frombuffer(data[start:], kinds[entry["dtype"]], math.prod(entry["shape"]),
                                offset=entry["data_offsets"][0])
            .reshape(entry["shape"])
            .copy()
            for name, entry in header.items()
        }  # fmt: skip

    def replace_tensors(self, changed: dict[str, Any]) -> None:
        """Change tensors and sign."""
        self.replace_file("model.safetensors", encode_tensors(self.tensors() | changed))

    def raw_tensors(self, header: object, body: bytes) -> None:
        """Sign a tensor file with any header."""
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        self.replace_file("model.safetensors", struct.pack("<Q", len(text)) + text + body)

    def open(self, trust: Trust = TRUST, *, now: int = NOW, active: bool = False) -> ModelBundle:
        """Open the bundle as a device does."""
        return open_bundle(self.folder, trust, now=now, active=active)

    def refused(self, step: int, trust: Trust = TRUST, *, now: int = NOW) -> str:
        """Check that opening fails at one step; return the message."""
        with pytest.raises(BundleError) as refusal:
            self.open(trust, now=now)
        assert refusal.value.step == step, str(refusal.value)
        return str(refusal.value)


def exported() -> Exported:
    """Return a model of any table."""
    rng = np.random.default_rng(5)
    return Exported(
        encoder="mean",
        embeddings=rng.standard_normal((ITEMS, DIM)).astype(np.float32),
        bias=rng.standard_normal(ITEMS).astype(np.float32),
        history_max=64,
        history_decay=0.9,
    )


FACTS = BundleFacts(
    model_id="shop",
    version="v5",
    serial=5,
    created=NOW - 1_000,
    expires=NOW + 1_000,
    catalog_sha256="0" * 64,
    privacy={"epsilon": "4.05", "unit": "user"},
)


def forge_at(folder: Path, facts: BundleFacts = FACTS) -> Forge:
    """Write a genuine bundle."""
    write_bundle(
        folder,
        exported(),
        item_ids=[f"SKU-{i}" for i in range(ITEMS)],
        facts=facts,
        sign=PUBLISHER.sign,
    )
    return Forge(folder)
