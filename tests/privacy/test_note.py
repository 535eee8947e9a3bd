"""Signed notes and checkpoints: bytes of other implementations, and every forgery refused."""

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homebody_privacy.checkpoint import (
    CHECKPOINT_NAME,
    LedgerCheckpoint,
    ledger_key,
    ledger_public,
    operator_key,
    origin_of,
    read_checkpoint,
    sign_checkpoint,
)
from homebody_privacy.errors import IntegrityError, InvalidFileError
from homebody_privacy.merkle import EMPTY_ROOT
from homebody_privacy.note import (
    COSIGNATURE,
    VerifierKey,
    cosign_note,
    open_note,
    sign_note,
)
from homebody_privacy.signing import SigningKey

# golang.org/x/mod/sumdb/note, whose format the specification describes.
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
SECRET = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
LINE = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdng"
    "otpRZb6KE6RyyBwJnAM=\n"
)
# Made by github.com/transparency-dev/formats/note.
WITNESS = "vec.example/cosigv10+c12688da+BLMSTPoQj0PojM8eKiPf9xUT8g6b0OuMyvYb5sSu9JH5"
WITNESSED = base64.b64decode(
    "dmVjLmV4YW1wbGUvY29zaWd2MTAKNDIKQ3NVWWFwR0dQbzRka01nSUFVcW9tL1hhamo3aDJmQjJNUEEzajJqeHEyST0K"
    "CuKAlCB2ZWMuZXhhbXBsZS9jb3NpZ3YxMCB3U2FJMmdBQUFBQnFiTDVRM0hqYlRDSmVxTWczdG1wZFlHQWcwNWlqVGk3"
    "azBweXJlSlNVTG10djNnK3lYSCtHL0tvODdKRytRa0xGNmFmOStHVlZObEVJZ2Y2VDBidzB3UXlNRHc9PQo="
).decode()

OPERATOR, STRANGER = SigningKey(bytes(32)), SigningKey(b"\1" * 32)
SEEN = SigningKey(b"\2" * 32)
HERE = LedgerCheckpoint(origin_of("autumn"), 3, bytes(range(32)))


def test_the_note_of_another_implementation_is_made_and_opened_byte_for_byte() -> None:
    key = VerifierKey.parse(PETER)
    assert str(key) == PETER
    assert sign_note(TEXT, "PeterNeumann", SigningKey(SECRET)) == f"{TEXT}\n{LINE}"
    opened = open_note(f"{TEXT}\n{LINE}", [key])
    assert (opened.text, opened.signed_by) == (TEXT, ("PeterNeumann",))


def test_the_example_of_the_specification_is_opened() -> None:
    key = VerifierKey.parse("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k")
    note = (
        "This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2"
        "ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
    )
    assert open_note(note, [key]).signed_by == ("example.com/foo",)


def test_the_cosignature_of_another_implementation_is_opened() -> None:
    key = VerifierKey.parse(WITNESS)
    opened = open_note(WITNESSED, [key])
    assert key.algorithm == COSIGNATURE
    assert LedgerCheckpoint.parse(opened.text).size == 42
    assert opened.time_of(key) == 1_785_511_504
    with pytest.raises(IntegrityError, match="does not fit"):
        open_note(WITNESSED.replace("\n42\n", "\n43\n"), [key])


def test_a_signature_of_an_unknown_key_is_passed_over() -> None:
    note = f"{sign_checkpoint(HERE, OPERATOR)}{LINE}"
    assert open_note(note, [operator_key(OPERATOR)]).signed_by == ("homebody.ledger",)
    assert open_note(cosign_note(note, "w", SEEN, 5), [operator_key(OPERATOR)]).text == HERE.text


def test_a_note_no_known_key_signed_is_refused() -> None:
    note = sign_checkpoint(HERE, STRANGER)
    for keys in ([], [operator_key(OPERATOR)], [VerifierKey("other", STRANGER.public)]):
        with pytest.raises(IntegrityError, match="none of the known keys"):
            open_note(note, keys)


def test_a_witness_adds_its_line_and_replaces_only_its_own() -> None:
    witness = VerifierKey("dpo@example.org", SEEN.public, COSIGNATURE)
    once = cosign_note(sign_checkpoint(HERE, OPERATOR), witness.name, SEEN, 1_700_000_000)
    twice = cosign_note(once, witness.name, SEEN, 1_700_000_060)
    opened = open_note(twice, [operator_key(OPERATOR), witness])
    assert opened.signed_by == ("homebody.ledger", "dpo@example.org")
    assert opened.time_of(witness) == 1_700_000_060
    assert opened.is_signed_by(witness)
    assert twice.count("— ") == once.count("— ") == 2


def test_a_cosignature_is_no_plain_signature_and_the_other_way_round() -> None:
    plain = VerifierKey("w", SEEN.public)
    timed = VerifierKey("w", SEEN.public, COSIGNATURE)
    cosigned = cosign_note(sign_checkpoint(HERE, OPERATOR), "w", SEEN, 5)
    with pytest.raises(IntegrityError, match="none of the known"):
        open_note(cosigned, [plain])
    with pytest.raises(IntegrityError, match="none of the known"):
        open_note(sign_note(HERE.text, "w", SEEN), [timed])


