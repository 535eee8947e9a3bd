"""``MANIFEST`` of an evidence pack: the SHA-256 of every file, signed.

A signed note (https://c2sp.org/signed-note) by the key that signs the ledger's checkpoints. Its
text is the name of the format, then one line for each file: digest, two spaces, path, as
``sha256sum`` reads it. A file that is not listed is as wrong as one that is missing.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from homebody_privacy.durable import write_durably
from homebody_privacy.errors import IntegrityError
from homebody_privacy.note import VerifierKey, open_note, sign_note
from homebody_privacy.signing import SigningKey

MANIFEST: Final = "MANIFEST"
"""Name of the file; the only one it does not list."""

SIGNER: Final = "homebody.ledger"
"""Name of the key, as in ``ledger.pub``."""

_FORMAT: Final = "homebody.evidence/1"
_LINE: Final = re.compile(r"([0-9a-f]{64})  (\S+)")
_LARGEST: Final = 1 << 20


def write_manifest(folder: Path, key: SigningKey) -> Path:
    """List and sign every file of a pack.

    Args:
        folder: The pack, whole; a ``MANIFEST`` in it is replaced.
        key: Key of the ledger. Secret.

    Returns:
        The file.

    Raises:
        IntegrityError: If the pack holds what is no plain file, or a name with a space in it.
    """
    files = _files(folder)
    lines = [f"{digest}  {name}\n" for name, digest in files.items()]
    text = "".join([f"{_FORMAT}\n", *lines])
    path = folder / MANIFEST
    write_durably(path, sign_note(text, SIGNER, key).encode())
    return path


def read_manifest(folder: Path, vkeys: Sequence[VerifierKey]) -> Mapping[str, str]:
    """Check a pack against its ``MANIFEST``.

    Args:
        folder: The pack. Not trusted.
        vkeys: Keys whose signature counts.

    Returns:
        SHA-256 of each file as hex, by path with ``/``, sorted.

    Raises:
        IntegrityError: If the list is missing, not signed by one of the keys or no list; or if a
            file was changed, removed or added. The message names the file.
    """
    listed = _listed(folder / MANIFEST, vkeys)
    found = _files(folder)
    for name in sorted(listed.keys() | found.keys()):
        if name not in found:
            raise IntegrityError(f"{folder / name}: is listed in {MANIFEST} and is missing")
        if name not in listed:
            raise IntegrityError(f"{folder / name}: is not listed in {MANIFEST}: it was added")
        if listed[name] != found[name]:
            raise IntegrityError(f"{folder / name}: is not what {MANIFEST} lists: it was changed")
    return MappingProxyType(listed)


def _listed(path: Path, vkeys: Sequence[VerifierKey]) -> dict[str, str]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise IntegrityError(f"{path}: cannot be read: {error.strerror}") from error
    if len(content) > _LARGEST:
        raise IntegrityError(f"{path}: is larger than a list of files can be")
    try:
        text = open_note(content.decode(), vkeys).text
    except UnicodeDecodeError as error:
        raise IntegrityError(f"{path}: byte {error.start} is not UTF-8") from error
    except IntegrityError as error:
        raise IntegrityError(f"{path}: {error}", fix=error.fix) from error
    first, *lines = text.removesuffix("\n").split("\n")
    if first != _FORMAT:
        raise IntegrityError(f"{path}: line 1 must be {_FORMAT}")
    listed: dict[str, str] = {}
    last = ""
    for number, line in enumerate(lines, start=2):
        match = _LINE.fullmatch(line)
        if match is None or match[2] <= last:
            raise IntegrityError(f"{path}: line {number} is no digest and path in sorted order")
        last = match[2]
        listed[last] = match[1]
    return listed


def _files(folder: Path) -> dict[str, str]:
    """Return the digest of every file but the list itself, by path, sorted."""
    found: dict[str, str] = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise IntegrityError(f"{path}: a pack holds plain files alone")
        if path.is_dir() or name == MANIFEST:
            continue
        if re.fullmatch(r"\S+", name) is None:
            raise IntegrityError(f"{folder}: a name in a pack has no spaces")
        found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return dict(sorted(found.items()))
