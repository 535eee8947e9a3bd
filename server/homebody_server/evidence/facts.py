"""The files of a run, or of a pack's record, as they stand: read once, bounded, and not believed.

A file that is damaged is a line of what is wrong, and None here: every check can go on without it.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from homebody_models.folder_files import read_bounded
from homebody_privacy.approval.approvals_file import envelopes_of
from homebody_privacy.approval.dsse import Envelope
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.errors import IntegrityError, InvalidFileError

from .independent_lines import RawLedger, parse_ledger
from .verify_lines import Line, wrong

LEDGER: Final = "ledger.jsonl"
CHECKPOINT: Final = "checkpoint"
CONFIG: Final = "privacy.toml"
POLICY_FILE: Final = "policy.toml"
RUN: Final = "run.json"
REPORT: Final = "report.json"
EGRESS: Final = "egress.jsonl"
APPROVALS: Final = "approvals.json"
AUDIT: Final = "audit.json"
BUNDLE: Final = "model.hbm"
CATALOG: Final = "catalog"
RUN_KEY: Final = "run.key"

_LARGEST: Final = 1 << 28
_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What a folder says of a run. Nothing in it is verified.

    Attributes:
        folder: The folder of the run, or the ``record`` of a pack.
        content: Bytes of each small file that is there, by name.
        ledger: The raw ledger; None where it is missing or damaged.
        config: The config; None likewise.
        run: ``run.json``; None in a pack, or where it is damaged.
        report: ``report.json``; None likewise, and where the run has not ended.
        audit: ``audit.json``; None where it is damaged, or the run was not audited.
        envelopes: What reviewers signed; None where it is damaged.
        damage: What could not be read.
        is_open: Whether the run has not ended.
        is_pack: Whether this is a pack's record, not the run's folder.
    """

    folder: Path
    content: Mapping[str, bytes] = field(repr=False)
    ledger: RawLedger | None = field(repr=False)
    config: PrivacyConfig | None = field(repr=False)
    run: Mapping[str, Any] | None = field(repr=False)
    report: Mapping[str, Any] | None = field(repr=False)
    audit: Mapping[str, Any] | None = field(repr=False)
    envelopes: tuple[Envelope, ...] | None = field(repr=False)
    damage: tuple[Line, ...]
    is_open: bool = False
    is_pack: bool = False

    @property
    def digest(self) -> str | None:
        """Digest of the config, as hex; None where there is none."""
        return None if self.config is None else self.config.digest()

    @property
    def spec(self) -> Mapping[str, Any]:
        """The run's constants, as ``run.json`` has them; empty where there are none."""
        found = None if self.run is None else self.run.get("spec")
        return found if isinstance(found, dict) else {}

    @property
    def has_merkle(self) -> bool:
        """Whether the ledger is one with a Merkle tree and signed checkpoints."""
        return self.ledger is not None and self.ledger.header.get("schema") not in OLD_LEDGERS


OLD_LEDGERS: Final = ("ledger/2", "ledger/3")
"""Ledgers of before there were checkpoints: a chain of hashes, which nobody signed."""


def read_run_facts(folder: Path) -> RunFacts:
    """Read the folder of a run.

    Raises:
        InvalidFileError: If it is no folder of a run.
    """
    if not (folder / RUN).exists() and not (folder / LEDGER).exists():
        raise InvalidFileError(
            f"{folder} is no folder of a run: it has neither {RUN} nor {LEDGER}",
            fix="name a folder such as runs/autumn, or an evidence pack",
        )
    reader = _Reader(folder)
    content = reader.all_of((LEDGER, CHECKPOINT, CONFIG, POLICY_FILE, RUN, REPORT, EGRESS, AUDIT))
    run = reader.take(RUN, content, parse_object)
    ledger = reader.take(LEDGER, content, parse_ledger)
    ended = ledger is not None and bool(ledger.of_kind("run_closed"))
    return RunFacts(
        folder=folder,
        content=content,
        ledger=ledger,
        config=reader.config(content),
        run=run,
        report=reader.take(REPORT, content, parse_object),
        audit=reader.take(AUDIT, content, parse_object),
        envelopes=reader.envelopes(RUN, _approvals_of(run)),
        damage=tuple(reader.damage),
        is_open=(folder / RUN_KEY).exists() and not ended,
    )


def read_pack_facts(record: Path) -> RunFacts:
    """Read the record of an evidence pack."""
    reader = _Reader(record)
    names = (LEDGER, CHECKPOINT, CONFIG, POLICY_FILE, EGRESS, APPROVALS, AUDIT)
    content = reader.all_of(names)
    approvals = reader.take(APPROVALS, content, parse_object) or {}
    return RunFacts(
        folder=record,
        content=content,
        ledger=reader.take(LEDGER, content, parse_ledger),
        config=reader.config(content),
        run=None,
        report=None,
        audit=reader.take(AUDIT, content, parse_object),
        envelopes=reader.envelopes(APPROVALS, approvals.get("envelopes", [])),
        damage=tuple(reader.damage),
        is_pack=True,
    )


class _Reader:
    """Reads files of a folder; what is damaged becomes a line."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.damage: list[Line] = []

    def all_of(self, names: tuple[str, ...]) -> dict[str, bytes]:
        found = {}
        for name in names:
            path = self._folder / name
            if not path.exists() and not path.is_symlink():
                continue
            try:
                found[name] = read_bounded(path, _LARGEST)
            except OSError as error:
                self.damage.append(wrong(f"{name} cannot be read: {error.strerror}"))
            except ValueError as error:
                self.damage.append(wrong(f"{error}"))
        return found

    def take(
        self, name: str, content: Mapping[str, bytes], parse: Callable[[bytes], _Found]
    ) -> _Found | None:
        if name not in content:
            return None
        try:
            return parse(content[name])
        except IntegrityError as error:
            self.damage.append(wrong(str(error)))
        except (ValueError, RecursionError) as error:
            why = "it is no JSON" if isinstance(error, json.JSONDecodeError) else error
            self.damage.append(wrong(f"{name} is not what was written: {why}"))
        return None

    def config(self, content: Mapping[str, bytes]) -> PrivacyConfig | None:
        if CONFIG not in content:
            self.damage.append(wrong(f"{CONFIG} is missing"))
            return None
        try:
            return PrivacyConfig.read(self._folder / CONFIG)
        except InvalidFileError as error:
            first = str(error).splitlines()[0].removeprefix(f"{self._folder / CONFIG}: ")
            self.damage.append(wrong(f"{CONFIG} is not what was written: {first}"))
            return None

    def envelopes(self, name: str, values: object) -> tuple[Envelope, ...] | None:
        try:
            return envelopes_of(values)
        except (ValueError, TypeError, RecursionError) as error:
            self.damage.append(wrong(f"{name} holds approvals nobody wrote: {error}"))
            return None


def _approvals_of(run: Mapping[str, Any] | None) -> object:
    """Return what a run says was signed for it: nothing, where it says nothing."""
    found = None if run is None else run.get("approvals")
    return [] if found is None else found


def parse_object(content: bytes) -> Mapping[str, Any]:
    """Read a file that holds one JSON object, without a key twice.

    Raises:
        ValueError: If it is none.
    """
    value = json.loads(content, object_pairs_hook=_once)
    if not isinstance(value, dict):
        raise ValueError("it must be one JSON object")  # noqa: TRY004 - damage, not an argument
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice")
    return found
