"""The file of receipts: appended and synced before anything is told, looked at again at each start.

What a start may find, given where the anchor says the chain stood (``ChainEnd`` in the vault):

==========================================  ===================================================
the file                                    what ``look`` says
==========================================  ===================================================
ends where the anchor says                  nothing to do
ends earlier, or differs before the anchor  ``IntegrityError``: cut, put back or changed
a half line follows                         it is cut off: its write never ended
closings follow                             they are honoured
an opening follows, last                    cut off: a yes without its anchor was not given
anything else follows                       ``IntegrityError``: no crash leaves that
==========================================  ===================================================
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from homebody_client.light_dataclass import dataclass
from homebody_privacy.consent import OPEN_STATES
from homebody_privacy.durable import sync_folder
from homebody_privacy.errors import IntegrityError
from homebody_privacy.receipts import (
    LIFTED,
    ChainEnd,
    ConsentReceipt,
    line_hash,
    read_chain,
    signed_line,
)
from homebody_privacy.signing import SigningKey

_OPENING: Final = frozenset({*OPEN_STATES, LIFTED})
_BREAK: Final = b"\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a look at the file found beyond the anchor.

    Attributes:
        closings: Closing receipts one transaction ahead of the anchor, oldest first.
        end: Where the chain stands with them.
    """

    closings: tuple[ConsentReceipt, ...]
    end: ChainEnd


class ReceiptFile:
    """The receipts of one device, one a line. One writer at a time."""

    __slots__ = ("_bytes", "path")

    def __init__(self, path: Path) -> None:
        """Use a file that may not exist yet."""
        self.path = path
        self._bytes = 0

    def exists(self) -> bool:
        """Whether anything was ever written here and not set aside."""
        return self.path.exists() and self.path.stat().st_size > 0

    def look(self, base: ChainEnd, end: ChainEnd, key: SigningKey) -> Found:
        """Check the file against its anchor, and cut off what a crash left half done.

        Up to the anchor the hashes decide; signatures are looked at where no anchor vouches.

        Raises:
            IntegrityError: As the table of this module says.
        """
        whole, half = self._lines()
        known = end.size - base.size
        if known == 0 and whole and line_hash(whole[-1]) == end.head:
            self.remove()  # receipts were being cut to their hash
            return Found(closings=(), end=end)
        if len(whole) < known:
            raise self._broken("receipts at its end are missing, or an older copy was put back")
        self._check_anchored(whole[:known], base, end)
        ahead = read_chain(whole[known:], public=key.public, base=end)
        openings = [receipt for receipt in ahead if receipt.event in _OPENING]
        if openings and (len(openings) > 1 or ahead[-1] is not openings[0]):
            raise self._broken("it is ahead of its anchor by more than one change")
        kept = len(whole) - len(openings)
        if half or openings:
            self._cut(whole[:kept])
        self._bytes = sum(len(line) + 1 for line in whole[:kept])
        closings = ahead[: len(ahead) - len(openings)]
        return Found(closings=closings, end=_after(end, whole[known:kept]))

    def append(
        self, receipts: Sequence[ConsentReceipt], end: ChainEnd, key: SigningKey
    ) -> tuple[tuple[ConsentReceipt, ...], ChainEnd]:
        """Write receipts behind ``end``, on disk when the call returns.

        Returns:
            The receipts as they were written, each in its place, and where the chain stands.

        Raises:
            IntegrityError: If the file is not as it was left.
        """
        placed, lines = [], []
        for receipt in receipts:
            placed.append(replace(receipt, n=end.size + 1, prev=end.head))
            lines.append(signed_line(placed[-1], key))
            end = ChainEnd(end.size + 1, line_hash(lines[-1]))
        written = b"".join(line + _BREAK for line in lines)
        new = not self.path.exists()
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            if os.fstat(descriptor).st_size != self._bytes:
                raise self._broken("it was changed while the device ran")
            left = memoryview(written)
            while left:
                left = left[os.write(descriptor, left) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if new:
            sync_folder(self.path.parent)
        self._bytes += len(written)
        return tuple(placed), end

    def read(self, base: ChainEnd, end: ChainEnd) -> tuple[ConsentReceipt, ...]:
        """Return the receipts up to the anchor.

        Raises:
            IntegrityError: If they are not what the anchor vouches for.
        """
        whole, _ = self._lines()
        known = end.size - base.size
        return self._check_anchored(whole[:known], base, end)

    def set_aside(self) -> None:
        """Keep what does not verify beside the file, for inspection, and begin a new file."""
        if self.path.exists():
            taken = {other.name for other in self.path.parent.glob(f"{self.path.name}.broken-*")}
            names = (f"{self.path.name}.broken-{n}" for n in range(1, len(taken) + 2))
            self.path.rename(self.path.with_name(next(n for n in names if n not in taken)))
            sync_folder(self.path.parent)
        self._bytes = 0

    def remove(self) -> None:
        """Remove the receipts and all that was set aside."""
        for file in (self.path, *self.path.parent.glob(f"{self.path.name}.broken-*")):
            file.unlink(missing_ok=True)
        sync_folder(self.path.parent)
        self._bytes = 0

    def _lines(self) -> tuple[list[bytes], bytes]:
        """Return the whole lines, and what follows the last line break."""
        try:
            *whole, half = self.path.read_bytes().split(_BREAK)
        except FileNotFoundError:
            return [], b""
        return whole, half

    def _check_anchored(
        self, lines: Sequence[bytes], base: ChainEnd, end: ChainEnd
    ) -> tuple[ConsentReceipt, ...]:
        receipts = read_chain(lines, public=None, base=base)
        if _after(base, lines) != end:
            raise self._broken("receipts before its anchor were changed")
        return receipts

    def _cut(self, lines: Sequence[bytes]) -> None:
        with self.path.open("r+b") as file:
            file.truncate(sum(len(line) + 1 for line in lines))
            os.fsync(file.fileno())

    def _broken(self, why: str) -> IntegrityError:
        return IntegrityError(
            f"{self.path}: {why}", fix="keep the file; the person has to be asked again"
        )


def _after(end: ChainEnd, lines: Sequence[bytes]) -> ChainEnd:
    return ChainEnd(end.size + len(lines), line_hash(lines[-1])) if lines else end
