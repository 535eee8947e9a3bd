"""What a pack is made from: the files of a run, read once and changed by nobody."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from homebody_privacy.config import PrivacyConfig
from homebody_privacy.errors import IntegrityError, InvalidFileError, UsageError
from homebody_privacy.ledger import read_ledger
from homebody_privacy.ledger_record import LedgerRecord
from homebody_server.evidence.independent_lines import RawLedger, parse_ledger

_RECORD: Final = (
    "ledger.jsonl",
    "checkpoint",
    "privacy.toml",
    "policy.toml",
    "egress.jsonl",
    "audit.json",
    "model.hbm/manifest.json",
    "model.hbm/manifest.sig.json",
)
"""Files of a run that a pack holds copies of in ``record/``. None is made of data without noise."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the ledger.

    Attributes:
        index: Its place, from 0.
        kind: What it is.
        values: All of it.
    """

    index: int
    kind: str
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """What is known of a run. Public: nothing of it is computed from data without noise.

    Attributes:
        folder: Folder of the run.
        config: Config the run ran under.
        raw: The ledger's lines; None where they cannot be read.
        ledger: What the ledger says; None where it is damaged.
        envelopes: Approvals and waivers as they came.
        policy: Name and digest of the firm's policy; None without one.
        egress: What left a device, line by line.
        bundle: Manifest of the model; None where none was published.
        card: Its card; None likewise.
        audit: Result of the audit; None where there was none.
        run: Constants of the run, as ``run.json`` has them under ``spec``.
        ended: How the run ended.
        versions: Versions of what ran, in words; empty where not stated.
        files: Copies for ``record/``, by name.
    """

    folder: Path
    config: PrivacyConfig
    raw: RawLedger | None
    ledger: LedgerRecord | None
    envelopes: tuple[Mapping[str, Any], ...]
    policy: Mapping[str, Any] | None
    egress: tuple[Mapping[str, Any], ...]
    bundle: Mapping[str, Any] | None
    card: Mapping[str, Any] | None
    audit: Mapping[str, Any] | None
    run: Mapping[str, Any] = field(repr=False)
    ended: str
    versions: str
    files: Mapping[str, bytes] = field(repr=False)

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.folder.name

    @property
    def simulated(self) -> bool:
        """Whether its devices were simulated, all in one place."""
        return self.run.get("runtime") != "deploy"

    @property
    def seeded(self) -> bool:
        """Whether its noise follows from a seed, so that it can be drawn again."""
        return bool(self.run.get("seeded"))

    @property
    def secagg(self) -> bool:
        """Whether replies were summed by secure aggregation."""
        return bool(self.run.get("secagg"))

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The ledger, entry by entry; empty where it is damaged: nobody can rely on a part."""
        found = () if self.raw is None or self.ledger is None else self.raw.entries
        return tuple(Entry(i, str(one["kind"]), one) for i, one in enumerate(found))

    def of_kind(self, *kinds: str) -> tuple[Entry, ...]:
        """Return the entries of some kinds, in order."""
        return tuple(entry for entry in self.entries if entry.kind in kinds)

    def refs(self, *kinds: str) -> tuple[str, ...]:
        """Return the first and the last entry of some kinds as references; ``verify`` for none."""
        found = self.of_kind(*kinds)
        ends = [found[0].index, found[-1].index] if found else []
        return tuple(f"ledger:{index}" for index in dict.fromkeys(ends)) or ("verify",)


def read_run(folder: Path) -> RunRecord:
    """Read what a pack is made from.

    Args:
        folder: Folder of a run that has ended. Not trusted: what is damaged is None.

    Raises:
        InvalidFileError: If it is no run.
        IntegrityError: If it is one whose config or ``run.json`` cannot be read: of such a record
            nothing can be said, stamped or not.
        UsageError: If the run has not ended, or promised nothing.
    """
    run = _run(folder)
    spec = run["spec"]
    if (folder / "run.key").exists():
        raise UsageError("the run has not ended", fix="resume it: an open run has no evidence yet")
    if spec.get("ceiling") is None:
        raise UsageError(
            "the run had no differential privacy: there is no promise to show evidence of",
            fix="name a run that was charged",
        )
    files = {name: _bytes(folder / name) for name in _RECORD if (folder / name).is_file()}
    envelopes = tuple(run.get("approvals") or ())
    approvals = {"schema": "approvals/1", "envelopes": list(envelopes)}
    files["approvals.json"] = f"{json.dumps(approvals, indent=1, sort_keys=True)}\n".encode()
    report = _optional(folder / "report.json") or {}
    outcome = run.get("outcome")
    return RunRecord(
        folder=folder,
        config=_config(folder / "privacy.toml"),
        raw=_raw(files.get("ledger.jsonl", b"")),
        ledger=_ledger(folder / "ledger.jsonl"),
        envelopes=envelopes,
        policy=run.get("policy"),
        egress=_lines(folder / "egress.jsonl"),
        bundle=_optional(folder / "model.hbm" / "manifest.json"),
        card=_optional(folder / "model.hbm" / "card.json"),
        audit=_optional(folder / "audit.json"),
        run=spec,
        ended=str(outcome.get("ended")) if isinstance(outcome, dict) else "not stated",
        versions=str(report.get("versions", "")),
        files=files,
    )


def bundle_digest(record: RunRecord) -> str:
    """Return the SHA-256 of the model's manifest, as hex; empty where none was published."""
    manifest = record.files.get("model.hbm/manifest.json")
    return "" if manifest is None else hashlib.sha256(manifest).hexdigest()


def _run(folder: Path) -> dict[str, Any]:
    """Return ``run.json``."""
    path = folder / "run.json"
    try:
        run = _object(path)
    except InvalidFileError as error:
        if not (folder / "ledger.jsonl").is_file():
            raise
        raise IntegrityError(f"{error}: what ran cannot be told") from error
    if not isinstance(run.get("spec"), dict):
        raise IntegrityError(f"{path} does not say what ran, under spec")
    return run


def _config(path: Path) -> PrivacyConfig:
    try:
        return PrivacyConfig.read(path)
    except InvalidFileError as error:
        raise IntegrityError(f"{error}\nit is not the config that ran") from error


def _raw(content: bytes) -> RawLedger | None:
    try:
        return parse_ledger(content)
    except IntegrityError:  # what is wrong is verify's to say; a pack is then stamped
        return None


def _ledger(path: Path) -> LedgerRecord | None:
    try:
        return read_ledger(path)[0]
    except (OSError, IntegrityError):
        return None


def _lines(path: Path) -> tuple[Mapping[str, Any], ...]:
    if not path.is_file():
        return ()
    try:
        found = tuple(json.loads(line) for line in _bytes(path).splitlines())
    except ValueError:
        return ()
    return found if all(isinstance(line, dict) for line in found) else ()


def _optional(path: Path) -> Mapping[str, Any] | None:
    """Return an object that may be missing, or damaged: then verify says so."""
    try:
        return _object(path)
    except InvalidFileError:
        return None


def _object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(_bytes(path))
    except (ValueError, RecursionError) as error:
        raise InvalidFileError(f"{path} is no JSON") from error
    if not isinstance(value, dict):
        raise InvalidFileError(f"{path} must hold one JSON object")
    return value


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidFileError(
            f"{path}: cannot be read: {error.strerror}", fix="name the folder of a run"
        ) from error
