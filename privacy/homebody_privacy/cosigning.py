"""What a witness does: cosign the checkpoint of a ledger, of one history only.

The operator could show one ledger to devices and another to reviewers, each in order by itself. A
witness who cosigns both would be fooled, so it remembers, in a file beside its own key, what it
cosigned last of each ledger, and signs only what begins with that. Of runs that share a lifetime's
budget it also remembers which run came before each: two runs after the same one, on the same people
and under the same operator, are two histories.

What is remembered is on disk before the signature is.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import rfc8785

from .checkpoint import CHECKPOINT_NAME, LedgerCheckpoint, origin_of, read_checkpoint
from .durable import locked, locked_folder, write_durably
from .errors import IntegrityError, InvalidFileError
from .ledger_entries import Header, Previous
from .ledger_lines import LedgerLines, check_checkpoint
from .ledger_reading import LEDGER_NAME, read_lines
from .note import VerifierKey, cosign_note
from .pinned import Pin, PinnedKeys, advance
from .signing import SigningKey

_SCHEMA: Final = "cosigned/1"
_SUFFIX: Final = ".cosigned.json"


@dataclass(frozen=True, slots=True)
class Cosigned:
    """What a witness cosigned last of one ledger. Public.

    Attributes:
        operator: Key line of the ledger's operator.
        origin: Which ledger.
        size: Its entries.
        root: Merkle root over them, as hex.
        shared: SHA-256 that stands for the people whose lifetime budget the run spends; empty where
            a budget is the run's own.
        previous: Merkle root of the run before on them, as hex; empty for the first.
    """

    operator: str
    origin: str
    size: int
    root: str
    shared: str = ""
    previous: str = ""

    @property
    def pin(self) -> Pin:
        """The same, as what a device keeps."""
        return Pin(self.origin, self.size, bytes.fromhex(self.root))


def cosign(
    folder: Path, name: str, key: SigningKey, memory: Path, *, operator: VerifierKey, now: int
) -> LedgerCheckpoint:
    """Cosign the checkpoint of a run, and remember it.

    Args:
        folder: Folder of the run; its checkpoint gets one line more.
        name: The witness's name, as reviewers' files have it.
        key: The witness's key. Secret.
        memory: What the witness cosigned before: ``memory_of`` its key.
        operator: Key of the ledger's operator.
        now: Unix seconds, as the witness's clock has them.

    Returns:
        The checkpoint that was cosigned.

    Raises:
        FileNotFoundError: If the run has no ledger or no checkpoint.
        IntegrityError: If ledger and checkpoint do not fit, the operator did not sign it, or it is
            another history than the one cosigned before; nothing is signed.
        InvalidFileError: If the memory is not what a witness wrote.
        ValueError: If the name cannot be in a note.
    """
    path = folder / CHECKPOINT_NAME
    VerifierKey(name, key.public)
    with locked(memory.with_name(f".{memory.name}.lock")), locked_folder(folder):
        lines, _ = read_lines(folder / LEDGER_NAME)
        checkpoint, _ = read_checkpoint(path, [operator])
        check_checkpoint(lines, checkpoint, str(folder / LEDGER_NAME))
        known = _recall(memory)
        note = path.read_text("utf-8")
        found = _accepted(known, lines, checkpoint, note, operator)
        _check_previous(lines.record.header.previous, folder.parent, known, operator)
        _remember(memory, [*(one for one in known if not _is_of(one, found)), found])
        write_durably(path, cosign_note(note, name, key, now).encode())
    return checkpoint


def memory_of(key: Path) -> Path:
    """Return where a witness keeps what it cosigned: beside its key."""
    return key.with_name(f"{key.name}{_SUFFIX}")


def _accepted(
    known: list[Cosigned],
    lines: LedgerLines,
    checkpoint: LedgerCheckpoint,
    note: str,
    operator: VerifierKey,
) -> Cosigned:
    """Return what to remember of a checkpoint that is of the one history; refuse any other."""
    found = _cosigned(lines.record.header, checkpoint, operator)
    before = next((one for one in known if _is_of(one, found)), None)
    if before is not None:
        proof = _proof(lines, before.size, checkpoint.size)
        advance(before.pin, note, PinnedKeys(operator), proof)
        if (before.shared, before.previous) != (found.shared, found.previous):
            raise IntegrityError("the ledger does not begin with what was seen before")
    for one in known:
        beside = one.operator == found.operator and one.shared == found.shared
        if not found.shared or not beside or _is_of(one, found):
            continue
        if one.previous == found.previous:
            raise IntegrityError(
                f"{one.origin} and {found.origin} both say that they came after the same run on "
                "the same people: these are two histories",
                fix="sign neither; ask the operator where the other run is",
            )
    return found


def _check_previous(
    previous: Previous | None, runs: Path, known: list[Cosigned], operator: VerifierKey
) -> None:
    """Refuse a run that names, as the one before it, what is not the ledger that was cosigned."""
    if previous is None:
        return
    before = next(
        (
            one
            for one in known
            if (one.operator, one.origin) == (str(operator), origin_of(previous.run))
        ),
        None,
    )
    if before is None:
        return
    same = before.root == previous.root
    if before.size != previous.size:
        try:
            lines, _ = read_lines(runs / previous.run / LEDGER_NAME)
        except FileNotFoundError:
            return  # the two cannot be compared without it
        points = ((before.size, before.root), (previous.size, previous.root))
        same = all(lines.heads[size - 1 : size] == (bytes.fromhex(root),) for size, root in points)
    if not same:
        raise IntegrityError(
            f"the run says that it came after {before.origin}, and that is not the ledger that was "
            "cosigned"
        )


def _cosigned(header: Header, checkpoint: LedgerCheckpoint, operator: VerifierKey) -> Cosigned:
    lifetime = header.scope == "lifetime"
    return Cosigned(
        operator=str(operator),
        origin=checkpoint.origin,
        size=checkpoint.size,
        root=checkpoint.root.hex(),
        shared=header.population if lifetime else "",
        previous=header.previous.root if lifetime and header.previous else "",
    )


def _proof(lines: LedgerLines, old: int, new: int) -> list[bytes]:
    if lines.tree is None or old > new:
        return []  # what is refused for that needs no proof
    return lines.tree.consistency_proof(old, new)


def _is_of(one: Cosigned, other: Cosigned) -> bool:
    return (one.operator, one.origin) == (other.operator, other.origin)


def _recall(memory: Path) -> list[Cosigned]:
    try:
        content = memory.read_bytes()
    except FileNotFoundError:
        return []
    try:
        value = json.loads(content)
        if value["schema"] != _SCHEMA:
            raise ValueError("another schema")  # noqa: TRY301 - one message for all
        found = [_read(one) for one in value["ledgers"]]
    except (KeyError, RecursionError, TypeError, ValueError) as error:
        raise InvalidFileError(
            f"{memory} is not what a witness wrote ({type(error).__name__})",
            fix="bring back its latest copy: without it another history could be cosigned",
        ) from error
    return found


def _read(value: Mapping[str, Any]) -> Cosigned:
    found = Cosigned(**value)
    VerifierKey.parse(found.operator)
    Pin(found.origin, found.size, bytes.fromhex(found.root))
    return found


def _remember(memory: Path, cosigned: list[Cosigned]) -> None:
    value: dict[str, Any] = {"schema": _SCHEMA, "ledgers": [asdict(one) for one in cosigned]}
    write_durably(memory, rfc8785.dumps(value), mode=0o600)
