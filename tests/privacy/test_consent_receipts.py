"""Receipts: canonical as RFC 8785 has it, chained, signed; any change of a chain is found."""

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from homebody_privacy.errors import IntegrityError
from homebody_privacy.receipts import (
    NO_CHAIN,
    ChainEnd,
    ConsentReceipt,
    canonical,
    commitment,
    line_hash,
    read_chain,
    signed_line,
)
from homebody_privacy.signing import SigningKey

KEY = SigningKey(bytes(32))
FIRST = ConsentReceipt(
    n=1,
    prev="0" * 64,
    event="ConsentGiven",
    purpose="training",
    features=("purchases",),
    policy_version=4,
    config_sha256="c" * 64,
    notice_sha256="e" * 64,
    language="en",
    at=1_772_355_600,
    valid_until=1_803_891_600,
    by="DataSubject",
    method="tap",
    explicit=False,
    over_signal=False,
    cause="",
    epoch=12,
)


def _chain(size: int) -> list[bytes]:
    lines: list[bytes] = []
    for n in range(1, size + 1):
        prev = line_hash(lines[-1]) if lines else "0" * 64
        lines.append(signed_line(replace(FIRST, n=n, prev=prev, epoch=n), KEY))
    return lines


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(
    values=st.dictionaries(
        st.text("abcdefghijklmnopqrstuvwxyz_", min_size=1, max_size=8),
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(-(2**53) + 1, 2**53 - 1),
            _TEXT,
            st.lists(_TEXT, max_size=3),
        ),
        max_size=6,
    )
)
def test_our_json_is_rfc_8785(values: dict[str, Any]) -> None:
    assert canonical(values) == rfc8785.dumps(values)
    assert canonical({"outer": values}) == rfc8785.dumps({"outer": values})


def test_a_receipt_is_read_back_as_it_was_written() -> None:
    lines = _chain(3)
    read = read_chain(lines, public=KEY.public)
    assert [receipt.n for receipt in read] == [1, 2, 3]
    assert read[0] == replace(FIRST, epoch=1)
    assert ConsentReceipt.from_json(FIRST.to_json()) == FIRST


def test_cn_22_cr_13_a_flip_of_any_byte_is_found() -> None:
    lines = _chain(2)
    for number, line in enumerate(lines):
        for place in range(len(line)):
            changed = list(lines)
            flipped = bytearray(line)
            flipped[place] ^= 1
            changed[number] = bytes(flipped)
            with pytest.raises(IntegrityError):
                read_chain(changed, public=KEY.public)


@settings(max_examples=50)
@given(data=st.data())
def test_cn_22_cr_13_swapped_dropped_and_repeated_lines_are_found(data: st.DataObject) -> None:
    lines = _chain(5)
    order = data.draw(st.lists(st.integers(0, 4), max_size=6))
    picked = [lines[number] for number in order]
    if order == list(range(len(order))):
        assert len(read_chain(picked, public=KEY.public)) == len(order)
    else:
        with pytest.raises(IntegrityError):
            read_chain(picked, public=KEY.public)


def test_another_spelling_of_the_same_receipt_is_refused() -> None:
    [line] = _chain(1)
    with pytest.raises(IntegrityError, match="not what was written"):
        read_chain([line.replace(b'":', b'": ', 1)], public=KEY.public)


def test_a_chain_may_begin_where_older_lines_were_cut() -> None:
    lines = _chain(4)
    base = ChainEnd(2, line_hash(lines[1]))
    assert [r.n for r in read_chain(lines[2:], public=KEY.public, base=base)] == [3, 4]
    with pytest.raises(IntegrityError):
        read_chain(lines[2:], public=KEY.public)


def test_a_signature_of_another_key_is_refused() -> None:
    other = SigningKey(bytes([1]) * 32)
    with pytest.raises(IntegrityError, match="another key"):
        read_chain(_chain(1), public=other.public)


@pytest.mark.parametrize(
    "change",
    [
        {"n": 0},
        {"at": -1},
        {"at": 1.5},
        {"at": True},
        {"valid_until": 2**53},
        {"event": "ConsentImagined"},
        {"by": "Somebody"},
        {"prev": ""},
        {"prev": "0" * 63},
        {"config_sha256": "C" * 64},
        {"purpose": 7},
        {"features": (7,)},
        {"explicit": 1},
    ],
)
def test_what_no_device_writes_cannot_be_built(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must|may"):
        replace(FIRST, **change)


@pytest.mark.parametrize("change", [{"v": 2}, {"extra": 1}, {"features": "purchases"}])
def test_json_of_another_form_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"receipt|list"):
        ConsentReceipt.from_json({**FIRST.to_json(), **change})


@pytest.mark.parametrize("end", [(-1, "0" * 64), (1, ""), (1, "0" * 63), (True, "0" * 64)])
def test_an_end_no_chain_can_have_is_refused(end: tuple[int, str]) -> None:
    with pytest.raises(ValueError, match="must be"):
        ChainEnd(*end)


def test_cr_16_a_commitment_depends_on_secret_count_and_head() -> None:
    told = {
        commitment(bytes(32), NO_CHAIN),
        commitment(bytes([1]) * 32, NO_CHAIN),
        commitment(bytes(32), ChainEnd(1, "0" * 64)),
        commitment(bytes(32), ChainEnd(0, "1" * 64)),
    }
    assert len(told) == 4


def test_opening_a_device_loads_no_schema_library() -> None:
    code = (
        "import sys, homebody_client.consent.gates, homebody_client.consent.wire\n"
        "heavy = {'pydantic', 'rfc8785', 'jinja2', 'asyncio', 'http.server', 'torch', 'numpy'}\n"
        "print(*sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []
