"""The local API over real sockets: servers in threads, and clients that say what they like."""

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Iterator

from homebody_client.api.profiles import Profile
from homebody_client.api.serve import LocalServer, local_server
from homebody_client.api.tokens import Tokens
from homebody_client.device import Device
from homebody_client.page.render import Page

from .api_home import TOKEN

ENGINES = ("standard", "fastapi")
Answer = tuple[int, dict[str, str], bytes]


@contextlib.contextmanager
def running(server: LocalServer) -> Iterator[LocalServer]:
    """Serve in a thread until the block ends."""
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until_it_answers(server.port)
        yield server
    finally:
        server.close()
        thread.join(10)
        assert not thread.is_alive()


def wait_until_it_answers(port: int) -> None:
    """Return once a server takes requests."""
    for _ in range(100):
        with contextlib.suppress(OSError, http.client.HTTPException):
            ask(port, "GET", "/nothing")
            return
        time.sleep(0.05)
    raise AssertionError("the server did not start")


def ask(port: int, method: str, target: str, body: bytes | None = None, **headers: str) -> Answer:
    """Send one request as a client would and return the answer, headers in lower case."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        sent = {"host": f"127.0.0.1:{port}", "authorization": f"Bearer {TOKEN}"}
        if body is not None:
            sent |= {"content-type": "application/json", "content-length": str(len(body))}
        for name, value in (sent | {n.replace("_", "-"): v for n, v in headers.items()}).items():
            if value:
                connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, found, answer.read()
    finally:
        connection.close()


def talk(port: int, data: bytes, *, seconds: float = 10.0) -> bytes:
    """Send raw bytes and return all that comes back."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        with contextlib.suppress(OSError):  # refused before it was all read
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        got = b""
        with contextlib.suppress(ConnectionResetError):
            while more := connection.recv(65_536):
                got += more
        return got


@contextlib.contextmanager
def both(device: Device) -> Iterator[dict[str, LocalServer]]:
    """Serve one device by both engines until the block ends."""
    with contextlib.ExitStack() as stack:
        yield {engine: stack.enter_context(running(_bound(device, engine))) for engine in ENGINES}


def _bound(device: Device, engine: str) -> LocalServer:
    return local_server(
        [Profile("Device", device)], tokens=Tokens(TOKEN), page=Page(), port=0, engine=engine
    )
