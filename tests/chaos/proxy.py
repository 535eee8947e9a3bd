"""A road of TCP between a SuperNode and the SuperLink, that can be made bad while it is used."""

import socket
import threading
import time
from contextlib import suppress
from random import Random

_CHUNK = 16_384
_LOOK_S = 0.2


class Road:
    """Passes bytes from a port of its own to another, both ways, and keeps what passed.

    Args:
        target: Host and port of the SuperLink.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        """Listen on a free port of loopback."""
        self.delay_s = 0.0
        """Seconds each piece of the stream waits."""
        self.corrupt = 0
        """How many pieces still get one bit flipped."""
        self.shut = False
        """Whether nothing passes: a partition."""
        self.passed = bytearray()
        """All bytes, both ways; TLS, if all is well."""
        self.flipped = 0
        """How many bits were flipped."""
        self._target = target
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._rng = Random(5)  # noqa: S311 - accidents are no secret
        self._lock = threading.Lock()
        self._open = True
        self._door = socket.create_server(("127.0.0.1", 0))
        self._door.settimeout(_LOOK_S)
        self.port: int = self._door.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> int:
        """Cut every connection there is; return how many."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            _close(*pair)
        return len(pairs)

    def close(self) -> None:
        """Close the road."""
        self._open = False
        self._door.close()
        self.cut()

    def _accept(self) -> None:
        while self._open:
            try:
                near, _ = self._door.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            try:
                if self.shut:
                    raise ConnectionRefusedError
                far = socket.create_connection(self._target, timeout=5.0)
            except OSError:
                _close(near)
                continue
            with self._lock:
                self._pairs.append((near, far))
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        source.settimeout(None)
        with suppress(OSError):
            while chunk := source.recv(_CHUNK):
                if self.shut:
                    break
                if self.delay_s:
                    time.sleep(self.delay_s)
                sink.sendall(self._bent(chunk))
        _close(source, sink)

    def _bent(self, chunk: bytes) -> bytes:
        with self._lock:
            self.passed += chunk
            if not self.corrupt or len(chunk) < 64:
                return chunk
            self.corrupt -= 1
            self.flipped += 1
            bent = bytearray(chunk)
            bent[self._rng.randrange(8, len(bent))] ^= 1 << self._rng.randrange(8)
            return bytes(bent)


def _close(*ends: socket.socket) -> None:
    for one in ends:
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()
