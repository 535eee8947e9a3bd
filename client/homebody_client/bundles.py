"""Open a model bundle on the device: pinned key in, verified model or a refusal out."""

from pathlib import Path
from typing import Final

from homebody_models.bundle import BundleError, Installed, ModelBundle, Trust, open_bundle
from homebody_privacy.errors import IntegrityError, InvalidFileError
from homebody_privacy.signing import key_id, verify_ed25519

_RAW: Final = 32
_HEX: Final = 64


def read_public_key(path: Path) -> bytes:
    """Return a raw Ed25519 public key from a file.

    Args:
        path: File of the 32 raw bytes, or of 64 hex digits and perhaps a line end.

    Raises:
        InvalidFileError: If the file cannot be read or holds something else.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InvalidFileError(
            f"{path}: the publisher's public key cannot be read: {error.strerror}",
            fix="name the publisher's public key file",
        ) from error
    if len(data) == _RAW:
        return data
    text = data.strip()
    try:
        key = bytes.fromhex(text.decode("ascii")) if len(text) == _HEX else b""
    except ValueError:
        key = b""
    if len(key) != _RAW:
        raise InvalidFileError(
            f"{path}: a public key is {_RAW} raw bytes or {_HEX} hex digits",
            fix="name the publisher's public key file",
        )
    return key


def trust_key(public: bytes, *, floor_serial: int = 0, installed: Installed | None = None) -> Trust:
    """Return the trust in a single publisher's key.

    Args:
        public: Raw Ed25519 public key, pinned in the app.
        floor_serial: Least serial accepted.
        installed: The bundle activated last; None where there is none.
    """
    return Trust(
        verify=verify_ed25519,
        trusted={key_id(public): public},
        floor_serial=floor_serial,
        installed=installed,
    )


def open_model(folder: Path, trust: Trust, *, now: int, active: bool = False) -> ModelBundle:
    """Verify a bundle and load its model.

    Args:
        folder: The bundle. Not trusted.
        trust: Keys, floor and state of this device.
        now: Unix seconds in force on the device.
        active: Whether the device serves this bundle already: it may have expired.

    Raises:
        InvalidFileError: If there is no such folder.
        IntegrityError: If any check fails; the message names the step. The folder is left as it
            is, and the caller keeps the model it has.
    """
    if not folder.is_dir():
        raise InvalidFileError(
            f"{folder}: there is no bundle here", fix="name the folder of a bundle, model.hbm"
        )
    try:
        return open_bundle(folder, trust, now=now, active=active)
    except BundleError as error:
        raise IntegrityError(f"{folder}: {error}") from error
