"""Write-ahead record of everything charged: a release is entered before it is made.

One JSON object a line (``ledger_lines``), each synced to disk before the call returns. The file
holds no time, no device and no count of who came; it is public. What an entry may hold is in
``ledger_entries``, which may follow which in ``ledger_record``.

A ledger may be signed: its size and Merkle root are then written beside it as a checkpoint
(``checkpoint``) when it is opened and when it is told to, and a ledger that does not begin with its
checkpoint is refused. And it may be anchored (``anchor``): after each entry its size and last head
are kept in another place, so that a ledger that was deleted, cut or exchanged is noticed when it
is opened.
"""

import errno
import fcntl
import os
from collections.abc import Mapping
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import BaseModel

from .anchor import START, AnchorBook, Mark, check
from .charges import Charge
from .checkpoint import (
    CHECKPOINT_NAME,
    LedgerCheckpoint,
    operator_key,
    origin_of,
    sign_checkpoint,
)
from .durable import locked_folder, sync_folder, write_durably
from .ledger_entries import (
    Answer,
    Header,
    Intent,
    Notice,
    Purchase,
    Release,
    Statistic,
    Unanswered,
    Void,
)
from .ledger_lines import (
    Chain,
    RootChain,
    chain_of,
    check_beside,
    line_of,
    parse_lines,
)
from .ledger_reading import anchor_name, check_anchor, lock_ledger, population_prefix, read_ledger
from .ledger_record import LedgerRecord
from .signing import SigningKey

__all__ = ["Ledger", "anchor_name", "population_prefix", "read_ledger"]


