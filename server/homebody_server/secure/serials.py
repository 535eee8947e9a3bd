"""Serials of a run's sessions: each is on disk before it is used, so none is used twice."""

from dataclasses import dataclass
from pathlib import Path

from homebody_privacy.durable import write_durably
from homebody_privacy.errors import IntegrityError


@dataclass(frozen=True, slots=True)
class Serials:
    """Counts the sessions of a run. Public.

    Attributes:
        path: The file; there is none before the first session.
    """

    path: Path

    def take(self) -> int:
        """Return the next serial, from 1; on disk before the call returns.

        Raises:
            IntegrityError: If the file is not what was written.
        """
        serial = self._last() + 1
        write_durably(self.path, f"{serial}\n".encode())
        return serial

    def _last(self) -> int:
        try:
            text = self.path.read_text("ascii")
        except FileNotFoundError:
            return 0
        except UnicodeDecodeError:
            text = ""
        if not text.endswith("\n") or not text[:-1].isdecimal():
            raise IntegrityError(
                f"{self.path}: it is no serial of a session",
                fix="write the last serial the nodes saw into it, or start a new run",
            )
        return int(text)
