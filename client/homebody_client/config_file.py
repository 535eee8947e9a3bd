"""The privacy config a device goes by: read once with its schema, then known by its bytes.

A config that is missing, invalid, or whose notice is not the one it names is none: everything stays
shut (``config_not_approved``) and only the list for all is shown.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from homebody_client.vault import Json, Vault
from homebody_privacy.consent_terms import ConsentTerms
from homebody_privacy.durable import write_durably
from homebody_privacy.errors import HomebodyError, IntegrityError, InvalidFileError

_VALUE: Final = "config-file"
_MOST_BYTES: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What was found. Public.

    Attributes:
        terms: What people are asked; None if no config may be used.
        problem: Why not; empty if one may.
    """

    terms: ConsentTerms | None
    problem: str = ""


def install_config(source: Path, folder: Path) -> Path:
    """Copy a config and the notices it names into a profile; return the copy.

    Raises:
        InvalidFileError: If the file or a notice is missing or invalid; the profile's own stays.
        IntegrityError: If a notice is not the one that the config names.
    """
    content = _read(source)
    notices = _checked(source)
    for name, words in notices.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        write_durably(target, words)
    write_durably(folder / "privacy.toml", content)
    return folder / "privacy.toml"


def read_config(file: Path, vault: Vault | None) -> Config:
    """Return the terms of a config, without its parser if it and its notices are those read last.

    Args:
        file: ``privacy.toml``.
        vault: Remembers what was read; None reads it anew.
    """
    try:
        digest = hashlib.sha256(_read(file)).hexdigest()
        known = None if vault is None else _remembered(vault, digest, file.parent)
        if known is not None:
            return Config(terms=known)
        notices = {
            name: hashlib.sha256(words).hexdigest() for name, words in _checked(file).items()
        }
        from homebody_privacy.config import PrivacyConfig  # noqa: PLC0415 a library of its own

        terms = PrivacyConfig.load(file).consent_terms()
        if vault is not None:
            read = {"sha256": digest, "terms": terms.to_json(), "notices": notices}
            vault.change({_VALUE: cast("Json", read)})
    except HomebodyError as error:
        return Config(terms=None, problem=str(error))
    return Config(terms=terms)


def _remembered(vault: Vault, digest: str, folder: Path) -> ConsentTerms | None:
    """Return the terms that were read last, if neither the file nor a notice changed since."""
    value = vault.value(_VALUE)
    if not isinstance(value, Mapping) or value.get("sha256") != digest:
        return None
    notices = value.get("notices")
    if not isinstance(notices, Mapping):  # written before notices were
        return None
    for name, known in notices.items():
        if hashlib.sha256(_read(folder / str(name))).hexdigest() != known:
            return None
    try:
        return ConsentTerms.from_json(cast("Mapping[str, object]", value["terms"]))
    except ValueError:  # another version of homebody wrote it
        return None


def _checked(file: Path) -> dict[str, bytes]:
    """Return the notices of a config by the name it gives them, each the one it means."""
    from homebody_client.events.rows import ROW_FIELDS  # noqa: PLC0415 the vocabulary, read once
    from homebody_privacy.config import PrivacyConfig  # noqa: PLC0415 a library of its own

    config, found = PrivacyConfig.load(file), {}
    for name, group in config.features.items():
        unknown = sorted(set(group.fields) - ROW_FIELDS)
        if unknown:
            raise InvalidFileError(
                f"{file}: features.{name}.fields names {', '.join(unknown)}, which no event has",
                fix=f"name some of {', '.join(sorted(ROW_FIELDS))}",
            )
        if group.sensitivity != "ordinary" and not group.risk_ref:
            raise InvalidFileError(
                f"{file}: features.{name} is {group.sensitivity} and names no risk_ref",
                fix="name the entry of the impact assessment that covers it",
            )
    for language, notice in config.consent.notices.items():
        where = Path(notice.file)
        if where.is_absolute() or ".." in where.parts:
            raise InvalidFileError(
                f"{file}: consent.notices.{language}.file must lie beside the file"
            )
        words = _read(file.parent / where)
        if hashlib.sha256(words).hexdigest() != notice.sha256:
            raise IntegrityError(
                f"{file}: consent.notices.{language} is not the text whose digest is given",
                fix="name the digest of the text that people are shown",
            )
        found[notice.file] = words
    return found


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            content = opened.read(_MOST_BYTES + 1)
    except OSError as error:
        raise InvalidFileError(
            f"{file}: cannot be read: {error.strerror}", fix="name an existing privacy.toml"
        ) from error
    if len(content) > _MOST_BYTES:
        raise InvalidFileError(f"{file}: it is larger than {_MOST_BYTES} bytes")
    return content