class Ledger:
    """An open ledger file, locked against every other writer; use it in a ``with`` statement.

    Made by ``create`` and ``open`` only.
    """

    __slots__ = ("_anchors", "_chain", "_file", "_record", "_signed", "_signer", "path")

    def __init__(
        self,
        path: Path,
        file: FileIO,
        record: LedgerRecord,
        chain: Chain,
        *,
        anchors: AnchorBook | None = None,
        signer: SigningKey | None = None,
    ) -> None:
        """Keep a file that is locked and stands at its end."""
        self.path = path
        self._file = file
        self._record = record
        self._chain = chain
        self._anchors = anchors
        self._signer = signer
        self._signed: LedgerCheckpoint | None = None

    @classmethod
    def create(
        cls,
        path: Path,
        header: Header,
        anchors: AnchorBook | None = None,
        signer: SigningKey | None = None,
    ) -> Self:
        """Start a new ledger.

        Args:
            path: File that does not exist yet.
            header: What the run promises.
            anchors: Where its size and last head are kept besides; None for nowhere.
            signer: Signs its checkpoints; None writes none.

        Raises:
            FileExistsError: If there is a file already: a ledger is never written over.
            IntegrityError: If there was an anchored ledger in this place, which is gone.
        """
        chain, record = chain_of(header), LedgerRecord(header)
        if anchors is not None and not path.exists():
            name = anchor_name(header, path)
            check(anchors.mark(name), lambda _: None, 0, str(path))
            anchors.advance(name, START)
        # Written beside and then put in place: a crash leaves no ledger without a header.
        beside = path.with_name(f".{path.name}.new")
        file = beside.open("wb", buffering=0)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        ledger = cls(path, file, record, chain, anchors=anchors, signer=signer)
        ledger._write(header.values())
        try:
            os.link(beside, path)
        except FileExistsError:
            file.close()
            raise
        finally:
            beside.unlink()
        sync_folder(path.parent)
        ledger._anchor_now()
        ledger.checkpoint()
        return ledger

    @classmethod
    def open(
        cls, path: Path, anchors: AnchorBook | None = None, signer: SigningKey | None = None
    ) -> Self:
        """Continue a ledger; a last line cut short by a crash is dropped.

        Such a line was never synced, so what it would have charged was never released.

        Args:
            path: The file.
            anchors: As for ``create``; None does not look.
            signer: As for ``create``; None does not look at the checkpoint either.

        Raises:
            FileNotFoundError: If there is no such file.
            UsageError: If another process has it open.
            IntegrityError: If any other line is damaged (the message names the line), or the
                ledger is behind its anchor, or does not begin with its checkpoint.
        """
        file = path.open("r+b", buffering=0)
        try:
            lock_ledger(file, fcntl.LOCK_EX, path)
            lines = parse_lines(file.read(), str(path))
            check_anchor(anchors, path, lines)
            signed = None if signer is None else check_beside(lines, path, [operator_key(signer)])
            file.truncate(lines.length)
            os.fsync(file.fileno())
            file.seek(lines.length)
        except BaseException:
            file.close()
            raise
        ledger = cls(path, file, lines.record, lines.chain, anchors=anchors, signer=signer)
        ledger._signed = signed
        ledger._anchor_now()
        ledger.checkpoint()
        return ledger

    def __enter__(self) -> Self:
        """Return the ledger itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file and give up the lock."""
        self._file.close()

    @property
    def record(self) -> LedgerRecord:
        """What the ledger says so far; only the ledger itself adds to it."""
        return self._record

    @property
    def header(self) -> Header:
        """What the run promised."""
        return self._record.header

    @property
    def head(self) -> str:
        """Merkle root over all entries, as hex (in an older ledger a hash): it stands for all."""
        return self._chain.head.hex()

    def charges(self) -> list[Charge]:
        """Return everything charged, in order, released or not."""
        return self._record.charges()

    def intend(self, round: int, charge: Charge | None) -> None:  # noqa: A002 - glossary
        """Charge the next round, on disk, before anything of it is released.

        Args:
            round: ``opened + 1``.
            charge: What it costs; None if a purchase paid for the whole run.

        Raises:
            ValueError: If the round is out of turn or the charge is for no round.
        """
        self._append(Intent(round=round, charge=None if charge is None else charge.to_dict()))

    def release(self, round: int, model: str, unclipped: float | None = None) -> None:  # noqa: A002
        """Confirm that the open round was released.

        Args:
            round: The last opened round.
            model: SHA-256 of the released model, as hex.
            unclipped: The released, noised share of updates below the clip norm; None if it is
                fixed.

        Raises:
            ValueError: If ``round`` is not open or ``model`` is no digest.
        """
        self._append(Release(round=round, model=model, unclipped=unclipped))

    def void(self, round: int, reason: str | None = None) -> None:  # noqa: A002 - glossary
        """Close the open round without a release; what it was charged stays charged.

        Args:
            round: The last opened round.
            reason: Why, as a code; never a count.

        Raises:
            ValueError: If ``round`` is not open or ``reason`` is no code.
        """
        self._append(Void(round=round, reason=reason))

    def purchase(self, name: str, charge: Charge) -> None:
        """Charge what is no round, on disk, before anything of it is released.

        Args:
            name: What is bought, once in a ledger: ``run``, ``tuning``, ``statistics/gram``,
                ``metrics/hit_rate/1``.
            charge: What it costs.

        Raises:
            ValueError: If it was bought before or the charge is for nothing.
        """
        self._append(Purchase(name=name, charge=charge.to_dict()))

    def answer(self, name: str, values: Mapping[str, float]) -> None:
        """Enter the noised figures that a purchase released.

        Args:
            name: The purchase.
            values: Released figures by name. Public.

        Raises:
            ValueError: If nothing of that name is open.
        """
        self._append(Answer(name=name, values=dict(values)))

    def statistic(self, name: str, digest: str) -> None:
        """Enter the noised sum that a purchase released.

        Args:
            name: The purchase.
            digest: SHA-256 of the released entries, float32 little-endian, as hex.

        Raises:
            ValueError: If nothing of that name is open, a round was opened before, or ``digest``
                is none.
        """
        self._append(Statistic(name=name, sum=digest))

    def unanswered(self, name: str, reason: str) -> None:
        """Enter that nothing was released for a purchase; its charge stands.

        Args:
            name: The purchase.
            reason: Why, as a code; never a count.

        Raises:
            ValueError: If nothing of that name is open or ``reason`` is no code.
        """
        self._append(Unanswered(name=name, reason=reason))

    def enter(self, notice: Notice) -> None:
        """Enter what charges and answers nothing: an approval, a published model, the end.

        Args:
            notice: The entry.

        Raises:
            ValueError: If it is out of turn, or the ledger is older than such entries.
        """
        self._append(notice)

    @property
    def holds_notices(self) -> bool:
        """Whether entries that charge nothing can be entered: not in one begun in an older form."""
        return self.header.version == "ledger/4"

    def checkpoint(self) -> None:
        """Sign where the ledger stands; the file is whole when the call returns.

        Nothing is written where it stands as it did, so that a witness's line stays; nor without a
        signer, for a ledger older than ``ledger/4``, or once it is closed.
        """
        if self._signer is None or not isinstance(self._chain, RootChain) or self._file.closed:
            return
        now = LedgerCheckpoint(
            origin_of(self.header.run), self._record.entries, self._chain.tree.root()
        )
        if now == self._signed:
            return
        note = sign_checkpoint(now, self._signer)
        with locked_folder(self.path.parent):  # a witness may be at the one before
            # After a crash the one before fits as well: what it stands for is a beginning of this.
            file = self.path.with_name(CHECKPOINT_NAME)
            write_durably(file, note.encode(), old_will_do=self._signed is not None)
        self._signed = now

    def _append(self, entry: BaseModel) -> None:
        values = entry.model_dump(mode="json")
        self._record.check(values)
        self._write(values)
        self._record.apply(values)
        self._anchor_now()

    def _anchor_now(self) -> None:
        if self._anchors is not None:
            self._anchors.advance(anchor_name(self.header, self.path), self._mark())

    def _mark(self) -> Mark:
        return Mark(size=self._record.entries, head=self.head)

    def _write(self, entry: Mapping[str, Any]) -> None:
        line = line_of(entry, self._chain)
        try:
            written = self._file.write(line)
            os.fsync(self._file.fileno())
        except OSError:
            self.close()  # nothing may follow a line of which only a part may be there
            raise
        if written != len(line):
            self.close()
            raise OSError(errno.ENOSPC, "the line was cut short", str(self.path))