@given(st.integers(0, 1_000), st.integers(0, 7))
def test_a_note_with_a_bit_changed_is_refused(at: int, bit: int) -> None:
    note = sign_checkpoint(HERE, OPERATOR).encode()
    changed = bytearray(note)
    changed[at % len(note)] ^= 1 << bit
    try:
        text = changed.decode()
    except UnicodeDecodeError:
        return
    with pytest.raises(IntegrityError):
        open_note(text, [operator_key(OPERATOR)])


@pytest.mark.parametrize(
    "note",
    [
        "",
        TEXT,
        f"{TEXT}\n",
        f"{TEXT}\n{LINE[:-1]}",
        f"\1{TEXT}\n{LINE}",
        f"{TEXT}\n{LINE}No signature.\n",
        f"{TEXT}\n{LINE.replace('PeterNeumann', 'Peter Neumann')}",
        f"{TEXT}\n{LINE * 101}",
        f"{TEXT}\n{LINE.replace('=', '')}",
        "\n\n" + LINE,
        "\ud800\n\n" + LINE,
    ],
)
def test_what_is_no_note_is_refused(note: str) -> None:
    with pytest.raises(IntegrityError):
        open_note(note, [VerifierKey.parse(PETER)])


@pytest.mark.parametrize(
    "line",
    [
        "",
        "PeterNeumann",
        PETER.replace("c74f20a3", "c74f20a4"),
        # Of the bad keys of golang.org/x/mod/sumdb/note: too long, and of an unknown algorithm.
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        PETER.replace("PeterNeumann", ""),
    ],
)
def test_what_is_no_key_line_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"key line|name in a note"):
        VerifierKey.parse(line)


@pytest.mark.parametrize("text", ["", "\n", "no newline", "tab\there\n", "\ud800\n"])
def test_a_text_that_no_note_may_have_is_not_signed(text: str) -> None:
    with pytest.raises(ValueError, match="a note's text"):
        sign_note(text, "me", OPERATOR)


@pytest.mark.parametrize("name", ["", "two words", "plus+", "line\n"])
def test_a_name_that_no_note_may_have_does_not_sign(name: str) -> None:
    with pytest.raises(ValueError, match="a name in a note"):
        sign_note(TEXT, name, OPERATOR)


def test_a_checkpoint_has_these_bytes() -> None:
    assert HERE.text == (
        "homebody.ledger/autumn\n3\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"
    )
    assert HERE.run == "autumn"
    assert sign_checkpoint(HERE, OPERATOR) == f"{HERE.text}\n{SIGNED}"


SIGNED = (
    "— homebody.ledger zQAW0fZtEyuoBrJ3QAhDd5yZsNm2H2BZfNPi6i2Eq7Dijpb78PTN+F2dHqUyyM"
    "AMAX2YI525C3h47pjE8XB1ke8z/ws=\n"
)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "homebody.ledger/autumn\n3\n",
        HERE.text + "more\n",
        HERE.text.replace("\n3\n", "\n03\n"),
        HERE.text.replace("\n3\n", "\n-3\n"),
        HERE.text.replace("\n3\n", "\n0\n"),
        HERE.text.replace("AAEC", "AAE"),
        HERE.text.replace("homebody.ledger/autumn", "two words"),
        HERE.text.replace("AAEC", "*AEC"),
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(IntegrityError, match="checkpoint"):
        LedgerCheckpoint.parse(text)


def test_the_checkpoint_of_no_entry_has_the_root_of_the_empty_tree() -> None:
    assert LedgerCheckpoint.parse(LedgerCheckpoint("x", 0, EMPTY_ROOT).text).size == 0


def test_a_checkpoint_is_read_with_its_signatures_or_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / CHECKPOINT_NAME
    path.write_text(sign_checkpoint(HERE, OPERATOR), "utf-8")
    assert read_checkpoint(path, [operator_key(OPERATOR)])[0] == HERE
    with pytest.raises(IntegrityError, match=CHECKPOINT_NAME):
        read_checkpoint(path, [operator_key(STRANGER)])
    path.write_bytes(b"\xff")
    with pytest.raises(IntegrityError, match="no text"):
        read_checkpoint(path, [operator_key(OPERATOR)])


def test_the_key_of_a_folders_ledgers_is_made_once_and_known_by_its_line(tmp_path: Path) -> None:
    key = ledger_key(tmp_path)
    assert ledger_key(tmp_path) == key
    assert (tmp_path / "ledger.key").stat().st_mode & 0o777 == 0o600
    assert ledger_public(tmp_path) == operator_key(key)
    (tmp_path / "ledger.pub").unlink()
    with pytest.raises(InvalidFileError, match=r"ledger\.pub"):
        ledger_public(tmp_path)
    ledger_key(tmp_path)
    assert ledger_public(tmp_path) == operator_key(key)
