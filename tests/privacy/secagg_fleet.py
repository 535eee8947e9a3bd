"""A fleet of nodes and a server in one secure sum, leg by leg, for the tests.

Every node is written to bytes and read again between any two legs, as it is on a device where each
message is a process of its own.
"""

import hashlib
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from homebody_privacy.errors import IntegrityError, SecAggAbortError
from homebody_privacy.secagg.device import SecAggDevice
from homebody_privacy.secagg.device_state import DeviceMemory, DeviceSettings, DeviceState, read
from homebody_privacy.secagg.reasons import AbortReason
from homebody_privacy.secagg.server import SecAggServer, Summed
from homebody_privacy.secagg.session import id_of
from homebody_privacy.signing import SigningKey

_VOUCHED = b"vouched for:"


class Entropy:
    """Bytes that repeat from run to run: SHA-256 of a name and a counter."""

    def __init__(self, name: str) -> None:
        """Start counting."""
        self._name, self._count = name, 0

    def __call__(self, n: int) -> bytes:
        """Return the next ``n`` bytes."""
        found = b""
        while len(found) < n:
            self._count += 1
            found += hashlib.sha256(f"{self._name} {self._count}".encode()).digest()
        return found[:n]


def certificate(public: bytes) -> bytes:
    return _VOUCHED + public


def vouch(content: bytes) -> tuple[bytes, bytes]:
    """Check a certificate as a node would, with a much simpler one."""
    if not content.startswith(_VOUCHED):
        raise IntegrityError("the authority did not sign this certificate")
    public = content.removeprefix(_VOUCHED)
    return id_of(public), public


