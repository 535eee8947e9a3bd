"""Start the local API, by hand and on loopback only; nothing starts it by itself."""

import importlib.util
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from homebody_privacy.errors import MissingExtraError, UsageError

from .handler import Handler
from .page_routes import PageLike
from .profiles import Profile
from .server import ADDRESS, LoopbackServer, bind
from .tokens import Tokens

PORT: Final = 8971
"""Port where none is named."""

ENGINES: Final = ("auto", "fastapi", "standard")


class Engine(Protocol):
    """Carries requests to the handler."""

    def run(self) -> None:
        """Serve until ``close``."""

    def close(self) -> None:
        """Stop serving and free the port."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalServer:
    """A server that is bound and waits for ``run``.

    Attributes:
        port: Port it listens at.
        engine: ``fastapi`` or ``standard``.
        tokens: Who may ask.
    """

    port: int
    engine: str
    tokens: Tokens = field(repr=False)
    _carrier: Engine = field(repr=False)

    @property
    def address(self) -> str:
        """Return the address of the API."""
        return f"http://{ADDRESS}:{self.port}"

    def page_address(self) -> str:
        """Return an address that opens the page once, within ten minutes. Secret until then."""
        return f"{self.address}/#{self.tokens.one_time()}"

    def run(self) -> None:
        """Serve until ``close`` is called from another thread, or a signal ends the process."""
        self._carrier.run()

    def close(self) -> None:
        """Stop serving and free the port."""
        self._carrier.close()


def local_server(
    profiles: Sequence[Profile],
    *,
    tokens: Tokens,
    page: PageLike | None = None,
    port: int = PORT,
    engine: str = "auto",
) -> LocalServer:
    """Bind a server on loopback; it answers after ``run``.

    Args:
        profiles: The devices, at least one.
        tokens: Who may ask.
        page: The device page; None serves the API alone.
        port: Port to listen at; 0 takes a free one.
        engine: ``fastapi``, ``standard``, or ``auto``: FastAPI where it is installed.

    Raises:
        UsageError: If the port is taken or out of range, or the engine is none known.
        MissingExtraError: If FastAPI is asked for and not installed.
    """
    if engine not in ENGINES or not 0 <= port <= 65_535:  # noqa: PLR2004 - the largest port there is
        raise UsageError(f"engine must be one of {', '.join(ENGINES)} and port 0 to 65535")
    name = _engine(engine)
    try:
        listening = bind(port)
    except OSError:
        raise UsageError(f"port {port} is taken", fix="name another with --port") from None
    bound = listening.getsockname()[1]
    handler = Handler(profiles, tokens=tokens, port=bound, page=page)
    return LocalServer(
        port=bound, engine=name, tokens=tokens, _carrier=_carrier(name)(listening, handler)
    )


def _engine(asked: str) -> str:
    installed = all(importlib.util.find_spec(name) for name in ("fastapi", "uvicorn", "h11"))
    if asked == "fastapi" and not installed:
        raise MissingExtraError(
            "FastAPI and uvicorn are not installed", fix="leave the engine away, or install both"
        )
    return "fastapi" if installed and asked != "standard" else "standard"


def _carrier(name: str) -> Callable[[socket.socket, Handler], Engine]:
    if name == "standard":
        return LoopbackServer
    from .fastapi_app import FastApiServer  # noqa: PLC0415 - half a second to import

    return FastApiServer
