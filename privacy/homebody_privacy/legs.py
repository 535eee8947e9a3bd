"""The legs of a sealed session between a server and a node, as names and plain values.

A session is one secure sum: the updates of a round, a statistic before the first one (round 0), or
a figure about people. Every leg is one Flower message to a node and one reply; both carry one
sealed envelope (``sealing``) and nothing else, but that the leg which brings the model carries its
ciphertext beside it, the same for all nodes. What is inside an envelope is a body of
``secagg.wire`` or a small canonical JSON object of this module.

==========  ==========================  ======================  ==================================
step        Flower message              down body               up body
==========  ==========================  ======================  ==================================
enrol       ``query.secagg_enrol``      ``Announcement``, JSON  ``Enrolment``, JSON
                                        (signed, not sealed)
advertise   ``query.secagg_advertise``  ``Opening``, JSON       advert
share       ``query.secagg_share``      roster                  shares, encrypted to neighbours
update      ``train``                   ``Work`` (packed)       masked vector
figures     ``evaluate``                ``Work`` (packed)       masked vector
confirm     ``query.secagg_confirm``    survivors               signature
unmask      ``query.secagg_unmask``     quorum                  shares, in the clear for the server
decline     as a reply to any of them   --                      ``Decline``, JSON
==========  ==========================  ======================  ==================================
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Self, get_type_hints

import rfc8785


class Step(StrEnum):
    """One leg of a session."""

    ENROL = "enrol"
    ADVERTISE = "advertise"
    SHARE = "share"
    UPDATE = "update"
    FIGURES = "figures"
    CONFIRM = "confirm"
    UNMASK = "unmask"
    DECLINE = "decline"


ACTIONS: Final[Mapping[Step, str]] = {
    Step.ENROL: "secagg_enrol",
    Step.ADVERTISE: "secagg_advertise",
    Step.SHARE: "secagg_share",
    Step.CONFIRM: "secagg_confirm",
    Step.UNMASK: "secagg_unmask",
}
"""Action of the Flower query of each leg that is a query."""

SEALED: Final = "sealed"
"""Name of the array record of a sealed message."""

ENVELOPE: Final = "envelope"
"""Key of its one array, uint8: the envelope's bytes."""

BROADCAST: Final = "broadcast"
"""Name of the array record that carries the model's ciphertext beside an envelope."""

CIPHERTEXT: Final = "ciphertext"
"""Key of its one array, uint8."""


WORK_BLOCK: Final = 4096
"""A ``Work`` is padded to a multiple of this many bytes: its length hardly tells who is asked."""

_KEY_HEX: Final = 2 * 32
_RECIPIENT_HEX: Final = 2 * 1216
_MOST: Final = 2**53 - 1
_LONGEST_RUN: Final = 255
_HEX: Final = re.compile(r"[0-9a-f]*")
_CODE: Final = re.compile(r"[a-z][a-z0-9-]{0,62}")
_WORDS: Final = (32, 64)


