"""Whose signatures count: the reviewers' file, pinned on each device and kept by who verifies.

``privacy.toml`` says who is asked; this file says who *may* sign. It travels another way than the
config (with the app, or by hand), else an edited list of approvers would approve itself::

    schema = "reviewers/1"

    [[reviewer]]
    name = "dpo@example.org"
    key = "<base64 of the 32 raw bytes>"
    may = ["approve", "witness"]

    [ledger]
    key = "<verifier key of the operator's ledger, a C2SP line>"

    [publisher]
    key = "<base64 of the key that signs bundles>"
"""

import base64
import binascii
import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal, Self

import rfc8785
from pydantic import AfterValidator, BaseModel, Field, ValidationError

from homebody_privacy.errors import InvalidFileError
from homebody_privacy.protection import STRICT

SCHEMA: Final = "reviewers/1"
_KEY_BYTES: Final = 32


def encode_key(public: bytes) -> str:
    """Return a raw public key as the file holds it: base64 of RFC 4648, one spelling."""
    return base64.b64encode(public).decode()


def decode_key(text: str) -> bytes:
    """Return the raw key of ``encode_key``; ``ValueError`` for anything else, to the character."""
    try:
        public = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("a key is base64") from error
    if len(public) != _KEY_BYTES or encode_key(public) != text:
        raise ValueError(f"a key is the base64 of {_KEY_BYTES} bytes")
    return public


def _a_key(text: str) -> str:
    decode_key(text)
    return text


def reviewer_lines(name: str, public: bytes, *, witness: bool = False) -> str:
    """Return the lines of the file for one person.

    Args:
        name: As ``approval.approvers`` has it.
        public: Raw key.
        witness: Whether the person also cosigns ledgers.

    Examples:
        >>> print(reviewer_lines("dpo", bytes(32)), end="")
        [[reviewer]]
        name = "dpo"
        key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
        may = ["approve"]
    """
    may = ["approve", "witness"] if witness else ["approve"]
    return (
        f"[[reviewer]]\nname = {json.dumps(name, ensure_ascii=False)}\n"
        f'key = "{encode_key(public)}"\nmay = {json.dumps(may)}\n'
    )


_Key = Annotated[str, AfterValidator(_a_key)]
_Line = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[!-~]+$")]


class _Reviewer(BaseModel):
    model_config = STRICT
    name: str = Field(min_length=1, max_length=200)
    key: _Key
    may: Annotated[tuple[Literal["approve", "witness"], ...], Field(strict=False, min_length=1)]


class _LedgerKey(BaseModel):
    model_config = STRICT
    key: _Line


class _Publisher(BaseModel):
    model_config = STRICT
    key: _Key


class _File(BaseModel):
    model_config = STRICT
    version: Literal["reviewers/1"] = Field(alias="schema")
    reviewer: Annotated[tuple[_Reviewer, ...], Field(strict=False)] = ()
    ledger: _LedgerKey | None = None
    publisher: _Publisher | None = None


@dataclass(frozen=True, slots=True)
class ReviewerKeys:
    """The keys somebody relies on. Public, and pinned.

    Attributes:
        approvers: Raw key of each person who may approve and waive, by name.
        witnesses: Raw key of each who cosigns the ledger, by name.
        ledger: Verifier key of the operator's ledger; None where none is pinned.
        publisher: Raw key that signs bundles; None where none is pinned.
    """

    approvers: Mapping[str, bytes]
    witnesses: Mapping[str, bytes]
    ledger: str | None = None
    publisher: bytes | None = None

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a reviewers' file.

        Raises:
            InvalidFileError: If it is missing, no TOML or breaks the schema, or a person stands
                there twice.
        """
        try:
            file = _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
        except OSError as error:
            raise InvalidFileError(
                f"{path}: cannot be read: {error.strerror}",
                fix="name an existing file of reviewers' keys",
            ) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InvalidFileError(f"{path}: not TOML: {error}") from error
        except ValidationError as error:
            lines = [
                f"{path}: {'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()
            ]
            raise InvalidFileError("\n".join(lines), fix="correct the named fields") from error
        names = [one.name for one in file.reviewer]
        if len(set(names)) < len(names):
            raise InvalidFileError(f"{path}: a reviewer stands there twice")
        return cls(
            approvers=_keys(file, "approve"),
            witnesses=_keys(file, "witness"),
            ledger=None if file.ledger is None else file.ledger.key,
            publisher=None if file.publisher is None else decode_key(file.publisher.key),
        )

    def digest(self) -> str:
        """Return the SHA-256 of what the file says, as hex: two files that say the same agree."""
        value = {
            "approvers": {name: encode_key(key) for name, key in self.approvers.items()},
            "witnesses": {name: encode_key(key) for name, key in self.witnesses.items()},
            "ledger": self.ledger,
            "publisher": None if self.publisher is None else encode_key(self.publisher),
        }
        return hashlib.sha256(rfc8785.dumps(value)).hexdigest()


def _keys(file: _File, may: Literal["approve", "witness"]) -> dict[str, bytes]:
    return {one.name: decode_key(one.key) for one in file.reviewer if may in one.may}
