"""The lines of a ledger's file: how each follows from those before, and what they add up to.

In ``ledger/4`` a line is ``{"entry": ..., "root": ...}`` in RFC 8785 form, where ``root`` is the
Merkle root (``merkle``) over the RFC 8785 bytes of all entries so far, this one included. In
``ledger/2`` and ``ledger/3`` it is ``{"entry": ..., "hash": ...}``, the SHA-256 of the hash before
and the entry. Either way a change anywhere shows from there on, unless all that follows was
written anew; then only somebody who has seen an earlier state can tell, and a signed checkpoint
is such a state.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import rfc8785
from pydantic import ValidationError

from .checkpoint import CHECKPOINT_NAME, LedgerCheckpoint, origin_of, read_checkpoint
from .errors import IntegrityError
from .ledger_entries import Header
from .ledger_record import LedgerRecord
from .merkle import Tree
from .note import VerifierKey

_START: Final = bytes(32)  # stands before the first entry of a hash chain
_MOST_INTEGER: Final = 2**53 - 1  # of canonical JSON


class Chain(Protocol):
    """What makes each line follow from those before."""

    @property
    def name(self) -> str:
        """Key that stands beside the entry in its line."""
        ...

    @property
    def head(self) -> bytes:
        """What stands for all entries so far, 32 bytes."""
        ...

    def append(self, entry: bytes) -> None:
        """Take the RFC 8785 bytes of one more entry."""
        ...


class HashChain:
    """The chain of ``ledger/2`` and ``ledger/3``."""

    __slots__ = ("head",)

    name: Final = "hash"

    def __init__(self) -> None:
        """Start before the first entry."""
        self.head = _START

    def append(self, entry: bytes) -> None:
        """Take the bytes of one more entry."""
        self.head = hashlib.sha256(self.head + entry).digest()


class RootChain:
    """The Merkle tree of ``ledger/4``."""

    __slots__ = ("tree",)

    name: Final = "root"

    def __init__(self) -> None:
        """Start with an empty tree."""
        self.tree = Tree()

    @property
    def head(self) -> bytes:
        """Merkle root over all entries so far."""
        return self.tree.root()

    def append(self, entry: bytes) -> None:
        """Take the bytes of one more entry."""
        self.tree.append(entry)


@dataclass(frozen=True, slots=True)
class LedgerLines:
    """What the whole lines of a ledger's file say. Public.

    Attributes:
        record: What they add up to.
        entries: The entries themselves, the header first.
        heads: What stands for the first ``i + 1`` entries, 32 bytes each: a Merkle root, or in an
            older ledger a hash.
        chain: The chain after the last one.
        length: Bytes of the whole lines; what follows is a line that a crash cut short.
    """

    record: LedgerRecord
    entries: tuple[Mapping[str, Any], ...] = field(repr=False)
    heads: tuple[bytes, ...] = field(repr=False)
    chain: Chain = field(repr=False)
    length: int

    @property
    def tree(self) -> Tree | None:
        """The Merkle tree over the entries; None in a ledger older than ``ledger/4``."""
        return self.chain.tree if isinstance(self.chain, RootChain) else None


def chain_of(header: Header) -> Chain:
    """Return the chain of a ledger before its first entry."""
    return RootChain() if header.version == "ledger/4" else HashChain()


def line_of(entry: Mapping[str, Any], chain: Chain) -> bytes:
    """Append an entry to a chain and return its line, RFC 8785 JSON of entry and head."""
    encoded = rfc8785.dumps(dict(entry))
    chain.append(encoded)
    # The names of both chains come after "entry", so that this is the canonical order.
    return b'{"entry":%b,"%b":"%b"}\n' % (encoded, chain.name.encode(), chain.head.hex().encode())


def parse_lines(content: bytes, where: str) -> LedgerLines:
    """Read a ledger's file; a last line without its end is left out.

    Args:
        content: Its bytes. Not trusted.
        where: The file, for messages. Public.

    Raises:
        IntegrityError: If a whole line is not what was written; it names the line.
    """
    length = content.rfind(b"\n") + 1
    record: LedgerRecord | None = None
    chain: Chain = HashChain()
    entries: list[Mapping[str, Any]] = []
    heads: list[bytes] = []
    for number, line in enumerate(content[:length].splitlines(), start=1):
        try:
            entry = json.loads(line, parse_int=_number)["entry"]
            if record is None:
                record = LedgerRecord(Header.model_validate(entry))
                chain = chain_of(record.header)
                _check_line(line, entry, chain)
            else:
                _check_line(line, entry, chain)
                record.apply(entry)
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
            why = "an entry breaks its schema" if isinstance(error, ValidationError) else error
            raise IntegrityError(
                f"{where}: line {number} is not what was written: {why}"
            ) from error
        entries.append(entry)
        heads.append(chain.head)
    if record is None:
        raise IntegrityError(f"{where}: line 1 is missing: the ledger has no header")
    return LedgerLines(record, tuple(entries), tuple(heads), chain, length)


def check_checkpoint(lines: LedgerLines, checkpoint: LedgerCheckpoint, where: str) -> None:
    """Refuse a ledger that does not begin with what a checkpoint stands for.

    Args:
        lines: The ledger.
        checkpoint: A checkpoint whose signature was checked.
        where: The ledger's file, for messages. Public.

    Raises:
        IntegrityError: If entries were changed or removed since, or it is another ledger's.
    """
    header, found = lines.record.header, lines.record.entries
    if lines.tree is None:
        raise IntegrityError(f"{where}: a {header.version} has no checkpoint")
    if checkpoint.origin != origin_of(header.run):
        raise IntegrityError(f"{where}: the signed checkpoint is of another run")
    if found < checkpoint.size:
        raise IntegrityError(
            f"{where}: ledger has {found} entries, the signed checkpoint says {checkpoint.size}: "
            "entries were removed",
            fix="keep what is there and bring back the latest copy",
        )
    if lines.tree.root_at(checkpoint.size) != checkpoint.root:
        raise IntegrityError(
            f"{where}: Merkle root differs from the signed checkpoint: an entry was changed"
        )


def check_beside(
    lines: LedgerLines, path: Path, keys: Sequence[VerifierKey]
) -> LedgerCheckpoint | None:
    """Check a ledger against the checkpoint in its folder and return that.

    Args:
        lines: The ledger.
        path: Its file.
        keys: Keys its checkpoints are known by.

    Returns:
        The checkpoint; None for a ledger older than ``ledger/4``, and for one that a crash left
        with its header alone, before there was any.

    Raises:
        IntegrityError: If the checkpoint is gone, is not signed, or does not fit.
    """
    if lines.tree is None:
        return None
    file = path.with_name(CHECKPOINT_NAME)
    try:
        checkpoint, _ = read_checkpoint(file, keys)
    except FileNotFoundError as error:
        if lines.record.entries == 1:
            return None
        raise IntegrityError(
            f"{file} is gone: whether entries were removed cannot be told",
            fix="bring back the latest checkpoint; do not go on without it",
        ) from error
    check_checkpoint(lines, checkpoint, str(path))
    return checkpoint


def _check_line(line: bytes, entry: Mapping[str, Any], chain: Chain) -> None:
    if line + b"\n" != line_of(entry, chain):
        raise ValueError(f"its {chain.name} does not follow from the lines before")


def _number(digits: str) -> int | float:
    """Read what canonical JSON writes without a point: 1e17 is a decimal, and no integer of it."""
    value = int(digits)
    return value if abs(value) <= _MOST_INTEGER else float(digits)