class _JsonBody:
    """A body that is one RFC 8785 JSON object of exactly its fields.

    What a deployment alone has (``_deployed``) is left out where it is empty, as in a simulation.
    """

    __slots__ = ()
    _deployed = frozenset[str]()

    def to_bytes(self) -> bytes:
        """Return RFC 8785 JSON."""
        values = {name: getattr(self, name) for name in get_type_hints(type(self))}
        empty = {name for name in self._deployed if not values[name]}
        return rfc8785.dumps({name: one for name, one in values.items() if name not in empty})

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read what ``to_bytes`` wrote.

        Raises:
            ValueError: If it is anything else, to the byte.
        """
        values = _object(content)
        hints = get_type_hints(cls)
        if not hints.keys() - cls._deployed <= values.keys() <= hints.keys():
            raise ValueError(f"the fields are not those of {cls.__name__}")
        for name, value in values.items():
            if not _fits(value, hints[name]):
                raise ValueError(f"{name} of {cls.__name__} has another type")
            if name in cls._deployed and not value:
                raise ValueError(f"{name} of {cls.__name__} is left out where it is empty")
        return cls(**values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement(_JsonBody):
    """What a server says of a run before anybody takes part. Public, signed by the aggregator.

    Attributes:
        run: Identity of the run.
        session: Serial of this enrolment; it rises within a run.
        recipient: Key that replies to this message are sealed to, as hex.
        config_sha256: Digest of the privacy config in force.
        devices: Size of the population.
        model: Name and options of the model.
        clip_norm: L2 bound of one device's contribution.
        lattice_bits: The lattice step is clip_norm / 2**lattice_bits.
        example_key: Key of the devices' choice of examples, hex; no privacy rests on it.
        not_after: End of its life, Unix seconds.
        app: Digest of the app that is to run (``approval.app_digest``), hex; of a fleet alone.
        approvals: DSSE envelopes of the reviewers; of a fleet alone.
        ledger: Key line of the run's ledger (``note.VerifierKey``); of a fleet alone.
    """

    run: str
    session: int
    recipient: str = field(repr=False)
    config_sha256: str
    devices: int
    model: Mapping[str, Any]
    clip_norm: float
    lattice_bits: int
    example_key: str = field(repr=False)
    not_after: int
    app: str = ""
    approvals: list[Mapping[str, Any]] = field(repr=False, default_factory=list)
    ledger: str = ""
    _deployed = frozenset({"app", "approvals", "ledger"})

    def __post_init__(self) -> None:
        """Refuse what announces no run."""
        if not 0 < len(self.run.encode()) <= _LONGEST_RUN:
            raise ValueError(f"run must have 1 to {_LONGEST_RUN} bytes of UTF-8")
        _check_hex(_RECIPIENT_HEX, recipient=self.recipient)
        _check_hex(_KEY_HEX, config_sha256=self.config_sha256, example_key=self.example_key)
        _check_from(0, session=self.session, not_after=self.not_after)
        _check_from(1, devices=self.devices, lattice_bits=self.lattice_bits)
        if not 0 < self.clip_norm < math.inf:
            raise ValueError("clip_norm must be positive and finite")
        if self.app:
            _check_hex(_KEY_HEX, app=self.app)


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolment(_JsonBody):
    """What a node answers: which devices it hosts.

    Attributes:
        certificate: The node's certificate, hex.
        devices: Numbers of the hosted devices in the population.
        pinned: Entries of the run's ledger the node has seen; of a fleet alone.
    """

    certificate: str = field(repr=False)
    devices: list[int] = field(repr=False)
    pinned: int = 0
    _deployed = frozenset({"pinned"})

    def __post_init__(self) -> None:
        """Refuse a device no population has, and one device twice."""
        _check_hex(len(self.certificate) // 2 * 2, certificate=self.certificate)
        if any(device < 0 for device in self.devices):
            raise ValueError("devices are numbers from 0")
        if len(set(self.devices)) != len(self.devices):
            raise ValueError("a node may not name a device twice")
        _check_from(0, pinned=self.pinned)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening(_JsonBody):
    """Opens a session.

    Attributes:
        round: Round of the run the session is for; 0 for what comes before the first.
        recipient: Key that replies of this session are sealed to, as hex; made for it alone.
        length: Words of the summed vector.
        word_bits: 32 or 64.
        metric: Which figure, empty for an update or a statistic.
        charge: What the ledger charged the sum as: ``round/3``, ``statistics/gram`` or
            ``metrics/quality/2``; of a fleet alone.
        ledger: ``ledger_proof.LedgerProof.to_json``; of a fleet alone.
    """

    round: int
    recipient: str = field(repr=False)
    length: int
    word_bits: int
    metric: str = ""
    charge: str = ""
    ledger: Mapping[str, Any] = field(repr=False, default_factory=dict)
    _deployed = frozenset({"charge", "ledger"})

    def __post_init__(self) -> None:
        """Refuse what opens no session."""
        _check_from(0, round=self.round)
        _check_from(1, length=self.length)
        _check_hex(_RECIPIENT_HEX, recipient=self.recipient)
        if self.word_bits not in _WORDS:
            raise ValueError(f"word_bits must be one of {_WORDS}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a node is to compute, the shares others have for it, and the key of the model.

    Attributes:
        asked: Values of an ``Invitation`` or a ``Question`` (``messages``), as JSON. A node that
            hosts a shard of which nobody is asked gets an empty list of devices and adds zeros.
        forwarded: Shares for this node, a message of ``secagg.wire``.
        content_key: Key of the broadcast model.
    """

    asked: Mapping[str, Any] = field(repr=False)
    forwarded: bytes = field(repr=False)
    content_key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse a key no model has."""
        if len(self.content_key) != _KEY_HEX // 2:
            raise ValueError(f"content_key must have {_KEY_HEX // 2} bytes")

    def to_bytes(self) -> bytes:
        """Return the three parts and zeros, each behind its length.

        The zeros fill up to a multiple of ``WORK_BLOCK`` bytes.
        """
        parts = rfc8785.dumps(dict(self.asked)), self.forwarded, self.content_key
        return pack(*parts, bytes(-len(pack(*parts, b"")) % WORK_BLOCK))

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read what ``to_bytes`` wrote; ``ValueError`` for anything else."""
        asked, forwarded, content_key, _ = unpack(content, 4)
        work = cls(asked=_object(asked), forwarded=forwarded, content_key=content_key)
        if work.to_bytes() != content:
            raise ValueError("the work is not filled up as it should be")
        return work


