"""Attacks on a bundle, by number (BN-01 to BN-23): each is refused, at the step that must see it.

The forger of most of them holds the publisher's key: a signature does not make content sound.
"""

import json
import math
import os
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homebody_models.bundle import Installed, Trust
from homebody_models.dsse import pre_authentication
from homebody_models.safetensors_format import encode_tensors
from homebody_models.strict_json import canonical

from .bundle_forge import (
    DIM,
    FACTS,
    ITEMS,
    PUBLISHER,
    SECOND,
    STRANGER,
    TRUST,
    TWO_KEYS,
    Forge,
    forge_at,
    verify,
)

_ORDER = 2**252 + 27742317777372353535851937790883648493  # of Ed25519's group


@pytest.fixture
def forge(tmp_path: Path) -> Forge:
    genuine = forge_at(tmp_path / "model.hbm")
    genuine.open()
    return genuine


@pytest.fixture(scope="module")
def shared_forge(tmp_path_factory: pytest.TempPathFactory) -> Forge:
    return forge_at(tmp_path_factory.mktemp("bundles") / "model.hbm")


def test_bn_01_smaller_epsilon_claimed(forge: Forge) -> None:
    forge.write("manifest.json", forge.read("manifest.json").replace(b'"4.05"', b'"0.05"'))
    forge.refused(2)


def test_bn_02_signed_by_another_key_under_the_trusted_id(forge: Forge) -> None:
    _, signature = STRANGER.sign(pre_authentication(forge.read("manifest.json")))
    forge.write_signatures((PUBLISHER.id, signature))
    forge.refused(2)


def test_bn_03_unknown_key_id(forge: Forge) -> None:
    forge.sign_bytes(forge.read("manifest.json"), STRANGER)
    forge.refused(2)


def test_bn_04_one_signature_twice_for_threshold_two(forge: Forge) -> None:
    forge.sign_bytes(forge.read("manifest.json"), PUBLISHER, PUBLISHER)
    assert "1 trusted keys" in forge.refused(2, TWO_KEYS)
    forge.sign_bytes(forge.read("manifest.json"), PUBLISHER, SECOND)
    forge.open(TWO_KEYS)


def test_bn_04_two_good_signatures_of_one_key_for_threshold_two(forge: Forge) -> None:
    def randomised(_public: bytes, signature: bytes, _message: bytes) -> bool:
        return len(signature) == 64  # a scheme in which one key has many good signatures

    forge.write_signatures((PUBLISHER.id, bytes(64)), (PUBLISHER.id, b"1" * 64))
    assert "1 trusted keys" in forge.refused(2, replace(TWO_KEYS, verify=randomised))


def test_bn_05_signature_with_the_group_order_added(forge: Forge) -> None:
    name, signature = PUBLISHER.sign(pre_authentication(forge.read("manifest.json")))
    s = int.from_bytes(signature[32:], "little") + _ORDER
    forge.write_signatures((name, signature[:32] + s.to_bytes(32, "little")))
    forge.refused(2)


def test_bn_06_schema_of_the_future(forge: Forge) -> None:
    forge.change({"schema": 2})
    assert "schema" in forge.refused(4)


def test_bn_07_older_serial(forge: Forge) -> None:
    assert "older" in forge.refused(5, replace(TRUST, installed=Installed(6, "0" * 64)))
    assert "floor" in forge.refused(5, replace(TRUST, floor_serial=6))
    forge.open(replace(TRUST, installed=Installed(4, "0" * 64), floor_serial=5))


def test_bn_08_same_serial_with_other_content(forge: Forge) -> None:
    digest = forge.open().digest
    forge.open(replace(TRUST, installed=Installed(5, digest)))
    forge.change({"version": "v5b"})
    assert "other content" in forge.refused(5, replace(TRUST, installed=Installed(5, digest)))


def test_bn_09_expired(forge: Forge) -> None:
    assert not forge.open(now=FACTS.expires).stale
    forge.refused(6, now=FACTS.expires + 1)
    assert forge.open(now=FACTS.expires + 1, active=True).stale


def test_bn_10_byte_of_the_table_flipped(forge: Forge) -> None:
    data = bytearray(forge.read("model.safetensors"))
    data[-1] ^= 1
    forge.write("model.safetensors", bytes(data))
    assert "model.safetensors" in forge.refused(7)


def test_bn_11_vocabulary_swapped(forge: Forge) -> None:
    ids = json.loads(forge.read("items.json"))["ids"]
    ids[0], ids[1] = ids[1], ids[0]
    forge.write("items.json", canonical({"ids": ids}))
    assert "items.json" in forge.refused(7)


def test_bn_12_vocabulary_shorter_than_the_table(forge: Forge) -> None:
    ids = json.loads(forge.read("items.json"))["ids"]
    forge.replace_file("items.json", canonical({"ids": ids[:-1]}))
    forge.refused(9)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1.1e4])
