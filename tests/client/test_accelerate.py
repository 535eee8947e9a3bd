"""The accelerator: numpy's scores to 1e-5 on a verified bundle, or numpy itself, and why."""

import importlib
import itertools
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homebody_client import accelerate
from homebody_client.accelerate import OnnxTable, accelerated
from homebody_client.bundles import open_model, trust_key
from homebody_models.bundle import BundleFacts, ModelBundle, write_bundle
from homebody_models.item_table import ChunkedTable
from homebody_models.ranking import Ranker
from homebody_models.recommender import Exported
from homebody_privacy.signing import SigningKey

ITEMS, DIM = 300, 9
NOW = 1_800_000_000
KEY = SigningKey(bytes(32))
FACTS = BundleFacts(
    model_id="shop",
    version="v1",
    serial=1,
    created=NOW - 10,
    expires=NOW + 10,
    catalog_sha256="0" * 64,
    privacy={"epsilon": "4.05"},
)
_NUMBERS: dict[str, dict[str, Any]] = {
    "none": {},
    "mean": {},
    "mean-repeat": {"repeat": 2.0},
    "ridge": {"ridge": 0.1, "unseen_weight": 0.1},
}


def _bundle(folder: Path, encoder: str) -> ModelBundle:
    rng = np.random.default_rng(3)
    exported = Exported(
        encoder=encoder,
        embeddings=rng.standard_normal((ITEMS, 0 if encoder == "none" else DIM), np.float32),
        bias=rng.standard_normal(ITEMS, np.float32),
        history_max=64,
        history_decay=0.9,
        **_NUMBERS[encoder],
    )
    ids = [f"SKU-{i}" for i in range(ITEMS)]

    def sign(message: bytes) -> tuple[str, bytes]:
        return KEY.key_id, KEY.sign(message)

    write_bundle(folder, exported, item_ids=ids, facts=FACTS, sign=sign)
    return open_model(folder, trust_key(KEY.public), now=NOW)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ModelBundle]:
    folder = tmp_path_factory.mktemp("bundles")
    return {encoder: _bundle(folder / encoder, encoder) for encoder in _NUMBERS}


def _clock(*, numpy: float, runtime: float) -> Callable[[], float]:
    """Return a clock by which the products, which take turns, last that long."""
    steps = itertools.cycle([0.0, numpy, 0.0, runtime])
    return itertools.accumulate(steps).__next__


@pytest.fixture(scope="module")
def fast(bundles: dict[str, ModelBundle]) -> dict[str, ModelBundle]:
    """Return the bundles that have a table, on ONNX Runtime."""
    pytest.importorskip("onnxruntime", reason="the extra accelerate is not installed")
    pytest.importorskip("onnx", reason="the extra accelerate is not installed")
    served = {
        name: accelerated(bundle, clock=_clock(numpy=2.0, runtime=1.0))
        for name, bundle in bundles.items()
        if name != "none"
    }
    assert {engine.name for _, engine in served.values()} == {"onnxruntime"}
    return {name: bundle for name, (bundle, _) in served.items()}


@settings(max_examples=60)
@given(
    encoder=st.sampled_from(["mean", "mean-repeat", "ridge"]),
    history=st.lists(st.integers(0, ITEMS - 1), max_size=80),
    gain=st.floats(0, 1),
)
def test_scores_are_numpys_to_1e_5(
    bundles: dict[str, ModelBundle],
    fast: dict[str, ModelBundle],
    encoder: str,
    history: list[int],
    gain: float,
) -> None:
    wanted = bundles[encoder].ranker.scores(history, gain=gain)
    got = fast[encoder].ranker.scores(history, gain=gain)
    assert got.dtype == np.float32
    assert np.abs(got - wanted).max() <= 1e-5
    top = fast[encoder].ranker.top(history, 10, gain=gain)
    assert [score for _, score in top] == pytest.approx(np.sort(wanted)[::-1][:10], abs=1e-5)


