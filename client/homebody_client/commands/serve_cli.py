"""``homebody device run``, ``serve`` and ``demo``: the local API and the page, until Ctrl-C.

``run`` is for a service, ``serve`` for a person: it needs the page. A device does its own
housekeeping while it is open.
"""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from homebody_privacy.errors import MissingExtraError

from .session_cli import (
    HERE,
    Format,
    FormatOption,
    PassphraseOption,
    ProfileOption,
    answer,
    opened,
)

if TYPE_CHECKING:
    from homebody_client.api.page_routes import PageLike
    from homebody_client.api.serve import LocalServer

app = typer.Typer()

_ENDS = (signal.SIGINT, signal.SIGTERM)


class Engine(StrEnum):
    """What carries requests."""

    AUTO = "auto"
    FASTAPI = "fastapi"
    STANDARD = "standard"


PortOption = Annotated[
    int, typer.Option(min=0, max=65_535, help="Port on 127.0.0.1; 0 takes a free one.")
]
EngineOption = Annotated[
    Engine, typer.Option(help="auto takes FastAPI where it is installed, standard never.")
]


@app.command("run")
def run(
    *,
    port: PortOption = 8971,
    engine: EngineOption = Engine.AUTO,
    profile: ProfileOption = HERE,
    passphrase_file: PassphraseOption = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Serve the local API, and the page where Jinja2 is installed, until Ctrl-C."""
    try:
        page: PageLike | None = _page()
    except MissingExtraError:
        page = None
    _serve(page, port, engine, profile, passphrase_file, output)


@app.command("serve")
def serve(
    *,
    port: PortOption = 8971,
    engine: EngineOption = Engine.AUTO,
    profile: ProfileOption = HERE,
    passphrase_file: PassphraseOption = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Serve the page of this device, and its local API, until Ctrl-C."""
    _serve(_page(), port, engine, profile, passphrase_file, output)


@app.command("demo")
def demo(
    *,
    port: PortOption = 8971,
    engine: EngineOption = Engine.AUTO,
    output: FormatOption = Format.TEXT,
) -> None:
    """Show three made-up people's devices side by side; nothing of yours is touched or kept."""
    from homebody_client.demo.people import demonstration
    from homebody_client.page.demo import serve_demo

    with _until_told(), demonstration() as devices:
        server = serve_demo(devices, port=port, engine=engine.value)
        page = server.page_address()
        lines = [
            f"page    {page}",
            "Three simulated devices of a made-up shop. The page's address opens once.",
            "Ctrl-C ends it and removes everything.",
        ]
        _run(server, {"page": page, "engine": server.engine}, lines, output)


def _serve(
    page: "PageLike | None",
    port: int,
    engine: Engine,
    profile: Path,
    passphrase_file: Path | None,
    output: Format,
) -> None:
    from homebody_client.api.profiles import Profile
    from homebody_client.api.serve import local_server
    from homebody_client.api.tokens import TOKEN_FILE, Tokens, install_token

    with _until_told(), opened(profile, passphrase_file) as device:
        for problem in device.problems:
            typer.echo(f"problem: {problem}", err=True)
        tokens = Tokens(install_token(profile))
        shown = [Profile("This device", device)]
        server = local_server(shown, tokens=tokens, page=page, port=port, engine=engine.value)
        token_file = profile / TOKEN_FILE
        value = {
            "address": server.address,
            "token_file": str(token_file),
            "page": None if page is None else server.page_address(),
            "engine": server.engine,
        }
        lines = [
            f"api     {server.address}",
            f"token   in {token_file}; a client sends it as Authorization: Bearer",
            f"page    {value['page']}"
            if page
            else 'page    none: it needs pip install "homebody[device]"',
            "The page's address opens once, in the next ten minutes. Ctrl-C ends it."
            if page
            else "Ctrl-C ends it.",
        ]
        _run(server, value, lines, output)


def _page() -> "PageLike":
    from homebody_client.page.render import Page

    return Page()


def _run(server: "LocalServer", value: object, lines: list[str], output: Format) -> None:
    """Say where it serves, and serve."""
    try:
        answer(output, value, "\n".join(lines))
        sys.stdout.flush()  # whoever started it reads the address
        server.run()
    finally:
        server.close()


@contextmanager
def _until_told() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end what is within, tidily and with exit 0."""

    def end(_: int, __: FrameType | None) -> NoReturn:
        for name in _ENDS:
            signal.signal(name, signal.SIG_IGN)  # the first is enough: let the tidying end
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {name: signal.signal(name, end) for name in _ENDS}
    try:
        with suppress(KeyboardInterrupt):
            yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
