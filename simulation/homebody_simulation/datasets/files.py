"""Find the files of a data set and make sure that they are the ones that were studied."""

import hashlib
from pathlib import Path

from homebody_privacy.environment import DATA
from homebody_privacy.errors import IntegrityError, InvalidFileError


def dataset_folder(root: Path | None, name: str, folder: str) -> Path:
    """Return the folder of data set ``name`` below ``root``.

    Raises:
        InvalidFileError: If ``root`` is None or has no such folder.
    """
    if root is not None and (root / folder).is_dir():
        return root / folder
    fix = f"set {DATA} to the folder that holds {folder}/; homebody does not ship or fetch it"
    raise InvalidFileError(f"data set {name} not found: set {DATA}", fix=fix)


def read_checked(path: Path, sha256: str | None = None) -> bytes:
    """Return the content of a file, once its digest is the one expected.

    Args:
        path: File to read whole.
        sha256: Digest it must have, as hex; None takes any content.

    Raises:
        InvalidFileError: If it cannot be read.
        IntegrityError: If its content is not the content expected.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = error.strerror or "it cannot be read"
        fix = f"restore the file, or set {DATA} to a folder that has it"
        raise InvalidFileError(f"{path}: {reason}", fix=fix) from error
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise IntegrityError(f"{path}: SHA-256 differs from the {sha256[:12]}... expected")
    return content
