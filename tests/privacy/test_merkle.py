"""The Merkle tree: published roots and proofs, a naive recursion, and every wrong proof refused."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homebody_privacy.merkle import (
    EMPTY_ROOT,
    Tree,
    leaf_hash,
    node_hash,
    verify_consistency,
    verify_inclusion,
)

# The reference data of Certificate Transparency (google/trillian, merkle/logverifier).
LEAVES = [
    bytes.fromhex(leaf)
    for leaf in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
A = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
B = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
C = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
D = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
E = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
F = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"
INCLUSIONS = [
    (0, 1, []),
    (0, 8, [A, B, C]),
    (5, 8, [D, E, ROOTS[3]]),
    (2, 3, [ROOTS[1]]),
    (1, 5, [ROOTS[0], B, D]),
]
CONSISTENCIES = [(1, 1, []), (1, 8, [A, B, C]), (6, 8, [F, E, ROOTS[3]]), (2, 5, [B, D])]


def grown(entries: list[bytes]) -> Tree:
    """Return a tree of these entries."""
    tree = Tree()
    for entry in entries:
        tree.append(entry)
    return tree


def naive(entries: list[bytes]) -> bytes:
    """Return the root as RFC 6962 section 2.1 defines it, word for word."""
    if not entries:
        return hashlib.sha256(b"").digest()
    if len(entries) == 1:
        return leaf_hash(entries[0])
    k = 1
    while k * 2 < len(entries):
        k *= 2
    return node_hash(naive(entries[:k]), naive(entries[k:]))


def naive_path(index: int, entries: list[bytes]) -> list[bytes]:
    """Return the audit path of section 2.1.1, word for word."""
    if len(entries) == 1:
        return []
    k = 1
    while k * 2 < len(entries):
        k *= 2
    if index < k:
        return [*naive_path(index, entries[:k]), naive(entries[k:])]
    return [*naive_path(index - k, entries[k:]), naive(entries[:k])]


def naive_proof(old: int, entries: list[bytes], *, whole: bool = True) -> list[bytes]:
    """Return the consistency proof of section 2.1.2, word for word."""
    if old == len(entries):
        return [] if whole else [naive(entries)]
    k = 1
    while k * 2 < len(entries):
        k *= 2
    if old <= k:
        return [*naive_proof(old, entries[:k], whole=whole), naive(entries[k:])]
    return [*naive_proof(old - k, entries[k:], whole=False), naive(entries[:k])]


def test_cr_39_published_roots_come_out() -> None:
    tree = Tree()
    assert tree.root() == EMPTY_ROOT == hashlib.sha256(b"").digest()
    for leaf, root in zip(LEAVES, ROOTS, strict=True):
        tree.append(leaf)
        assert tree.root().hex() == root
    assert [tree.root_at(n).hex() for n in range(1, 9)] == ROOTS


@pytest.mark.parametrize(("index", "size", "proof"), INCLUSIONS)
def test_cr_39_published_inclusion_proofs_come_out_and_hold(
    index: int, size: int, proof: list[str]
) -> None:
    found = grown(LEAVES).inclusion_proof(index, size)
    assert [step.hex() for step in found] == proof
    root = bytes.fromhex(ROOTS[size - 1])
    assert verify_inclusion(leaf_hash(LEAVES[index]), index, size, found, root)


@pytest.mark.parametrize(("old", "new", "proof"), CONSISTENCIES)
def test_cr_39_published_consistency_proofs_come_out_and_hold(
    old: int, new: int, proof: list[str]
) -> None:
    found = grown(LEAVES).consistency_proof(old, new)
    assert [step.hex() for step in found] == proof
    roots = [bytes.fromhex(ROOTS[n - 1]) for n in (old, new)]
    assert verify_consistency(old, roots[0], new, roots[1], found)


@given(st.integers(1, 70), st.data())
@settings(deadline=None)
def test_roots_and_proofs_are_those_of_the_naive_recursion(size: int, data: st.DataObject) -> None:
    entries = [bytes([i]) * (i % 5) for i in range(size)]
    tree = grown([*entries, b"later"])
    old = data.draw(st.integers(0, size))
    index = data.draw(st.integers(0, size - 1))
    assert tree.root_at(size) == naive(entries)
    path = tree.inclusion_proof(index, size)
    assert path == naive_path(index, entries)
    assert verify_inclusion(tree.leaf(index), index, size, path, tree.root_at(size))
    proof = tree.consistency_proof(old, size)
    assert proof == (naive_proof(old, entries) if old else [])
    assert verify_consistency(old, tree.root_at(old), size, tree.root_at(size), proof)


@given(st.integers(2, 40), st.data())
@settings(deadline=None)
def test_a_wrong_inclusion_proof_is_refused(size: int, data: st.DataObject) -> None:
    tree = grown([bytes([i]) for i in range(size)])
    index = data.draw(st.integers(0, size - 1))
    leaf, root, proof = tree.leaf(index), tree.root(), tree.inclusion_proof(index, size)
    other = data.draw(st.integers(-1, size + 1).filter(lambda i: i != index))
    at = data.draw(st.integers(0, len(proof) - 1))
    assert not verify_inclusion(leaf, other, size, proof, root)
    assert not verify_inclusion(leaf, index, size, [*proof, root], root)
    assert not verify_inclusion(leaf, index, size, [root, *proof], root)
    assert not verify_inclusion(leaf, index, size, proof[:-1], root)
    assert not verify_inclusion(leaf, index, size, [*proof[:at], root, *proof[at + 1 :]], root)
    assert not verify_inclusion(leaf_hash(b"another"), index, size, proof, root)
    assert not verify_inclusion(leaf, index, size, proof, EMPTY_ROOT)
    assert not verify_inclusion(leaf, index, size, [step[:31] for step in proof], root)


@given(st.integers(2, 40), st.data())
@settings(deadline=None)
def test_a_wrong_consistency_proof_is_refused(new: int, data: st.DataObject) -> None:
    tree = grown([bytes([i]) for i in range(new)])
    old = data.draw(st.integers(1, new - 1))
    first, last, proof = tree.root_at(old), tree.root(), tree.consistency_proof(old, new)
    at = data.draw(st.integers(0, len(proof) - 1))
    changed = [*proof[:at], EMPTY_ROOT, *proof[at + 1 :]]
    forked = grown([bytes([i + (i == old - 1)]) for i in range(new)])
    assert not verify_consistency(old, first, new, last, changed)
    assert not verify_consistency(old, first, new, last, [*proof, first])
    assert not verify_consistency(old, first, new, last, [first, *proof])
    assert not verify_consistency(old, first, new, last, proof[:-1])
    assert not verify_consistency(old, last, new, first, proof)
    assert not verify_consistency(new, last, old, first, proof)
    assert not verify_consistency(old, first, new, forked.root(), proof)
    assert not verify_consistency(
        old, first, new, forked.root(), forked.consistency_proof(old, new)
    )


def test_the_empty_tree_begins_every_other_and_equal_trees_need_no_proof() -> None:
    root = grown(LEAVES).root()
    assert verify_consistency(0, EMPTY_ROOT, 8, root, [])
    assert not verify_consistency(0, root, 8, root, [])
    assert verify_consistency(8, root, 8, root, [])
    assert not verify_consistency(8, root, 8, root, [root])
    assert not verify_consistency(1, root, 8, root, [])
    assert not verify_inclusion(EMPTY_ROOT, 0, 0, [], EMPTY_ROOT)


def test_what_is_not_in_the_tree_cannot_be_asked_for() -> None:
    tree = grown(LEAVES)
    for wrong in (
        lambda: tree.root_at(9),
        lambda: tree.leaf(8),
        lambda: tree.inclusion_proof(3, 3),
        lambda: tree.inclusion_proof(0, 9),
        lambda: tree.consistency_proof(4, 3),
        lambda: tree.consistency_proof(-1, 3),
    ):
        with pytest.raises(ValueError, match="must be from 0 to"):
            wrong()
