"""Sign a run's model and catalog: from here on they are what their publisher's key says."""

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from homebody_models.bundle import BundleFacts, write_bundle
from homebody_models.catalog_writer import write_catalog
from homebody_models.manifest import LIFETIME
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.durable import locked
from homebody_privacy.signing import SigningKey
from homebody_server.run_spec import RunSpec
from homebody_simulation.public_items import public_items
from homebody_simulation.setup import Prepared

_DAY: Final = 86_400


def publish(
    prepared: Prepared, parameters: npt.NDArray[np.float32], report: Mapping[str, Any]
) -> dict[str, Any]:
    """Sign model and catalog; a key is made once for all runs of the folder.

    Args:
        prepared: The run.
        parameters: The model that devices get.
        report: The run's report, but for what is returned here.
    """
    folder, catalog = prepared.folder, prepared.dataset.interactions.catalog
    name = signer(prepared)
    key = signing_key(prepared.request.runs, name)
    if name == "held":
        signing_key(prepared.request.runs, "publisher")  # what apps pin, before it signs
    now = int(time.time())
    for signed in (folder.bundle, folder.catalog):
        if signed.exists():
            shutil.rmtree(signed)  # of a conclusion that did not come to its end
    serial = time.time_ns() // 1_000_000  # rises with each publication

    def sign(message: bytes) -> tuple[str, bytes]:
        return key.key_id, key.sign(message)

    write_catalog(
        folder.catalog,
        public_items(catalog),
        catalog_id=prepared.dataset.name,
        version=serial,
        sign=sign,
    )
    digest = write_bundle(
        folder.bundle,
        prepared.model.export(parameters),
        item_ids=catalog.ids,
        facts=BundleFacts(
            model_id=prepared.dataset.name,
            version=folder.name,
            serial=serial,
            created=now,
            expires=now + lifetime(prepared.config),
            catalog_sha256=catalog.digest(),
            privacy=_manifest_privacy(prepared.spec, report),
        ),
        sign=sign,
    )
    return {
        "path": str(folder.bundle),
        "bytes": _size(folder.bundle),
        "digest": digest,
        "signer": name,
        "catalog": str(folder.catalog),
        "catalog_bytes": _size(folder.catalog),
    }


def lifetime(config: PrivacyConfig) -> int:
    """Return for how many seconds devices activate a bundle: as the config says, or the usual."""
    return min(LIFETIME, config.release.retire_after_days * _DAY)


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


def signer(prepared: Prepared) -> str:
    """Return who signs a run's model: ``publisher``, or a key whose models devices refuse.

    ``laboratory``: a seeded run's noise can be drawn again and a reference has none. ``held``: a
    fleet's model whose config asks for checks before it is released; ``homebody release`` adds the
    publisher's signature.
    """
    if prepared.request.seed is not None or prepared.spec.ceiling is None:
        return "laboratory"
    held = prepared.request.fleet is not None and prepared.config.release.requires
    return "held" if held else "publisher"


def signing_key(runs: Path, name: str) -> SigningKey:
    """Return the key ``name`` of ``runs``; made at its first use, mode 0600."""
    secret, public = runs / f"{name}.key", runs / f"{name}.pub"
    with locked(runs / f".{name}.lock"):  # two runs that end at once share one key
        if secret.exists():
            return SigningKey.load(secret)
        key = SigningKey.generate()
        key.save(secret)
        public.write_bytes(key.public)
        return key


def _manifest_privacy(spec: RunSpec, report: Mapping[str, Any]) -> dict[str, Any]:
    common = {
        "statement": report["claim"]["statement"],
        "recipe": report["recipe"],
        "shipped": report["shipping"]["shipped"],
        "chosen_by": report["shipping"]["by"],
        "rounds": report["rounds"],
        "config_sha256": spec.config_digest,
    }
    epsilon, privacy = report["epsilon"], report["privacy"]
    if epsilon is None:
        return {**common, "mechanism": "none"}
    user = epsilon["user"]
    return {
        **common,
        "unit": user["unit"],
        "adjacency": privacy["adjacency"],
        "mechanism": user["mechanism"],
        "epsilon": str(user["spent"]),
        "epsilon_unamplified": str(privacy["epsilon_unamplified"]),
        "delta": str(user["delta"]),
        "accountant": user["accountant"],
        "clip_norm": str(spec.clip_norm) if spec.rounds else None,
        "noise_multiplier": f"{spec.noise_multiplier:.6f}" if spec.rounds else None,
        "statistics": {one.name: f"{one.noise_multiplier:.6f}" for one in spec.statistics},
        "record_level": epsilon["record"] and str(epsilon["record"]["spent"]),
    }
