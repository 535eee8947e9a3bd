"""The keystream and the keys it runs on."""

import hmac
import secrets

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homebody_privacy import stream as stream_module
from homebody_privacy.stream import NoiseStream, derive_key, fresh_key

LABELS = st.lists(st.text(max_size=5) | st.integers(-9, 99), min_size=1, max_size=3)


def test_words_are_the_chacha20_keystream_of_rfc_8439() -> None:
    # appendix A.1, test vector 1: key and nonce zero, block 0
    block = bytes.fromhex(
        "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7"
        "da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586"
    )
    assert NoiseStream(bytes(32)).words(8).astype("<u8").tobytes() == block


@given(st.lists(st.integers(0, 20), max_size=6))
def test_words_in_portions_are_the_words_at_once(portions: list[int]) -> None:
    key = bytes(range(32))
    stream = NoiseStream(key)
    parts = [stream.words(n) for n in portions]
    whole = NoiseStream(key).words(sum(portions))
    assert np.concatenate([*parts, whole[:0]]).tolist() == whole.tolist()


def test_no_word_comes_twice() -> None:
    stream = NoiseStream(fresh_key())
    assert len({*stream.words(500).tolist(), *stream.words(500).tolist()}) == 1000


def test_a_stream_ends_before_its_counter_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "WORD_LIMIT", 10)
    stream = NoiseStream(bytes(32))
    stream.words(6)
    with pytest.raises(OverflowError, match="derive a new key"):
        stream.words(5)
    assert stream.words(4).size == 4


def test_the_limit_is_the_period_of_a_32_bit_block_counter() -> None:
    assert stream_module.WORD_LIMIT * 8 == 2**32 * 64


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        NoiseStream(bytes(length))


def test_a_negative_number_of_words_is_refused() -> None:
    with pytest.raises(ValueError, match="n must be"):
        NoiseStream(bytes(32)).words(-1)


def test_the_key_is_not_in_the_repr() -> None:
    key = secrets.token_bytes(32)
    assert key.hex() not in repr(NoiseStream(key))
    assert repr(NoiseStream(key)) == "NoiseStream(words_used=0)"


@given(LABELS, LABELS)
def test_keys_are_equal_exactly_where_the_labels_are(
    a: list[str | int], b: list[str | int]
) -> None:
    same = [(type(x), x) for x in a] == [(type(x), x) for x in b]
    assert (derive_key(bytes(32), *a) == derive_key(bytes(32), *b)) == same


def test_keys_of_different_masters_differ() -> None:
    assert derive_key(bytes(32), "noise") != derive_key(bytes([1]) * 32, "noise")


def test_a_derived_key_is_hkdf_sha256_of_the_length_prefixed_labels() -> None:
    label = b"homebody/noise/v1"
    info = b"homebody/key/v1\0s" + len(label).to_bytes(4, "big") + label + b"i\0\0\0\x017"
    extracted = hmac.digest(bytes(32), bytes(32), "sha256")  # RFC 5869 by hand, one block
    expanded = hmac.digest(extracted, info + b"\x01", "sha256")
    assert derive_key(bytes(32), "homebody/noise/v1", 7) == expanded
    assert expanded.hex().startswith("878272411f746eef")  # keys stay what they were


def test_a_short_master_key_is_refused() -> None:
    with pytest.raises(ValueError, match="master key"):
        derive_key(bytes(31), "noise")


def test_a_key_for_nothing_in_particular_is_refused() -> None:
    with pytest.raises(ValueError, match="label"):
        derive_key(bytes(32))


def test_fresh_keys_differ() -> None:
    assert len({fresh_key() for _ in range(8)}) == 8
    assert len(fresh_key()) == 32


def test_words_that_were_not_enciphered_are_never_given_out() -> None:
    class Stopped:
        """A keystream that writes less than it is asked for."""

        def update_into(self, data: memoryview, _into: memoryview) -> int:
            return len(data) // 2

    stream = NoiseStream(bytes(32))
    stream._keystream = Stopped()  # type: ignore[assignment]  # noqa: SLF001 - no real one stops
    with pytest.raises(RuntimeError, match="no noise"):
        stream.words(8)
