"""One number for the app: of a wheel, of its installation, of the checkout that builds it.

SHA-256 over the RFC 8785 JSON of ``{path: SHA-256 of the file}`` of every file of homebody's six
packages, paths as in the wheel. Compiled files are left out: Python makes them where it runs. A
bundle of Flower's (FAB) holds no code and says nothing about what trains: an approval binds this.
"""

import hashlib
import zipfile
from functools import cache
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Final

import rfc8785

from homebody_privacy.errors import IntegrityError, InvalidFileError

PACKAGES: Final = (
    "homebody",
    "homebody_client",
    "homebody_models",
    "homebody_privacy",
    "homebody_server",
    "homebody_simulation",
)
_LARGEST: Final = 64 * 2**20


def wheel_app(path: Path) -> str:
    """Return the digest of what a wheel installs, as hex.

    Args:
        path: The wheel.

    Raises:
        InvalidFileError: If it is missing, no wheel, or holds none of our packages.
    """
    try:
        with zipfile.ZipFile(path) as wheel:
            files = {
                one.filename: hashlib.sha256(wheel.read(one)).hexdigest()
                for one in wheel.infolist()
                if _ours(one.filename) and one.file_size <= _LARGEST
            }
    except OSError as error:
        raise InvalidFileError(
            f"{path}: cannot be read: {error.strerror}", fix="name the wheel that devices install"
        ) from error
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise InvalidFileError(f"{path}: this is no wheel") from error
    if not files:
        raise InvalidFileError(f"{path}: the wheel holds no package of homebody")
    return _digest(files)


@cache
def installed_app() -> str:
    """Return the digest of the files this process runs from, as hex.

    Read once: what is loaded does not change with the disk.

    Raises:
        IntegrityError: If a file cannot be read.
    """
    files: dict[str, str] = {}
    for package in PACKAGES:
        spec = find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            continue
        folder = Path(next(iter(spec.submodule_search_locations)))
        files |= _of_folder(package, folder)
    return _digest(files)


def tree_app(root: Path) -> str:
    """Return the digest of the packages that lie beside each other in a folder, as hex.

    Args:
        root: A ``site-packages``, or an unpacked wheel.
    """
    files: dict[str, str] = {}
    for package in PACKAGES:
        if (root / package).is_dir():
            files |= _of_folder(package, root / package)
    return _digest(files)


def _of_folder(package: str, folder: Path) -> dict[str, str]:
    try:
        return {
            name: hashlib.sha256(file.read_bytes()).hexdigest()
            for file in folder.rglob("*")
            if _ours(name := f"{package}/{file.relative_to(folder).as_posix()}") and file.is_file()
        }
    except OSError as error:
        raise IntegrityError(
            f"a file of the installed {package} cannot be read: {error.strerror}",
            fix="install homebody anew",
        ) from error


def _ours(name: str) -> bool:
    """Tell whether a path of a wheel is a file of a package that we ship and nobody compiles."""
    parts = PurePosixPath(name).parts
    hidden = "__pycache__" in parts or name.endswith((".pyc", ".pyo", "/"))
    return len(parts) > 1 and parts[0] in PACKAGES and not hidden


def _digest(files: dict[str, str]) -> str:
    return hashlib.sha256(rfc8785.dumps(files)).hexdigest()
