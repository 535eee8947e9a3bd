"""Open and write ``model.hbm``: a signed folder of plain files that carries a model to a device.

Nothing is parsed before its signature is good, every file is read once, and the bytes that were
hashed are the bytes that are used. A refusal names the step that failed; the caller keeps serving
the model it has.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, cast

import numpy as np
import numpy.typing as npt

from homebody_models.bundle_error import BundleError, verifying
from homebody_models.bundle_writer import (
    CARD,
    GOLDEN,
    ITEMS,
    MANIFEST,
    SIGNATURES,
    TENSORS,
    write_bundle,
)
from homebody_models.dsse import Verify, good_keys, key_id, read_signatures
from homebody_models.folder_files import read_bounded
from homebody_models.golden import check_golden
from homebody_models.json_fields import to_list, to_object
from homebody_models.manifest import BundleFacts, FileEntry, Manifest, is_bare_name
from homebody_models.quantise import PackedModel
from homebody_models.ranking import Ranker
from homebody_models.safetensors_format import Tensor, decode_tensors
from homebody_models.strict_json import strict_loads

__all__ = [
    "BundleError",
    "BundleFacts",
    "Installed",
    "ModelBundle",
    "Trust",
    "open_bundle",
    "write_bundle",
]

_LARGEST_MANIFEST: Final = 1 << 20
_LARGEST_SIGNATURES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Installed:
    """The bundle a device activated last: its serial and the digest of its manifest."""

    serial: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What a device accepts a bundle from.

    Attributes:
        verify: Tells whether (public key, signature, message) belong together.
        trusted: Raw public keys by key id (SHA-256 in hex), pinned in the app build.
        threshold: Distinct keys that must have signed, at least 1.
        floor_serial: Least serial accepted: the app build's floor, or that of an active model.
        installed: The bundle activated last; None where there is none.
    """

    verify: Verify
    trusted: Mapping[str, bytes]
    threshold: int = 1
    floor_serial: int = 0
    installed: Installed | None = None

    def __post_init__(self) -> None:
        """Refuse a key under an id that is not its own, and a threshold of nothing."""
        if any(name != key_id(public) for name, public in self.trusted.items()):
            raise ValueError("a trusted key must be listed under the SHA-256 of its bytes")
        if not 1 <= self.threshold <= len(self.trusted):
            raise ValueError(f"threshold must be in 1..{len(self.trusted)}, the trusted keys")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelBundle:
    """A verified model. Public.

    Attributes:
        manifest: What was signed.
        digest: SHA-256 of the manifest bytes, in hex.
        item_ids: Identifier of each item, in index order.
        index: Index of each identifier.
        ranker: The engine that passed the golden lists.
        model: What the engine was made of: another one can be made of it.
        golden: Bytes of the golden lists, which another engine has to pass too.
        stale: Whether it is past its expiry; only an active bundle may be.
        card: Bytes of the model card, for display.
    """

    manifest: Manifest
    digest: str
    item_ids: tuple[str, ...] = field(repr=False)
    index: Mapping[str, int] = field(repr=False)
    ranker: Ranker = field(repr=False)
    model: PackedModel = field(repr=False)
    golden: bytes = field(repr=False)
    stale: bool
    card: bytes = field(repr=False)


