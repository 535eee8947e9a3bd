"""The digest of a config: one number for what was approved, the same on every machine and version.

SHA-256 over the canonical JSON (RFC 8785) of the file with its defaults filled in. Two exceptions
keep the number of a file what it was when homebody learns new fields: a field marked ``LATER`` that
has its default, and one that is left out and has none, are not part of it.
"""

import hashlib
from typing import Any, Final

import rfc8785
from pydantic import BaseModel

LATER: Final = "not in the digest while it has its default"
"""Mark of a field that files written before it do not have."""


def config_digest(config: BaseModel) -> str:
    """Return the SHA-256 of a config's canonical JSON, as hex.

    Args:
        config: Any checked config; equal configs have equal digests, whatever the order and the
            comments of their files.
    """
    return hashlib.sha256(rfc8785.dumps(canonical(config))).hexdigest()


def canonical(config: BaseModel) -> dict[str, Any]:
    """Return what the digest is taken over, as JSON values by the names of the file."""
    fields = type(config).model_fields
    named = {field.alias or name: (getattr(config, name), field) for name, field in fields.items()}
    return {
        name: _plain(value)
        for name, (value, field) in named.items()
        if value is not None and not (LATER in field.metadata and value == field.default)
    }


def _plain(value: Any) -> Any:  # noqa: ANN401 - JSON values
    if isinstance(value, BaseModel):
        return canonical(value)
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(one) for one in value]
    return value
