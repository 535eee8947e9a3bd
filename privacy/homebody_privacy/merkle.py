"""The Merkle tree of RFC 6962: one root for a list that only grows, and short proofs about it.

A root stands for every entry and their order. An inclusion proof shows that an entry is one of
them; a consistency proof shows that a longer list begins with a shorter one. Both have at most
``ceil(log2(n)) + 1`` hashes. Definitions: RFC 6962 section 2.1; the checks of proofs: RFC 9162
sections 2.1.3.2 and 2.1.4.2, the same trees.
"""

import hashlib
from collections.abc import Sequence
from typing import Final

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()
"""Root of the tree of no entry."""

_LEAF: Final = b"\x00"
_NODE: Final = b"\x01"


def leaf_hash(data: bytes) -> bytes:
    """Return the hash that stands for one entry; its prefix keeps it apart from inner nodes."""
    return hashlib.sha256(_LEAF + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of a node over its two children."""
    return hashlib.sha256(_NODE + left + right).digest()


class Tree:
    """A tree that grows at its end; it keeps hashes, never entries.

    ``append`` hashes once and a half on average, everything else O(log n) times.

    Examples:
        >>> tree = Tree()
        >>> for entry in (b"a", b"b", b"c"):
        ...     tree.append(entry)
        >>> verify_inclusion(leaf_hash(b"b"), 1, 3, tree.inclusion_proof(1, 3), tree.root())
        True
        >>> proof = tree.consistency_proof(2, 3)
        >>> verify_consistency(2, tree.root_at(2), 3, tree.root(), proof)
        True
    """

    __slots__ = ("_levels",)

    def __init__(self) -> None:
        """Start with no entry."""
        # _levels[h][i] is the root over the entries from i * 2**h on, 2**h of them.
        self._levels: list[list[bytes]] = [[]]

    @property
    def size(self) -> int:
        """How many entries there are."""
        return len(self._levels[0])

    def append(self, data: bytes) -> None:
        """Add an entry at the end."""
        node = leaf_hash(data)
        for height in range(len(self._levels)):
            level = self._levels[height]
            level.append(node)
            if len(level) % 2:
                return
            node = node_hash(level[-2], level[-1])
        self._levels.append([node])

    def root(self) -> bytes:
        """Return the root over all entries."""
        return self.root_at(self.size)

    def root_at(self, size: int) -> bytes:
        """Return the root as it was when there were ``size`` entries.

        Raises:
            ValueError: If there never were as many.
        """
        self._check(size)
        return self._over(0, size) if size else EMPTY_ROOT

    def leaf(self, index: int) -> bytes:
        """Return the hash of the entry at ``index``, from 0.

        Raises:
            ValueError: If there is none.
        """
        if not 0 <= index < self.size:
            raise ValueError(f"index must be from 0 to {self.size - 1}")
        return self._levels[0][index]

    def inclusion_proof(self, index: int, size: int) -> list[bytes]:
        """Return the proof that an entry is in the tree of ``size`` entries.

        Args:
            index: The entry, from 0.
            size: How many entries the tree has, or had.

        Returns:
            Hashes of 32 bytes, from the leaf's sibling upward.

        Raises:
            ValueError: If there is no such entry or never were as many.
        """
        self._check(size)
        if not 0 <= index < size:
            raise ValueError(f"index must be from 0 to {size - 1}")
        proof: list[bytes] = []
        start, end = 0, size
        while end - start > 1:
            middle = start + _split(end - start)
            if index < middle:
                proof.append(self._over(middle, end))
                end = middle
            else:
                proof.append(self._over(start, middle))
                start = middle
        return proof[::-1]

    def consistency_proof(self, old: int, new: int) -> list[bytes]:
        """Return the proof that the tree of ``new`` entries begins with that of ``old``.

        Returns:
            Hashes of 32 bytes; none where ``old`` is 0 or ``new``.

        Raises:
            ValueError: If ``old`` is above ``new`` or there never were as many.
        """
        self._check(new)
        if not 0 <= old <= new:
            raise ValueError(f"old must be from 0 to {new}")
        if old in {0, new}:
            return []
        proof: list[bytes] = []
        start, end = 0, new
        whole = True  # the old tree is still a subtree by itself: its root is known to who checks
        while old != end:
            middle = start + _split(end - start)
            if old <= middle:
                proof.append(self._over(middle, end))
                end = middle
            else:
                proof.append(self._over(start, middle))
                start, whole = middle, False
        if not whole:
            proof.append(self._over(start, end))
        return proof[::-1]

    def _check(self, size: int) -> None:
        if not 0 <= size <= self.size:
            raise ValueError(f"size must be from 0 to {self.size}")

    def _over(self, start: int, end: int) -> bytes:
        """Return the root over the entries from ``start`` on, before ``end``.

        ``start`` is a multiple of the least power of two that is not below ``end - start``.
        """
        count = end - start
        height = count.bit_length() - 1
        if count == 1 << height:
            return self._levels[height][start >> height]
        middle = start + _split(count)
        return node_hash(self._over(start, middle), self._over(middle, end))


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> bool:
    """Tell whether a proof shows that an entry is in a tree.

    Args:
        leaf: ``leaf_hash`` of the entry.
        index: Where it is said to be, from 0.
        size: Entries of the tree.
        proof: What ``Tree.inclusion_proof`` returns.
        root: Root of the tree.
    """
    if not 0 <= index < size or not _are_hashes(leaf, root, *proof):
        return False
    node, last, found = index, size - 1, leaf
    for step in proof:
        if last == 0:
            return False
        if node & 1 or node == last:
            found = node_hash(step, found)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            found = node_hash(found, step)
        node, last = node >> 1, last >> 1
    return last == 0 and found == root


def verify_consistency(
    old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]
) -> bool:
    """Tell whether a proof shows that one tree begins with another.

    Args:
        old_size: Entries of the shorter tree; one of none begins every other.
        old_root: Its root.
        new_size: Entries of the longer tree.
        new_root: Its root.
        proof: What ``Tree.consistency_proof`` returns.
    """
    if not 0 <= old_size <= new_size or not _are_hashes(old_root, new_root, *proof):
        return False
    if old_size == new_size:
        return not proof and old_root == new_root
    if old_size == 0:
        return not proof and old_root == EMPTY_ROOT
    whole = old_size & (old_size - 1) == 0  # its root is a node of the new tree
    path = [old_root, *proof] if whole else list(proof)
    if not path:
        return False
    node, last = old_size - 1, new_size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old = new = path[0]
    for step in path[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            old, new = node_hash(step, old), node_hash(step, new)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            new = node_hash(new, step)
        node, last = node >> 1, last >> 1
    return last == 0 and old == old_root and new == new_root


def _split(count: int) -> int:
    """Return the largest power of two below ``count``, which is above 1."""
    return 1 << (count - 1).bit_length() - 1


def _are_hashes(*values: bytes) -> bool:
    return all(len(value) == HASH_BYTES for value in values)
