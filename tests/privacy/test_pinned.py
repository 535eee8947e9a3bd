"""What a device believes of a ledger it saw before: growth, and nothing else."""

import pytest

from homebody_privacy.checkpoint import (
    LedgerCheckpoint,
    operator_key,
    origin_of,
    sign_checkpoint,
)
from homebody_privacy.errors import IntegrityError
from homebody_privacy.merkle import Tree
from homebody_privacy.note import COSIGNATURE, VerifierKey, cosign_note
from homebody_privacy.pinned import Inclusion, Pin, PinnedKeys, advance
from homebody_privacy.signing import SigningKey

OPERATOR, WITNESS = SigningKey(bytes(32)), SigningKey(b"\1" * 32)
ALONE = PinnedKeys(operator_key(OPERATOR))
BOTH = PinnedKeys(operator_key(OPERATOR), VerifierKey("w", WITNESS.public, COSIGNATURE))


def story(*entries: bytes) -> Tree:
    tree = Tree()
    for entry in entries:
        tree.append(entry)
    return tree


def seen(tree: Tree, *, origin: str = "autumn", key: SigningKey = OPERATOR) -> str:
    return sign_checkpoint(LedgerCheckpoint(origin_of(origin), tree.size, tree.root()), key)


def pin_of(tree: Tree) -> Pin:
    return advance(None, seen(tree), ALONE)


def test_a_first_checkpoint_is_kept_and_a_longer_one_takes_its_place() -> None:
    first, later = story(b"a", b"b"), story(b"a", b"b", b"c")
    pin = pin_of(first)
    assert pin == Pin(origin_of("autumn"), 2, first.root())
    assert advance(pin, seen(first), ALONE) == pin
    proof = later.consistency_proof(2, 3)
    assert advance(pin, seen(later), ALONE, proof).size == 3


def test_an_entry_must_be_in_the_ledger_it_is_shown_with() -> None:
    tree = story(b"a", b"b", b"c")
    shown = Inclusion(b"b", 1, tuple(tree.inclusion_proof(1, 3)))
    assert advance(None, seen(tree), ALONE, inclusions=[shown]).size == 3
    for wrong in (Inclusion(b"x", 1, shown.proof), Inclusion(b"b", 2, shown.proof)):
        with pytest.raises(IntegrityError, match="is not in the ledger"):
            advance(None, seen(tree), ALONE, inclusions=[wrong])


def test_cr_39_an_older_checkpoint_than_the_one_seen_is_refused() -> None:
    with pytest.raises(IntegrityError, match="older"):
        advance(pin_of(story(b"a", b"b")), seen(story(b"a")), ALONE)


@pytest.mark.parametrize(
    "rewritten",
    [
        (b"a", b"x"),  # another entry in place of one that was seen
        (b"b", b"a"),  # swapped
        (b"a", b"x", b"c"),  # and grown since
        (b"b", b"c", b"d"),  # the first one removed
    ],
)
def test_cr_39_a_ledger_rewritten_and_signed_again_after_it_was_seen_is_refused(
    rewritten: tuple[bytes, ...],
) -> None:
    forked = story(*rewritten)
    proof = forked.consistency_proof(2, forked.size)
    with pytest.raises(IntegrityError, match="forked"):
        advance(pin_of(story(b"a", b"b")), seen(forked), ALONE, proof)


def test_a_longer_ledger_without_its_proof_is_refused() -> None:
    with pytest.raises(IntegrityError, match="forked"):
        advance(pin_of(story(b"a", b"b")), seen(story(b"a", b"b", b"c")), ALONE)


def test_the_ledger_of_another_run_is_refused() -> None:
    with pytest.raises(IntegrityError, match="another ledger"):
        advance(pin_of(story(b"a")), seen(story(b"a"), origin="winter"), ALONE)


def test_a_checkpoint_that_the_operator_did_not_sign_is_refused() -> None:
    with pytest.raises(IntegrityError, match="none of the known"):
        advance(None, seen(story(b"a"), key=WITNESS), ALONE)


def test_where_a_witness_is_asked_for_its_signature_must_be_there_and_the_operators_too() -> None:
    note = seen(story(b"a"))
    with pytest.raises(IntegrityError, match="not signed by its witness"):
        advance(None, note, BOTH)
    cosigned = cosign_note(note, "w", WITNESS, 5)
    assert advance(None, cosigned, BOTH).size == 1
    only_witness = cosign_note(seen(story(b"a"), key=WITNESS), "w", WITNESS, 5)
    with pytest.raises(IntegrityError, match="not signed by its operator"):
        advance(None, only_witness, BOTH)
