"""Write the golden vectors of a secure sum: ``tests/vectors/secagg_*.json``.

    python -m tests.privacy.secagg_vectors

Four nodes from fixed entropy; the last in the order of ids vanishes after it shared. Run it again
only when the protocol changes its version: the files are what other implementations rely on.
"""

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from homebody_privacy.secagg.masks import Deriver, keystream
from homebody_privacy.secagg.session import survivors_digest
from homebody_privacy.secagg.shamir import split

from .secagg_fleet import Entropy, Fleet, certificate

FOLDER: Final = Path(__file__).parents[1] / "vectors"
COUNT: Final = 4
GONE: Final = 3
_NAME: Final = "vectors"
_VECTORS: Final = ((1, -2, 300), (40, 50, -60), (-7, 0, 9), (5, 5, 5))

Fields = list[list[str]]


def new_fleet() -> Fleet:
    """Return the four nodes before the first leg."""
    fleet = Fleet(COUNT, name=_NAME, length=3)
    fleet.vectors = np.array(_VECTORS, dtype=np.int64)
    return fleet


def sessions() -> dict[str, Any]:
    """Return the inputs of a sum and every message of it, to the total."""
    fleet = new_fleet()
    entropy = [Entropy(f"{_NAME} {node}")(128) for node in range(COUNT)]
    legs: list[dict[str, Any]] = []

    def leg() -> None:
        up = {str(node): fleet.up[node].hex() for node in fleet.live}
        down = {str(node): message.hex() for node, message in fleet.down.items()}
        legs.append({"up": up, "down": down})

    fleet.advertise()
    leg()
    fleet.share()
    leg()
    fleet.mask({GONE})
    leg()
    fleet.confirm()
    leg()
    summed = fleet.unmask()
    fleet.down = {}
    leg()
    return {
        "about": "one secure sum of four nodes; node 3 vanishes after it shared",
        "order": "legs: advertise, share, mask, confirm, unmask; messages by number of the node",
        "sum": fleet.sum,
        "nodes": [
            {
                "number": node,
                "signing_secret": fleet.signers[node].secret.hex(),
                "node_id": fleet.ids[node].hex(),
                "certificate": certificate(fleet.signers[node].public).hex(),
                "mask_secret": entropy[node][:32].hex(),
                "channel_secret": entropy[node][32:64].hex(),
                "self_seed": entropy[node][64:96].hex(),
                "polynomial_secret": entropy[node][96:].hex(),
                "vector": list(_VECTORS[node]),
            }
            for node in range(COUNT)
        ],
        "legs": legs,
        "total": summed.total.tolist(),
    }


def keys() -> dict[str, Any]:
    """Return what is hashed, signed and derived on the way, between nodes 0 and 1."""
    fleet = new_fleet().advertise()
    terms = fleet.settings(0).terms
    digest = terms.roster_digest(fleet.down[0])
    deriver, secrets = Deriver(terms, digest), Entropy(f"{_NAME} 0")(128)
    mask_secret, channel_secret, seed, polynomial = (
        secrets[at : at + 32] for at in range(0, 128, 32)
    )
    other = Entropy(f"{_NAME} 1")(64)
    mask_pair = _agreed(mask_secret, other[:32])
    channel_pair = _agreed(channel_secret, other[32:])
    zero, one = fleet.ids[:2]
    poly_key = deriver.polynomial(polynomial, "seed", zero)
    survivors = survivors_digest(fleet.ids[:GONE])
    rows = {
        "session": terms.to_bytes(),
        "roster_digest": digest,
        "mask_secret_agreed": mask_pair,
        "mask_info": terms.key_info("mask", *sorted((zero, one))),
        "mask_key": deriver.mask(mask_pair, zero, one),
        "mask_first_12_bytes": keystream(deriver.mask(mask_pair, zero, one), 12),
        "self_info": terms.key_info("self", zero, zero),
        "self_key": deriver.own(seed, zero),
        "channel_secret_agreed": channel_pair,
        "share_info_0_to_1": terms.key_info("share", zero, one),
        "share_key_0_to_1": deriver.share(channel_pair, zero, one),
        "share_key_1_to_0": deriver.share(channel_pair, one, zero),
        "share_context_0_to_1": terms.share_context(digest, zero, one),
        "seed_polynomial_info": terms.key_info("seed-polynomial", zero, zero),
        "seed_polynomial_key": poly_key,
        "seed_coefficients": keystream(poly_key, 48 * 2),
        "commitment": terms.commitment(zero, seed),
        "survivors_digest": survivors,
        "confirm_text": terms.confirm_text(digest, survivors),
    }
    shares = split(seed, [1, 2, 3, 4], 3, lambda n: keystream(poly_key, n))
    return {
        "about": "values on the way of secagg_session.json, of node 0 towards node 1",
        "values": {name: value.hex() for name, value in rows.items()},
        "seed_shares": {str(point): share.hex() for point, share in enumerate(shares, 1)},
    }


