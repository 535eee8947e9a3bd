"""Build an evidence pack: a new folder that appears whole or not at all, and is signed.

No clock is read here: two builds of one run for one day are equal to the byte.
"""

import json
import shutil
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import rfc8785

from homebody_privacy.durable import sync_folder, write_durably
from homebody_privacy.errors import PolicyViolationError, UsageError
from homebody_privacy.policy.words import banned_words
from homebody_privacy.signing import SigningKey
from homebody_server.evidence.case import Case
from homebody_server.evidence.checklists import guarantee_checklist, review_checklist
from homebody_server.evidence.document import evidence_document
from homebody_server.evidence.dpia import impact_assessment
from homebody_server.evidence.ledger_part import proofs_of
from homebody_server.evidence.manifest import MANIFEST, write_manifest
from homebody_server.evidence.model_card import model_card
from homebody_server.evidence.page import render
from homebody_server.evidence.processing import record_of_processing
from homebody_server.evidence.registry import registry_entry, to_yaml
from homebody_server.evidence.sample import Sample, consent_sample, sample_files
from homebody_server.evidence.words import Sheet, markdown

SCHEMA: Final = "evidence.schema.json"
_PAGES: Final = ("index.html", "ledger.html")


def build_pack(case: Case, key: SigningKey) -> dict[str, bytes]:
    """Return every file of a pack but its ``MANIFEST``, by path.

    Args:
        case: The run.
        key: Key of the ledger. Secret.

    Raises:
        PolicyViolationError: If a text says what no figure carries (rule TXT-001).
        pydantic.ValidationError: If a field of ``evidence.json`` breaks its schema.
    """
    sheets = sheets_of(case)
    sample = _sample(case)
    registry = registry_entry(case)
    found = {
        "evidence.json": rfc8785.dumps(evidence_document(case, key)),
        SCHEMA: schema_text().encode(),
        "proofs.json": _json(proofs_of(case.record)),
        "verify.txt": f"{case.verify_log}\n".encode(),
        "documents/opendp-registry.yaml": _stamped(case, to_yaml(registry)),
        **{
            f"documents/{name}.md": markdown(sheet, case.stamp).encode()
            for name, sheet in sheets.items()
        },
        **({} if sample is None else sample_files(sample)),
        **{f"record/{name}": content for name, content in case.record.files.items()},
    }
    pages = render(
        case,
        sheets=sheets,
        registry=to_yaml(registry),
        sample=sample,
        names=[*found, *_PAGES, MANIFEST],
    )
    found |= {name: page.encode() for name, page in pages.items()}
    _refuse_banned(case, found)
    return dict(sorted(found.items()))


def write_pack(folder: Path, case: Case, key: SigningKey) -> None:
    """Write a pack; one that was there before is replaced once the new one is whole.

    Args:
        folder: The pack; its parent is made where it is missing.
        case: The run.
        key: Key of the ledger. Secret.

    Raises:
        UsageError: If there is something else under that name.
        PolicyViolationError: As ``build_pack``.
    """
    if folder.is_symlink() or (
        folder.exists() and not (folder / MANIFEST).is_file() and not _is_empty(folder)
    ):
        raise UsageError(
            f"{folder} is there and is no evidence pack: nothing is written over it",
            fix="name a new folder",
        )
    content = build_pack(case, key)
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    for name, data in content.items():
        path = beside / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(path, data)
    write_manifest(beside, key)
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    beside.rename(folder)
    sync_folder(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def sheets_of(case: Case) -> dict[str, Sheet]:
    """Return the filled-in documents of a case, by key."""
    made = (
        impact_assessment(case),
        record_of_processing(case),
        model_card(case),
        guarantee_checklist(case),
        review_checklist(case),
    )
    return {sheet.key: sheet for sheet in made}


def schema_text() -> str:
    """Return the JSON Schema of ``evidence.json``."""
    return files("homebody_server.evidence").joinpath(SCHEMA).read_text("utf-8")


def _sample(case: Case) -> Sample | None:
    """Return the sample; None where no purpose may read any data, so that nobody can say yes."""
    config = case.record.config
    if not any(group.allow for group in config.features.values()):
        return None
    return consent_sample(config)


def _json(value: Mapping[str, Any]) -> bytes:
    return f"{json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)}\n".encode()


def _stamped(case: Case, text: str) -> bytes:
    return f"# {case.stamp}\n{text}".encode() if case.stamp else text.encode()


def _refuse_banned(case: Case, content: Mapping[str, bytes]) -> None:
    leaves = any(one.leaves_device for one in case.record.config.purposes.values())
    for name, data in content.items():
        if name.startswith(("record/", "consent/")) or name == SCHEMA:
            continue
        words = banned_words(data.decode(), anything_leaves=leaves)
        if words:
            raise PolicyViolationError(
                f"{name} would say what no figure carries: {', '.join(words)} [TXT-001]",
                fix="change the text of the config it comes from",
            )


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and next(folder.iterdir(), None) is None