@pytest.mark.usefixtures("fast")
def test_the_other_answers_of_the_table_are_numpys() -> None:
    rng = np.random.default_rng(0)
    rows = rng.integers(-127, 128, (50, 7)).astype(np.int8)
    scale = rng.uniform(0.001, 0.1, 50).astype(np.float32)
    table, numpys = OnnxTable(rows, scale), ChunkedTable(rows, scale)
    some = np.array([3, 3, 49])
    assert table.shape == (50, 7)
    assert np.array_equal(table.rows(some), numpys.rows(some))
    assert np.array_equal(table.gram(), numpys.gram())
    assert np.array_equal(table.lengths(), numpys.lengths())


@pytest.mark.usefixtures("fast")
def test_an_engine_that_misses_a_golden_score_does_not_serve(
    bundles: dict[str, ModelBundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = OnnxTable.times

    def wrong(self: OnnxTable, user: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return right(self, user) + np.float32(1e-3)

    monkeypatch.setattr(OnnxTable, "times", wrong)
    served, engine = accelerated(bundles["mean"], clock=_clock(numpy=2.0, runtime=1.0))
    assert served is bundles["mean"]
    assert engine.name == "numpy"
    assert "golden case" in engine.why


@pytest.mark.usefixtures("fast")
def test_an_engine_that_is_not_quicker_does_not_serve(bundles: dict[str, ModelBundle]) -> None:
    served, engine = accelerated(bundles["mean"], clock=_clock(numpy=1.0, runtime=1.0))
    assert served is bundles["mean"]
    assert engine == accelerate.Engine("numpy", "onnxruntime is not quicker with this table")


@pytest.mark.usefixtures("fast")
def test_the_golden_lists_are_the_publishers_not_numpys_own(
    bundles: dict[str, ModelBundle],
) -> None:
    golden = json.loads(bundles["mean"].golden)
    golden["cases"][1]["scores"][0] += 0.01
    changed = replace(bundles["mean"], golden=json.dumps(golden).encode())
    served, engine = accelerated(changed, clock=_clock(numpy=2.0, runtime=1.0))
    assert (served, engine.name) == (changed, "numpy")


def test_a_model_without_a_table_stays_on_numpy(bundles: dict[str, ModelBundle]) -> None:
    served, engine = accelerated(bundles["none"])
    assert served is bundles["none"]
    assert engine == accelerate.Engine("numpy", "this model has no item table to multiply with")


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime"])
def test_numpy_serves_where_a_package_is_missing(
    bundles: dict[str, ModelBundle], monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    def load(name: str) -> ModuleType:
        if name in {missing, "onnxruntime"}:  # the second may be missing here for good
            raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)
        return importlib.import_module(name)

    monkeypatch.setattr(accelerate, "import_module", load)
    served, engine = accelerated(bundles["mean"])
    assert served is bundles["mean"]
    assert engine.name == "numpy"
    assert missing in engine.why


def test_threads_below_one_are_refused(bundles: dict[str, ModelBundle]) -> None:
    with pytest.raises(ValueError, match="threads must be at least 1"):
        accelerated(bundles["mean"], threads=0)


def test_a_table_given_to_a_ranker_is_the_one_it_uses(bundles: dict[str, ModelBundle]) -> None:
    class Doubled(ChunkedTable):
        __slots__ = ()

        def times(self, user: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
            return 2 * super().times(user)

    model = bundles["mean"].model
    once, twice = Ranker(model), Ranker(model, Doubled(model.rows, model.scale))
    drawn = once.scores([5]) - model.bias
    assert twice.scores([5]) - model.bias == pytest.approx(2 * drawn, abs=1e-5)


def test_importing_the_module_loads_no_runtime() -> None:
    code = (
        "import sys, homebody_client.accelerate\n"
        "print([name for name in ('onnx', 'onnxruntime') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