def messages() -> dict[str, Any]:
    """Return one message of each kind, field by field, as node 0 sent or got it."""
    legs = sessions()["legs"]
    kinds = [
        ("advert", legs[0]["up"], _advert),
        ("roster", legs[0]["down"], _roster),
        ("shares", legs[1]["up"], _sealed),
        ("forwarded", legs[1]["down"], _forwarded),
        ("masked", legs[2]["up"], _masked),
        ("survivors", legs[2]["down"], _survivors),
        ("confirmation", legs[3]["up"], _confirmation),
        ("quorum", legs[3]["down"], _quorum),
        ("unmasking", legs[4]["up"], _unmasking),
    ]
    found = []
    for name, sent, cut in kinds:
        content = bytes.fromhex(sent["0"])
        head = [["version", content[:1].hex()], ["kind", content[1:2].hex()]]
        found.append({"message": name, "hex": sent["0"], "fields": head + cut(content[2:])})
    return {"about": "each message of secagg_session.json, byte by byte", "messages": found}


def _agreed(own: bytes, other: bytes) -> bytes:
    public = X25519PrivateKey.from_private_bytes(other).public_key()
    return X25519PrivateKey.from_private_bytes(own).exchange(public)


def _cut(content: bytes, *fields: tuple[str, int]) -> tuple[Fields, bytes]:
    found = []
    for label, size in fields:
        found.append([label, content[:size].hex()])
        content = content[size:]
    return found, content


def _advert(content: bytes) -> Fields:
    return _cut(content, ("mask_key", 32), ("channel_key", 32), ("signature", 64))[0]


def _roster(content: bytes) -> Fields:
    fields, content = _cut(content, ("nodes", 4))
    for node in range(COUNT):
        size = int.from_bytes(content[:4], "big")
        parts = (("certificate_bytes", 4), ("certificate", size))
        keys_ = (("mask_key", 32), ("channel_key", 32), ("signature", 64))
        more, content = _cut(content, *((f"{name}_{node}", n) for name, n in parts + keys_))
        fields += more
    return fields


def _sealed(content: bytes) -> Fields:
    count = int.from_bytes(content[:4], "big")
    parts = [(f"sealed_shares_{at}", 82) for at in range(count)]
    return _cut(content, ("count", 4), *parts)[0]


def _forwarded(content: bytes) -> Fields:
    fields, content = _cut(content, ("nodes", 4), ("shared", 1))
    return fields + _sealed(content)


def _masked(content: bytes) -> Fields:
    words = [(f"word_{at}", 4) for at in range(3)]
    return _cut(content, ("word_bits", 2), ("length", 4), ("commitment", 32), *words)[0]


def _survivors(content: bytes) -> Fields:
    return _cut(content, ("nodes", 4), ("alive", 1), ("gone", 1))[0]


def _confirmation(content: bytes) -> Fields:
    return _cut(content, ("signature", 64))[0]


def _quorum(content: bytes) -> Fields:
    count = int.from_bytes(content[:4], "big")
    parts = [part for at in range(count) for part in ((f"node_{at}", 4), (f"signature_{at}", 64))]
    return _cut(content, ("count", 4), *parts)[0]


def _unmasking(content: bytes) -> Fields:
    count = int.from_bytes(content[:4], "big")
    return _cut(content, ("count", 4), *((f"share_{at}", 33) for at in range(count)))[0]


FILES: Final = {
    "secagg_session.json": sessions,
    "secagg_keys.json": keys,
    "secagg_messages.json": messages,
}


def text(name: str) -> str:
    """Return what a file holds."""
    return json.dumps(FILES[name](), indent=1) + "\n"


if __name__ == "__main__":
    for file in FILES:
        (FOLDER / file).write_text(text(file), "utf-8")
