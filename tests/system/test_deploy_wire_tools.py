"""The eyes of the tests over the wire see what is plain, and only that."""

import http.server
import socket
import sqlite3
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest

from .fleet_wire import (
    Needles,
    Stream,
    captured,
    files_of,
    list_pieces,
    needs_capture,
    pieces,
    streams,
    vector_pieces,
)

SECRET = b"planted-needle-5519"


class Answer(http.server.BaseHTTPRequestHandler):
    """Answers with the needle."""

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(200)
        self.end_headers()
        self.wfile.write(SECRET * 2000)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def served() -> Iterator[int]:
    """Serve the needle in the clear."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()
            thread.join()


@needs_capture
def test_a_plain_connection_is_seen_and_its_needle_found(tmp_path: Path) -> None:
    with served() as port:
        with (
            captured([port], tmp_path / "one.pcapng"),
            socket.create_connection(("127.0.0.1", port)) as dialled,
        ):
            dialled.sendall(b"GET / HTTP/1.0\r\n\r\n")
            while dialled.recv(65536):
                pass
        found = streams(tmp_path / "one.pcapng")
    assert {stream.plain_from() for stream in found} == {0}
    assert sum(stream.gaps for stream in found) == 0
    needles = Needles({"planted": (SECRET,), "absent": (b"nowhere-5519",)})
    assert {name for stream in found for name in needles.found_in(stream.content)} == {"planted"}


def test_tls_is_told_from_what_only_begins_like_it() -> None:
    record = bytes([23, 3, 3, 0, 4]) + b"abcd"
    hello = bytes([22, 3, 1, 0, 2]) + b"xy"
    assert Stream((1, 2), hello + record * 3, 0).plain_from() is None
    assert Stream((1, 2), hello + record[:7], 0).plain_from() is None
    assert Stream((1, 2), hello + b"GET / HTTP/1.1", 0).plain_from() == len(hello)
    assert Stream((1, 2), record + bytes([23, 3, 3, 255, 255]), 0).plain_from() == len(record)
    assert Stream((1, 2), record + b"G", 0).plain_from() == len(record)


@needs_capture
def test_a_real_handshake_is_tls_to_its_last_byte(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    listener = socket.create_server(("127.0.0.1", 0))
    port = int(listener.getsockname()[1])

    def hang_up() -> None:
        accepted, _ = listener.accept()
        with accepted:
            accepted.recv(65536)
            accepted.sendall(bytes([21, 3, 3, 0, 2, 2, 40]))  # handshake_failure

    thread = threading.Thread(target=hang_up)
    with captured([port], tmp_path / "tls.pcapng"), closing(listener):
        thread.start()
        with (
            socket.create_connection(("127.0.0.1", port)) as dialled,
            pytest.raises(ssl.SSLError),
        ):
            context.wrap_socket(dialled)
        thread.join()
    found = streams(tmp_path / "tls.pcapng")
    assert len(found) == 2
    assert [stream.plain_from() for stream in found] == [None, None]


def test_the_scanner_reads_a_database_and_what_is_still_in_its_log(tmp_path: Path) -> None:
    vector = np.arange(-40, 60, dtype=np.int32) * 12345
    model = np.random.default_rng(0).normal(size=64).astype(np.float32)
    needles = Needles(
        {
            "vector": vector_pieces(vector),
            "model": pieces(model),
            "devices": list_pieces(range(0, 40, 4)),
        }
    )
    database = sqlite3.connect(tmp_path / "state.db")
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA wal_autocheckpoint = 0")
    database.execute("CREATE TABLE object (content BLOB)")
    database.commit()
    for planted, names in (
        (vector.astype(np.int64).tobytes(), {"vector"}),
        (vector[16:48].tobytes(), {"vector"}),
        (model.tobytes()[64:], {"model"}),
        (b'{"devices":[0,4,8,12,16,20,24,28,32,36]}', {"devices"}),
        (bytes(range(0, 80, 8)), {"devices"}),
        (bytes(4096), set()),
    ):
        database.execute("INSERT INTO object VALUES (?)", (planted,))
        database.commit()
        files = files_of(tmp_path, ["state.db", "state.db-wal"])
        assert len(files) == 2
        seen = {name for content in files.values() for name in needles.found_in(content)}
        assert seen == names
        database.execute("DELETE FROM object")
        database.commit()
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.execute("VACUUM")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
