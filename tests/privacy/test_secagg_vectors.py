"""The golden bytes of a secure sum: read, written again, and made again from their inputs."""

import json
from hashlib import sha256
from io import BytesIO
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from homebody_privacy.secagg.shamir import combine
from homebody_privacy.signing import verify_ed25519

from .secagg_fleet import Fleet
from .secagg_vectors import COUNT, FILES, FOLDER, GONE, new_fleet, text
from .test_secagg_wire import KINDS


def load(name: str) -> Any:  # noqa: ANN401
    return json.loads((FOLDER / f"secagg_{name}.json").read_text("utf-8"))


def values() -> dict[str, bytes]:
    return {name: bytes.fromhex(value) for name, value in load("keys")["values"].items()}


@pytest.mark.parametrize("name", FILES)
def test_the_files_are_what_the_code_makes_today(name: str) -> None:
    assert (FOLDER / name).read_text("utf-8") == text(name)


def test_fields_make_up_every_message_and_every_kind_is_shown() -> None:
    found = load("messages")["messages"]
    assert [message["message"] for message in found] == [kind.__name__.lower() for kind in KINDS]
    for kind, message in zip(KINDS, found, strict=True):
        content = bytes.fromhex(message["hex"])
        assert b"".join(bytes.fromhex(value) for _, value in message["fields"]) == content
        assert kind.from_bytes(content).to_bytes() == content
        labels = [label for label, _ in message["fields"]]
        assert labels[:2] == ["version", "kind"]
        assert len(set(labels)) == len(labels)


def test_every_message_of_the_session_is_read_and_written_the_same() -> None:
    pairs = [(0, 1), (2, 3), (4, 5), (6, 7), (8, None)]
    for leg, (up, down) in zip(load("session")["legs"], pairs, strict=True):
        for kind, sent in ((up, leg["up"]), (down, leg["down"])):
            for content in map(bytes.fromhex, sent.values()):
                assert kind is not None
                assert KINDS[kind].from_bytes(content).to_bytes() == content


def leg(fleet: Fleet) -> dict[str, dict[str, str]]:
    """Return the messages of the leg a fleet has just been through."""
    return {
        "up": {str(node): fleet.up[node].hex() for node in fleet.live},
        "down": {str(node): message.hex() for node, message in fleet.down.items()},
    }


def test_a_whole_session_from_its_inputs_has_the_same_bytes_and_sum() -> None:
    golden = load("session")
    fleet = new_fleet()
    assert [node["signing_secret"] for node in golden["nodes"]] == [
        signer.secret.hex() for signer in fleet.signers
    ]
    for node, own in enumerate(golden["nodes"]):
        secrets = ("mask_secret", "channel_secret", "self_seed", "polynomial_secret")
        fleet.entropy[node] = BytesIO(b"".join(bytes.fromhex(own[name]) for name in secrets)).read
    fleet.advertise()
    assert leg(fleet) == golden["legs"][0]
    fleet.share()
    assert leg(fleet) == golden["legs"][1]
    fleet.mask({GONE})
    assert leg(fleet) == golden["legs"][2]
    fleet.confirm()
    assert leg(fleet) == golden["legs"][3]
    summed = fleet.unmask()
    assert leg(fleet)["up"] == golden["legs"][4]["up"]
    kept = [node["vector"] for node in golden["nodes"] if node["number"] != GONE]
    assert summed.total.tolist() == golden["total"] == [sum(row) for row in zip(*kept, strict=True)]


def test_keys_are_those_of_hkdf_over_the_documented_info() -> None:
    value = values()

    def derived(secret: bytes, info: bytes) -> bytes:
        hkdf = HKDF(algorithm=SHA256(), length=32, salt=value["roster_digest"], info=info)
        return hkdf.derive(secret)

    nodes = load("session")["nodes"]
    zero, one = (nodes[number]["node_id"] for number in (0, 1))
    assert value["mask_info"].decode() == f"homebody/secagg/mask/v1|autumn|12|7|{zero}|{one}"
    assert value["share_info_0_to_1"].decode() == (
        f"homebody/secagg/share/v1|autumn|12|7|{zero}|{one}"
    )
    assert value["self_info"].decode() == f"homebody/secagg/self/v1|autumn|12|7|{zero}|{zero}"
    assert derived(value["mask_secret_agreed"], value["mask_info"]) == value["mask_key"]
    channel = value["channel_secret_agreed"]
    assert derived(channel, value["share_info_0_to_1"]) == value["share_key_0_to_1"]
    seed = bytes.fromhex(nodes[0]["self_seed"])
    assert derived(seed, value["self_info"]) == value["self_key"]
    assert (
        value["commitment"]
        == sha256(
            b"homebody/secagg/commit/v1\0" + value["session"] + bytes.fromhex(zero) + seed
        ).digest()
    )


def test_the_session_opens_with_the_documented_values() -> None:
    value, golden = values(), load("session")
    roster = bytes.fromhex(golden["legs"][0]["down"]["0"])
    digest = sha256(b"homebody/secagg/roster/v1\0" + value["session"] + roster).digest()
    assert digest == value["roster_digest"]
    sent = bytes.fromhex(golden["legs"][1]["up"]["0"])
    both = ChaCha20Poly1305(value["share_key_0_to_1"]).decrypt(
        bytes(12), sent[6:88], value["share_context_0_to_1"]
    )
    shares = load("keys")["seed_shares"]
    assert both[:33].hex() == shares["2"]
    chosen = {point: bytes.fromhex(shares[str(point)]) for point in (1, 3, 4)}
    assert combine(chosen) == bytes.fromhex(golden["nodes"][0]["self_seed"])
    signature = bytes.fromhex(golden["legs"][3]["up"]["0"])[2:]
    public = bytes.fromhex(golden["nodes"][0]["certificate"])[-32:]
    assert verify_ed25519(public, signature, value["confirm_text"])
    assert len(golden["nodes"]) == COUNT
