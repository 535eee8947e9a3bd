"""Is an evidence pack what its operator signed, and the record in it what was approved?

First every file against ``MANIFEST``, a note signed by the key of the ledger; then the record as
that of a run; then what ``evidence.json`` states, against what the record comes to.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from homebody_models.folder_files import read_bounded
from homebody_privacy.approval.reviewers import ReviewerKeys
from homebody_privacy.errors import HomebodyError, IntegrityError

from .document import check_signature
from .facts import parse_object, read_pack_facts
from .manifest import read_manifest
from .verify import verify_facts
from .verify_epsilon import Claim
from .verify_ledger import operator_line
from .verify_lines import Line, Verification, note, ok, wrong

EVIDENCE: Final = "evidence.json"
RECORD: Final = "record"

_LARGEST: Final = 1 << 28


def verify_pack(folder: Path, keys: ReviewerKeys | None, now: int) -> Verification:
    """Verify an evidence pack.

    Args:
        folder: The pack. Not trusted.
        keys: Pinned keys of reviewers, ledger and publisher; None takes the keys that lie beside
            the pack, and says so.
        now: Unix seconds.

    Raises:
        InvalidFileError: If the reviewers' file names keys that are none.
        ModuleNotFoundError: If dp-accounting is not installed.
    """
    beside = folder.resolve().parent
    operator, lines = operator_line(keys, beside)
    if operator is None:
        return Verification(tuple(lines))
    try:
        listed = read_manifest(folder, [operator])
    except IntegrityError as error:
        return Verification((*lines, wrong(str(error))))
    lines.append(ok(f"{len(listed)} files are what the signed MANIFEST lists, and none more"))
    claims: list[Claim] = []
    try:
        evidence = parse_object(read_bounded(folder / EVIDENCE, _LARGEST))
        check_signature(dict(evidence), operator.public)
    except (OSError, ValueError, RecursionError, HomebodyError) as error:
        lines.append(wrong(f"{EVIDENCE} is not what was signed: {_why(error)}"))
    else:
        claims = _claims(evidence)
        lines += _stamp(evidence)
    found = verify_facts(read_pack_facts(folder / RECORD), keys, now, beside, tuple(claims))
    return Verification((*lines, *found.lines), found.facts)


def _claims(evidence: Mapping[str, Any]) -> list[Claim]:
    """Return every epsilon that the document states; a level that is not shown states none."""
    level = evidence.get("user_level")
    loss = level.get("privacy_loss") if isinstance(level, dict) else None
    if not isinstance(loss, dict):
        return []
    parts = loss.get("parts")
    return [
        Claim(EVIDENCE, "epsilon", loss.get("epsilon")),
        Claim(EVIDENCE, "unamplified", loss.get("epsilon_unamplified")),
        *(
            Claim(EVIDENCE, f"parts/{name}", value)
            for name, value in (parts.items() if isinstance(parts, dict) else ())
        ),
    ]


def _stamp(evidence: Mapping[str, Any]) -> list[Line]:
    if evidence.get("verified") is True:
        return [ok(f"{EVIDENCE} is signed by the key of the ledger")]
    return [note("the pack itself says that the run was not verified when it was made")]


def _why(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return "it is no JSON"
    return (error.strerror or "it cannot be read") if isinstance(error, OSError) else str(error)