def open_bundle(folder: Path, trust: Trust, *, now: int, active: bool = False) -> ModelBundle:
    """Verify a bundle and load its model.

    Args:
        folder: The bundle. Not trusted.
        trust: Keys, floor and state of this device.
        now: Unix seconds in force on the device: never less than it has seen before.
        active: Whether this is the bundle the device serves already: it may have expired.

    Returns:
        The model, ready to rank.

    Raises:
        BundleError: If any check fails; its ``step`` says which.

    Guarantees:
        Steps run in the order of ``STEPS``. Accepted bytes were covered by ``threshold`` distinct
        trusted keys and were read once; a file that is not listed, or is listed and not there, is
        refused. No finite input makes an accepted model return a score that is not finite.
    """
    with verifying(1):
        signed = read_bounded(folder / MANIFEST, _LARGEST_MANIFEST)
        signatures = read_signatures(read_bounded(folder / SIGNATURES, _LARGEST_SIGNATURES))
    with verifying(2):
        good = good_keys(signed, signatures, trust.trusted, trust.verify)
        if good < trust.threshold:
            raise ValueError(f"{good} trusted keys signed it, {trust.threshold} must")
    with verifying(3):
        parsed = strict_loads(signed)
    with verifying(4):
        manifest = Manifest.from_json(parsed)
    digest = hashlib.sha256(signed).hexdigest()
    with verifying(5):
        check_serial(manifest.facts, digest, trust)
    with verifying(6):
        stale = now > manifest.facts.expires
        if stale and not active:
            raise ValueError(f"it expired {now - manifest.facts.expires} seconds ago")
    with verifying(7):
        contents = _read_files(folder, manifest.files)
    with verifying(8):
        tensors = decode_tensors(contents[TENSORS], manifest.arch.tensors())
    with verifying(9):
        item_ids = _item_ids(contents[ITEMS], manifest.arch.n_items)
    with verifying(10):
        model = _model(manifest, tensors)
    with verifying(11):
        ranker = Ranker(model)
        check_golden(contents[GOLDEN], ranker)
    return ModelBundle(
        manifest=manifest,
        digest=digest,
        item_ids=item_ids,
        index={name: i for i, name in enumerate(item_ids)},
        ranker=ranker,
        model=model,
        golden=contents[GOLDEN],
        stale=stale,
        card=contents[CARD],
    )


def check_serial(facts: BundleFacts, digest: str, trust: Trust) -> None:
    """Refuse an older model, and another one under a serial that was used."""
    if facts.min_serial > facts.serial:
        raise ValueError("min_serial is above serial: the device would refuse it at its next start")
    if facts.serial < trust.floor_serial:
        raise ValueError(f"serial {facts.serial} is below the floor {trust.floor_serial}")
    installed = trust.installed
    if installed is not None and facts.serial < installed.serial:
        raise ValueError(f"serial {facts.serial} is older than {installed.serial}, the active one")
    if installed is not None and facts.serial == installed.serial and digest != installed.digest:
        raise ValueError(f"serial {facts.serial} was used for other content")


def _read_files(folder: Path, files: Mapping[str, FileEntry]) -> dict[str, bytes]:
    """Read exactly the listed files and check size and digest of the bytes read."""
    if not all(is_bare_name(name) for name in files):
        raise ValueError("files must be bare names, without a folder")
    if not {TENSORS, ITEMS, GOLDEN, CARD} <= set(files):
        raise ValueError(f"files must list {TENSORS}, {ITEMS}, {GOLDEN} and {CARD}")
    present = {entry.name for entry in folder.iterdir()}
    expected = {*files, MANIFEST, SIGNATURES}
    if present != expected:
        raise ValueError(f"not exactly the listed files: {len(present ^ expected)} differ")
    contents = {}
    for name, entry in files.items():
        data = read_bounded(folder / name, entry.size)
        if len(data) != entry.size or hashlib.sha256(data).hexdigest() != entry.sha256:
            raise ValueError(f"{name} is not what was signed")
        contents[name] = data
    return contents


def _item_ids(data: bytes, n_items: int) -> tuple[str, ...]:
    """Return as many distinct item ids as the table has rows."""
    ids = to_list(to_object(strict_loads(data), "items.json", {"ids"})["ids"], "ids")
    distinct = set(ids) if set(map(type, ids)) == {str} else set()
    if len(ids) != n_items or len(distinct) != n_items or "" in distinct:
        raise ValueError(f"items.json must hold {n_items} distinct texts that are not empty")
    return tuple(cast("list[str]", ids))


def _model(manifest: Manifest, tensors: Mapping[str, Tensor]) -> PackedModel:
    """Return the model, refusing values that could make a score overflow."""
    arch = manifest.arch
    bias = cast("npt.NDArray[np.float32]", tensors["b"])
    rows = tensors.get("E", np.zeros((arch.n_items, 0), np.int8))
    scale = tensors.get("scale", np.ones(arch.n_items, np.float32))
    return PackedModel(
        encoder=arch.encoder,
        rows=cast("npt.NDArray[np.int8]", rows),
        scale=cast("npt.NDArray[np.float32]", scale),
        bias=bias,
        window=arch.window,
        problem=arch.problem,
        repeat=arch.repeat,
    )
