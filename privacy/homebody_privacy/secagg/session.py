"""What one secure sum is bound to, and every text that is hashed, signed or derived from.

All labels of the protocol stand here. A text starts with its label and a zero byte, so that none
can stand for another; ``docs/protocol.md`` lists them.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from homebody_privacy.legs import pack

ID_BYTES: Final = 32
KEY_BYTES: Final = 32
WORD_BITS: Final = (32, 64)
_RUN_BYTES: Final = 255
_SERIAL: Final = range(1 << 63)

_ADVERT: Final = b"homebody/secagg/advert/v1\0"
_ROSTER: Final = b"homebody/secagg/roster/v1\0"
_RING: Final = b"homebody/secagg/ring/v1\0"
_SHARE: Final = b"homebody/secagg/share/v1\0"
_SURVIVORS: Final = b"homebody/secagg/survivors/v1\0"
_CONFIRM: Final = b"homebody/secagg/confirm/v1\0"
_COMMIT: Final = b"homebody/secagg/commit/v1\0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One secure sum. Public.

    Attributes:
        run: Identity of the run, 1 to 255 bytes of UTF-8.
        session: Serial of the sum within the run.
        round: Round it is for.
        length: Words of the vector, at least 1.
        word_bits: 32 or 64; sums are taken modulo 2**word_bits.
        config_sha256: Digest of the privacy config in force.
        model_sha256: Digest of the model the vectors were made with; may be empty.
    """

    run: str
    session: int
    round: int
    length: int
    word_bits: int
    config_sha256: str
    model_sha256: str
    _packed: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse what no sum can have."""
        if not 1 <= len(self.run.encode()) <= _RUN_BYTES:
            raise ValueError(f"run must have 1 to {_RUN_BYTES} bytes")
        if self.session not in _SERIAL or self.round not in _SERIAL:
            raise ValueError("session and round must be from 0 to 2**63 - 1")
        if not 1 <= self.length < 1 << 32:
            raise ValueError("length must be from 1 to 2**32 - 1")
        if self.word_bits not in WORD_BITS:
            raise ValueError(f"word_bits must be 32 or 64, got {self.word_bits!r}")
        object.__setattr__(self, "_packed", self._pack())

    def to_bytes(self) -> bytes:
        """Return all fields, each behind its length as four bytes."""
        return self._packed

    def _pack(self) -> bytes:
        return pack(
            self.run.encode(),
            self.session.to_bytes(8, "big"),
            self.round.to_bytes(8, "big"),
            self.length.to_bytes(4, "big"),
            bytes([self.word_bits]),
            self.config_sha256.encode(),
            self.model_sha256.encode(),
        )

    def advert_text(self, node_id: bytes, mask_key: bytes, channel_key: bytes) -> bytes:
        """Return what a node signs when it advertises its keys."""
        return _ADVERT + self.to_bytes() + node_id + mask_key + channel_key

    def roster_digest(self, roster: bytes) -> bytes:
        """Return R: who takes part, with which keys, in which sum."""
        return hashlib.sha256(_ROSTER + self.to_bytes() + roster).digest()

    def share_context(self, digest: bytes, sender: bytes, receiver: bytes) -> bytes:
        """Return the associated data of the shares one node encrypts to another."""
        return _SHARE + self.to_bytes() + digest + sender + receiver

    def confirm_text(self, digest: bytes, survivors: bytes) -> bytes:
        """Return what a survivor signs: R and the digest of the survivors."""
        return _CONFIRM + self.to_bytes() + digest + survivors

    def commitment(self, node_id: bytes, seed: bytes) -> bytes:
        """Return what binds a node to its self seed before anybody may open it."""
        return hashlib.sha256(_COMMIT + self.to_bytes() + node_id + seed).digest()

    def key_info(self, use: str, first: bytes, second: bytes) -> bytes:
        """Return the HKDF info of the key of one use between two nodes.

        Of the fields, ``run`` alone may hold a ``|``, so no two sets of them look the same.
        """
        return (
            f"homebody/secagg/{use}/v1|{self.run}|{self.session}|{self.round}"
            f"|{first.hex()}|{second.hex()}"
        ).encode()


def ring_place(digest: bytes, node_id: bytes) -> bytes:
    """Return where a node stands on the ring of the roster with digest R."""
    return hashlib.sha256(_RING + digest + node_id).digest()


def survivors_digest(node_ids: Sequence[bytes]) -> bytes:
    """Return the digest of the survivors, ids in increasing order."""
    return hashlib.sha256(_SURVIVORS + b"".join(node_ids)).digest()


def id_of(signing_key: bytes) -> bytes:
    """Return the id of the node with a raw Ed25519 public key."""
    return hashlib.sha256(signing_key).digest()
