"""Messages of a secure sum use up every byte and have one spelling each."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homebody_privacy.secagg.wire import (
    Advert,
    Confirmation,
    Forwarded,
    Masked,
    Quorum,
    Roster,
    Shares,
    Survivors,
    Unmasking,
    bitmap,
)

KINDS: list[type[Any]] = [
    Advert,
    Roster,
    Shares,
    Forwarded,
    Masked,
    Survivors,
    Confirmation,
    Quorum,
    Unmasking,
]
_KEY = st.binary(min_size=32, max_size=32)
_SIGNATURE = st.binary(min_size=64, max_size=64)
_SEALED = st.lists(st.binary(min_size=82, max_size=82), max_size=4).map(tuple)
_ADVERTS = st.builds(Advert, mask_key=_KEY, channel_key=_KEY, signature=_SIGNATURE)


@st.composite
def listed(draw: st.DrawFn) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    count = draw(st.integers(1, 40))
    numbers = st.sets(st.integers(0, count - 1)).map(lambda some: tuple(sorted(some)))
    return count, draw(numbers), draw(numbers)


_MESSAGES = st.one_of(
    _ADVERTS,
    st.lists(st.tuples(st.binary(max_size=50), _ADVERTS), max_size=3).map(
        lambda members: Roster(tuple(members))
    ),
    _SEALED.map(Shares),
    st.tuples(listed(), _SEALED).map(lambda one: Forwarded(one[0][0], one[0][1], one[1])),
    listed().map(lambda one: Survivors(*one)),
    _SIGNATURE.map(Confirmation),
    st.dictionaries(st.integers(0, 999), _SIGNATURE, max_size=3).map(
        lambda some: Quorum(tuple(sorted(some.items())))
    ),
    st.lists(st.binary(min_size=33, max_size=33), max_size=4).map(
        lambda shares: Unmasking(tuple(shares))
    ),
)


@given(_MESSAGES)
def test_what_was_written_is_read_and_written_the_same(message: Any) -> None:  # noqa: ANN401
    content = message.to_bytes()
    assert type(message).from_bytes(content) == message
    assert type(message).from_bytes(content).to_bytes() == content


@given(_MESSAGES, st.binary(min_size=1, max_size=3), st.data())
def test_cut_or_longer_messages_are_refused(
    message: Any,  # noqa: ANN401
    more: bytes,
    data: st.DataObject,
) -> None:
    content = message.to_bytes()
    with pytest.raises(ValueError, match=r"left over"):
        type(message).from_bytes(content + more)
    with pytest.raises(ValueError, match=r"."):
        type(message).from_bytes(content[: data.draw(st.integers(0, len(content) - 1))])


@given(st.sampled_from(KINDS), st.binary(max_size=400))
def test_any_bytes_are_one_message_or_refused(kind: type[Any], content: bytes) -> None:
    for start in (b"", bytes([1, kind.kind])):
        try:
            message = kind.from_bytes(start + content)
        except ValueError:
            continue
        assert message.to_bytes() == start + content


@given(st.lists(st.integers(0, 2**64 - 1), max_size=9), st.sampled_from(["<u4", "<u8"]), _KEY)
def test_masked_vectors_keep_every_word(words: list[int], kind: str, commitment: bytes) -> None:
    vector = (np.array(words, np.uint64) & np.uint64(2 ** (8 * int(kind[2])) - 1)).astype(kind)
    content = Masked(commitment, vector).to_bytes()
    assert len(content) == 40 + vector.nbytes
    read = Masked.from_bytes(content)
    assert read.commitment == commitment
    assert read.words.dtype == vector.dtype
    assert (read.words == vector).all()
    assert read.to_bytes() == content
    for wrong in (content + b"\0", content[:-1]):
        with pytest.raises(ValueError, match=r"left over|too early"):
            Masked.from_bytes(wrong)


def test_kinds_are_distinct_and_not_taken_for_each_other() -> None:
    assert [kind.kind for kind in KINDS] == list(range(1, 10))
    content = Shares(()).to_bytes()
    with pytest.raises(ValueError, match="another version or kind"):
        Unmasking.from_bytes(content)
    with pytest.raises(ValueError, match="another version or kind"):
        Shares.from_bytes(b"\x02" + content[1:])


def test_a_list_has_zeros_beyond_the_last_node() -> None:
    content = Survivors(9, (0, 8), ()).to_bytes()
    assert content[6:8] == b"\x01\x01"
    for spoilt in (content[:7] + b"\x03" + content[8:], content[:-1] + b"\x80"):
        with pytest.raises(ValueError, match="beyond the last"):
            Survivors.from_bytes(spoilt)
    with pytest.raises(IndexError):
        bitmap([9], 9)


def test_signatures_out_of_order_are_refused() -> None:
    for numbers in ((2, 1), (1, 1)):
        content = Quorum(tuple((number, bytes(64)) for number in numbers)).to_bytes()
        with pytest.raises(ValueError, match="increasing"):
            Quorum.from_bytes(content)


def test_counts_beyond_all_fleets_are_refused_before_they_are_believed() -> None:
    huge = (2**31).to_bytes(4, "big")
    for kind in (Roster, Shares, Forwarded, Survivors, Quorum, Unmasking):
        with pytest.raises(ValueError, match="out of range"):
            kind.from_bytes(bytes([1, kind.kind]) + huge)
    with pytest.raises(ValueError, match="too early"):
        Masked.from_bytes(b"\x01\x05\x00\x20" + huge + bytes(32))
    with pytest.raises(ValueError, match="32 or 64"):
        Masked.from_bytes(b"\x01\x05\x00\x10" + bytes(36))


def test_messages_do_not_show_what_they_carry() -> None:
    advert = Advert(mask_key=bytes(32), channel_key=bytes(32), signature=bytes(64))
    shown = [
        repr(Roster(((b"", advert),))),
        repr(Shares((bytes(82),))),
        repr(Forwarded(1, (0,), (bytes(82),))),
        repr(Survivors(1, (0,), ())),
        repr(Unmasking((bytes(33),))),
        repr(Masked(bytes(32), np.zeros(1, "<u4"))),
    ]
    assert shown == [
        "Roster()",
        "Shares()",
        "Forwarded(participants=1)",
        "Survivors(participants=1)",
        "Unmasking()",
        f"Masked(commitment={bytes(32)!r})",
    ]
