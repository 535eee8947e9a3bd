"""The small formats a bundle is made of: JSON, tensors, envelope, golden lists."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homebody_models.arch import Arch
from homebody_models.dsse import (
    PAYLOAD_TYPE,
    Signature,
    pre_authentication,
    read_signatures,
    write_signatures,
)
from homebody_models.golden import check_golden, golden_cases, golden_histories
from homebody_models.history import HistoryWindow
from homebody_models.json_fields import from_number, to_number
from homebody_models.manifest import BundleFacts, is_bare_name
from homebody_models.ranking import Ranker
from homebody_models.recommender import Exported
from homebody_models.ridge import Ridge
from homebody_models.safetensors_format import TensorSpec, decode_tensors, encode_tensors
from homebody_models.strict_json import canonical, strict_loads, with_floats

SHA = "0" * 64
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=100)
@given(json_values)
def test_canonical_json_reads_back(value: object) -> None:
    try:
        data = canonical(value)
    except ValueError:  # a lone surrogate is no UTF-8
        assert any(0xD800 <= ord(c) <= 0xDFFF for c in json.dumps(value, ensure_ascii=False))
        return
    assert strict_loads(data) == value


def test_canonical_json_sorts_keys_and_has_no_space() -> None:
    # RFC 8785 sorts by UTF-16 code units: the emoji's surrogates come before U+FB33
    assert canonical({"\ufb33": 1, "\U0001f600": 2, "b": [1, "é"]}) == (
        '{"b":[1,"é"],"\U0001f600":2,"\ufb33":1}'.encode()
    )


@pytest.mark.parametrize("value", [1.5, {"a": [math.nan]}, 2**53, b"x", {1: "a"}, {"a": {2}}])
def test_canonical_json_refuses_what_languages_read_differently(value: object) -> None:
    with pytest.raises(ValueError, match="JSON"):
        canonical(value)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b'{"a":1,"a":2}', id="duplicate key"),
        pytest.param(b'[{"b":{"a":1,"a":1}}]', id="nested duplicate"),
        pytest.param(b"1.5", id="float"),
        pytest.param(b"1e3", id="exponent"),
        pytest.param(b"NaN", id="nan"),
        pytest.param(b"-Infinity", id="infinity"),
        pytest.param(b"[" * 100_000, id="deep"),
        pytest.param(b'"\xff"', id="no UTF-8"),
        pytest.param(b"{} {}", id="two values"),
        pytest.param(b"", id="empty"),
    ],
)
def test_ambiguous_json_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        strict_loads(data)


def test_floats_are_read_only_where_asked_and_only_finite_ones() -> None:
    assert strict_loads(b"[0.5, 1e3]", floats=True) == [0.5, 1000.0]
    for data in (b"1e999", b"NaN"):
        with pytest.raises(ValueError, match="JSON holds"):
            strict_loads(data, floats=True)
    with pytest.raises(ValueError, match="JSON compliant"):
        with_floats({"a": math.nan})


@settings(max_examples=50)
@given(st.integers(0, 5), st.integers(0, 5), st.integers(0, 2**32))
def test_tensors_read_back(items: int, dim: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = rng.integers(-127, 128, (items, dim)).astype(np.int8)
    bias = rng.standard_normal(items).astype(np.float32)
    data = encode_tensors({"E": table, "b": bias})
    specs = {"E": TensorSpec("I8", (items, dim)), "b": TensorSpec("F32", (items,))}
    back = decode_tensors(data, specs)
    assert np.array_equal(back["E"], table)
    assert np.array_equal(back["b"], bias)
    assert not back["E"].flags.writeable


def test_tensor_file_is_the_one_of_the_format() -> None:
    data = encode_tensors({"E": np.array([[1, -1]], np.int8), "b": np.array([1.0], np.float32)})
    length = int.from_bytes(data[:8], "little")  # header length, 8 bytes little-endian
    header = json.loads(data[8 : 8 + length])
    assert length % 8 == 0
    assert list(header) == ["b", "E"]  # widest dtype first
    assert header["b"] == {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    assert header["E"] == {"dtype": "I8", "shape": [1, 2], "data_offsets": [4, 6]}
    assert data[8 + length :].hex() == "0000803f" + "01ff"  # 1.0, then 1 and -1


def test_tensor_of_another_type_is_not_written() -> None:
    wrong: Any = np.zeros(2)
    with pytest.raises(ValueError, match="float32 and int8"):
        encode_tensors({"b": wrong})


@pytest.mark.parametrize("cut", [0, 7, 8, 40, -1])
def test_shortened_tensor_file_is_refused(cut: int) -> None:
    data = encode_tensors({"b": np.arange(4, dtype=np.float32)})
    with pytest.raises(ValueError, match=r"header|tensor|JSON|Expecting|delimiter"):
        decode_tensors(data[:cut], {"b": TensorSpec("F32", (4,))})


def test_envelope_is_the_one_of_dsse() -> None:
    # "DSSEv1" SP length SP type SP length SP payload
    assert pre_authentication(b"hello") == b"DSSEv1 36 " + PAYLOAD_TYPE.encode() + b" 5 hello"
    written = json.loads(write_signatures(Signature("ab", b"\x00\xff")))
    assert written == {
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"keyid": "ab", "sig": "AP8="}],
    }
    assert read_signatures(write_signatures(Signature("ab", b"\x00"))) == (
        Signature("ab", b"\x00"),
    )


@pytest.mark.parametrize(
    "content",
    [
        {"payloadType": "text/plain", "signatures": [{"keyid": "a", "sig": "AA=="}]},
        {"payloadType": PAYLOAD_TYPE, "signatures": []},
        {"payloadType": PAYLOAD_TYPE, "signatures": [{"keyid": "a", "sig": "AA=="}] * 17},
        {"payloadType": PAYLOAD_TYPE, "signatures": [{"keyid": "a", "sig": "!"}]},
        {"payloadType": PAYLOAD_TYPE, "signatures": [{"keyid": "a"}]},
        {"payloadType": PAYLOAD_TYPE, "signatures": [], "more": 1},
        [],
    ],
    ids=["type", "none", "many", "base64", "field", "more", "list"],
)
def test_malformed_signature_file_is_refused(content: object) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        read_signatures(json.dumps(content).encode())


@given(st.floats(min_value=0, max_value=1e6))
def test_decimal_text_reads_back_as_the_same_float(number: float) -> None:
    text = from_number(number)
    assert "e" not in text.lower()
    assert to_number(text, "x") == number


@pytest.mark.parametrize("text", ["1e5", "-1", "nan", "", ".5", "0x1", 1, None])
def test_other_decimal_forms_are_refused(text: object) -> None:
    with pytest.raises(ValueError, match="x must be a decimal"):
        to_number(text, "x")


@pytest.mark.parametrize("name", ["a/b", "../a", "..", ".hidden", "", "a\\b", "a\0", "é"])
def test_name_with_a_path_is_not_bare(name: str) -> None:
    assert not is_bare_name(name)
    assert is_bare_name("model.safetensors")


def _arch(encoder: str) -> Arch:
    problem = Ridge(0.1, 1e-5) if encoder == "ridge" else None
    dim = 0 if encoder == "none" else 4
    return Arch(
        encoder=encoder,
        n_items=7,
        dim=dim,
        window=HistoryWindow(64, 0.9),
        problem=problem,
        repeat=2.5 if encoder == "mean-repeat" else 0.0,
    )


@pytest.mark.parametrize("encoder", ["none", "mean", "mean-repeat", "ridge"])
def test_arch_reads_back(encoder: str) -> None:
    assert Arch.from_json(_arch(encoder).to_json()) == _arch(encoder)


def test_arch_writes_decimals_as_texts() -> None:
    fields = _arch("ridge").to_json()
    assert (fields["history_decay"], fields["unseen_weight"]) == ("0.9", "0.00001")


@pytest.mark.parametrize(
    "changed",
    [
        {"encoder": "mean-mlp"},
        {"encoder": 7},
        {"encoder": "none"},
        {"encoder": "ridge"},
        {"encoder": "mean-repeat"},
        {"repeat": "2.5"},
        {"n_items": 0},
        {"n_items": True},
        {"dim": 0},
        {"hidden": 8},
        {"n_context": 1},
        {"quant": "int4"},
        {"history_max": 65},
        {"history_decay": 0.9},
        {"history_decay": "1.1"},
        {"more": 1},
    ],
    ids=str,
)
def test_arch_of_another_formula_is_refused(changed: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"arch|history"):
        Arch.from_json(_arch("mean").to_json() | changed)


@pytest.mark.parametrize(
    "changed",
    [
        {"model_id": ""},
        {"serial": 0},
        {"serial": True},
        {"expires": 1},
        {"catalog_sha256": "AB"},
        {"evaluation": ({"metric": "ndcg@10", "value": "0.1"},)},
        {"evaluation": ({"metric": "ndcg@10", "value": "0.1", "source": "secret"},)},
    ],
    ids=str,
)
def test_facts_no_reader_would_accept_are_refused(changed: dict[str, Any]) -> None:
    fields: dict[str, Any] = {
        "model_id": "shop",
        "version": "v1",
        "serial": 1,
        "created": 1_000,
        "expires": 2_000,
        "catalog_sha256": SHA,
        "privacy": {},
    }
    BundleFacts(**fields)
    with pytest.raises(ValueError, match=r"\w"):
        BundleFacts(**(fields | changed))


def _ranker(seed: int = 0) -> Ranker:
    rng = np.random.default_rng(seed)
    return Ranker(
        Exported(
            encoder="mean",
            embeddings=rng.standard_normal((50, 4)).astype(np.float32),
            bias=np.zeros(50, np.float32),
            history_max=64,
            history_decay=0.9,
        )
    )


def test_golden_lists_pass_on_the_engine_that_wrote_them() -> None:
    check_golden(with_floats(golden_cases(_ranker())), _ranker())


def test_golden_lists_fail_on_another_model() -> None:
    with pytest.raises(ValueError, match="another list"):
        check_golden(with_floats(golden_cases(_ranker(0))), _ranker(1))


def test_golden_lists_allow_rounding_and_no_more() -> None:
    cases: Any = golden_cases(_ranker())
    cases["cases"][1]["scores"][0] += 5e-6
    check_golden(with_floats(cases), _ranker())
    cases["cases"][1]["scores"][0] += 1e-3
    with pytest.raises(ValueError, match="golden case 1"):
        check_golden(with_floats(cases), _ranker())


@pytest.mark.parametrize(
    "cases",
    [
        [],
        [{"history": [0], "top": [], "scores": []}],
        [{"history": [50], "top": [0], "scores": [0.0]}],
        [{"history": [0], "top": [0], "scores": ["a"]}],
        [{"history": [0], "top": [0, 1], "scores": [0.0]}],
        [{"history": [0]}],
        [{"history": [0] * 2_000, "top": [0], "scores": [0.0]}],
    ],
    ids=["none", "short", "outside", "text", "unequal", "fields", "long"],
)
def test_malformed_golden_file_is_refused(cases: list[object]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        check_golden(with_floats({"cases": cases}), _ranker())


@pytest.mark.parametrize("n_items", [1, 2, 50])
def test_golden_histories_cover_the_edges(n_items: int) -> None:
    histories = golden_histories(n_items)
    assert [] in histories
    assert max(len(history) for history in histories) > 64
    assert all(0 <= item < n_items for history in histories for item in history)
