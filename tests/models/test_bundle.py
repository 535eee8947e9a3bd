"""A bundle as written: whole or absent, canonical, and ranking like the model it came from."""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from homebody_models.bundle import BundleFacts, Trust, open_bundle, write_bundle
from homebody_models.dsse import key_id
from homebody_models.matrix_factorization import MatrixFactorization
from homebody_models.popularity import Popularity
from homebody_models.quantise import pack
from homebody_models.ranking import Ranker
from homebody_models.recommender import Exported, Recommender
from homebody_models.strict_json import canonical
from homebody_models.two_tower import TwoTower

ITEMS = 40
PUBLIC = b"p" * 32
FACTS = BundleFacts(
    model_id="shop",
    version="v1",
    serial=1,
    created=1_000,
    expires=2_000,
    catalog_sha256=hashlib.sha256(b"catalog").hexdigest(),
    privacy={"epsilon": "4.05", "rounds": 100, "amplified": True},
    evaluation=({"metric": "ndcg@10", "value": "0.1", "source": "synthetic"},),
)


def _sign(message: bytes) -> tuple[str, bytes]:
    """Sign with a keyed hash: these tests are about the format, not about the signature."""
    return key_id(PUBLIC), hashlib.sha256(PUBLIC + message).digest()


def _verify(public: bytes, signature: bytes, message: bytes) -> bool:
    return hashlib.sha256(public + message).digest() == signature


TRUST = Trust(verify=_verify, trusted={key_id(PUBLIC): PUBLIC})

MODELS: dict[str, Callable[[], Recommender]] = {
    "mean": lambda: TwoTower(ITEMS, np.zeros((ITEMS, 0), np.float32), dim=8),
    "mean-repeat": lambda: TwoTower(ITEMS, np.zeros((ITEMS, 0), np.float32), dim=8, repeat=2.0),
    "ridge": lambda: MatrixFactorization(ITEMS, dim=8),
    "none": lambda: Popularity(ITEMS),
}


def _exported(encoder: str) -> Exported:
    model, rng = MODELS[encoder](), np.random.default_rng(0)
    flat = model.init(rng)
    return model.export(flat + 0.1 * rng.standard_normal(flat.size, np.float32))


def _write(folder: Path, encoder: str = "mean", facts: BundleFacts = FACTS) -> str:
    ids = [f"SKU-{i}" for i in range(ITEMS)]
    return write_bundle(folder, _exported(encoder), item_ids=ids, facts=facts, sign=_sign)


@pytest.mark.parametrize("encoder", MODELS)
def test_written_bundle_opens_and_ranks_like_the_packed_model(tmp_path: Path, encoder: str) -> None:
    digest = _write(tmp_path / "model.hbm", encoder)
    bundle = open_bundle(tmp_path / "model.hbm", TRUST, now=1_500)
    assert bundle.digest == digest
    assert bundle.manifest.facts == FACTS
    assert bundle.item_ids[7] == "SKU-7"
    assert bundle.index["SKU-7"] == 7
    wanted = Ranker(pack(_exported(encoder)))
    for history in ([], [3], [3, 9, 9, 1]):
        assert bundle.ranker.top(history, 10) == wanted.top(history, 10)


def test_folder_holds_exactly_the_files_of_the_format(tmp_path: Path) -> None:
    _write(tmp_path / "model.hbm")
    assert sorted(path.name for path in (tmp_path / "model.hbm").iterdir()) == [
        "card.json",
        "golden.json",
        "items.json",
        "manifest.json",
        "manifest.sig.json",
        "model.safetensors",
    ]


def test_manifest_is_canonical_and_its_digest_is_the_name(tmp_path: Path) -> None:
    digest = _write(tmp_path / "model.hbm", "ridge")
    data = (tmp_path / "model.hbm" / "manifest.json").read_bytes()
    manifest = json.loads(data)
    assert canonical(manifest) == data
    assert hashlib.sha256(data).hexdigest() == digest
    assert manifest["arch"] == {
        "encoder": "ridge",
        "n_items": ITEMS,
        "dim": 8,
        "hidden": 0,
        "history_max": 64,
        "history_decay": "0.9",
        "n_context": 0,
        "quant": "int8-row",
        "ridge": "0.1",
        "unseen_weight": "0.1",
    }
    assert manifest["eval"] == list(FACTS.evaluation)
    assert manifest["files"]["items.json"]["size"] == len(
        (tmp_path / "model.hbm" / "items.json").read_bytes()
    )


def test_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    assert _write(tmp_path / "a.hbm") == _write(tmp_path / "b.hbm")


def test_existing_target_is_refused_and_left_alone(tmp_path: Path) -> None:
    _write(tmp_path / "model.hbm")
    before = (tmp_path / "model.hbm" / "manifest.json").read_bytes()
    with pytest.raises(ValueError, match="exists already"):
        _write(tmp_path / "model.hbm", facts=replace(FACTS, version="v2"))
    assert (tmp_path / "model.hbm" / "manifest.json").read_bytes() == before


@pytest.mark.parametrize("call", range(8))
def test_crash_at_any_write_leaves_no_bundle_and_no_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    calls, sync = [0], os.fsync

    def failing(descriptor: int) -> None:
        calls[0] += 1
        if calls[0] == call:
            raise OSError(28, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr("os.fsync", failing)
    if call == 0:
        _write(tmp_path / "model.hbm")
        assert calls[0] == 8  # six files, their folder, the folder above
        return
    with pytest.raises(OSError, match="No space"):
        _write(tmp_path / "model.hbm")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("ids", "reason"),
    [([f"i{n}" for n in range(ITEMS - 1)], "distinct"), (["a"] * ITEMS, "distinct")],
    ids=["short", "repeated"],
)
def test_ids_that_do_not_fit_the_table_are_refused(
    tmp_path: Path, ids: list[str], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        write_bundle(
            tmp_path / "model.hbm", _exported("mean"), item_ids=ids, facts=FACTS, sign=_sign
        )
    assert list(tmp_path.iterdir()) == []


def test_float_among_the_facts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="float"):
        _write(tmp_path / "model.hbm", facts=replace(FACTS, privacy={"epsilon": 4.05}))
    assert list(tmp_path.iterdir()) == []


def test_bundle_of_2378_items_has_the_promised_size(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    model = TwoTower(2_378, np.zeros((2_378, 0), np.float32), dim=32)
    ids = [f"{i}" for i in range(2_378)]
    write_bundle(
        tmp_path / "model.hbm", model.export(model.init(rng)), item_ids=ids, facts=FACTS, sign=_sign
    )
    size = sum(path.stat().st_size for path in (tmp_path / "model.hbm").iterdir())
    assert size < 300_000


def test_model_that_could_overflow_is_not_published(tmp_path: Path) -> None:
    exported = replace(_exported("mean"), bias=np.full(ITEMS, 2e4, np.float32))
    ids = [f"{i}" for i in range(ITEMS)]
    with pytest.raises(ValueError, match="b must be finite"):
        write_bundle(tmp_path / "model.hbm", exported, item_ids=ids, facts=FACTS, sign=_sign)
