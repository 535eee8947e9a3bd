"""Receipts: what a person decided, when and after which words; chained, signed, no behaviour data.

One receipt is one line of a file: RFC 8785 JSON of the receipt and its Ed25519 signature (RFC 8032)
by the device's key. Each names the SHA-256 of the line before it, so that a change anywhere breaks
every line after it. That lines at the end are missing a chain cannot tell: the count and the hash
of the last line are kept elsewhere, as in ``homebody_privacy.anchor``.

The JSON is written here, without the library of the rest: receipts hold only whole numbers, text,
booleans, nulls and lists of text, for which sorted keys and no spaces are RFC 8785 already.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, Self

from .consent import ConsentState
from .errors import IntegrityError
from .signing import SigningKey, verify_ed25519

RESTRICTED: Final = "ProcessingRestricted"
LIFTED: Final = "ProcessingRestrictionLifted"
"""Events of GDPR Art. 18; they name no purpose."""

_VERSION: Final = 1
_LABEL: Final = b"homebody/receipt/v1\0"
_COMMITMENT: Final = b"homebody/receipts-commitment/v1\0"
_MOST: Final = 2**53 - 1
_HEX: Final = re.compile(r"[0-9a-f]*")
_EVENTS: Final = frozenset({*ConsentState, RESTRICTED, LIFTED})
_BY: Final = frozenset({"DataSubject", "DataController"})


def _is_digest(text: str) -> bool:
    return isinstance(text, str) and len(text) in (0, 64) and _HEX.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class ChainEnd:
    """How far a chain has come.

    As ``anchor.Mark``, which comes with a library that a device does not load to start.

    Attributes:
        size: Receipts, from 0.
        head: SHA-256 of the last line, 64 hex digits; zeros if there is none.
    """

    size: int
    head: str

    def __post_init__(self) -> None:
        """Refuse what no chain can have."""
        if type(self.size) is not int or not 0 <= self.size <= _MOST:
            raise ValueError("size must be an integer from 0 to 2**53 - 1")
        if not self.head or not _is_digest(self.head):
            raise ValueError("head must be 64 hex digits in lower case")


NO_CHAIN: Final = ChainEnd(0, "0" * 64)
"""Where every chain begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentReceipt:
    """One change of consent. Public in form; it tells what a person decided, so keep it private.

    Attributes:
        n: Place in the chain, from 1.
        prev: SHA-256 of the line before, as hex; zeros before the first.
        event: A ``ConsentState``, or a restriction that began or was lifted.
        purpose: The switch; empty for a restriction.
        features: Feature groups it is about.
        policy_version: Version of the notice.
        config_sha256: Digest of the privacy config in force, as hex; empty if there was none.
        notice_sha256: SHA-256 of the words shown, as hex; empty if no words were shown.
        language: Their language.
        at: Unix seconds.
        valid_until: Unix seconds; None where nothing was given.
        by: ``DataSubject`` for the person, else ``DataController``.
        method: How it was said, such as ``tap`` or ``api``.
        explicit: A second, explicit yes to special categories of data.
        over_signal: A second yes while an opt-out signal was on.
        cause: Why, where the person did not say it of this purpose, such as ``cascade:training``.
        epoch: The device's counter of changes.
    """

    n: int
    prev: str
    event: str
    purpose: str
    features: tuple[str, ...]
    policy_version: int
    config_sha256: str
    notice_sha256: str
    language: str
    at: int
    valid_until: int | None
    by: str
    method: str
    explicit: bool
    over_signal: bool
    cause: str
    epoch: int

    def __post_init__(self) -> None:
        """Refuse what no device writes."""
        whole = [self.n, self.policy_version, self.at, self.epoch]
        whole += [] if self.valid_until is None else [self.valid_until]
        if not all(type(number) is int and 0 <= number <= _MOST for number in whole):
            raise ValueError("numbers of a receipt must be integers from 0 to 2**53 - 1")
        words = [self.purpose, self.language, self.method, self.cause, *self.features]
        if not all(isinstance(word, str) for word in words):
            raise ValueError("words of a receipt must be text")
        if type(self.explicit) is not bool or type(self.over_signal) is not bool:
            raise ValueError("explicit and over_signal must be booleans")
        if self.n < 1 or self.event not in _EVENTS or self.by not in _BY:
            raise ValueError("n, event or by is none a receipt may have")
        if not all(_is_digest(text) for text in (self.config_sha256, self.notice_sha256)):
            raise ValueError("a digest must be 64 hex digits in lower case, or empty")
        if not self.prev or not _is_digest(self.prev):
            raise ValueError("prev must be 64 hex digits in lower case")

    def to_json(self) -> dict[str, Any]:
        """Return the receipt as plain JSON, version included."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {"v": _VERSION, **values, "features": list(self.features)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Return a receipt that ``to_json`` wrote.

        Raises:
            ValueError: If a field is missing, unknown or out of range.
        """
        rest = dict(value)
        if rest.pop("v", None) != _VERSION or set(rest) != {one.name for one in fields(cls)}:
            raise ValueError("it is no receipt of this version")
        listed = rest["features"]
        if not isinstance(listed, list):
            raise ValueError("features must be a list")  # noqa: TRY004 - a bad line is one error
        return cls(**{**rest, "features": tuple(listed)})