@pytest.mark.parametrize("tensor", ["b", "scale"])
def test_bn_13_validly_signed_nan(forge: Forge, tensor: str, value: float) -> None:
    changed = forge.tensors()[tensor]
    changed[3] = value
    forge.replace_tensors({tensor: changed})
    forge.refused(10)


def test_bn_13_validly_signed_minus_128(forge: Forge) -> None:
    changed = forge.tensors()["E"]
    changed[3, 0] = -128
    forge.replace_tensors({"E": changed})
    forge.refused(10)


def test_bn_14_one_key_under_two_ids(forge: Forge) -> None:
    with pytest.raises(ValueError, match="SHA-256"):
        Trust(
            verify=verify,
            trusted={PUBLISHER.id: PUBLISHER.public, "second": PUBLISHER.public},
            threshold=2,
        )
    name, signature = PUBLISHER.sign(pre_authentication(forge.read("manifest.json")))
    forge.write_signatures((name, signature), (name.upper(), signature))
    forge.refused(2, TWO_KEYS)


@pytest.mark.parametrize(
    "change",
    [
        (b'"serial":5', b'"serial":5,"serial":9'),
        (b'"serial":5', b'"serial":5.0'),
        (b'"serial":5', b'"serial":NaN'),
        (b'"serial":5', b'"serial":'),
    ],
    ids=["duplicate", "float", "nan", "broken"],
)
def test_bn_15_duplicate_json_key(forge: Forge, change: tuple[bytes, bytes]) -> None:
    forge.sign_bytes(forge.read("manifest.json").replace(*change))
    forge.refused(3)


def test_bn_16_min_serial_above_serial(forge: Forge, tmp_path: Path) -> None:
    forge.change({"min_serial": 6})
    assert "next start" in forge.refused(5)
    with pytest.raises(ValueError, match="min_serial"):
        forge_at(tmp_path / "other.hbm", replace(FACTS, min_serial=6))


@pytest.mark.parametrize("name", ["../items.json", "sub/x", "/etc/passwd", ".hidden", "..", ""])
def test_bn_17_path_in_a_name(forge: Forge, name: str) -> None:
    files = forge.manifest()["files"]
    forge.change({"files": files | {name: files["items.json"]}})
    assert "bare names" in forge.refused(7)


def test_bn_18_file_that_is_not_listed(forge: Forge) -> None:
    forge.write("extra.bin", b"")
    forge.refused(7)


def test_bn_18_listed_file_that_is_not_there(forge: Forge) -> None:
    (forge.folder / "card.json").unlink()
    forge.refused(7)


