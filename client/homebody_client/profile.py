"""A profile: the folder of one person's device, and the folder of what no backup may bring back.

=====================  ==============================================================
in the profile         ``store.sqlite`` (events, encrypted), ``receipts.jsonl`` (what was decided),
                       ``egress.jsonl`` (what left), ``privacy.toml``, ``bundles``, ``catalogs``,
                       ``api.token``, ``profile.id``, ``lock``
in the state folder    ``keys.vault`` (keys, the anchor of the receipts, what may never go back),
                       ``devices.sqlite`` (rounds joined) and its anchors
=====================  ==============================================================

One process at a time opens a profile: two would each keep a memory of consent, and one of them
would be wrong.
"""

import fcntl
import os
import time
from dataclasses import field
from pathlib import Path
from typing import Final, Self

from homebody_client.light_dataclass import dataclass
from homebody_privacy.durable import sync_folder, write_durably
from homebody_privacy.environment import state_folder
from homebody_privacy.errors import InvalidFileError, UsageError

_ID: Final = "profile.id"
_ID_BYTES: Final = 16
_SIGNED: Final = ("manifest.json", "catalog.json")
_HEX: Final = frozenset("0123456789abcdef")
_PATIENCE_S: Final = 2.0  # a command that has just ended may hold the lock for a moment
_POLL_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class Profile:
    """Where one device keeps things; made by ``open``, which locks it.

    Attributes:
        folder: The profile, mode 0700.
        state: What must not be restored from a backup, mode 0700.
    """

    folder: Path
    state: Path
    _lock: int = field(repr=False)

    @classmethod
    def open(cls, folder: Path, *, patience_s: float = _PATIENCE_S) -> Self:
        """Open a profile, made at the first use, and keep other processes out.

        Args:
            folder: The profile.
            patience_s: How long to wait for another process to end.

        Raises:
            UsageError: If another process has it open, or the folder holds something else.
            InvalidFileError: If the folder cannot be made, or its id is damaged.
        """
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _refuse_another(folder)
            lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise InvalidFileError(
                f"{folder}: the profile cannot be opened: {error.strerror}",
                fix="name a folder that may be written",
            ) from error
        try:
            _take(lock, folder, patience_s)
            state = state_folder() / "devices" / _identity(folder)
            state.mkdir(mode=0o700, parents=True, exist_ok=True)
        except BaseException:
            os.close(lock)
            raise
        return cls(folder, state, lock)

    def close(self) -> None:
        """Let other processes in."""
        os.close(self._lock)

    @property
    def identity(self) -> str:
        """32 hex digits drawn at random; they stay on the machine."""
        return self.state.name

    @property
    def store(self) -> Path:
        """Events, encrypted."""
        return self.folder / "store.sqlite"

    @property
    def receipts(self) -> Path:
        """What was decided."""
        return self.folder / "receipts.jsonl"

    @property
    def egress(self) -> Path:
        """What left."""
        return self.folder / "egress.jsonl"

    @property
    def config(self) -> Path:
        """The privacy config in force."""
        return self.folder / "privacy.toml"

    @property
    def publisher(self) -> Path:
        """Public key of who may publish models and catalogs."""
        return self.folder / "publisher.pub"

    @property
    def token(self) -> Path:
        """Token of the local API."""
        return self.folder / "api.token"

    @property
    def vault(self) -> Path:
        """Keys and anchor."""
        return self.state / "keys.vault"


def _refuse_another(folder: Path) -> None:
    """Refuse a folder of something signed: files of ours would be strangers in it."""
    if (folder / _ID).exists() or not any((folder / name).exists() for name in _SIGNED):
        return
    raise UsageError(
        f"{folder}: it is no profile, but a model or a catalog",
        fix="name a folder for the profile, and give this one as its bundle or catalog",
    )


def _take(lock: int, folder: Path, patience_s: float) -> None:
    until = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() < until:
                time.sleep(_POLL_S)
                continue
            raise UsageError(
                f"{folder}: another process has this profile open",
                fix="end that process, or ask it through its local API",
            ) from error
        return


def _identity(folder: Path) -> str:
    file = folder / _ID
    if not file.exists():
        write_durably(file, os.urandom(_ID_BYTES).hex().encode(), mode=0o600)
        sync_folder(folder.parent)
    text = file.read_bytes().decode("ascii", "replace").strip()
    if len(text) != 2 * _ID_BYTES or not _HEX.issuperset(text):
        raise InvalidFileError(
            f"{file}: a profile's id is {2 * _ID_BYTES} hex digits",
            fix="bring the file back, or begin a new profile",
        )
    return text
