"""Checkpoints of a ledger: how many entries it has and their Merkle root, signed by its operator.

The text of a checkpoint is that of transparency logs (https://c2sp.org/tlog-checkpoint): origin,
size, root. It is signed as a note with the key that all runs of a folder share,
``runs/ledger.key``; a witness adds its own line. Whoever has seen a checkpoint notices when the
ledger no longer begins with what it stood for.
"""

import base64
import binascii
import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from .durable import locked, write_durably
from .errors import IntegrityError, InvalidFileError
from .merkle import EMPTY_ROOT, HASH_BYTES
from .note import Note, VerifierKey, open_note, sign_note
from .signing import SigningKey

CHECKPOINT_NAME: Final = "checkpoint"
"""Name of the last checkpoint's file in a run's folder."""

SIGNER: Final = "homebody.ledger"
"""Name that the operator of the ledgers signs by."""

_ORIGIN: Final = "homebody.ledger/"
_LINES: Final = 3
_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,15}")
_PRIVATE_FILE: Final = "ledger.key"
_PUBLIC_FILE: Final = "ledger.pub"


@dataclass(frozen=True, slots=True)
class LedgerCheckpoint:
    """Where a ledger stands. Public.

    Attributes:
        origin: Which ledger: ``origin_of`` its run.
        size: Entries, at least 0.
        root: Merkle root over them, 32 bytes.
    """

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        """Refuse what no ledger can have."""
        if not self.origin or not self.origin.isprintable() or " " in self.origin:
            raise ValueError("an origin is printable, not empty, and has no space")
        if self.size < 0 or len(self.root) != HASH_BYTES:
            raise ValueError(f"a size is at least 0, a root has {HASH_BYTES} bytes")
        if self.size == 0 and self.root != EMPTY_ROOT:
            raise ValueError("a ledger without entries has the root of the empty tree")

    @property
    def run(self) -> str:
        """Name of the run, where the origin is that of a run's ledger."""
        return self.origin.removeprefix(_ORIGIN)

    @property
    def text(self) -> str:
        """The text that is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text of a checkpoint; what other logs may add below is refused.

        Raises:
            IntegrityError: If it is none.

        Examples:
            >>> there = LedgerCheckpoint("homebody.ledger/autumn", 1, bytes(32))
            >>> LedgerCheckpoint.parse(there.text) == there
            True
        """
        lines = text.split("\n")
        if len(lines) != _LINES + 1 or lines[-1] or not _SIZE.fullmatch(lines[1]):
            raise IntegrityError("a checkpoint has three lines: origin, size, root")
        try:
            return cls(lines[0], int(lines[1]), base64.b64decode(lines[2], validate=True))
        except (binascii.Error, ValueError) as error:
            raise IntegrityError(f"a checkpoint is not what was signed: {error}") from error


def origin_of(run: str) -> str:
    """Return the origin of the ledger of a run."""
    return f"{_ORIGIN}{run}"


def sign_checkpoint(checkpoint: LedgerCheckpoint, key: SigningKey) -> str:
    """Return the note of a checkpoint, signed by the operator of the ledger."""
    return sign_note(checkpoint.text, SIGNER, key)


def read_checkpoint(path: Path, keys: Sequence[VerifierKey]) -> tuple[LedgerCheckpoint, Note]:
    """Read a checkpoint and who signed it.

    Args:
        path: The file.
        keys: Known keys: the operator's, a witness's.

    Raises:
        FileNotFoundError: If there is no such file.
        IntegrityError: If it is no checkpoint, or a known key did not sign it as it is.
    """
    try:
        note = open_note(path.read_text("utf-8"), keys)
        return LedgerCheckpoint.parse(note.text), note
    except UnicodeDecodeError as error:
        raise IntegrityError(f"{path}: it is no text") from error
    except IntegrityError as error:
        raise IntegrityError(f"{path}: {error}") from error


def ledger_key(runs: Path) -> SigningKey:
    """Return the key that signs the checkpoints of a folder's runs; made at its first use.

    ``ledger.pub`` beside it holds the line by which others know it.

    Raises:
        InvalidFileError: If others than its owner have rights to the key, or it is none.
    """
    secret = runs / _PRIVATE_FILE
    with locked(runs / f".{_PRIVATE_FILE}.lock"):
        if not secret.exists():
            fresh = SigningKey.generate()
            beside = runs / f".{_PRIVATE_FILE}.new"
            with contextlib.suppress(FileNotFoundError):
                beside.unlink()  # of a start that was cut short
            fresh.save(beside)
            beside.rename(secret)
        key = SigningKey.load(secret)
        if not (runs / _PUBLIC_FILE).exists():
            write_durably(runs / _PUBLIC_FILE, f"{operator_key(key)}\n".encode())
    return key


def operator_key(key: SigningKey) -> VerifierKey:
    """Return the public half of an operator's key."""
    return VerifierKey(SIGNER, key.public)


def has_ledger_public(runs: Path) -> bool:
    """Tell whether a folder of runs has the key that its checkpoints are known by."""
    return (runs / _PUBLIC_FILE).exists()


def ledger_public(runs: Path) -> VerifierKey:
    """Return the key that the checkpoints of a folder's runs are known by, from ``ledger.pub``.

    Raises:
        InvalidFileError: If there is none, or it is no key line.
    """
    path = runs / _PUBLIC_FILE
    try:
        return VerifierKey.parse(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidFileError(
            f"{path} is no key line of a ledger ({type(error).__name__})",
            fix="bring back the file; homebody writes it beside ledger.key",
        ) from error
