"""What a node keeps between two legs of a secure sum, and how it is written down.

A node may be a new process at every message, so the machine goes to bytes and back. The bytes hold
keys: whoever stores them encrypts them. Going back to older bytes undoes the machine's promise to
do nothing twice: a store that can be rolled back needs a guard of its own.
"""

import json
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, Final

from .parameters import SecAggParameters
from .session import ID_BYTES, Session


class DeviceState(StrEnum):
    """How far a node has come."""

    ADVERTISED = "advertised"
    SHARED = "shared"
    READY = "ready"
    """The others' shares were checked; a vector may be masked."""
    SENT = "sent"
    SIGNED = "signed"
    WIPED = "wiped"
    """Unmasking was helped with; nothing secret is left."""
    ABORTED = "aborted"
    """The node left; nothing secret is left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSettings:
    """The sum a node takes part in, by its own account, and its own bounds. Public.

    Attributes:
        run: Identity of the run, 1 to 255 bytes of UTF-8.
        session: Serial of the sum within the run.
        round: Round it is for.
        node_id: SHA-256 of the node's raw Ed25519 public key.
        length: Words of the vector.
        word_bits: 32 or 64.
        max_corrupt: Share of nodes assumed to work with the server.
        max_dropout: Share that may vanish without voiding the round.
        least: Vectors of the smallest sum this node takes part in.
        config_sha256: Digest of the privacy config in force.
        model_sha256: Digest of the model the vector is made with; may be empty.
    """

    run: str
    session: int
    round: int
    node_id: bytes = field(repr=False)
    length: int
    word_bits: int
    max_corrupt: float
    max_dropout: float
    least: int
    config_sha256: str
    model_sha256: str

    def __post_init__(self) -> None:
        """Refuse what no sum can have."""
        if len(self.node_id) != ID_BYTES:
            raise ValueError(f"node_id must have {ID_BYTES} bytes, got {len(self.node_id)}")
        _ = self.terms  # checks the rest

    @property
    def terms(self) -> Session:
        """What everybody must agree on."""
        return Session(
            run=self.run,
            session=self.session,
            round=self.round,
            length=self.length,
            word_bits=self.word_bits,
            config_sha256=self.config_sha256,
            model_sha256=self.model_sha256,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceMemory:
    """All a node knows of a sum; each leg replaces it by another. Secret while it holds keys.

    Attributes:
        state: How far the node has come.
        advert: Its advert as it was sent, until the roster came.
        keys: Mask key, channel key, self seed, key of the polynomials; until it shared.
        digest: R of the roster.
        node_ids: Ids of the roster.
        signers: Ed25519 public keys, in the same order.
        number: The node's own place in the roster.
        neighbours: Numbers of its neighbours, increasing.
        numbers: Sizes of the sum, by its own account.
        seed: Self seed; until the vector was masked.
        mask_keys: Keys of the masks shared with ``neighbours`` (from READY: those who shared).
        open_keys: Keys of the shares from ``neighbours``; until they were opened.
        held: Shares by others, and by itself in the complete graph: seed's, then mask key's.
        holding: Whose shares those are, increasing.
        shared: Who shared.
        alive: Who survived.
    """

    state: DeviceState
    advert: bytes = b""
    keys: tuple[bytes, ...] = field(default=(), repr=False)
    digest: bytes = b""
    node_ids: tuple[bytes, ...] = field(default=(), repr=False)
    signers: tuple[bytes, ...] = field(default=(), repr=False)
    number: int = field(default=0, repr=False)
    neighbours: tuple[int, ...] = field(default=(), repr=False)
    numbers: tuple[int, ...] = ()
    seed: bytes = field(default=b"", repr=False)
    mask_keys: tuple[bytes, ...] = field(default=(), repr=False)
    open_keys: tuple[bytes, ...] = field(default=(), repr=False)
    held: tuple[bytes, ...] = field(default=(), repr=False)
    holding: tuple[int, ...] = field(default=(), repr=False)
    shared: tuple[int, ...] = field(default=(), repr=False)
    alive: tuple[int, ...] = field(default=(), repr=False)

    @property
    def sizes(self) -> SecAggParameters:
        """Sizes of the sum, from SHARED to SIGNED."""
        return SecAggParameters.from_numbers(self.numbers)


def write(settings: DeviceSettings, memory: DeviceMemory) -> bytes:
    """Return both as JSON, bytes as hex. Secret."""
    return json.dumps({_MAGIC: [_plain(settings), _plain(memory)]}).encode()


def read(content: bytes) -> tuple[DeviceSettings, DeviceMemory]:
    """Read what ``write`` wrote.

    Raises:
        ValueError: If it is anything else.
    """
    try:
        settings, memory = json.loads(content)[_MAGIC]
        return _settings(settings), _memory(memory)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise ValueError("this is no state of a secure sum") from None  # it may hold keys


_MAGIC: Final = "homebody/secagg/state/v1"


def _plain(values: DeviceSettings | DeviceMemory) -> dict[str, Any]:
    return {one.name: _json(getattr(values, one.name)) for one in fields(values)}


def _json(value: object) -> object:
    match value:
        case bytes():
            return value.hex()
        case tuple():
            return [_json(one) for one in value]
        case _:
            return value


def _settings(values: dict[str, Any]) -> DeviceSettings:
    return DeviceSettings(**{**values, "node_id": bytes.fromhex(values["node_id"])})


def _memory(values: dict[str, Any]) -> DeviceMemory:
    whole = dict(values)
    for name in _BYTES:
        whole[name] = bytes.fromhex(whole[name])
    for name in _LISTS_OF_BYTES:
        whole[name] = tuple(map(bytes.fromhex, whole[name]))
    for name in _LISTS_OF_NUMBERS:
        whole[name] = tuple(map(int, whole[name]))
    return DeviceMemory(**{**whole, "state": DeviceState(whole["state"])})


_BYTES: Final = ("advert", "digest", "seed")
_LISTS_OF_BYTES: Final = ("keys", "node_ids", "signers", "mask_keys", "open_keys", "held")
_LISTS_OF_NUMBERS: Final = ("numbers", "neighbours", "holding", "shared", "alive")
