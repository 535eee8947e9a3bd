"""The file beside a config that holds what reviewers signed: ``privacy.approvals.json``.

It is as public as the config, and nothing rests on where it lies: each envelope is verified by
whoever relies on it.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from homebody_privacy.durable import write_durably
from homebody_privacy.errors import IntegrityError, InvalidFileError

from .dsse import Envelope

SCHEMA: Final = "approvals/1"
_MOST: Final = 256
_MOST_BYTES: Final = 16 * 2**20


def approvals_path(config: Path) -> Path:
    """Return where the approvals of a config lie: beside it, under its stem."""
    return config.with_name(f"{config.stem}.approvals.json")


def read_approvals(path: Path) -> tuple[Envelope, ...]:
    """Return the envelopes of a file, not verified; none where there is no file.

    Raises:
        InvalidFileError: If it cannot be read.
        IntegrityError: If it is not what homebody wrote.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise IntegrityError(f"{path}: it is larger than any file of approvals")
        content = path.read_bytes()
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise InvalidFileError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        value = json.loads(content)
        if value.keys() != {"schema", "envelopes"} or value["schema"] != SCHEMA:
            raise ValueError("it has other fields")  # noqa: TRY301 - one message for all
        return envelopes_of(value["envelopes"])
    except (AttributeError, RecursionError, TypeError, ValueError) as error:
        raise IntegrityError(
            f"{path}: it holds no approvals as homebody writes them",
            fix="let the reviewers sign anew: homebody approve",
        ) from error


def envelopes_of(values: object) -> tuple[Envelope, ...]:
    """Return the envelopes of a list of DSSE objects.

    Raises:
        ValueError: If it is no such list, or longer than reviewers would make it.
    """
    if not isinstance(values, list) or len(values) > _MOST:
        raise ValueError(f"envelopes are a list of at most {_MOST}")
    return tuple(Envelope.from_json(one) for one in values)


def to_values(envelopes: Iterable[Envelope]) -> list[Mapping[str, Any]]:
    """Return envelopes as ``envelopes_of`` reads them."""
    return [one.to_json() for one in envelopes]


def write_approvals(path: Path, envelopes: Iterable[Envelope]) -> None:
    """Put envelopes into the file, in the place of what it held."""
    value = {"schema": SCHEMA, "envelopes": to_values(envelopes)}
    write_durably(path, (json.dumps(value, indent=1) + "\n").encode())