class Fleet:
    """``count`` nodes; numbers are places in the order of their ids.

    ``down`` holds the server's last message by number, ``rosters`` the first, ``live`` the numbers
    that still answer.
    """

    def __init__(self, count: int, *, name: str = "fleet", **fields: Any) -> None:  # noqa: ANN401
        """Make the identities and the server; ``fields`` are constants of the sum."""
        entropy = Entropy(name)
        signers = [SigningKey(entropy(32)) for _ in range(count)]
        self.signers = sorted(signers, key=lambda signer: id_of(signer.public))
        self.ids = [id_of(signer.public) for signer in self.signers]
        self.entropy: list[Callable[[int], bytes]] = [
            Entropy(f"{name} {number}") for number in range(count)
        ]
        usual: dict[str, Any] = {
            "run": "autumn",
            "session": 12,
            "round": 7,
            "length": 5,
            "word_bits": 32,
            "max_corrupt": 0.1,
            "max_dropout": 0.3,
            "least": 3,
            "config_sha256": "c0" * 32,
            "model_sha256": "d2" * 32,
        }
        self.sum = usual | fields
        self.server = SecAggServer(
            **self.sum,
            certificates={one: certificate(s.public) for one, s in self._identities()},
            publics={one: signer.public for one, signer in self._identities()},
        )
        self.states: list[bytes] = [b""] * count
        self.down: dict[int, bytes] = {}
        self.up: dict[int, bytes] = {}
        self.live = list(range(count))
        top = 1 << (self.sum["word_bits"] - 1)
        bound = max(1, (top - 1) // max(1, count))  # the sum is within half a word
        rng = np.random.default_rng(count)
        shape = (count, self.sum["length"])
        self.vectors: npt.NDArray[np.int64] = rng.integers(-bound, bound, shape, endpoint=True)
        self.vectors[:, 0] = bound  # the extreme, all in one direction

    def _identities(self) -> list[tuple[bytes, SigningKey]]:
        return list(zip(self.ids, self.signers, strict=True))

    def settings(self, number: int, **fields: Any) -> DeviceSettings:  # noqa: ANN401
        """Return a node's own account of the sum; any field may be given."""
        return DeviceSettings(**(self.sum | {"node_id": self.ids[number]} | fields))

    def device(self, number: int) -> SecAggDevice:
        """Return a node as it comes back from its bytes."""
        return SecAggDevice.from_bytes(self.states[number], self.signers[number])

    def memory(self, number: int) -> DeviceMemory:
        """Return what a node's bytes hold."""
        return read(self.states[number])[1]

    def leg(self, number: int, name: str, *parts: Any) -> bytes:  # noqa: ANN401
        """Call one leg of a node, in a process of its own."""
        device = self.device(number)
        try:
            reply: bytes = getattr(device, name)(*parts)
        finally:
            self.states[number] = device.to_bytes()
        return reply

    def refusal(self, number: int, name: str, *parts: Any) -> AbortReason:  # noqa: ANN401
        """Return why a node leaves at a leg; it must."""
        try:
            self.leg(number, name, *parts)
        except SecAggAbortError as error:
            return error.reason
        raise AssertionError(f"the node answered {name}")

    def is_left(self, number: int) -> None:
        """Assert that a node is out, holds nothing, and answers no leg."""
        assert self.device(number).state is DeviceState.ABORTED
        assert self.memory(number) == DeviceMemory(state=DeviceState.ABORTED)
        for leg, parts in (
            ("share", (b"", vouch)),
            ("check_forwarded", (b"",)),
            ("mask", (self.vectors[number],)),
            ("confirm", (b"",)),
            ("unmask", (b"",)),
        ):
            assert self.refusal(number, leg, *parts) is AbortReason.OUT_OF_STATE

    def begin(self, number: int, **fields: Any) -> bytes:  # noqa: ANN401
        """Return a node's advert."""
        device, advert = SecAggDevice.begin(
            self.settings(number, **fields),
            signer=self.signers[number],
            entropy=self.entropy[number],
        )
        self.states[number] = device.to_bytes()
        return advert

    def advertise(self, but: Collection[int] = ()) -> "Fleet":
        """From the first leg to the roster."""
        self._answer(but, self.begin, self.server.add_advert)
        self.down = self._numbered(self.server.close_adverts())
        self.rosters = dict(self.down)
        return self

    def share(self, but: Collection[int] = ()) -> "Fleet":
        """To the forwarded shares."""
        self._answer(
            but,
            lambda node: self.leg(node, "share", self.down[node], vouch),
            self.server.add_shares,
        )
        self.down = self._numbered(self.server.close_shares())
        return self

    def check(self) -> "Fleet":
        """To nodes that are ready to mask."""
        for node in self.live:
            self.leg(node, "check_forwarded", self.down[node])
        return self

    def mask(self, but: Collection[int] = ()) -> "Fleet":
        """To the survivors; nodes in ``but`` vanish after they checked."""
        self.check()
        self._answer(
            but, lambda node: self.leg(node, "mask", self.vectors[node]), self.server.add_masked
        )
        self.down = dict.fromkeys(self.live, self.server.close_masked())
        return self

    def confirm(self, but: Collection[int] = ()) -> "Fleet":
        """To the quorum."""
        self._answer(
            but, lambda node: self.leg(node, "confirm", self.down[node]), self.server.add_signature
        )
        self.down = dict.fromkeys(self.live, self.server.close_signatures())
        return self

    def unmask(self, but: Collection[int] = (), workers: int = 1) -> Summed:
        """To the sum."""
        self._answer(
            but, lambda node: self.leg(node, "unmask", self.down[node]), self.server.add_unmasking
        )
        return self.server.result(workers)

    def _answer(
        self,
        but: Collection[int],
        reply: Callable[[int], bytes],
        add: Callable[[bytes, bytes], bool],
    ) -> None:
        self.live = [node for node in self.live if node not in but]
        for node in self.live:
            self.up[node] = reply(node)
            assert add(self.ids[node], self.up[node])

    def _numbered(self, messages: dict[bytes, bytes]) -> dict[int, bytes]:
        return {self.ids.index(node_id): message for node_id, message in messages.items()}
