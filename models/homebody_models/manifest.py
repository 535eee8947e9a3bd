"""The manifest of a bundle: what is signed.

Whole numbers and texts only; a decimal is a text, so that every language reads the same figure.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from homebody_models.arch import Arch
from homebody_models.json_fields import to_digest, to_list, to_object, to_text, to_whole

SCHEMA: Final = 1
LIFETIME: Final = 90 * 86_400
"""Usual seconds from ``created`` to ``expires``."""

LARGEST_FILE: Final = 1 << 28
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SOURCES = ("public", "synthetic", "release")
_EVAL = {"metric", "value", "source"}
_FIELDS = {
    "schema",
    "model_id",
    "version",
    "serial",
    "min_serial",
    "created",
    "expires",
    "arch",
    "catalog",
    "privacy",
    "files",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleFacts:
    """What a publisher states about a model. Public.

    Attributes:
        model_id: Key of the device's state about this line of models.
        version: Name shown to people, such as ``v13``.
        serial: Rises with each publication, from 1; also with a roll-back.
        created: Unix seconds.
        expires: Unix seconds after which no device activates it; usually ``LIFETIME`` later.
        catalog_sha256: Digest of the catalog the items are from.
        privacy: Figures of the report: statement, unit, epsilon, delta; decimals as texts.
        evaluation: Entries of ``metric``, ``value``, ``source``, all texts; a source is
            ``public``, ``synthetic`` or ``release`` (a charged one).
        min_serial: Least serial a device may go back to once this model is active.
        catalog_version: Version of that catalog.
    """

    model_id: str
    version: str
    serial: int
    created: int
    expires: int
    catalog_sha256: str
    privacy: Mapping[str, object]
    evaluation: Sequence[Mapping[str, str]] = ()
    min_serial: int = 1
    catalog_version: str = "1"

    def __post_init__(self) -> None:
        """Refuse what no reader would accept; serials are compared where a bundle is opened."""
        for name in ("model_id", "version", "catalog_version"):
            to_text(getattr(self, name), name)
        for name in ("serial", "min_serial", "created", "expires"):
            to_whole(getattr(self, name), name, least=1)
        to_digest(self.catalog_sha256, "catalog.sha256")
        if self.expires < self.created:
            raise ValueError("expires must not be before created")
        for entry in self.evaluation:
            if set(entry) != _EVAL or entry["source"] not in _SOURCES:
                raise ValueError(
                    f"an entry of eval has metric, value and a source of {', '.join(_SOURCES)}"
                )


@dataclass(frozen=True, slots=True)
class FileEntry:
    """Digest and size in bytes of one file of the bundle."""

    sha256: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Everything a signature covers. Public."""

    facts: BundleFacts
    arch: Arch
    files: Mapping[str, FileEntry] = field(repr=False)

    def to_json(self) -> dict[str, object]:
        """Return the manifest as an object without floats."""
        facts = self.facts
        fields: dict[str, object] = {
            "schema": SCHEMA,
            "model_id": facts.model_id,
            "version": facts.version,
            "serial": facts.serial,
            "min_serial": facts.min_serial,
            "created": facts.created,
            "expires": facts.expires,
            "arch": self.arch.to_json(),
            "catalog": {"version": facts.catalog_version, "sha256": facts.catalog_sha256},
            "privacy": facts.privacy,
            "files": {
                name: {"sha256": entry.sha256, "size": entry.size}
                for name, entry in self.files.items()
            },
        }
        if facts.evaluation:
            fields["eval"] = list(facts.evaluation)
        return fields

    @classmethod
    def from_json(cls, value: object) -> "Manifest":
        """Parse a verified manifest.

        Raises:
            ValueError: If the schema is another, or a field is missing, unknown or malformed.
        """
        whole = dict(to_object(value, "the manifest"))
        if whole.get("schema") != SCHEMA:
            raise ValueError(f"schema must be {SCHEMA}: another one needs another app")
        evaluation = to_list(whole.pop("eval", []), "eval")
        fields = to_object(whole, "the manifest", _FIELDS)
        catalog = to_object(fields["catalog"], "catalog", {"version", "sha256"})
        files = to_object(fields["files"], "files")
        return cls(
            facts=BundleFacts(
                model_id=to_text(fields["model_id"], "model_id"),
                version=to_text(fields["version"], "version"),
                serial=to_whole(fields["serial"], "serial"),
                created=to_whole(fields["created"], "created"),
                expires=to_whole(fields["expires"], "expires"),
                catalog_sha256=to_digest(catalog["sha256"], "catalog.sha256"),
                privacy=to_object(fields["privacy"], "privacy"),
                evaluation=tuple(_eval_entry(entry) for entry in evaluation),
                min_serial=to_whole(fields["min_serial"], "min_serial"),
                catalog_version=to_text(catalog["version"], "catalog.version"),
            ),
            arch=Arch.from_json(fields["arch"]),
            files={name: _file_entry(entry) for name, entry in files.items()},
        )


def is_bare_name(name: str) -> bool:
    """Return whether ``name`` is a plain file name: no folder, no leading dot."""
    return _NAME.fullmatch(name) is not None


def _eval_entry(value: object) -> dict[str, str]:
    """Parse one entry of eval."""
    entry = to_object(value, "an entry of eval", _EVAL)
    return {name: to_text(entry[name], f"eval.{name}") for name in entry}


def _file_entry(value: object) -> FileEntry:
    """Parse one entry of files."""
    entry = to_object(value, "an entry of files", {"sha256", "size"})
    return FileEntry(
        to_digest(entry["sha256"], "files.sha256"),
        to_whole(entry["size"], "files.size", most=LARGEST_FILE),
    )
