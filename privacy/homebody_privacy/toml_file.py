"""Read a TOML file that a person wrote, or say what is wrong with it and where."""

import tomllib
from pathlib import Path
from typing import Any

from .errors import InvalidFileError


def read_toml(path: Path | str, usual: str) -> dict[str, Any]:
    """Return what a file says.

    Args:
        path: The file.
        usual: How such a file is usually called, for the advice where there is none.

    Raises:
        InvalidFileError: If it cannot be read, is not UTF-8, or is no TOML (it names the line).
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidFileError(
            f"{path}: cannot be read: {error.strerror}", fix=f"name an existing {usual}"
        ) from error
    except UnicodeDecodeError as error:
        raise InvalidFileError(
            f"{path}: byte {error.start} is not UTF-8", fix="save the file as UTF-8"
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise InvalidFileError(f"{path}: not TOML: {error}") from error
