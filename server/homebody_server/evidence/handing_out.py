"""Hand a fleet's model out: add the publisher's signature once what the config asks for is so.

A model that a fleet trained under ``release.requires`` is signed by the key ``held``, which no app
pins: devices refuse it. Here the record is verified, the audit looked at, and the publisher's
signature added to that of the holder; the bytes that are signed, and the digest that the ledger
released, stay what they were.
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from homebody_models.bundle_writer import MANIFEST, SIGNATURES
from homebody_models.catalog import CATALOG, CATALOG_SIGNATURES, CATALOG_TYPE, LARGEST_CATALOG
from homebody_models.dsse import (
    PAYLOAD_TYPE,
    Signature,
    pre_authentication,
    read_signatures,
    write_signatures,
)
from homebody_models.folder_files import read_bounded
from homebody_privacy.approval.reviewers import ReviewerKeys
from homebody_privacy.durable import write_durably
from homebody_privacy.errors import IntegrityError, InvalidFileError, PolicyViolationError
from homebody_privacy.signing import SigningKey

from .facts import BUNDLE, RunFacts, read_run_facts
from .facts import CATALOG as CATALOG_FOLDER
from .verify import verify_run
from .verify_lines import INTEGRITY

_TPR: Final = "tpr@"


def release_run(folder: Path, keys: ReviewerKeys, publisher: SigningKey, now: int) -> None:
    """Add the publisher's signature to a run's model and catalog, if nothing is missing.

    Args:
        folder: The run.
        keys: Pinned keys of reviewers, ledger and publisher.
        publisher: The key that apps pin.
        now: Unix seconds.

    Raises:
        InvalidFileError: If the run has no model, or another key is pinned as the publisher's.
        IntegrityError: If the record is not what was signed.
        PolicyViolationError: Naming what ``release.requires`` asks for and is not so.
    """
    if keys.publisher not in (None, publisher.public):
        raise InvalidFileError(
            "the key is not the publisher's that is pinned", fix="name it with --publisher"
        )
    facts = read_run_facts(folder)
    if facts.config is None or not (folder / BUNDLE).is_dir():
        raise InvalidFileError(f"{folder}: there is no model to release", fix="name a finished run")
    missing = list(_missing(facts, keys, now))
    if missing:
        raise PolicyViolationError(
            "\n".join(f"{folder}: {why}" for why in missing),
            fix="do what release.requires asks for, and ask again",
        )
    _countersign(folder / BUNDLE, MANIFEST, SIGNATURES, PAYLOAD_TYPE, publisher)
    _countersign(folder / CATALOG_FOLDER, CATALOG, CATALOG_SIGNATURES, CATALOG_TYPE, publisher)


def _missing(facts: RunFacts, keys: ReviewerKeys, now: int) -> Iterator[str]:
    """Say what is asked for before a release and is not so; a damaged record raises."""
    if facts.config is None:
        return
    release = facts.config.release
    found = verify_run(facts.folder, keys, now)
    wrong = [line.text for line in found.lines if line.mark == "WRONG"]
    if found.exit_code == INTEGRITY:  # asked for or not: of such a record nothing is known
        raise IntegrityError("\n".join(f"{facts.folder}: {text}" for text in wrong))
    if "ledger_verified" in release.requires:
        yield from wrong
    if "audit_passed" in release.requires:
        yield from _of_audit(facts, release.audit_max_advantage)


def _of_audit(facts: RunFacts, most: float) -> Iterator[str]:
    audit = facts.audit
    if audit is None:
        yield "no audit tried to refute the claim: homebody audit --run"
        return
    setting = audit.get("setting")
    if not isinstance(setting, dict) or setting.get("config_digest") != facts.digest:
        yield "the audit ran another config than the run"
    if audit.get("refuted") is not False:
        yield "the audit refuted the claim, or does not say"
    advantage = _advantage(audit.get("membership"))
    if not advantage <= most:
        yield (
            f"a membership attack of the audit had an advantage of {advantage:.3g} by estimate, "
            f"release.audit_max_advantage is {most:g}"
        )


def _advantage(membership: object) -> float:
    """Return the largest advantage of an attack, by estimate; 0 where none was tried.

    The advantage at a rate of false alarms is how much more often members are told from others
    than others are taken for members (https://arxiv.org/abs/1709.01604, definition 4).
    """
    if membership is None:
        return 0.0
    try:
        attacks: list[Mapping[str, Any]] = membership["attacks"]  # type: ignore[index]
        return max(
            float(value) - float(name.removeprefix(_TPR))
            for attack in attacks
            for name, value in attack["estimate"].items()
            if name.startswith(_TPR)
        )
    except (KeyError, TypeError, ValueError):
        return math.nan  # what cannot be read is not below any limit


def _countersign(folder: Path, name: str, signatures: str, kind: str, key: SigningKey) -> None:
    """Add a signature beside those that are there; one of the same key takes the place of it."""
    try:
        payload = read_bounded(folder / name, LARGEST_CATALOG)
        before = read_signatures(read_bounded(folder / signatures, LARGEST_CATALOG), kind)
    except (OSError, ValueError) as error:
        raise IntegrityError(f"{folder}: what is signed cannot be read") from error
    others = [one for one in before if one.key_id != key.key_id]
    own = Signature(key.key_id, key.sign(pre_authentication(payload, kind)))
    write_durably(folder / signatures, write_signatures(*others, own, kind=kind))
