"""Who may ask: a token of the install in a file, and page tokens bought once and kept in memory.

A cookie would be sent to every port of the host (RFC 6265, section 8.5), and a token in a query
ends in logs and histories. So the page gets a one-time token in the fragment of its address, which
no browser sends, and buys with it a token that lives in the memory of that one page.
"""

import base64
import hmac
import os
import secrets
import stat
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Final

from homebody_privacy.durable import write_durably
from homebody_privacy.errors import IntegrityError, InvalidFileError

TOKEN_BYTES: Final = 32
TOKEN_FILE: Final = "api.token"  # noqa: S105 - a file name, no token
ONE_TIME_S: Final = 600.0
"""Seconds in which a page's address can be opened."""

_PAGES: Final = 4  # pages open at once; a fifth closes the oldest
_WAITING: Final = 8  # addresses not opened yet
_TEXT_LENGTH: Final = 43  # of 32 bytes in base64url without padding

Draw = Callable[[int], bytes]


def install_token(folder: Path, draw: Draw = secrets.token_bytes) -> str:
    """Return the token of a profile, made at first use in a file only its owner can read.

    Args:
        folder: The profile's folder.
        draw: Returns that many unpredictable bytes.

    Raises:
        InvalidFileError: If the file cannot be read or is no token.
        IntegrityError: If others may read the file.
    """
    file = folder / TOKEN_FILE
    try:
        if not file.exists():
            write_durably(file, _text(draw(TOKEN_BYTES)).encode("ascii"), mode=0o600)
        mode = stat.S_IMODE(file.stat().st_mode)
        token = file.read_bytes().strip()
    except OSError as error:
        raise InvalidFileError(
            f"{TOKEN_FILE} cannot be read", fix="give the profile's owner the right to read it"
        ) from error
    if os.name == "posix" and mode & 0o077:
        raise IntegrityError(
            f"{TOKEN_FILE} may be read by others than its owner",
            fix="delete it: a new one is made at the next start",
        )
    if len(token) != _TEXT_LENGTH or not token.isascii():
        raise InvalidFileError(
            f"{TOKEN_FILE} holds no token of 256 bits", fix="delete it: a new one is made"
        )
    return token.decode("ascii")


class Tokens:
    """The tokens in force.

    Args:
        install: Token of the profile; None for a server whose only client is its page. Secret.
        draw: Returns that many unpredictable bytes.
        now: Returns seconds that never go back.
    """

    __slots__ = ("_draw", "_install", "_lock", "_now", "_once", "_pages")

    def __init__(
        self,
        install: str | None,
        *,
        draw: Draw = secrets.token_bytes,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start without pages."""
        self._install = install
        self._draw = draw
        self._now = now
        self._lock = threading.Lock()
        self._once: OrderedDict[str, float] = OrderedDict()
        self._pages: OrderedDict[str, None] = OrderedDict()

    def one_time(self) -> str:
        """Return a new token for the fragment of a page's address: good once, for ten minutes."""
        token = _text(self._draw(TOKEN_BYTES))
        with self._lock:
            self._once[token] = self._now() + ONE_TIME_S
            while len(self._once) > _WAITING:
                self._once.popitem(last=False)
        return token

    def buy(self, one_time: str) -> str | None:
        """Exchange a one-time token for a page token; None if it is unknown, used or too old."""
        with self._lock:
            found = [token for token in self._once if _same(token, one_time)]
            if not found or self._once.pop(found[0]) < self._now():
                return None
            page = _text(self._draw(TOKEN_BYTES))
            self._pages[page] = None
            while len(self._pages) > _PAGES:
                self._pages.popitem(last=False)
            return page

    def accepts(self, offered: str) -> bool:
        """Return whether a token, as sent, is in force; takes as long for every wrong one."""
        with self._lock:
            held = [*self._pages] if self._install is None else [self._install, *self._pages]
        return any([_same(token, offered) for token in held])  # noqa: C419 - compares all of them


def _same(held: str, offered: str) -> bool:
    """Compare as bytes: on text that is not ASCII ``compare_digest`` would raise."""
    return hmac.compare_digest(held.encode(), offered.encode("utf-8", "surrogatepass"))


def _text(token: bytes) -> str:
    if len(token) != TOKEN_BYTES:
        raise ValueError(f"a token needs {TOKEN_BYTES} bytes, got {len(token)}")
    return base64.urlsafe_b64encode(token).rstrip(b"=").decode("ascii")
