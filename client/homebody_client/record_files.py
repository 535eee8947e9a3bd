"""Where the devices of a node keep what their records have spent: one file a device, anchored.

A real device has one file. A simulation has one for each device, in a folder that is removed with
the run's key. Names of files are derived from a key: they tell nobody which device it is.
"""

from dataclasses import dataclass, field
from pathlib import Path

from homebody_client.record_state import RecordCeiling, RecordLedger
from homebody_privacy.anchor import START, AnchorBook, Mark, check
from homebody_privacy.stream import derive_key


@dataclass(frozen=True, slots=True)
class RecordFiles:
    """The record-level state of a node's devices.

    Attributes:
        folder: Where the files are.
        key: Makes their names. Secret; not shown by ``repr``.
        ceiling: What a device lets its records spend; None counts and sets no limit.
        anchors: Outside every backup of ``folder``; None is weaker: that a file was deleted or put
            back is then not noticed.
    """

    folder: Path
    key: bytes = field(repr=False)
    ceiling: RecordCeiling | None = None
    anchors: AnchorBook | None = None

    def open(self, device: int) -> RecordLedger:
        """Open the state of a device, made at its first round.

        Raises:
            IntegrityError: If it was deleted, damaged, or put back from an older copy.
        """
        path, name = self._path(device), self._name(device)
        mark = None if self.anchors is None else self.anchors.mark(name)
        if not path.exists():
            check(mark, lambda _: None, 0, str(path))
            if self.anchors is not None:
                self.anchors.advance(name, START)
            return RecordLedger.create(path, ceiling=self.ceiling)
        at_least = 0 if mark is None else mark.size
        ledger = RecordLedger.open(path, ceiling=self.ceiling, at_least=at_least)
        known = ledger.head if ledger.counter == at_least else None
        if mark is not None and known is not None:
            check(mark, lambda _: known, ledger.counter, str(path))
        return ledger

    def anchor(self, device: int, ledger: RecordLedger) -> None:
        """Keep how far a device's state has come, before what it paid for is handed over."""
        if self.anchors is not None and ledger.counter:
            self.anchors.advance(self._name(device), Mark(ledger.counter, ledger.head))

    def _path(self, device: int) -> Path:
        return self.folder / f"{derive_key(self.key, 'record-file', device).hex()[:32]}.json"

    def _name(self, device: int) -> str:
        return f"records|{self._path(device).resolve()}"
