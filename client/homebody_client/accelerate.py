"""Score items with ONNX Runtime where it is installed, agrees, and is quicker; else with numpy.

The runtime gets a graph of one product, built here over the verified rows: nothing that a bundle
carries is executed. The product is a Gemm over the transposed table, which the runtime may not pack
again: packed, it took twice as long and twice the memory, and a MatMul with a vector 24 times as
long. Needs the extra ``accelerate``, whose packages load on use only.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from homebody_models.bundle import ModelBundle
from homebody_models.golden import check_golden
from homebody_models.item_table import Array, ChunkedTable, ItemTable, int8_table
from homebody_models.ranking import Ranker

NUMPY: Final = "numpy"
ONNX_RUNTIME: Final = "onnxruntime"

_OPSET: Final = 17
_IR_VERSION: Final = 9
_ERRORS_ONLY: Final = 3
_USER: Final = "user"
_TABLE: Final = "table"
_SCORES: Final = "scores"
_TRIALS: Final = 7


@dataclass(frozen=True, slots=True)
class Engine:
    """What computes the scores, and why it is that one. Public.

    Attributes:
        name: ``onnxruntime`` or ``numpy``.
        why: One sentence.
    """

    name: str
    why: str


class OnnxTable(ChunkedTable):
    """An item table whose product is computed by ONNX Runtime; the rest is numpy's.

    Args:
        rows: int8 of shape ``(items, dim)``, ``dim`` at least 1.
        scale: float32 of shape ``(items,)``.
        threads: Threads of the runtime.

    Raises:
        ImportError: If onnx or onnxruntime is not installed.
    """

    __slots__ = ("_held", "_session")

    def __init__(self, rows: npt.NDArray[np.int8], scale: Array, *, threads: int = 1) -> None:
        """Build the graph of the product and load it."""
        super().__init__(rows, scale)
        transposed = np.empty(rows.shape[::-1], np.float32)
        np.multiply(rows.T, scale, out=transposed)
        self._session, self._held = _session(transposed, threads)

    def times(self, user: Array) -> Array:
        """Return the product with a user vector, shape ``(items,)``."""
        product: Array = self._session.run([_SCORES], {_USER: user[None]})[0][0]
        return product


def accelerated(
    bundle: ModelBundle, *, threads: int = 1, clock: Callable[[], float] = time.perf_counter
) -> tuple[ModelBundle, Engine]:
    """Return the bundle on the quickest engine that gives its golden lists.

    Args:
        bundle: A verified model.
        threads: Threads of the runtime, at least 1. One does not fight with the rest of an app.
        clock: Seconds, to compare the engines with.

    Returns:
        The bundle, with another ranker where ONNX Runtime serves, and the engine that serves.

    Raises:
        ValueError: If ``threads`` is below 1.

    Guarantees:
        The ranker returned passed the golden lists of the bundle.
    """
    if threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}")
    model = bundle.model
    if model.encoder == "none":
        return bundle, Engine(NUMPY, "this model has no item table to multiply with")
    try:
        table = OnnxTable(model.rows, model.scale, threads=threads)
    except ImportError as error:
        return bundle, Engine(NUMPY, f"the extra accelerate is not installed: {error.name}")
    ranker = Ranker(model, table)
    try:
        check_golden(bundle.golden, ranker)
    except ValueError as error:
        return bundle, Engine(NUMPY, f"{ONNX_RUNTIME} was refused: {error}")
    ours, theirs = _seconds([int8_table(model.rows, model.scale), table], clock)
    if ours <= theirs:
        return bundle, Engine(NUMPY, f"{ONNX_RUNTIME} is not quicker with this table")
    why = f"it gives the golden lists and is quicker: {theirs / ours:.2f} of numpy's time"
    return replace(bundle, ranker=ranker), Engine(ONNX_RUNTIME, why)


def _seconds(tables: list[ItemTable], clock: Callable[[], float]) -> list[float]:
    """Return the least time of a product with each table; they take turns."""
    user = np.ones(tables[0].shape[1], np.float32)
    taken: list[list[float]] = [[] for _ in tables]
    for _ in range(_TRIALS):
        for table, times in zip(tables, taken, strict=True):
            started = clock()
            table.times(user)
            times.append(clock() - started)
    return [min(times) for times in taken]


def _session(transposed: Array, threads: int) -> tuple[Any, Any]:
    """Load a graph of ``scores = user table``; return it and what must live as long."""
    onnx: Any = import_module("onnx")
    onnxruntime: Any = import_module("onnxruntime")
    onnxruntime.disable_telemetry_events()
    dim, items = transposed.shape
    real = onnx.TensorProto.FLOAT
    table = onnx.TensorProto(name=_TABLE, data_type=real, dims=[dim, items])
    table.data_location = onnx.TensorProto.EXTERNAL  # not a file: it is given below
    table.external_data.add(key="location", value=_TABLE)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Gemm", [_USER, _TABLE], [_SCORES])],
        _SCORES,
        [onnx.helper.make_tensor_value_info(_USER, real, [1, dim])],
        [onnx.helper.make_tensor_value_info(_SCORES, real, [1, items])],
        [table],
    )
    opsets = [onnx.helper.make_opsetid("", _OPSET)]
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)
    held = onnxruntime.OrtValue.ortvalue_from_numpy(transposed)
    options = onnxruntime.SessionOptions()
    options.add_external_initializers([_TABLE], [held])
    options.add_session_config_entry("session.disable_prepacking", "1")
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session, held
