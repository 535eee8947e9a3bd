"""The envelope: layout of a message between a server and a node, without any cryptography.

=====  ==================  =====================================================================
bytes  field               content
=====  ==================  =====================================================================
1      version             1
1      flags               1 if the body is encrypted, 0 if it is signed only
4      header length       H, big-endian, at most ``HEADER_LIMIT``
H      header              RFC 8785 JSON of ``SealContext``
4      body length         B, big-endian
B      body                encapsulated key, then ciphertext; or the body as it is
64     signature           Ed25519 over header and body (``sealing``)
=====  ==================  =====================================================================

The header is in the clear: whoever carries the message can read it. It says which message this is,
and binds the body to that one place. Version and flags follow from the header, so that the
signature covers them too.
"""

import json
import re
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, Final, Literal, NamedTuple, Self

import rfc8785

from .errors import SealRefusedError
from .legs import Step

VERSION: Final = 1
SUITE: Final = "MLKEM768-X25519/HKDF-SHA256/AES-256-GCM"
"""The one suite of a sealed envelope (RFC 9180); a signed one has the suite ``none``."""
UNSEALED: Final = "none"
NODE_ID_BYTES: Final = 32
MSG_ID_BYTES: Final = 16
SIGNATURE_BYTES: Final = 64
HEADER_LIMIT: Final = 4096
EVERY_NODE: Final = bytes(NODE_ID_BYTES)
"""Node id of a message to all nodes."""

Direction = Literal["up", "down"]
"""``down`` from the server to a node, ``up`` from a node to the server."""

_FIXED: Final = 2 + 4 + 4 + SIGNATURE_BYTES
_MOST: Final = 2**53 - 1  # the largest integer of canonical JSON
_LONGEST_RUN: Final = 255
_HEX: Final = re.compile(r"[0-9a-f]*")


class Refusal(StrEnum):
    """Why a message or a certificate was refused. Public, stable, and all that is ever said."""

    MALFORMED = "malformed"
    WRONG_KIND = "wrong-kind"
    WRONG_RUN = "wrong-run"
    WRONG_ROUND = "wrong-round"
    WRONG_SESSION = "wrong-session"
    WRONG_STEP = "wrong-step"
    WRONG_DIRECTION = "wrong-direction"
    WRONG_NODE = "wrong-node"
    WRONG_MESSAGE = "wrong-message"
    WRONG_RECIPIENT = "wrong-recipient"
    WRONG_MODEL = "wrong-model"
    WRONG_CONFIG = "wrong-config"
    WRONG_CONSENT = "wrong-consent"
    WRONG_RECEIPT = "wrong-receipt"
    WRONG_DEADLINE = "wrong-deadline"
    WRONG_FLEET = "wrong-fleet"
    BAD_SIGNATURE = "bad-signature"
    BAD_KEY = "bad-key"
    EXPIRED = "expired"
    TOO_FAR_AHEAD = "too-far-ahead"
    CANNOT_BE_OPENED = "cannot-be-opened"
    REPLAYED = "replayed"
    NOT_REGISTERED = "not-registered"


_DIFFERS: Final = {
    "run": Refusal.WRONG_RUN,
    "round": Refusal.WRONG_ROUND,
    "session": Refusal.WRONG_SESSION,
    "step": Refusal.WRONG_STEP,
    "direction": Refusal.WRONG_DIRECTION,
    "node_id": Refusal.WRONG_NODE,
    "msg_id": Refusal.WRONG_MESSAGE,
    "recipient_key_id": Refusal.WRONG_RECIPIENT,
    "model_sha256": Refusal.WRONG_MODEL,
    "config_sha256": Refusal.WRONG_CONFIG,
    "consent_tag": Refusal.WRONG_CONSENT,
    "consent_receipt_sha256": Refusal.WRONG_RECEIPT,
    "not_after": Refusal.WRONG_DEADLINE,
}


