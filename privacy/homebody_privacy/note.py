"""Signed notes: a short text and, below it, who signed it (https://c2sp.org/signed-note).

The format of transparency logs, so that their tools read ours. A signature line names its key and
carries the first four bytes of a hash over name, algorithm and key; a line whose name and hash are
not those of a known key is passed over, so that a witness, or an algorithm to come, adds a line and
breaks nobody. Two algorithms are known here: plain Ed25519, and cosignature/v1, Ed25519 over the
text and the time at which a witness saw it (https://c2sp.org/tlog-cosignature).
"""

import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, Self

from .errors import IntegrityError
from .signing import SigningKey, verify_ed25519

ED25519: Final = 0x01
"""Algorithm of a signature over the text."""

COSIGNATURE: Final = 0x04
"""Algorithm of a witness's signature over the text and a time."""

Algorithm = Literal[0x01, 0x04]

_DASH: Final = "\N{EM DASH} "
_MOST_BYTES: Final = 1 << 20
_MOST_SIGNATURES: Final = 100
_ID_BYTES: Final = 4
_TIME_BYTES: Final = 8
_KEY_BYTES: Final = 32
_LATEST: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key by which one kind of a name's signatures is known. Public.

    Attributes:
        name: Whose key; neither a space nor a plus.
        public: Raw Ed25519 key of 32 bytes.
        algorithm: ``ED25519`` or ``COSIGNATURE``.
    """

    name: str
    public: bytes
    algorithm: Algorithm = ED25519

    def __post_init__(self) -> None:
        """Refuse what is no such key."""
        _check_name(self.name)
        if len(self.public) != _KEY_BYTES:
            raise ValueError(f"a verifier key has {_KEY_BYTES} bytes, got {len(self.public)}")
        if self.algorithm not in {ED25519, COSIGNATURE}:
            raise ValueError("a verifier key is of Ed25519 or of cosignature/v1")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a key line, ``name+hash+base64``.

        Raises:
            ValueError: If it is none, its algorithm is unknown, or its hash is of another key.
        """
        name, _, rest = text.strip().partition("+")
        hashed, _, encoded = rest.partition("+")
        raw = _decoded(encoded)
        if raw is None or len(raw) != 1 + _KEY_BYTES or raw[0] not in {ED25519, COSIGNATURE}:
            raise ValueError("a key line is name+hash+base64 of an algorithm and an Ed25519 key")
        key = cls(name, raw[1:], COSIGNATURE if raw[0] == COSIGNATURE else ED25519)
        if hashed != key.key_hash.hex():
            raise ValueError("the hash of a key line is not of its name and key")
        return key

    def __str__(self) -> str:
        """Return the key line."""
        encoded = base64.b64encode(bytes([self.algorithm]) + self.public).decode()
        return f"{self.name}+{self.key_hash.hex()}+{encoded}"

    @property
    def key_hash(self) -> bytes:
        """The four bytes that a signature line names the key by; no protection by themselves."""
        named = self.name.encode() + b"\n" + bytes([self.algorithm]) + self.public
        return hashlib.sha256(named).digest()[:_ID_BYTES]


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature that was checked. Public.

    Attributes:
        key: Who signed.
        at: When a witness saw the text, in Unix seconds, by its own word; None for others.
    """

    key: VerifierKey
    at: int | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """A text and who is known to have signed it. Public.

    Attributes:
        text: The text, its last newline included.
        signatures: Signatures of known keys, each checked, in the order of their lines.
    """

    text: str
    signatures: tuple[Signature, ...]

    @property
    def signed_by(self) -> tuple[str, ...]:
        """Names of the known keys that signed."""
        return tuple(one.key.name for one in self.signatures)

    def time_of(self, key: VerifierKey) -> int | None:
        """Return when a witness saw the text, in Unix seconds; None if it did not sign."""
        return next((one.at for one in self.signatures if one.key == key), None)

    def is_signed_by(self, key: VerifierKey) -> bool:
        """Tell whether a key is among those that signed."""
        return any(one.key == key for one in self.signatures)


def sign_note(text: str, name: str, key: SigningKey) -> str:
    r"""Return a note of one signature.

    Args:
        text: What is signed; ends with a newline, has no other control character.
        name: The signer's name.
        key: The signer's key.

    Raises:
        ValueError: If ``text`` or ``name`` cannot be in a note.

    Examples:
        >>> key = SigningKey(bytes(32))
        >>> note = sign_note("hello\n", "me", key)
        >>> open_note(note, [VerifierKey("me", key.public)]).signed_by
        ('me',)
    """
    if not text.endswith("\n") or text == "\n" or not _is_clean(text):
        raise ValueError("a note's text ends with a newline and has no control character")
    verifier = VerifierKey(name, key.public)
    return f"{text}\n{_line(verifier, key.sign(text.encode()))}"


def cosign_note(note: str, name: str, key: SigningKey, at: int) -> str:
    """Return a note with a witness's signature added; one of the same key is replaced.

    The witness says that it saw the text at that time. Whether it may say so is to be found out
    before.

    Args:
        note: A note that was opened, hence is signed.
        name: The witness's name.
        key: The witness's key, used for nothing else.
        at: Unix seconds.

    Raises:
        ValueError: If the time is none or the name cannot be in a note.
        IntegrityError: If ``note`` is no note.
    """
    if not 0 <= at <= _LATEST:
        raise ValueError("the time of a cosignature is from 0 to 2**63 - 1 seconds")
    text, lines = _parts(note)
    verifier = VerifierKey(name, key.public, COSIGNATURE)
    signature = at.to_bytes(_TIME_BYTES, "big") + key.sign(_witnessed(text, at))
    kept = [one.raw for one in lines if (one.name, one.key_hash) != (name, verifier.key_hash)]
    return f"{text}\n{''.join(kept)}{_line(verifier, signature)}"


def open_note(note: str, keys: Sequence[VerifierKey]) -> Note:
    """Return the text of a note once a known key is found to have signed it.

    Args:
        note: The note, as it was stored or sent.
        keys: Keys that are known. Signatures of others are passed over.

    Raises:
        IntegrityError: If it is no note, no known key signed it, or a signature of a known key
            does not fit the text.
    """
    text, lines = _parts(note)
    known = {(key.name, key.key_hash): key for key in keys}
    found: dict[VerifierKey, Signature] = {}
    for line in lines:
        key = known.get((line.name, line.key_hash))
        if key is None or key in found:
            continue
        found[key] = _checked(key, text, line.signature)
    if not found:
        raise IntegrityError("the note is signed by none of the known keys")
    return Note(text, tuple(found.values()))


@dataclass(frozen=True, slots=True)
class _Line:
    """One signature line, not checked."""

    raw: str
    name: str
    key_hash: bytes
    signature: bytes


def _parts(note: str) -> tuple[str, list[_Line]]:
    if len(note.encode(errors="replace")) > _MOST_BYTES or not _is_clean(note):
        raise IntegrityError("a note has no control character and at most 1 MiB")
    text, gap, below = note.rpartition("\n\n")
    if not gap or not text or not below.endswith("\n"):
        raise IntegrityError("a note is a text, an empty line and signature lines")
    raw = [f"{line}\n" for line in below.split("\n")[:-1]]
    if len(raw) > _MOST_SIGNATURES:
        raise IntegrityError(f"a note has at most {_MOST_SIGNATURES} signatures")
    return f"{text}\n", [_read(line) for line in raw]


def _read(raw: str) -> _Line:
    name, _, encoded = raw.removeprefix(_DASH).removesuffix("\n").partition(" ")
    signature = _decoded(encoded)
    if not raw.startswith(_DASH) or signature is None or len(signature) <= _ID_BYTES:
        raise IntegrityError("a line of a note is no signature")
    try:
        _check_name(name)
    except ValueError as error:
        raise IntegrityError("a line of a note is no signature") from error
    return _Line(raw, name, signature[:_ID_BYTES], signature[_ID_BYTES:])


def _checked(key: VerifierKey, text: str, signature: bytes) -> Signature:
    at, message = None, text.encode()
    if key.algorithm == COSIGNATURE:
        at = int.from_bytes(signature[:_TIME_BYTES], "big")
        signature = signature[_TIME_BYTES:]
        message = _witnessed(text, at)
    if (at or 0) > _LATEST or not verify_ed25519(key.public, signature, message):
        raise IntegrityError(f"the signature of {key.name} does not fit the note")
    return Signature(key, at)


def _witnessed(text: str, at: int) -> bytes:
    return f"cosignature/v1\ntime {at}\n{text}".encode()


def _line(key: VerifierKey, signature: bytes) -> str:
    return f"{_DASH}{key.name} {base64.b64encode(key.key_hash + signature).decode()}\n"


def _decoded(encoded: str) -> bytes | None:
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return None


def _check_name(name: str) -> None:
    if not name or "+" in name or any(c.isspace() or not c.isprintable() for c in name):
        raise ValueError("a name in a note is not empty and has neither a space nor a plus")


def _is_clean(text: str) -> bool:
    """Tell whether text has no control character but newlines, and can be encoded."""
    return all(c >= " " or c == "\n" for c in text) and not any(
        "\ud800" <= c <= "\udfff" for c in text
    )