def test_bn_18_required_file_that_is_not_listed(forge: Forge) -> None:
    files = forge.manifest()["files"]
    del files["golden.json"]
    forge.change({"files": files})
    (forge.folder / "golden.json").unlink()
    assert "golden.json" in forge.refused(7)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: {name: t[name] for name in ("E", "scale")},
        lambda t: t | {"b": t["b"][:-1]},
        lambda t: t | {"E": t["E"][:, :-1]},
        lambda t: t | {"l1.weight": t["b"]},
    ],
    ids=["missing", "short", "narrow", "unexpected"],
)
def test_bn_19_short_or_missing_tensor(
    forge: Forge, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    forge.replace_file("model.safetensors", encode_tensors(change(forge.tensors())))
    forge.refused(8)


def test_bn_20_table_as_f32(forge: Forge) -> None:
    forge.replace_tensors({"E": forge.tensors()["E"].astype(np.float32)})
    assert "tensor E must be I8" in forge.refused(8)


def _header() -> dict[str, dict[str, Any]]:
    return {
        "b": {"dtype": "F32", "shape": [ITEMS], "data_offsets": [0, 48]},
        "scale": {"dtype": "F32", "shape": [ITEMS], "data_offsets": [48, 96]},
        "E": {"dtype": "I8", "shape": [ITEMS, DIM], "data_offsets": [96, 144]},
    }


@pytest.mark.parametrize(
    ("offsets", "size"),
    [
        ({"E": [97, 145]}, 145),
        ({"E": [48, 96]}, 96),
        ({"E": [96, 144]}, 143),
        ({"E": [96, 144]}, 145),
        ({"scale": [0, 48]}, 144),
        ({"E": [-48, 0]}, 144),
        ({"E": [96, 145]}, 145),
        ({"E": [144, 96]}, 144),
        ({"E": ["96", 144]}, 144),
        ({"E": [96]}, 144),
        ({"E": [96, 2**62]}, 144),
    ],
    ids=str,
)
def test_bn_21_hole_overlap_or_offset_past_the_end(
    forge: Forge, offsets: dict[str, list[Any]], size: int
) -> None:
    header = _header()
    for name, value in offsets.items():
        header[name]["data_offsets"] = value
    forge.raw_tensors(header, bytes(size))
    forge.refused(8)


@pytest.mark.parametrize("length", [2**63, 2**20 + 8, 10_000, 3])
def test_bn_21_header_that_does_not_fit(forge: Forge, length: int) -> None:
    forge.replace_file("model.safetensors", struct.pack("<Q", length) + b"{}      " + bytes(64))
    forge.refused(8)


def test_bn_21_header_with_metadata(forge: Forge) -> None:
    forge.raw_tensors(_header() | {"__metadata__": {}}, bytes(144))
    forge.refused(8)


def test_bn_22_duplicate_ids(forge: Forge) -> None:
    ids = json.loads(forge.read("items.json"))["ids"]
    forge.replace_file("items.json", canonical({"ids": [ids[1], *ids[1:]]}))
    forge.refused(9)


@pytest.mark.parametrize("scale", [3e38, -1.0, 0.0, 100.1])
def test_bn_23_scale_too_large_or_negative(forge: Forge, scale: float) -> None:
    changed = forge.tensors()["scale"]
    changed[0] = scale
    forge.replace_tensors({"scale": changed})
    forge.refused(10)


def test_other_payload_type_is_refused_before_the_signature(forge: Forge) -> None:
    data = forge.read("manifest.sig.json").replace(b"bundle+json", b"other!+json")
    forge.write("manifest.sig.json", data)
    forge.refused(1)


@pytest.mark.parametrize(
    ("name", "size"), [("manifest.json", (1 << 20) + 1), ("manifest.sig.json", (1 << 16) + 1)]
)
def test_oversized_file_is_refused_unread(forge: Forge, name: str, size: int) -> None:
    forge.write(name, b" " * size)
    assert "longer than" in forge.refused(1)


def test_nested_signature_file_does_not_exhaust_the_stack(forge: Forge) -> None:
    forge.write("manifest.sig.json", b"[" * 60_000)
    forge.refused(1)


@pytest.mark.parametrize("name", ["manifest.json", "items.json"])
def test_link_is_not_followed(forge: Forge, name: str, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (forge.folder / name).rename(outside)
    (forge.folder / name).symlink_to(outside)
    forge.refused(1 if name == "manifest.json" else 7)


def test_pipe_in_place_of_a_file_does_not_block(forge: Forge) -> None:
    (forge.folder / "manifest.json").unlink()
    os.mkfifo(forge.folder / "manifest.json")
    assert "regular" in forge.refused(1)


def test_folder_in_place_of_a_file_is_refused(forge: Forge) -> None:
    (forge.folder / "card.json").unlink()
    (forge.folder / "card.json").mkdir()
    forge.refused(7)


def test_unknown_encoder_is_refused(forge: Forge) -> None:
    forge.change({"arch": forge.manifest()["arch"] | {"encoder": "mean-mlp"}})
    assert "encoder" in forge.refused(4)


@pytest.mark.parametrize("name", ["catalog", "privacy", "files", "arch", "min_serial", "serial"])
def test_manifest_without_a_field_is_refused(forge: Forge, name: str) -> None:
    manifest = forge.manifest()
    del manifest[name]
    forge.sign_bytes(canonical(manifest))
    assert name in forge.refused(4)


def test_item_ids_that_are_no_texts_are_refused(forge: Forge) -> None:
    forge.replace_file("items.json", canonical({"ids": list(range(ITEMS))}))
    forge.refused(9)


def test_engine_that_disagrees_with_the_golden_lists_does_not_serve(forge: Forge) -> None:
    golden = json.loads(forge.read("golden.json"))
    golden["cases"][0]["scores"][0] += 0.01
    forge.replace_file("golden.json", json.dumps(golden).encode())
    assert "golden" in forge.refused(11)


def test_no_refusal_holds_an_item_id(forge: Forge) -> None:
    forge.write("items.json", canonical({"ids": ["secret-id"] * ITEMS}))
    assert "secret-id" not in forge.refused(7)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_flipped_bit_of_what_is_signed_is_refused(
    shared_forge: Forge, data: st.DataObject
) -> None:
    names = ["manifest.json", "model.safetensors", "items.json", "golden.json", "card.json"]
    name = data.draw(st.sampled_from(names))
    genuine = shared_forge.read(name)
    place = data.draw(st.integers(0, 8 * len(genuine) - 1))
    changed = bytearray(genuine)
    changed[place // 8] ^= 1 << place % 8
    shared_forge.write(name, bytes(changed))
    try:
        shared_forge.refused(2 if name == "manifest.json" else 7)
    finally:
        shared_forge.write(name, genuine)


@pytest.mark.parametrize("threshold", [0, 2])
def test_threshold_no_publisher_can_meet_is_refused(threshold: int) -> None:
    with pytest.raises(ValueError, match="threshold"):
        replace(TRUST, threshold=threshold)
