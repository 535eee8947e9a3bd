"""Golden bytes of our own messages, read a second time with the primitives alone.

``tests/vectors/`` holds each message field by field. Here the fields are put together, taken apart
and opened by hand, and the code has to agree: on the bytes where they follow from the keys, on what
is inside where HPKE is randomised.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM768X25519PrivateKey, Suite

from homebody_privacy.broadcast import decrypt_model
from homebody_privacy.certificate import Certificate, Request
from homebody_privacy.envelope import Envelope, SealContext
from homebody_privacy.identity import NodeIdentity, RecipientKey
from homebody_privacy.legs import Announcement, Decline, Enrolment, Opening, Step, Work
from homebody_privacy.messages import Invitation
from homebody_privacy.sealing import open_sealed, open_signed, read_context, sign_plain
from homebody_privacy.signing import SigningKey

FOLDER: Final = Path(__file__).parents[1] / "vectors"
TEXT: Final = {"header", "fleet", "what is asked"}
SUITE: Final = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def read(file: str) -> Any:  # noqa: ANN401 - as written in the file
    return json.loads((FOLDER / file).read_text("utf-8"))


def raw(name: str, value: str) -> bytes:
    """Return the bytes of a labelled field."""
    if name == "zeros":
        return bytes(int(value))
    return value.encode() if name in TEXT else bytes.fromhex(value)


def joined(fields: list[list[str]]) -> bytes:
    return b"".join(raw(name, value) for name, value in fields)


SEALING: Final = read("sealing.json")
KEYS: Final = SEALING["keys"]
ENVELOPES: Final[list[dict[str, Any]]] = SEALING["envelopes"]
NAMES: Final = [one["name"] for one in ENVELOPES]


def recipient(owner: str) -> RecipientKey:
    return RecipientKey.from_bytes(bytes.fromhex(KEYS[owner]["recipient_secret"]))


def public(owner: str) -> bytes:
    return bytes.fromhex(KEYS[owner]["signing_public"])


@pytest.mark.parametrize("owner", KEYS)
def test_the_keys_are_those_of_their_secrets(owner: str) -> None:
    keys = KEYS[owner]
    signing = SigningKey(bytes.fromhex(keys["signing_secret"]))
    assert signing.public == public(owner)
    by_hand = Ed25519PrivateKey.from_private_bytes(signing.secret).public_key()
    assert by_hand.public_bytes_raw() == public(owner)
    if "recipient_secret" not in keys:
        return
    secret = bytes.fromhex(keys["recipient_secret"])
    mlkem = MLKEM768PrivateKey.from_seed_bytes(secret[:64]).public_key().public_bytes_raw()
    x25519 = X25519PrivateKey.from_private_bytes(secret[64:]).public_key().public_bytes_raw()
    assert recipient(owner).public == mlkem + x25519 == bytes.fromhex(keys["recipient_public"])


@pytest.mark.parametrize("vector", ENVELOPES, ids=NAMES)
def test_an_envelope_is_what_the_page_says_when_it_is_read_by_hand(vector: dict[str, Any]) -> None:
    part = {name: raw(name, value) for name, value in vector["fields"]}
    sealed = vector["recipient"] != ""
    assert part["version"] == b"\x01"
    assert part["flags"] == bytes([sealed])
    assert int.from_bytes(part["header length"], "big") == len(part["header"])
    body = b"".join(
        part[name] for name in ("encapsulated key", "ciphertext", "tag", "body") if name in part
    )
    assert int.from_bytes(part["body length"], "big") == len(body)
    assert len(part["signature"]) == 64

    digest = hashlib.sha256(part["header length"] + part["header"] + body).digest()
    signed = b"homebody/update-sig/v1" + b"\x00" + digest
    sender = Ed25519PublicKey.from_public_bytes(public(vector["sender"]))
    sender.verify(part["signature"], signed)  # raises otherwise

    if not sealed:
        assert body.hex() == vector["body"]
        return
    secret = bytes.fromhex(KEYS[vector["recipient"]]["recipient_secret"])
    key = MLKEM768X25519PrivateKey(
        MLKEM768PrivateKey.from_seed_bytes(secret[:64]),
        X25519PrivateKey.from_private_bytes(secret[64:]),
    )
    info = b"homebody/update/v1" + b"\x00" + hashlib.sha256(part["header"]).digest()
    assert len(info) == 51
    assert SUITE.decrypt(body, key, info).hex() == vector["body"]
    assert len(part["encapsulated key"]) == 1120
    assert len(part["ciphertext"]) == len(bytes.fromhex(vector["body"]))


@pytest.mark.parametrize("vector", ENVELOPES, ids=NAMES)
def test_the_code_reads_the_golden_envelopes(vector: dict[str, Any]) -> None:
    envelope = joined(vector["fields"])
    context = read_context(envelope)
    assert context.to_bytes().decode() == dict(vector["fields"])["header"]
    assert Envelope.from_bytes(envelope).to_bytes() == envelope
    sender, now = public(vector["sender"]), vector["now"]
    if vector["recipient"]:
        key = recipient(vector["recipient"])
        body = open_sealed(envelope, expected=context, key=key, sender=sender, now=now)
    else:
        body = open_signed(envelope, expected=context, sender=sender, now=now)
        signer = SigningKey(bytes.fromhex(KEYS[vector["sender"]]["signing_secret"]))
        assert sign_plain(context, body, signer) == envelope
    assert body.hex() == vector["body"]


def test_the_header_says_field_by_field_what_the_page_says() -> None:
    (update,) = [one for one in ENVELOPES if one["name"] == "masked update"]
    header = json.loads(dict(update["fields"])["header"])
    node = hashlib.sha256(public("node")).hexdigest()
    server = hashlib.sha256(bytes.fromhex(KEYS["aggregator"]["recipient_public"])).hexdigest()
    assert header == {
        "config_sha256": "c0" * 32,
        "consent_receipt_sha256": "5e" * 32,
        "consent_tag": "7a" * 16,
        "direction": "up",
        "model_sha256": read("broadcast.json")["model_sha256"],
        "msg_id": "101112131415161718191a1b1c1d1e1f",
        "node_id": node,
        "not_after": 1700000600,
        "recipient_key_id": server,
        "round": 7,
        "run": "autumn",
        "session": 12,
        "step": "update",
        "suite": "MLKEM768-X25519/HKDF-SHA256/AES-256-GCM",
        "v": 1,
    }
    assert list(header) == sorted(header)


BODIES: Final[list[tuple[str, type[Any]]]] = [
    ("announcement", Announcement),
    ("enrolment", Enrolment),
    ("opening", Opening),
    ("decline", Decline),
]


@pytest.mark.parametrize(("name", "kind"), BODIES, ids=[name for name, _ in BODIES])
def test_the_golden_bodies_are_those_of_the_code_and_of_the_envelopes(
    name: str, kind: type[Any]
) -> None:
    text = read("legs.json")[name]
    body = kind.from_bytes(text.encode())
    assert body.to_bytes().decode() == text
    (vector,) = [one for one in ENVELOPES if one["name"] == name]
    assert bytes.fromhex(vector["body"]).decode() == text


def test_the_golden_request_for_a_statistic_is_that_of_the_code() -> None:
    text = read("legs.json")["statistic"]
    asked = Invitation.from_record(json.loads(text))
    assert asked.statistic == "gram"
    assert rfc8785.dumps(asked.to_record()).decode() == text
    work = Work(asked=json.loads(text), forwarded=b"", content_key=bytes(32))
    assert Work.from_bytes(work.to_bytes()).asked == json.loads(text)


def test_the_golden_work_is_that_of_the_code_and_of_its_envelope() -> None:
    fields = read("legs.json")["work"]
    content = joined(fields)
    part = dict(fields)
    work = Work.from_bytes(content)
    assert work.asked == json.loads(part["what is asked"])
    assert work.forwarded.hex() == part["shares"]
    assert work.content_key.hex() == part["content key"]
    assert work.to_bytes() == content
    assert len(content) == 4096
    (vector,) = [one for one in ENVELOPES if one["name"] == "work"]
    assert vector["body"] == content.hex()


def test_the_golden_certificate_is_signed_by_the_authority() -> None:
    fields = read("certificates.json")["certificate"]
    content = joined(fields)
    digest = hashlib.sha256(content[:-64]).digest()
    authority = Ed25519PublicKey.from_public_bytes(public("authority"))
    authority.verify(content[-64:], b"homebody/certificate/v1\x00" + digest)
    part = dict(fields)
    key = part["ML-KEM-768 public key"] + part["X25519 public key"]
    issued = Certificate.issue(
        SigningKey(bytes.fromhex(KEYS["authority"]["signing_secret"])),
        fleet=part["fleet"],
        signing=bytes.fromhex(part["Ed25519 public key"]),
        recipient=bytes.fromhex(key),
        not_after=int(part["end of life"], 16),
    )
    assert issued.to_bytes() == content
    assert key == KEYS["node"]["recipient_public"]
    Certificate.from_bytes(content).check(public("authority"), "home", 1_700_000_000)


def test_the_golden_request_is_signed_by_the_node() -> None:
    content = joined(read("certificates.json")["request"])
    digest = hashlib.sha256(content[:-64]).digest()
    node = Ed25519PublicKey.from_public_bytes(public("node"))
    node.verify(content[-64:], b"homebody/request/v1\x00" + digest)
    identity = NodeIdentity(
        signing=SigningKey(bytes.fromhex(KEYS["node"]["signing_secret"])),
        recipient=recipient("node"),
    )
    assert Request.make(identity, fleet="home").to_bytes() == content
    Request.from_bytes(content).check("home")


def test_the_golden_broadcast_opens_by_hand_and_with_the_code() -> None:
    vector = read("broadcast.json")
    ciphertext, key = joined(vector["fields"]), bytes.fromhex(vector["key"])
    digest = vector["model_sha256"]
    label = b"homebody/model/v1\x00" + bytes.fromhex(digest)
    plain = AESGCM(key).decrypt(bytes(12), ciphertext, label)
    assert plain == np.array(vector["parameters"], "<f4").tobytes()
    assert hashlib.sha256(plain).hexdigest() == digest
    read_model = decrypt_model(ciphertext, key, model_sha256=digest)
    assert read_model.tolist() == vector["parameters"]


def test_the_golden_legs_go_both_ways() -> None:
    contexts = [SealContext.from_bytes(dict(one["fields"])["header"].encode()) for one in ENVELOPES]
    assert {one.direction for one in contexts} == {"up", "down"}
    assert {one.step for one in contexts} == {
        Step.ENROL,
        Step.ADVERTISE,
        Step.UPDATE,
        Step.DECLINE,
    }
    assert len({one.to_bytes() for one in contexts}) == len(contexts)