def canonical(value: Mapping[str, Any]) -> bytes:
    """Return the RFC 8785 JSON of a value without decimal numbers and with ASCII keys.

    Raises:
        ValueError: If a text is not valid Unicode.

    Examples:
        >>> canonical({"b": [1, True], "a": None})
        b'{"a":null,"b":[1,true]}'
    """
    text = json.dumps(
        value, allow_nan=False, ensure_ascii=False, separators=(",", ":"), sort_keys=True
    )
    return text.encode()


def signed_line(receipt: ConsentReceipt, key: SigningKey) -> bytes:
    """Return a receipt as its line of the chain, without the line break."""
    body = receipt.to_json()
    signature = key.sign(_LABEL + canonical(body))
    return canonical({"receipt": body, "sig": signature.hex()})


def line_hash(line: bytes) -> str:
    """Return what the next receipt names as ``prev``: the SHA-256 of a line, as hex."""
    return hashlib.sha256(line).hexdigest()


def read_chain(
    lines: Iterable[bytes], *, public: bytes | None, base: ChainEnd = NO_CHAIN
) -> tuple[ConsentReceipt, ...]:
    """Read receipts and check that they are a chain.

    Args:
        lines: The lines, oldest first, without line breaks.
        public: Key of the device; None leaves the signatures out, for lines whose last hash is
            known from elsewhere.
        base: Where the chain begins, if older lines were cut off on purpose.

    Raises:
        IntegrityError: If a line is not what was written, names another before it or has a wrong
            signature. That lines at the end are missing only an anchor can tell.
    """
    read: list[ConsentReceipt] = []
    head = base.head
    for number, line in enumerate(lines, start=base.size + 1):
        try:
            receipt, signature = _parsed(line)
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
            receipt, signature = None, b""
        if receipt is None or receipt.n != number or receipt.prev != head:
            raise IntegrityError(f"receipt {number} is not what was written")
        message = _LABEL + canonical(receipt.to_json())
        if public is not None and not verify_ed25519(public, signature, message):
            raise IntegrityError(f"receipt {number} has a signature of another key")
        read.append(receipt)
        head = line_hash(line)
    return tuple(read)


def commitment(secret: bytes, end: ChainEnd) -> str:
    """Return what a server may keep as proof: it tells nobody anything without the secret.

    HMAC-SHA256 (RFC 2104) over the count and the last hash. Destroying the secret unlinks it.

    Args:
        secret: 32 bytes that never leave the device.
        end: Where the chain stands.
    """
    told = canonical({"head": end.head, "size": end.size})
    return hmac.new(secret, _COMMITMENT + told, hashlib.sha256).hexdigest()


def _parsed(line: bytes) -> tuple[ConsentReceipt, bytes]:
    whole = json.loads(line)
    receipt = ConsentReceipt.from_json(whole["receipt"])
    signature = bytes.fromhex(whole["sig"])
    if canonical({"receipt": receipt.to_json(), "sig": signature.hex()}) != line:
        raise ValueError("it is not written as a receipt is")
    return receipt, signature
