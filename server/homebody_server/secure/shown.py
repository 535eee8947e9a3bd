"""What nodes are shown of a run's ledger before they take part in a sum, read from its file.

Each node gets a proof from every checkpoint it may have kept: the one it last answered to, and
those it was sent since, for a reply may have been lost on its way.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import rfc8785

from homebody_privacy.checkpoint import (
    LedgerCheckpoint,
    operator_key,
    origin_of,
    read_checkpoint,
    sign_checkpoint,
)
from homebody_privacy.durable import write_durably
from homebody_privacy.errors import IntegrityError
from homebody_privacy.ledger_lines import LedgerLines, parse_lines
from homebody_privacy.ledger_proof import MOST_SIZES, LedgerProof
from homebody_privacy.merkle import Tree
from homebody_privacy.note import VerifierKey
from homebody_privacy.pinned import Inclusion
from homebody_privacy.signing import SigningKey
from homebody_server.run_folder import RunFolder

_WITNESSED: Final = "witnessed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What one sum is shown with.

    Attributes:
        size: Entries of the ledger now.
        entries: Those that matter, with proofs that they are in it.
        note: Its signed checkpoint.
        witnessed: The latest note a witness cosigned; empty for none.
        since: Proof that the ledger begins with what that stands for.
        tree: All of it.
    """

    size: int
    entries: tuple[Inclusion, ...] = field(repr=False)
    note: str = field(repr=False)
    witnessed: str = field(repr=False)
    since: tuple[bytes, ...] = field(repr=False)
    tree: Tree = field(repr=False)

    def to(self, sizes: Iterable[int]) -> Mapping[str, Any]:
        """Return the JSON values of what a node is shown.

        Args:
            sizes: Of the checkpoints it may have kept.
        """
        known = sorted({size for size in sizes if 0 < size <= self.size})[-MOST_SIZES:]
        return LedgerProof(
            checkpoint=self.note,
            consistency={s: tuple(self.tree.consistency_proof(s, self.size)) for s in known},
            inclusions=self.entries,
            witnessed=self.witnessed,
            since=self.since,
        ).to_json()


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerWindow:
    """Looks at the ledger of a run.

    Attributes:
        folder: The run.
        signer: Key of the ledgers of the folder's runs. Secret.
        witnesses: Keys of which one must have cosigned; None where no witness is asked for.
    """

    folder: RunFolder
    signer: SigningKey = field(repr=False)
    witnesses: tuple[VerifierKey, ...] | None = None

    @property
    def key_line(self) -> str:
        """How the ledger's key is told to nodes."""
        return str(operator_key(self.signer))

    def show(self, charge: str) -> Shown:
        """Return what is shown for a sum.

        Args:
            charge: What the sum was charged as: ``round/3``, or the name of a purchase.

        Raises:
            IntegrityError: If the ledger is damaged, older than ``ledger/4``, or has no approval.
        """
        lines, tree = self._lines()
        size = len(lines.entries)
        text, witnessed = self.witnessed()
        seen = 0 if witnessed is None else witnessed.size
        if seen > size or (witnessed is not None and tree.root_at(seen) != witnessed.root):
            raise IntegrityError("the ledger does not begin with what its witness cosigned")
        return Shown(
            size=size,
            note=sign_checkpoint(self._checkpoint(lines, tree), self.signer),
            entries=tuple(
                Inclusion(
                    data=rfc8785.dumps(dict(lines.entries[index])),
                    index=index,
                    proof=tuple(tree.inclusion_proof(index, size)),
                )
                for index in _that_matter(lines, charge)
            ),
            witnessed=text,
            since=tuple(tree.consistency_proof(seen, size)) if seen else (),
            tree=tree,
        )

    def witnessed(self) -> tuple[str, LedgerCheckpoint | None]:
        """Return the latest note that a pinned witness cosigned, and the checkpoint in it.

        A cosigned checkpoint is kept beside the ledger's own, which the next round overwrites.
        """
        kept = self.folder.path / _WITNESSED
        newest: tuple[str, LedgerCheckpoint | None] = ("", None)
        for file in (kept, self.folder.checkpoint_file):
            found = self._cosigned(file)
            if found is not None and (newest[1] is None or found.size > newest[1].size):
                newest = (file.read_text("utf-8"), found)
        if newest[1] is not None and (not kept.exists() or kept.read_text("utf-8") != newest[0]):
            write_durably(kept, newest[0].encode())
        return newest

    def opening_is_witnessed(self) -> bool:
        """Tell whether a witness has cosigned what paid for the run, and who approved it."""
        if self.witnesses is None:
            return True
        lines, _ = self._lines()
        _, seen = self.witnessed()
        paid = [
            index
            for index, entry in enumerate(lines.entries)
            if entry["kind"] == "config_approved"
            or (entry["kind"] == "purchase" and entry["name"] == "run")
        ]
        return seen is not None and bool(paid) and max(paid) < seen.size

    def _cosigned(self, file: Path) -> LedgerCheckpoint | None:
        if not self.witnesses:
            return None
        own = operator_key(self.signer)
        try:
            checkpoint, note = read_checkpoint(file, [own, *self.witnesses])
        except (FileNotFoundError, IntegrityError):
            return None
        signed = note.is_signed_by(own) and any(map(note.is_signed_by, self.witnesses))
        return checkpoint if signed else None

    def _lines(self) -> tuple[LedgerLines, Tree]:
        path = self.folder.ledger_file
        lines = parse_lines(path.read_bytes(), str(path))
        if lines.tree is None:
            raise IntegrityError(f"{path}: a fleet needs a ledger with checkpoints: ledger/4")
        return lines, lines.tree

    def _checkpoint(self, lines: LedgerLines, tree: Tree) -> LedgerCheckpoint:
        run = lines.record.header.run
        return LedgerCheckpoint(origin_of(run), len(lines.entries), tree.root())


def _that_matter(lines: LedgerLines, charge: str) -> list[int]:
    """Return where header, latest approval, and what paid for a sum are, in that order."""
    entries = list(enumerate(lines.entries))

    def last(**wanted: object) -> list[int]:
        return [index for index, entry in entries if wanted.items() <= entry.items()][-1:]

    approval = last(kind="config_approved")
    if charge.startswith("round/"):
        number = int(charge.removeprefix("round/"))
        paid = [*last(kind="purchase", name="run"), *last(kind="intent", round=number)]
    else:
        paid = last(kind="purchase", name=charge)
    return [0, *approval, *paid]
