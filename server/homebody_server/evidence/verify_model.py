"""Is the model the one the ledger released? Signatures, digests, and the releases on disk."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from homebody_models.bundle import BundleError, Trust, open_bundle
from homebody_models.bundle_writer import MANIFEST as MANIFEST_FILE
from homebody_models.bundle_writer import SIGNATURES
from homebody_models.catalog import CatalogError, open_catalog
from homebody_models.dsse import Signature, good_keys, read_signatures
from homebody_models.folder_files import read_bounded
from homebody_models.manifest import Manifest
from homebody_models.strict_json import strict_loads
from homebody_privacy.approval.reviewers import ReviewerKeys
from homebody_privacy.signing import key_id, verify_ed25519

from .facts import BUNDLE, CATALOG, RunFacts
from .independent_lines import RawLedger
from .released_arrays import digests_of
from .verify_lines import Line, note, ok, wrong

_LARGEST: Final = 1 << 20
_SIGNERS: Final = ("publisher.pub", "laboratory.pub")
_HELD: Final = "held.pub"  # signs what a fleet has not released yet
_KEY_BYTES: Final = 32
_SHORT: Final = 12


@dataclass(frozen=True, slots=True)
class ModelFindings:
    """What was found of a run's model.

    Attributes:
        lines: In words.
        privacy: ``privacy`` of the signed manifest; None where none is signed.
        created: When it was signed, Unix seconds, by its publisher's word; None likewise.
        digest: SHA-256 of the manifest, as hex; None without one.
    """

    lines: tuple[Line, ...]
    privacy: Mapping[str, Any] | None = field(default=None, repr=False)
    created: int | None = None
    digest: str | None = None


def check_model(facts: RunFacts, keys: ReviewerKeys | None, runs: Path) -> ModelFindings:
    """Check bundle and catalog, and that the ledger released them.

    Args:
        facts: The run's files.
        keys: Pinned keys; None takes the key beside the run, and says so.
        runs: Where that key lies.
    """
    released = [] if facts.ledger is None else facts.ledger.of_kind("model_released")
    folder = facts.folder / BUNDLE
    if not folder.exists():
        gone = [wrong("the ledger released a model, and its bundle is missing")] if released else []
        if not released and not facts.is_open:
            gone = [note("there is no bundle: the run published no model")]
        return ModelFindings((*gone, *_arrays(facts)))
    trust, lines = _trust(keys, runs)
    if trust is None:
        return ModelFindings(tuple(lines))
    try:
        signed = read_bounded(folder / MANIFEST_FILE, _LARGEST)
        named = read_signatures(read_bounded(folder / SIGNATURES, _LARGEST))
        if good_keys(signed, named, trust.trusted, trust.verify) < 1:
            raise ValueError("no trusted key signed it")  # noqa: TRY301 - one message for all
        manifest = Manifest.from_json(strict_loads(signed))
    except (OSError, ValueError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        return ModelFindings((*lines, wrong(f"the bundle is not what was signed: {why}")))
    digest = hashlib.sha256(signed).hexdigest()
    created = manifest.facts.created
    if not facts.is_pack:
        lines += _opened(facts, trust, created)
    lines += _held(named, runs)
    lines += _entered(facts, digest, released)
    lines += _arrays(facts)
    return ModelFindings(tuple(lines), manifest.facts.privacy, created, digest)


def _trust(keys: ReviewerKeys | None, runs: Path) -> tuple[Trust | None, list[Line]]:
    """Return whose bundles are believed, and what there is to say of it."""
    held = _keys_beside(runs, _HELD)
    if keys is not None and keys.publisher is not None:
        return _trusting([keys.publisher, *held]), []
    good = [*_keys_beside(runs, *_SIGNERS), *held]
    if not good:
        return None, [wrong("no key to check the bundle with: pin one under [publisher]")]
    why = "the publisher's key was taken from beside the run, not from a pinned file"
    return _trusting(good), [note(why)]


def _keys_beside(runs: Path, *names: str) -> list[bytes]:
    """Return the public keys beside a run, as far as they are there."""
    found = []
    for name in names:
        try:
            found.append(read_bounded(runs / name, _KEY_BYTES))
        except (OSError, ValueError):
            continue
    return [raw for raw in found if len(raw) == _KEY_BYTES]


def _held(named: tuple[Signature, ...], runs: Path) -> list[Line]:
    """Say that a model is held, where no other key than the holder's signed it."""
    ids = {key_id(raw) for raw in _keys_beside(runs, _HELD)}
    if ids and {one.key_id for one in named} <= ids:
        return [note("the model is held: no device takes it before homebody release")]
    return []


def _trusting(keys: list[bytes]) -> Trust:
    return Trust(verify=verify_ed25519, trusted={key_id(raw): raw for raw in keys})


def _opened(facts: RunFacts, trust: Trust, created: int) -> Iterator[Line]:
    """Open bundle and catalog as a device does."""
    try:
        open_bundle(facts.folder / BUNDLE, trust, now=created, active=True)
    except BundleError as error:
        yield wrong(str(error))
        return
    try:
        open_catalog(facts.folder / CATALOG, trust)
    except CatalogError as error:
        yield wrong(str(error))
        return
    yield ok("bundle and catalog are what their publisher signed")


def _entered(
    facts: RunFacts, digest: str, released: list[tuple[int, Mapping[str, Any]]]
) -> Iterator[Line]:
    """Check that the ledger released this bundle, and its model."""
    report = facts.report or {}
    digests = report.get("digests")
    model = digests.get("model") if isinstance(digests, dict) else None
    bundle = report.get("bundle")
    if facts.report is not None and (
        not isinstance(bundle, dict) or bundle.get("digest") != digest
    ):
        yield wrong("report.json names another bundle than the one that is there")
    if not released:
        if facts.has_merkle and not facts.is_open:
            yield wrong("a bundle is there that the ledger never released")
        return
    _, last = released[-1]
    if last.get("bundle") != digest:
        yield wrong("the bundle is not the one that the ledger released last")
        return
    if facts.report is not None and last.get("model") != model:
        yield wrong("report.json names another model than the ledger released")
    by_rounds = facts.config is not None and facts.config.recipe == "rounds"
    if by_rounds and facts.ledger and not _is_of_a_round(facts.ledger, last.get("model")):
        yield wrong("the model that was released is of no round of the ledger")
        return
    yield ok(f"the bundle is the one the ledger released, {digest[:_SHORT]}")


def _is_of_a_round(ledger: RawLedger, model: object) -> bool:
    return any(one.get("model") == model for _, one in ledger.of_kind("release"))


def _arrays(facts: RunFacts) -> Iterator[Line]:
    """Check the releases that the run keeps on disk, where it still has them."""
    if facts.ledger is None or facts.is_pack:
        return
    releases = [one.get("model") for _, one in facts.ledger.of_kind("release")]
    state = digests_of(facts.folder / "state.npz", ("parameters",))
    if state is None:
        yield wrong("state.npz cannot be read")
    elif releases and state.get("parameters", releases[-1]) != releases[-1]:
        yield wrong("state.npz holds another model than the ledger released last")
    sums = {
        str(one.get("name")).removeprefix("statistics/"): one.get("sum")
        for _, one in facts.ledger.of_kind("statistic")
    }
    stored = digests_of(facts.folder / "statistics.npz", tuple(sums))
    if stored is None:
        yield wrong("statistics.npz cannot be read")
    elif any(stored[name] != sums[name] for name in stored):
        yield wrong("statistics.npz holds another sum than the ledger released")
