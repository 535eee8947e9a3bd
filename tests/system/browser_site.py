"""A site on the loopback address and a headless Chromium to open it in.

The site serves files under a strict content security policy and notes what was asked for.
"""

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

CHROMIUM: Final = shutil.which("chromium")
ARGUMENTS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
POLICY: Final = "default-src 'self'"
_TYPES = {
    "": "text/html",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
}


class Site:
    """Files by path, and the paths that were asked for.

    Attributes:
        address: Where the site is, without a final slash.
        files: Bytes of each path, or a function that makes them.
        folders: Folders served under a path that ends in a slash.
        asked: Paths in the order of the requests.
    """

    def __init__(self) -> None:
        """Start without files."""
        self.address = ""
        self.files: dict[str, bytes | Callable[[], bytes]] = {}
        self.folders: dict[str, Path] = {}
        self.asked: list[str] = []

    def content(self, path: str) -> bytes | None:
        """Return the bytes of a path; None where there are none."""
        self.asked.append(path)
        found = self.files.get(path)
        if found is not None:
            return found() if callable(found) else found
        folder, _, name = path.rpartition("/")
        file = self.folders.get(f"{folder}/", Path("/nowhere")) / name
        return file.read_bytes() if file.is_file() else None


@contextmanager
def serving(site: Site) -> Iterator[Site]:
    """Serve a site on a free port of the loopback address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = site.content(self.path)
            self.send_response(404 if data is None else 200)
            self.send_header("Content-Security-Policy", POLICY)
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("Cache-Control", "no-store")
            kind = _TYPES.get(Path(self.path).suffix, "application/octet-stream")
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data or b"")))
            self.end_headers()
            self.wfile.write(data or b"")

        def log_message(self, *_: Any) -> None:  # noqa: ANN401 as the base class has it
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    site.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
