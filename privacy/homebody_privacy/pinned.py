"""What a device remembers of a ledger, and when it believes that a later one is the same story.

A device keeps the last checkpoint it saw. The next must be signed by the operator, and by the
witness where the app asks for one; it must begin with what was pinned, by a consistency proof; and
the entries that matter must be in it, by inclusion proofs. A ledger that was cut, rewritten or
shown to others in another form fails one of these. Until a device has seen a first checkpoint there
is nothing to compare with: the operator can rewrite what came before.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from .checkpoint import LedgerCheckpoint
from .errors import IntegrityError
from .merkle import leaf_hash, verify_consistency, verify_inclusion
from .note import VerifierKey, open_note


@dataclass(frozen=True, slots=True)
class Pin:
    """The last checkpoint a device saw. Public.

    Attributes:
        origin: Which ledger.
        size: Its entries.
        root: Merkle root over them, 32 bytes.
    """

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        """Refuse what no checkpoint can say."""
        LedgerCheckpoint(self.origin, self.size, self.root)

    @classmethod
    def of(cls, checkpoint: LedgerCheckpoint) -> Self:
        """Return what is kept of a checkpoint."""
        return cls(checkpoint.origin, checkpoint.size, checkpoint.root)


@dataclass(frozen=True, slots=True)
class Inclusion:
    """An entry and the proof that it is in the ledger. Public.

    Attributes:
        data: RFC 8785 bytes of the entry.
        index: Where it is, from 0.
        proof: Hashes of 32 bytes, from the leaf's sibling upward.
    """

    data: bytes
    index: int
    proof: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class PinnedKeys:
    """The keys that came with the app. Public.

    Attributes:
        operator: Key of the ledger's operator.
        witness: Key of the witness; None where the app asks for none.
    """

    operator: VerifierKey
    witness: VerifierKey | None = None


def advance(
    pin: Pin | None,
    note: str,
    keys: PinnedKeys,
    consistency_proof: Sequence[bytes] = (),
    inclusions: Sequence[Inclusion] = (),
) -> Pin:
    """Check a checkpoint against what was seen before and return what to keep in its place.

    Args:
        pin: What was kept; None at the first checkpoint, or of another ledger's first.
        note: The checkpoint as a signed note.
        keys: Who must have signed.
        consistency_proof: From the size of ``pin`` to that of the checkpoint.
        inclusions: Entries that must be in the ledger.

    Raises:
        IntegrityError: If a signature is missing or does not fit, the checkpoint is of another
            ledger, is older than the one kept, or does not begin with it, or an entry is not in it.
    """
    wanted = [keys.operator] if keys.witness is None else [keys.operator, keys.witness]
    opened = open_note(note, wanted)
    for key, who in zip(wanted, ("operator", "witness"), strict=False):
        if not opened.is_signed_by(key):
            raise IntegrityError(f"the checkpoint of the ledger is not signed by its {who}")
    checkpoint = LedgerCheckpoint.parse(opened.text)
    if pin is not None:
        _check_consistent(pin, checkpoint, consistency_proof)
    for one in inclusions:
        leaf = leaf_hash(one.data)
        if not verify_inclusion(leaf, one.index, checkpoint.size, one.proof, checkpoint.root):
            raise IntegrityError(f"entry {one.index} is not in the ledger of the checkpoint")
    return Pin.of(checkpoint)


def _check_consistent(pin: Pin, checkpoint: LedgerCheckpoint, proof: Sequence[bytes]) -> None:
    if checkpoint.origin != pin.origin:
        raise IntegrityError("the checkpoint is of another ledger than the one seen before")
    if checkpoint.size < pin.size:
        raise IntegrityError("the checkpoint is older than the one seen before")
    if not verify_consistency(pin.size, pin.root, checkpoint.size, checkpoint.root, proof):
        raise IntegrityError("the ledger does not begin with what was seen before: it was forked")
