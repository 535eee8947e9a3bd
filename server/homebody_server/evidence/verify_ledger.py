"""Is the ledger what was signed? Signatures of its checkpoint, every entry, and what came before.

The Merkle root (RFC 6962) is computed anew from the entries as they stand in the file. The root
beside each line, which the ledger itself wrote, is used for one thing: to say where the first
change is.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import rfc8785

from homebody_privacy.approval.reviewers import ReviewerKeys
from homebody_privacy.checkpoint import LedgerCheckpoint, ledger_public, origin_of
from homebody_privacy.errors import IntegrityError, InvalidFileError
from homebody_privacy.merkle import Tree
from homebody_privacy.note import COSIGNATURE, VerifierKey, open_note

from .facts import CHECKPOINT, LEDGER, RunFacts
from .independent_lines import RawLedger
from .verify_lines import Line, note, ok, wrong

_NO_TREE: Final = (
    "this ledger is of before there were signed checkpoints: whoever may write the file may write "
    "a whole new one"
)


@dataclass(frozen=True, slots=True)
class LedgerFindings:
    """What was found of a ledger.

    Attributes:
        lines: In words.
        holds: Whether the entries are those that were signed, or were chained where nothing is
            signed: only then is a figure computed from them.
        checkpoint: The signed checkpoint; None without one.
        root: Merkle root of the entries, as hex; None without a tree.
    """

    lines: tuple[Line, ...]
    holds: bool
    checkpoint: LedgerCheckpoint | None = None
    root: str | None = None


def check_ledger(facts: RunFacts, keys: ReviewerKeys | None, runs: Path) -> LedgerFindings:
    """Check entries against what was signed.

    Args:
        facts: The run's files.
        keys: Pinned keys; None takes the key beside the run, and says so.
        runs: Where that key lies.
    """
    if facts.ledger is None:
        missing = [] if LEDGER in facts.content else [wrong(f"{LEDGER} is missing")]
        return LedgerFindings(tuple(missing), holds=False)
    if not facts.has_merkle:
        return _check_chain(facts.ledger, expected=keys is not None)
    return _check_tree(facts, facts.ledger, keys, runs)


def operator_line(keys: ReviewerKeys | None, runs: Path) -> tuple[VerifierKey | None, list[Line]]:
    """Return the key of who keeps the ledger, and what there is to say of it.

    Args:
        keys: Pinned keys.
        runs: Where the key lies that nobody pinned.
    """
    if keys is not None and keys.ledger is not None:
        try:
            return VerifierKey.parse(keys.ledger), []
        except ValueError as error:
            raise InvalidFileError(
                f"the reviewers' file names no key of a ledger: {error}",
                fix="put the line of runs/ledger.pub under [ledger]",
            ) from error
    try:
        found = ledger_public(runs)
    except InvalidFileError:
        why = "no key to check the checkpoint with: pin one under [ledger] of the reviewers' file"
        return None, [wrong(why)]
    why = "the ledger's key was taken from beside the run, not from a pinned file"
    return found, [note(why)]


def _check_tree(
    facts: RunFacts, ledger: RawLedger, keys: ReviewerKeys | None, runs: Path
) -> LedgerFindings:
    tree, first = Tree(), None
    for index, entry in enumerate(ledger.entries):
        tree.append(_leaf(entry))
        if first is None and ledger.lines[index] != _line(entry, tree.root()):
            first = index
    lines: list[Line] = []
    if not ledger.is_whole:
        lines.append(wrong(f"the last line of {LEDGER} is cut short"))
    signed, found = _signed(facts, keys, runs)
    lines += found
    if signed is not None:
        lines.append(_against(ledger, tree, signed, first, is_open=facts.is_open))
    elif first is not None:
        lines.append(wrong(_changed(ledger, first)))
    lines += _origin(ledger, signed)
    holds = all(one.mark != "WRONG" for one in lines)
    return LedgerFindings(tuple(lines), holds, signed, tree.root().hex())


def _signed(
    facts: RunFacts, keys: ReviewerKeys | None, runs: Path
) -> tuple[LedgerCheckpoint | None, list[Line]]:
    """Return the checkpoint that the operator signed, and who signed it."""
    operator, lines = operator_line(keys, runs)
    if operator is None:
        return None, lines
    if CHECKPOINT not in facts.content:
        return None, [*lines, wrong("the signed checkpoint is missing")]
    witnesses = {} if keys is None else keys.witnesses
    try:
        known = [VerifierKey(name, raw, COSIGNATURE) for name, raw in witnesses.items()]
    except ValueError as error:
        raise InvalidFileError(
            f"the reviewers' file names a witness that cannot sign: {error}",
            fix="a witness's name has neither a space nor a plus",
        ) from error
    try:
        opened = open_note(facts.content[CHECKPOINT].decode(), [operator, *known])
        if not opened.is_signed_by(operator):
            raise IntegrityError("it is not signed by the key of the ledger")  # noqa: TRY301
        checkpoint = LedgerCheckpoint.parse(opened.text)
    except UnicodeDecodeError:
        return None, [*lines, wrong("the checkpoint is not what was signed: it is no text")]
    except IntegrityError as error:
        return None, [*lines, wrong(f"the checkpoint is not what was signed: {error}")]
    seen = [key.name for key in known if opened.is_signed_by(key)]
    return checkpoint, [*lines, *_witnessed(facts, keys, seen)]


def _witnessed(facts: RunFacts, keys: ReviewerKeys | None, seen: list[str]) -> Iterator[Line]:
    asked = facts.config is not None and facts.config.ledger.witness == "second_key"
    if seen:
        yield ok("checkpoint signature, witness signature")
        return
    yield ok("checkpoint signature")
    if not asked:
        return
    if keys is None:
        yield note("the witness's signature was not looked for: give --keys")
    elif facts.is_open:
        yield note("the witness has not signed this checkpoint yet: the run is open")
    else:
        yield wrong("the config asks for a witness, and none signed the checkpoint")


def _against(
    ledger: RawLedger, tree: Tree, signed: LedgerCheckpoint, first: int | None, *, is_open: bool
) -> Line:
    """Compare entries with a signed checkpoint."""
    size = tree.size
    if size < signed.size:
        return wrong(
            f"ledger has {size} entries, the signed checkpoint says {signed.size}: entries were "
            "removed"
        )
    if tree.root_at(signed.size) != signed.root:
        told = "" if first is None or first >= signed.size else f": {_changed(ledger, first)}"
        return wrong(
            "Merkle root differs from the signed checkpoint: "
            + (
                f"an entry was changed{told}"
                if told
                else "an entry was changed, which one cannot be told"
            )
        )
    if first is not None:
        return wrong(_changed(ledger, first))
    if size > signed.size and not is_open:
        return wrong(
            f"ledger has {size} entries, the signed checkpoint says {signed.size}: entries were "
            "added"
        )
    more = f"; {size - signed.size} came since" if size > signed.size else ""
    return ok(f"{signed.size} entries match the signed Merkle root{more}")


def _origin(ledger: RawLedger, signed: LedgerCheckpoint | None) -> Iterator[Line]:
    run = ledger.header.get("run")
    if signed is not None and signed.origin != origin_of(str(run)):
        yield wrong(f"the checkpoint is of the ledger of {signed.run}, this one is of {run}")


def _changed(ledger: RawLedger, index: int) -> str:
    return f"entry {index} ({_named(ledger.entries[index])}) is not what was written"


def _named(entry: Mapping[str, Any]) -> str:
    """Say which entry it is, without what it holds."""
    kind = entry["kind"] if str(entry["kind"]).isidentifier() else "of no kind"
    number = entry.get("round")
    return f"{kind} of round {number}" if type(number) is int else str(kind)


def _leaf(entry: Mapping[str, Any]) -> bytes:
    try:
        return rfc8785.dumps(dict(entry))
    except (rfc8785.CanonicalizationError, RecursionError):
        return b""  # nothing that was written: no root fits it


def _line(entry: Mapping[str, Any], root: bytes) -> bytes:
    try:
        return rfc8785.dumps({"entry": dict(entry), "root": root.hex()})
    except (rfc8785.CanonicalizationError, RecursionError):
        return b""


def _check_chain(ledger: RawLedger, *, expected: bool) -> LedgerFindings:
    """Check a ledger of hashes alone: each covers its entry and the hash before."""
    head = bytes(32)
    for index, entry in enumerate(ledger.entries):
        leaf = _leaf(entry)
        head = hashlib.sha256(head + leaf).digest()
        try:
            whole = rfc8785.dumps({"entry": dict(entry), "hash": head.hex()})
        except (rfc8785.CanonicalizationError, RecursionError):
            whole = b""
        if ledger.lines[index] != whole:
            return LedgerFindings((wrong(_changed(ledger, index)),), holds=False)
    lines = [ok(f"{len(ledger.entries)} entries follow from each other")]
    if not ledger.is_whole:
        lines.append(wrong(f"the last line of {LEDGER} is cut short"))
    lines.append(wrong(_NO_TREE) if expected else note(_NO_TREE))
    return LedgerFindings(tuple(lines), holds=ledger.is_whole)