@dataclass(frozen=True, slots=True, kw_only=True)
class Decline(_JsonBody):
    """A node does not take part, or no longer: a code and nothing else.

    Attributes:
        code: Code of an error class, such as ``consent-missing``.
    """

    code: str

    def __post_init__(self) -> None:
        """Refuse text: a reason in words could say something of the person."""
        if _CODE.fullmatch(self.code) is None:
            raise ValueError("code must be lower-case letters, digits and hyphens, 63 at most")


def pack(*parts: bytes) -> bytes:
    """Return parts one after the other, each behind its length as four bytes, big-endian.

    Examples:
        >>> pack(b"ab", b"").hex()
        '00000002616200000000'
    """
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def unpack(content: bytes, count: int) -> tuple[bytes, ...]:
    """Return the ``count`` parts that ``pack`` put together.

    Raises:
        ValueError: If there are fewer or more, or bytes are left over.
    """
    parts, at = [], 0
    for _ in range(count):
        size = int.from_bytes(content[at : at + 4], "big")
        if len(content) < at + 4 + size:
            raise ValueError("the message ends too early")
        parts.append(content[at + 4 : at + 4 + size])
        at += 4 + size
    if at != len(content):
        raise ValueError("bytes are left over at the end of the message")
    return tuple(parts)


def _check_hex(digits: int, **texts: str) -> None:
    for name, text in texts.items():
        if len(text) != digits or _HEX.fullmatch(text) is None:
            raise ValueError(f"{name} must be {digits} lower-case hex digits")


def _check_from(least: int, **numbers: int) -> None:
    for name, number in numbers.items():
        if not least <= number <= _MOST:
            raise ValueError(f"{name} must be an integer from {least} to 2**53 - 1")


def _object(content: bytes) -> dict[str, Any]:
    try:
        values = json.loads(content)
        sound = isinstance(values, dict) and rfc8785.dumps(values) == content
    except (RecursionError, ValueError) as error:
        raise ValueError("it is not canonical JSON") from error
    if not sound:
        raise ValueError("it is not one canonical JSON object")
    return dict(values)


def _fits(value: object, hint: object) -> bool:
    match hint:
        case _ if hint is float:
            return type(value) in (float, int)
        case _ if hint is str or hint is int:
            return type(value) is hint
        case _ if hint == list[int]:
            return isinstance(value, list) and all(type(one) is int for one in value)
        case _ if hint == list[Mapping[str, Any]]:
            return isinstance(value, list) and all(isinstance(one, dict) for one in value)
        case _:
            return isinstance(value, dict)
