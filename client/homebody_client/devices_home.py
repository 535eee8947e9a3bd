"""Where the devices of a node keep their own records: what they joined, what their records spent.

For one run the home goes with the run's key. For a lifetime it stays, and is anchored elsewhere:
a copy put back, or a home deleted, shuts every gate.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from homebody_client.participation_store import ParticipationStore
from homebody_client.record_files import RecordFiles
from homebody_client.record_state import RecordCeiling
from homebody_privacy.anchor import AnchorBook
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.durable import locked, write_durably
from homebody_privacy.environment import state_folder
from homebody_privacy.stream import fresh_key

_JOINS: Final = "devices.sqlite"

_NAMES: Final = "names.key"


@dataclass(frozen=True, slots=True)
class DevicesHome:
    """The records of a node's devices; made by ``open``.

    Attributes:
        folder: Where they are, mode 0700. Secret: who took part.
        anchors: Where they are anchored, for a lifetime; None for a run.
    """

    folder: Path
    anchors: AnchorBook | None

    @classmethod
    def open(cls, folder: Path, *, lifetime: bool) -> Self:
        """Open a home, made at the first use.

        Args:
            folder: Where the records are.
            lifetime: Whether they outlive the run; then they are anchored in the state folder.

        Raises:
            IntegrityError: If the anchors are damaged.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return cls(folder, AnchorBook.open(state_folder() / "anchors") if lifetime else None)

    @property
    def began(self) -> bool:
        """Whether ``participation`` was opened here before."""
        return (self.folder / _JOINS).exists()

    def participation(self) -> ParticipationStore:
        """Open what the devices joined.

        Raises:
            IntegrityError: If it was deleted, cut or put back.
        """
        return ParticipationStore.open(
            self.folder / _JOINS,
            anchors=self.anchors,
            name=f"participation|{self.folder.resolve()}",
            durable=self.anchors is not None,  # a run's joins need not outlive a power cut
        )

    def records(self, config: PrivacyConfig, run_key: bytes) -> RecordFiles | None:
        """Return where the devices' records keep what they spent; None if that level is off.

        Args:
            config: Config in force.
            run_key: Key of the record level in this run; it names the files of one run. Secret.
        """
        record = config.dp.record
        if record is None or not record.enabled:
            return None
        limit = record.epsilon_max
        ceiling = None if limit is None else RecordCeiling(epsilon=limit, delta=record.delta)
        key = run_key if self.anchors is None else self._names_key()
        return RecordFiles(self.folder, key, ceiling, self.anchors)

    def _names_key(self) -> bytes:
        """Return the key that names files in every run of a lifetime, made at the first use."""
        path = self.folder / _NAMES
        with locked(self.folder / f"{_NAMES}.lock"):
            if not path.exists():
                write_durably(path, fresh_key(), mode=0o600)
            return path.read_bytes()
