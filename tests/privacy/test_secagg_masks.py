"""Masks cancel, never repeat, and their keys are those of one use, sum, pair and direction."""

from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from homebody_privacy.secagg.masks import (
    Deriver,
    Mask,
    agree,
    apply_in_parallel,
    apply_masks,
    centred,
    decrypt_shares,
    encrypt_shares,
    keystream,
    pair_sign,
    to_words,
    word_type,
)
from homebody_privacy.secagg.session import Session

_SESSION = Session(
    run="autumn",
    session=12,
    round=7,
    length=5,
    word_bits=32,
    config_sha256="c0" * 32,
    model_sha256="d2" * 32,
)
_SECRET, _A, _B = bytes(range(32)), b"a" * 32, b"b" * 32
_DERIVER = Deriver(_SESSION, bytes(32))


def test_the_keystream_is_aes_256_in_counter_mode_from_zero() -> None:
    # AES-256 of the zero block under the zero key (NIST CAVP, ECBGFSbox), then of the block 1
    assert keystream(bytes(32), 16).hex() == "dc95c078a2408989ad48a21492842087"
    assert keystream(bytes(32), 40)[16:32].hex() == "530f8afbc74536b9a963b4f1c4cb738b"


@pytest.mark.parametrize("length", [1, 65_535, 65_536, 65_537, 200_001])
@pytest.mark.parametrize("bits", [32, 64])
def test_masks_are_the_keystreams_words_at_any_length(length: int, bits: int) -> None:
    kind = word_type(bits)
    total = np.arange(length).astype(kind)
    apply_masks(total, [Mask(_A, add=True), Mask(_B, add=False)])
    words = [np.frombuffer(keystream(key, total.nbytes), kind) for key in (_A, _B)]
    assert (total == np.arange(length).astype(kind) + words[0] - words[1]).all()


@given(st.integers(1, 4), st.integers(0, 9), st.integers(1, 3))
def test_threads_give_the_same_words_and_opposite_masks_cancel(
    workers: int, jobs: int, size: int
) -> None:
    masks = [
        [Mask(bytes([job, at] * 16), add=bool((job + at) % 2)) for at in range(size)]
        for job in range(jobs)
    ]
    one, many = np.zeros(100, "<u4"), np.zeros(100, "<u4")
    apply_masks(one, [mask for job in masks for mask in job])
    apply_in_parallel(many, masks, workers)
    assert (one == many).all()
    apply_in_parallel(many, [[Mask(m.key, add=not m.add) for m in job] for job in masks], workers)
    assert not many.any()


def test_pf_35_masks_of_two_sums_differ() -> None:
    others: list[dict[str, Any]] = [{"run": "winter"}, {"session": 13}, {"round": 8}]
    derivers = [_DERIVER, Deriver(_SESSION, bytes([1] * 32))]
    derivers += [Deriver(replace(_SESSION, **other), bytes(32)) for other in others]
    pairs = [deriver.mask(_SECRET, _A, _B) for deriver in derivers]
    owns = [deriver.own(_SECRET, _A) for deriver in derivers]
    assert len({*pairs, *owns}) == 2 * len(derivers)
    for left, right in combinations(pairs, 2):
        words = [np.frombuffer(keystream(key, 4000), "<u4") for key in (left, right)]
        assert (words[0] == words[1]).mean() < 0.01


def test_pf_35_no_key_serves_both_directions_or_two_uses() -> None:
    assert _DERIVER.mask(_SECRET, _A, _B) == _DERIVER.mask(_SECRET, _B, _A)  # a mask is shared
    keys = [
        _DERIVER.mask(_SECRET, _A, _B),
        _DERIVER.share(_SECRET, _A, _B),
        _DERIVER.share(_SECRET, _B, _A),
        _DERIVER.own(_SECRET, _A),
        _DERIVER.own(_SECRET, _B),
        _DERIVER.polynomial(_SECRET, "seed", _A),
        _DERIVER.polynomial(_SECRET, "mask", _A),
    ]
    assert len(set(keys)) == len(keys)


def test_fields_of_an_info_cannot_run_into_each_other() -> None:
    one = replace(_SESSION, run="a", session=11, round=1)
    other = replace(_SESSION, run="a", session=1, round=11)
    assert one.key_info("mask", _A, _B) != other.key_info("mask", _A, _B)
    barred = replace(_SESSION, run="a|1", session=1, round=1)  # a run may hold the bar
    assert barred.key_info("mask", _A, _B) != replace(one, session=1).key_info("mask", _A, _B)
    assert barred.key_info("mask", _A, _B).rsplit(b"|", 4)[0].endswith(b"|a|1")


def test_of_two_nodes_one_adds_and_one_takes_away() -> None:
    assert pair_sign(_A, _B)
    assert not pair_sign(_B, _A)


def test_shares_open_under_their_key_and_context_alone() -> None:
    sealed = encrypt_shares(_A, b"x" * 66, b"context")
    assert len(sealed) == 82
    assert decrypt_shares(_A, sealed, b"context") == b"x" * 66
    flipped = bytes([sealed[0] ^ 1]) + sealed[1:]
    for key, content, context in (
        (_B, sealed, b"context"),
        (_A, sealed, b"another"),
        (_A, flipped, b"context"),
        (_A, sealed[:-1], b"context"),
    ):
        with pytest.raises(ValueError, match="do not open"):
            decrypt_shares(key, content, context)


def test_a_key_of_small_order_agrees_on_nothing() -> None:
    own = X25519PrivateKey.from_private_bytes(_SECRET)
    for small in (bytes(32), bytes([1] + [0] * 31)):
        with pytest.raises(ValueError, match=r"."):
            agree(own, X25519PublicKey.from_public_bytes(small))


@pytest.mark.parametrize("bits", [32, 64])
def test_every_value_of_half_a_word_comes_back(bits: int) -> None:
    session = replace(_SESSION, word_bits=bits)
    half = 1 << (bits - 1)
    vector = np.array([-half, -1, 0, 1, half - 1], dtype=np.int64)
    words = to_words(vector, session)
    assert words.dtype == word_type(bits)
    assert (centred(words) == vector).all()
    assert (to_words(words, session) == words).all()
    assert to_words(words, session) is not words


def test_vectors_that_do_not_fit_are_refused() -> None:
    for value in (1 << 31, -(1 << 31) - 1):
        with pytest.raises(ValueError, match="does not fit"):
            to_words(np.array([0, 0, 0, 0, value]), _SESSION)
    with pytest.raises(ValueError, match="does not fit"):
        to_words(np.full(5, 1 << 63, np.uint64), _SESSION)
    with pytest.raises(ValueError, match="shape"):
        to_words(np.zeros(4, np.int64), _SESSION)
    with pytest.raises(ValueError, match="shape"):
        to_words(np.zeros((5, 1), np.int64), _SESSION)
    with pytest.raises(ValueError, match="integers"):
        to_words(np.zeros(5), _SESSION)  # type: ignore[arg-type]


def test_no_mask_shows_its_key() -> None:
    assert repr(Mask(_A, add=True)) == "Mask(add=True)"


@pytest.mark.parametrize(
    "wrong",
    [
        {"run": ""},
        {"run": "x" * 256},
        {"session": -1},
        {"round": 1 << 63},
        {"length": 0},
        {"length": 1 << 32},
        {"word_bits": 16},
    ],
)
def test_a_sum_out_of_range_cannot_be_described(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must"):
        replace(_SESSION, **wrong)
