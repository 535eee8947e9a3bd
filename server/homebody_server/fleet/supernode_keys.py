"""The key a SuperNode signs in with: EC P-384 in OpenSSH's format, as Flower reads it."""

from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_public_key,
)

from homebody_privacy.errors import InvalidFileError

from .layout import write_private


def make_supernode_key(path: Path) -> None:
    """Write a new key, and its public half beside it as ``.pub``.

    Raises:
        FileExistsError: If there is a key already.
    """
    key = ec.generate_private_key(ec.SECP384R1())
    write_private(path, key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    write_private(path.with_name(f"{path.name}.pub"), public + b"\n")


def read_public(path: Path) -> str:
    """Return the public half in one line.

    Raises:
        InvalidFileError: If it is missing or no such key.
    """
    try:
        text = path.read_text("ascii").strip()
    except OSError as error:
        raise InvalidFileError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidFileError(f"{path}: no public key in OpenSSH's format") from error
    return check_public(text)


def check_public(line: str) -> str:
    """Return the line if it is a P-384 key in OpenSSH's format.

    Raises:
        InvalidFileError: If it is anything else.
    """
    try:
        key = load_ssh_public_key(line.encode("ascii"))
    except (UnicodeEncodeError, UnsupportedAlgorithm, ValueError) as error:
        raise InvalidFileError("the SuperNode's key is no public key of OpenSSH") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
        raise InvalidFileError("the SuperNode's key is not of curve P-384")
    return line
