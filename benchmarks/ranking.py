"""The first ten items on the device, beside plain numpy and ONNX Runtime called bare.

    python benchmarks/ranking.py [--rounds 200]

One process, one thread; contestants take turns, so that a busy machine slows all of them, and a
ratio is the median of the ratios of the turns. Prints one line of JSON: milliseconds, ratios, and
the memory of processes that do nothing but open a bundle and rank. Under a minute.

Ours starts from a history of 64 events and refuses what is not finite; both references are given
the user vector.
"""

import os

for _library in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_library, "1")  # before numpy loads

import argparse  # noqa: E402
import json  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Mapping, Sequence  # noqa: E402
from importlib.util import find_spec  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
import numpy.typing as npt  # noqa: E402

from homebody_models.history import HistoryWindow  # noqa: E402
from homebody_models.quantise import PackedModel  # noqa: E402
from homebody_models.ranking import Ranker  # noqa: E402

SMALL, LARGE, DIM = 3_706, 100_000, 64
TOP = 10
_EVENTS = 64
_WARM = 20

Array = npt.NDArray[np.float32]
Work = Callable[[], object]


def model_of(items: int) -> PackedModel:
    """Return a model of random rows."""
    rng = np.random.default_rng(items)
    return PackedModel(
        encoder="mean",
        rows=rng.integers(-127, 128, (items, DIM)).astype(np.int8),
        scale=rng.uniform(0.001, 0.01, items).astype(np.float32),
        bias=rng.standard_normal(items).astype(np.float32),
        window=HistoryWindow(_EVENTS, 0.9),
    )


def expanded(model: PackedModel) -> Array:
    """Return the item table in float32."""
    table: Array = model.rows * model.scale[:, None]
    return table


def plain_numpy(table: Array, bias: Array, user: Array) -> npt.NDArray[np.int64]:
    """Rank as a script would: a product, argpartition, a sort of ten."""
    scores = table @ user + bias
    best = np.argpartition(scores, -TOP)[-TOP:]
    return best[np.argsort(-scores[best])]


