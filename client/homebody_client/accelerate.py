"""Score items with ONNX Runtime where it is installed, and with numpy wherever it disagrees.

The runtime gets a graph of one product, built here from the verified rows: nothing that a bundle
carries is executed. The product is written as Gemm: as a MatMul with a vector the runtime takes 24
times as long for it. Needs the extra ``accelerate``, whose packages load on use only.
"""

from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from homebody_models.bundle import ModelBundle
from homebody_models.golden import check_golden
from homebody_models.item_table import Array, ChunkedTable
from homebody_models.ranking import Ranker

NUMPY: Final = "numpy"
ONNX_RUNTIME: Final = "onnxruntime"

_OPSET: Final = 17
_IR_VERSION: Final = 9
_ERRORS_ONLY: Final = 3
_USER: Final = "user"
_SCORES: Final = "scores"


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

    __slots__ = ("_session",)

    def __init__(self, rows: npt.NDArray[np.int8], scale: Array, *, threads: int = 1) -> None:
        """Build the graph of the product and load it."""
        super().__init__(rows, scale)
        self._session = _session(rows * scale[:, None], threads)

    def times(self, user: Array) -> Array:
        """Return the product with a user vector, shape ``(items,)``."""
        product: Array = self._session.run([_SCORES], {_USER: user[None]})[0][0]
        return product


def accelerated(bundle: ModelBundle, *, threads: int = 1) -> tuple[ModelBundle, Engine]:
    """Return the bundle on the fastest engine that gives its golden lists.

    Args:
        bundle: A verified model.
        threads: Threads of the runtime, at least 1. One does not fight with the rest of an app.

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
    return replace(bundle, ranker=ranker), Engine(ONNX_RUNTIME, "it gives the golden lists")


def _session(table: Array, threads: int) -> Any:  # noqa: ANN401 onnxruntime ships no types
    """Load a graph of ``scores = user table^T``."""
    onnx: Any = import_module("onnx")
    onnxruntime: Any = import_module("onnxruntime")
    onnxruntime.disable_telemetry_events()
    items, dim = table.shape
    real = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Gemm", [_USER, "table"], [_SCORES], transB=1)],
        _SCORES,
        [onnx.helper.make_tensor_value_info(_USER, real, [1, dim])],
        [onnx.helper.make_tensor_value_info(_SCORES, real, [1, items])],
        [onnx.numpy_helper.from_array(table, "table")],
    )
    opsets = [onnx.helper.make_opsetid("", _OPSET)]
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
