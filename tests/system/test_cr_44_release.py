"""A fleet's model is held until the record verifies and an audit did not refute the claim."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from homebody.cli import run as homebody
from homebody_models.bundle import BundleError, Trust, open_bundle
from homebody_models.dsse import Signature, pre_authentication, write_signatures
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.signing import SigningKey, key_id, verify_ed25519
from homebody_simulation.publish import signer

from .evidence_world import PINNED, copied, finished

if TYPE_CHECKING:
    from homebody_simulation.setup import Prepared

AUDIT: dict[str, Any] = {
    "schema": "audit/1",
    "refuted": False,
    "findings": [],
    "setting": {},
    "membership": None,
    "sentences": ["The audit did not refute the claim.", "An audit can refute a claim."],
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished, approved run whose model is held as a fleet's is; copy before changing."""
    run = finished(tmp_path_factory.mktemp("held") / "project")
    holder = SigningKey.generate()
    (run.parent / "held.pub").write_bytes(holder.public)
    for folder, name, kind in (
        ("model.hbm", "manifest", "application/vnd.homebody.bundle+json"),
        ("catalog", "catalog", "application/vnd.homebody.catalog+json"),
    ):
        payload = (run / folder / f"{name}.json").read_bytes()
        own = Signature(holder.key_id, holder.sign(pre_authentication(payload, kind)))
        (run / folder / f"{name}.sig.json").write_bytes(write_signatures(own, kind=kind))
    return run


def own_copy(run: Path, folder: Path, audit: dict[str, Any] | None = AUDIT) -> Path:
    """Copy the run and its project's keys, with an audit of its config beside it."""
    copy = copied(run, folder)
    shutil.copy2(run.parents[1] / PINNED, folder / PINNED)
    if audit is not None:
        digest = PrivacyConfig.load(copy / "privacy.toml").digest()
        told = {**audit, "setting": {"config_digest": digest, **audit["setting"]}}
        (copy / "audit.json").write_text(json.dumps(told), "utf-8")
    return copy


def release(run: Path) -> int:
    return homebody(["release", str(run), "--keys", str(run.parents[1] / PINNED)])


def is_taken(run: Path) -> bool:
    """Tell whether a device that pins the publisher's key takes the model."""
    public = (run.parent / "publisher.pub").read_bytes()
    trust = Trust(verify=verify_ed25519, trusted={key_id(public): public})
    created = json.loads((run / "model.hbm" / "manifest.json").read_bytes())["created"]
    try:
        open_bundle(run / "model.hbm", trust, now=created)
    except BundleError:
        return False
    return True


def test_cr_44_a_held_model_is_no_devices_before_release_and_every_devices_after(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = own_copy(run, tmp_path)
    assert not is_taken(copy)
    keys = ["--keys", str(tmp_path / PINNED)]
    assert homebody(["verify", str(copy), *keys]) == 0
    assert "the model is held" in capsys.readouterr().out
    before = (copy / "model.hbm" / "manifest.json").read_bytes()
    assert release(copy) == 0
    assert is_taken(copy)
    assert (copy / "model.hbm" / "manifest.json").read_bytes() == before
    assert homebody(["verify", str(copy), *keys]) == 0
    assert "the model is held" not in capsys.readouterr().out
    once = (copy / "model.hbm" / "manifest.sig.json").read_bytes()
    assert release(copy) == 0, "a second time changes nothing"
    assert (copy / "model.hbm" / "manifest.sig.json").read_bytes() == once


@pytest.mark.parametrize(
    ("audit", "why"),
    [
        (None, "no audit tried to refute"),
        ({**AUDIT, "refuted": True}, "refuted the claim"),
        ({**AUDIT, "setting": {"config_digest": "0" * 64}}, "another config"),
        (
            {**AUDIT, "membership": {"attacks": [{"estimate": {"auroc": 0.9, "tpr@0.1": 0.4}}]}},
            "advantage of 0.3 by estimate",
        ),
        ({**AUDIT, "membership": {"attacks": []}}, "advantage of nan"),
    ],
    ids=["none", "refuted", "other config", "attack", "unreadable"],
)
def test_cr_44_no_model_is_released_without_an_audit_that_did_not_refute(
    run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    audit: dict[str, Any] | None,
    why: str,
) -> None:
    copy = own_copy(run, tmp_path, audit)
    refuted = audit is not None and audit["refuted"]  # then the record itself does not verify
    assert release(copy) == (14 if refuted else 10)
    assert why in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert not is_taken(copy)


def test_cr_44_no_model_is_released_of_a_record_that_does_not_verify(
    run: Path, tmp_path: Path
) -> None:
    copy = own_copy(run, tmp_path)
    ledger = copy / "ledger.jsonl"
    ledger.write_bytes(ledger.read_bytes().replace(b'"release"', b'"releasf"', 1))
    assert release(copy) == 14
    assert not is_taken(copy)


def test_cr_44_another_key_than_the_pinned_one_releases_nothing(run: Path, tmp_path: Path) -> None:
    copy = own_copy(run, tmp_path)
    (copy.parent / "publisher.key").unlink()
    SigningKey.generate().save(copy.parent / "publisher.key")
    assert release(copy) == 2
    assert not is_taken(copy)


@pytest.mark.parametrize(
    ("fleet", "requires", "seed", "by"),
    [
        (True, ("audit_passed",), None, "held"),
        (True, (), None, "publisher"),
        (False, ("audit_passed",), None, "publisher"),
        (False, ("audit_passed",), 1, "laboratory"),
    ],
)
def test_cr_44_a_fleets_model_is_held_where_the_config_asks_for_checks(
    run: Path, *, fleet: bool, requires: tuple[str, ...], seed: int | None, by: str
) -> None:
    config = PrivacyConfig.load(run / "privacy.toml")
    asked = config.model_copy(
        update={"release": config.release.model_copy(update={"requires": requires})}
    )
    prepared = SimpleNamespace(
        request=SimpleNamespace(fleet=run if fleet else None, seed=seed),
        config=asked,
        spec=SimpleNamespace(ceiling=4.0),
    )
    assert signer(cast("Prepared", prepared)) == by
