"""The local API on the standard library: one thread a connection, one request a connection.

A browser would hold its idle connections open and use the few there are; on loopback a new one
costs a tenth of a millisecond.
"""

import logging
import socket
import socketserver
import threading
import time
from contextlib import suppress
from dataclasses import replace
from typing import Final

from . import checks
from .handler import Handler
from .messages import ApiRequest, ApiResponse, Refusal
from .wire import END, HEAD_BYTES, answer_bytes, read_head

ADDRESS: Final = "127.0.0.1"
"""The only address ever bound."""

CONNECTIONS: Final = 8
"""Connections at once."""

READ_S: Final = 5.0
"""Seconds in which a whole request must arrive, and in which an answer must be taken."""

_CHUNK: Final = 65_536
_LINGER_S: Final = 0.2
_LINGER_BYTES: Final = 1_048_576
_Request = socket.socket | tuple[bytes, socket.socket]  # as socketserver has it
_log: Final = logging.getLogger("homebody.api")


def bind(port: int) -> socket.socket:
    """Return a socket that listens on loopback; port 0 takes a free one.

    Raises:
        OSError: If the port is taken.
    """
    return socket.create_server((ADDRESS, port), backlog=2 * CONNECTIONS)


class LoopbackServer(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Serves a handler on a socket that listens already.

    Args:
        listening: Socket of ``bind``; closed with the server.
        handler: Answers requests.
        read_s: Seconds a request may take to arrive.
    """

    daemon_threads = True
    timeout = 0.1  # seconds between two looks at whether it is closed

    def __init__(self, listening: socket.socket, handler: Handler, read_s: float = READ_S) -> None:
        """Take over the socket."""
        super().__init__((ADDRESS, 0), _Connection, bind_and_activate=False)
        self.socket.close()  # the one TCPServer made itself
        self.socket = listening
        self.server_address = listening.getsockname()
        self.handler = handler
        self.read_s = read_s
        self._running = threading.Lock()
        self._closed = False
        self._free = threading.BoundedSemaphore(CONNECTIONS)

    def run(self) -> None:
        """Serve until ``close``."""
        with self._running:
            while not self._closed:  # a timeout of its own: shutdown() would wait for a start
                self.handle_request()

    def close(self) -> None:
        """Stop serving and free the port."""
        self._closed = True
        self.handler.close()
        with self._running:
            self.server_close()

    def process_request(self, request: _Request, client_address: object) -> None:
        """Give a connection its thread, or refuse it where all are in use."""
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
            return
        if isinstance(request, socket.socket):
            with suppress(OSError):
                request.settimeout(_LINGER_S)
                request.sendall(answer_bytes(checks.BUSY.answer()))
                _linger(request, time.monotonic() + _LINGER_S / 4)
        self.shutdown_request(request)

    def process_request_thread(self, request: _Request, client_address: object) -> None:
        """Answer a connection and give its place back."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """Log nothing of a connection that failed: a traceback may quote what the person did."""
        del request, client_address
        _log.error("a connection of the local API failed")


class _Connection(socketserver.BaseRequestHandler):
    """One connection: a head, checks, a body, an answer."""

    server: LoopbackServer
    request: socket.socket

    def handle(self) -> None:
        """Answer one request; a client that goes away is nobody's error."""
        deadline = time.monotonic() + self.server.read_s
        with suppress(OSError):
            answer, rest = self._answer(deadline)
            if answer is None:
                return
            self.request.settimeout(self.server.read_s)
            self.request.sendall(answer_bytes(answer))
            if rest:  # closing on unread bytes would reset the connection and lose the answer
                _linger(self.request, time.monotonic() + _LINGER_S)

    def _answer(self, deadline: float) -> tuple[ApiResponse | None, bool]:
        """Return the answer, and whether bytes of the request are still to come."""
        try:
            return self._read_and_answer(deadline)
        except TimeoutError:
            return checks.TOO_SLOW.answer(), True

    def _read_and_answer(self, deadline: float) -> tuple[ApiResponse | None, bool]:
        data = b""
        while END not in data:
            if len(data) > HEAD_BYTES:
                return checks.NOT_HTTP.answer(), True
            more = _receive(self.request, deadline)
            if not more:
                return (checks.NOT_HTTP.answer() if data else None), False
            data += more
        head, _, body = data.partition(END)
        found = _read(head)
        if isinstance(found, Refusal):
            return found.answer(), True
        refusal = self.server.handler.refusal(found)
        if refusal is not None:
            return refusal.answer(), True
        length = int((found.values("content-length") or ["0"])[0])
        while len(body) < length:
            more = _receive(self.request, deadline)
            if not more:
                return checks.NOT_HTTP.answer(), False
            body += more
        return self.server.handler.handle(replace(found, body=body[:length])), len(body) > length


def _read(head: bytes) -> ApiRequest | Refusal:
    if len(head) > HEAD_BYTES:
        return checks.NOT_HTTP
    try:
        return read_head(head)
    except ValueError:
        return checks.NOT_HTTP


def _receive(connection: socket.socket, deadline: float) -> bytes:
    """Return some bytes, empty at their end.

    Raises:
        TimeoutError: If none came before the deadline, however slowly others did.
    """
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    connection.settimeout(left)
    return connection.recv(_CHUNK)


def _linger(connection: socket.socket, deadline: float) -> None:
    """Take what a client still sends, for a moment, so that it can read its answer."""
    connection.shutdown(socket.SHUT_WR)
    taken = 0
    with suppress(TimeoutError):
        while taken < _LINGER_BYTES and (more := _receive(connection, deadline)):
            taken += len(more)