def is_hex(text: object, *digits: int) -> bool:
    """Tell whether a text is lower-case hex of one of the given lengths."""
    return isinstance(text, str) and len(text) in digits and _HEX.fullmatch(text) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class SealContext:
    """Which message this is. Public: it travels in the clear, so it never says what is inside.

    Attributes:
        run: Identity of the run.
        round: Round of the run, from 1; 0 before the first.
        session: Serial of the session; it rises within a run.
        step: Leg of the session.
        direction: Who sends it.
        node_id: The node it goes to or comes from; ``EVERY_NODE`` for an announcement.
        msg_id: 16 random bytes the server chose for this leg of this node; a reply repeats them.
        recipient_key_id: SHA-256 of the key it is sealed to, hex; empty if it is signed only.
        model_sha256: Digest of the model the session is about, hex; empty where there is none.
        config_sha256: Digest of the privacy config in force, hex.
        consent_tag: 16 random bytes, hex, that change with each change of consent; or empty.
        consent_receipt_sha256: Digest of the consent receipt in force, hex; or empty.
        not_after: End of its life, Unix seconds.
    """

    run: str
    round: int
    session: int
    step: Step
    direction: Direction
    node_id: bytes = field(repr=False)
    msg_id: bytes = field(repr=False)
    recipient_key_id: str
    model_sha256: str
    config_sha256: str
    consent_tag: str = field(repr=False)
    consent_receipt_sha256: str = field(repr=False)
    not_after: int

    def __post_init__(self) -> None:
        """Refuse what no message can be."""
        _check_words(self)
        if len(self.node_id) != NODE_ID_BYTES or len(self.msg_id) != MSG_ID_BYTES:
            raise ValueError("node_id must have 32 bytes and msg_id 16")
        for name, digits in (
            ("recipient_key_id", (0, 64)),
            ("model_sha256", (0, 64)),
            ("config_sha256", (64,)),
            ("consent_tag", (0, 32)),
            ("consent_receipt_sha256", (0, 64)),
        ):
            if not is_hex(getattr(self, name), *digits):
                raise ValueError(f"{name} must be lower-case hex of {digits} digits")

    @property
    def sealed(self) -> bool:
        """Whether the body is encrypted."""
        return bool(self.recipient_key_id)

    def to_bytes(self) -> bytes:
        """Return the header: RFC 8785 JSON, ids as lower-case hex, version and suite included."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        texts = {"step": str(self.step), "node_id": self.node_id.hex(), "msg_id": self.msg_id.hex()}
        suite = SUITE if self.sealed else UNSEALED
        return rfc8785.dumps({**values, **texts, "suite": suite, "v": VERSION})

    @classmethod
    def from_bytes(cls, header: bytes) -> Self:
        """Read what ``to_bytes`` wrote.

        Raises:
            ValueError: If it is anything else, to the byte.
        """
        try:
            values = json.loads(header)
            context = cls(**_typed(values))
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
            raise ValueError("it is no header of an envelope") from error
        if context.to_bytes() != header:
            raise ValueError("it is not written as a header is")
        return context


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a receiver knows of a message before it looks. A None field is left open.

    The fields without a default must be thought of each time; the receiver checks an open one
    itself after opening, on ``read_context`` of the same bytes.
    """

    run: str | None
    round: int | None
    session: int | None
    step: Step | None
    direction: Direction
    node_id: bytes | None = field(repr=False)
    model_sha256: str | None
    config_sha256: str | None
    msg_id: bytes | None = field(default=None, repr=False)
    consent_tag: str | None = field(default=None, repr=False)
    consent_receipt_sha256: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """The parts of an envelope. Nothing of it is to be trusted before its signature is checked.

    Attributes:
        header: Bytes of the header as they were sent.
        context: The same, read.
        body: Encapsulated key and ciphertext, or the body as it is.
        signature: 64 bytes.
    """

    header: bytes = field(repr=False)
    context: SealContext
    body: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    def to_bytes(self) -> bytes:
        """Return the whole envelope."""
        start = bytes([VERSION, self.context.sealed])
        header, body = len(self.header).to_bytes(4, "big"), len(self.body).to_bytes(4, "big")
        return b"".join((start, header, self.header, body, self.body, self.signature))

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Take an envelope apart, to the last byte.

        Raises:
            SealRefusedError: If it is no envelope of this version; reason ``malformed``.
        """
        parts = Parts.of(content)
        return cls(
            header=parts.header,
            context=parts.context,
            body=bytes(parts.body),
            signature=parts.signature,
        )


class Parts(NamedTuple):
    """As ``Envelope``, with the body where it lies: a model is not copied to be looked at."""

    header: bytes
    context: SealContext
    body: memoryview
    signature: bytes

    @classmethod
    def of(cls, content: bytes) -> Self:
        """Take an envelope apart, to the last byte.

        Raises:
            SealRefusedError: If it is no envelope of this version; reason ``malformed``.
        """
        try:
            return cls._parsed(content)
        except ValueError as error:
            raise SealRefusedError(Refusal.MALFORMED) from error

    @classmethod
    def _parsed(cls, content: bytes) -> Self:
        if len(content) < _FIXED or content[0] != VERSION:
            raise ValueError("it is too short, or of another version")
        end = 6 + int.from_bytes(content[2:6], "big")
        size = int.from_bytes(content[end : end + 4], "big")
        if end > 6 + HEADER_LIMIT or len(content) != end + 4 + size + SIGNATURE_BYTES:
            raise ValueError("its lengths do not add up")
        context = SealContext.from_bytes(content[6:end])
        if content[1] != context.sealed:
            raise ValueError("its flags are not those of its header")
        body = memoryview(content)[end + 4 : end + 4 + size]
        return cls(content[6:end], context, body, content[end + 4 + size :])


def compare(context: SealContext, expected: SealContext | Expected) -> None:
    """Hold a header against what the receiver knows.

    Raises:
        SealRefusedError: At the first field that differs.
    """
    for one in fields(expected):
        wanted = getattr(expected, one.name)
        if wanted is not None and getattr(context, one.name) != wanted:
            raise SealRefusedError(_DIFFERS[one.name])


def _typed(values: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a context from its JSON; what is left over or missing is an error."""
    rest = dict(values)
    if (rest.pop("v"), rest.pop("suite")) not in {(VERSION, SUITE), (VERSION, UNSEALED)}:
        raise ValueError("it has another version or suite")
    rest["step"] = Step(rest["step"])
    rest["node_id"] = bytes.fromhex(rest["node_id"])
    rest["msg_id"] = bytes.fromhex(rest["msg_id"])
    return rest


def _check_words(context: SealContext) -> None:
    numbers = (context.round, context.session, context.not_after)
    if not all(type(number) is int and 0 <= number <= _MOST for number in numbers):
        raise ValueError("round, session and not_after must be integers from 0 to 2**53 - 1")
    if not isinstance(context.run, str) or not 0 < len(context.run.encode()) <= _LONGEST_RUN:
        raise ValueError(f"run must have 1 to {_LONGEST_RUN} bytes of UTF-8")
    if not isinstance(context.step, Step) or context.direction not in {"up", "down"}:
        raise ValueError("step must be a Step, and direction up or down")
    if context.step is Step.DECLINE and context.direction != "up":
        raise ValueError("a server does not decline")
