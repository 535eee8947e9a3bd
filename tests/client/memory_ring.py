"""A key store of an operating system, in memory, that ``keyring`` takes for a real one."""

from typing import ClassVar

from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked, PasswordDeleteError


class MemoryRing(KeyringBackend):
    """Keeps entries as long as it lives; may be locked."""

    priority: ClassVar[float] = 5
    viable: ClassVar[bool] = False  # never chosen by itself: no other test may find it

    def __init__(self) -> None:
        """Start with no entry, unlocked."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.entries: dict[tuple[str, str], str] = {}
        self.locked = False
        self.asked = 0

    def get_password(self, service: str, username: str) -> str | None:
        """Return an entry."""
        self._ask()
        return self.entries.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        """Make an entry."""
        self._ask()
        self.entries[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        """Remove an entry."""
        self._ask()
        if self.entries.pop((service, username), None) is None:
            raise PasswordDeleteError(username)

    def _ask(self) -> None:
        self.asked += 1
        if self.locked:
            raise KeyringLocked("locked")