def bare_runtime(table: Array, bias: Array, *, tuned: bool) -> Callable[[Array], Any]:
    """Return ONNX Runtime's own ranking: Gemm with the bias, then TopK, in one session.

    ``tuned`` forbids it to pack the table, as the accelerator does: half the time for one vector.
    """
    import onnxruntime  # noqa: PLC0415 optional
    from onnx import TensorProto, helper, numpy_helper  # noqa: PLC0415 optional

    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["user", "table", "bias"], ["scores"], transB=int(not tuned)),
            helper.make_node("TopK", ["scores", "k"], ["values", "items"]),
        ],
        "ranking",
        [value("user", TensorProto.FLOAT, [1, DIM])],
        [value("values", TensorProto.FLOAT, [1, TOP]), value("items", TensorProto.INT64, [1, TOP])],
        [
            numpy_helper.from_array(np.ascontiguousarray(table.T) if tuned else table, "table"),
            numpy_helper.from_array(bias[None], "bias"),
            numpy_helper.from_array(np.array([TOP], np.int64), "k"),
        ],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    if tuned:
        options.add_session_config_entry("session.disable_prepacking", "1")
    session = onnxruntime.InferenceSession(
        made.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda user: session.run(None, {"user": user[None]})


def taking_turns(works: Mapping[str, Work], rounds: int) -> dict[str, npt.NDArray[np.float64]]:
    """Return milliseconds of each work for each round; who begins changes from round to round."""
    names = list(works)
    taken: dict[str, list[float]] = {name: [] for name in names}
    for number in range(_WARM + rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            started = time.perf_counter_ns()
            works[name]()
            taken[name].append((time.perf_counter_ns() - started) / 1e6)
    return {name: np.array(times[_WARM:]) for name, times in taken.items()}


def contestants(items: int) -> dict[str, Work]:
    """Return what ranks ``items`` items: ours, plain numpy and, where installed, the runtime."""
    model = model_of(items)
    table, bias, ranker = expanded(model), model.bias, Ranker(model)
    rng = np.random.default_rng(1)
    history = rng.integers(0, items, _EVENTS)
    user = table[history].mean(axis=0)
    works: dict[str, Work] = {
        "ours": lambda: ranker.top(history, TOP),
        "numpy": lambda: plain_numpy(table, bias, user),
    }
    if find_spec("onnxruntime") and find_spec("onnx"):
        from homebody_client.accelerate import OnnxTable  # noqa: PLC0415 optional

        fast = Ranker(model, OnnxTable(model.rows, model.scale))
        bare, tuned = (bare_runtime(table, bias, tuned=tuned) for tuned in (False, True))
        works["accelerated"] = lambda: fast.top(history, TOP)
        works["runtime"] = lambda: bare(user)
        works["tuned-runtime"] = lambda: tuned(user)
    return works


def measure(rounds: int = 200) -> dict[str, Any]:
    """Return milliseconds (median, 95th percentile) and ratios, by catalog size.

    Args:
        rounds: Turns that count.

    Returns:
        ``{"3706": {"ours": [p50, p95], ..., "ratios": {"ours/numpy": 1.1, ...}}, "100000": ...}``.
        Names: ``ours``, ``numpy`` and, where onnxruntime is installed, ``accelerated`` (ours over
        the runtime), ``runtime`` (as it comes) and ``tuned-runtime``.
    """
    figures: dict[str, Any] = {}
    for items in (SMALL, LARGE):
        times = taking_turns(contestants(items), rounds)
        shown: dict[str, Any] = {
            name: [round(float(np.median(t)), 4), round(float(np.quantile(t, 0.95)), 4)]
            for name, t in times.items()
        }
        shown["ratios"] = {
            f"{one}/{other}": round(float(np.median(times[one] / times[other])), 3)
            for one in ("ours", "accelerated")
            for other in ("numpy", "runtime", "tuned-runtime")
            if one in times and other in times
        }
        figures[str(items)] = shown
    return figures


def memory(folder: Path, *, fast: bool = False) -> float:
    """Return the MB a fresh process holds at most while it opens a bundle and ranks."""
    command = [sys.executable, __file__, "--rank", str(folder), *(["--fast"] if fast else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 ourselves
    return float(done.stdout)


def _rank_alone(folder: Path, *, fast: bool) -> float:
    """Open a bundle, rank, and return the most MB this process held."""
    from homebody_client.bundles import open_model, trust_key  # noqa: PLC0415 counted

    bundle = open_model(folder / "model.hbm", trust_key((folder / "key").read_bytes()), now=2)
    if fast:
        from homebody_client.accelerate import accelerated  # noqa: PLC0415 counted

        bundle, _ = accelerated(bundle)
    bundle.ranker.top([1, 2, 3], TOP)
    status = Path("/proc/self/status").read_text("ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1_000


def _write_bundle(folder: Path, items: int) -> None:
    """Write a bundle to measure memory with."""
    from homebody_models.bundle import BundleFacts, write_bundle  # noqa: PLC0415 not by the measured
    from homebody_models.recommender import Exported  # noqa: PLC0415 not by the measured
    from homebody_privacy.signing import SigningKey  # noqa: PLC0415 not by the measured

    key, model = SigningKey(bytes(32)), model_of(items)
    exported = Exported(
        encoder="mean",
        embeddings=expanded(model),
        bias=model.bias,
        history_max=_EVENTS,
        history_decay=0.9,
    )
    facts = BundleFacts(
        model_id="bench",
        version="v1",
        serial=1,
        created=1,
        expires=3,
        catalog_sha256="0" * 64,
        privacy={},
    )

    def sign(message: bytes) -> tuple[str, bytes]:
        return key.key_id, key.sign(message)

    ids = [f"SKU-{i}" for i in range(items)]
    write_bundle(folder / "model.hbm", exported, item_ids=ids, facts=facts, sign=sign)
    (folder / "key").write_bytes(key.public)


def memories() -> dict[str, float]:
    """Return the MB of a process that ranks, by catalog size and engine."""
    engines = [False, True] if find_spec("onnxruntime") and find_spec("onnx") else [False]
    found = {}
    for items in (SMALL, LARGE):
        with tempfile.TemporaryDirectory() as folder:
            _write_bundle(Path(folder), items)
            for fast in engines:
                name = f"{items} accelerated" if fast else f"{items}"
                found[name] = round(memory(Path(folder), fast=fast), 1)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--rank", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--fast", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.rank is not None:
        print(_rank_alone(asked.rank, fast=asked.fast))
        return
    print(json.dumps({"ms": measure(asked.rounds), "memory_mb": memories()}))


if __name__ == "__main__":
    main()
