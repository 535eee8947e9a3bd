"""Write a bundle: a new folder that appears whole or not at all."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from homebody_models.arch import Arch
from homebody_models.dsse import Sign, Signature, pre_authentication, write_signatures
from homebody_models.folder_files import write_whole
from homebody_models.golden import golden_cases
from homebody_models.manifest import BundleFacts, FileEntry, Manifest
from homebody_models.quantise import PackedModel, pack
from homebody_models.ranking import Ranker
from homebody_models.safetensors_format import Tensor, encode_tensors
from homebody_models.strict_json import canonical, with_floats

if TYPE_CHECKING:
    from homebody_models.recommender import Exported

MANIFEST: Final = "manifest.json"
SIGNATURES: Final = "manifest.sig.json"
TENSORS: Final = "model.safetensors"
ITEMS: Final = "items.json"
GOLDEN: Final = "golden.json"
CARD: Final = "card.json"


def write_bundle(
    folder: Path, exported: "Exported", *, item_ids: Sequence[str], facts: BundleFacts, sign: Sign
) -> str:
    """Quantise, sign and write a model.

    Args:
        folder: The bundle to create; its parent must exist and it must not.
        exported: What a model exports: a release, or made from releases and public data alone.
        item_ids: Identifier of each item, unique, in index order.
        facts: What the publisher states.
        sign: Signs a message; returns key id and signature. The key stays with the caller.

    Returns:
        SHA-256 of the manifest bytes, in hex.

    Raises:
        ValueError: If ``folder`` exists, the ids do not fit the table, a fact is a float, or a
            value is not finite or out of range.
        OSError: If the folder cannot be written.

    Guarantees:
        ``folder`` is renamed into place after every file is on disk: a crash leaves no part of it
        under that name.
    """
    if folder.exists():
        raise ValueError(f"{folder} exists already: a bundle is never overwritten")
    if facts.min_serial > facts.serial:
        raise ValueError("min_serial must not be above serial")
    model = pack(exported)
    ids = list(item_ids)
    if len(ids) != len(model.bias) or len(set(ids)) != len(ids) or not all(ids):
        raise ValueError(f"item_ids must be {len(model.bias)} distinct texts that are not empty")
    contents = {
        TENSORS: encode_tensors(_tensors(model)),
        ITEMS: canonical({"ids": ids}),
        GOLDEN: with_floats(golden_cases(Ranker(model))),
        CARD: canonical(_card(facts, model)),
    }
    entries = {
        name: FileEntry(hashlib.sha256(data).hexdigest(), len(data))
        for name, data in contents.items()
    }
    manifest = canonical(Manifest(facts=facts, arch=Arch.of(model), files=entries).to_json())
    signature = Signature(*sign(pre_authentication(manifest)))
    signed = {MANIFEST: manifest, SIGNATURES: write_signatures(signature)}
    write_whole(folder, {**contents, **signed})
    return hashlib.sha256(manifest).hexdigest()


def _tensors(model: PackedModel) -> dict[str, Tensor]:
    """Return the tensors of a model; of encoder ``none`` the bias alone."""
    if model.encoder == "none":
        return {"b": model.bias}
    return {"E": model.rows, "scale": model.scale, "b": model.bias}


def _card(facts: BundleFacts, model: PackedModel) -> dict[str, object]:
    """Return the model card, which is for display only."""
    items, dim = model.rows.shape
    return {
        "model": facts.model_id,
        "version": facts.version,
        "does": "ranks the items of one catalog on the device, from the device's own history",
        "encoder": model.encoder,
        "items": items,
        "dim": dim,
        "quantisation": "int8 with one scale per item",
        "privacy": facts.privacy,
        "evaluation": list(facts.evaluation),
    }
