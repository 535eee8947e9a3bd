"""The safetensors format for the few tensors of a bundle, read without trusting it.

Eight bytes of little-endian header length, a JSON header, then the tensors without a gap
(https://github.com/huggingface/safetensors). Widest dtype first and the header padded to eight, so
that a browser can lay typed views over the bytes.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from homebody_models.strict_json import strict_loads

LARGEST_HEADER: Final = 1 << 20
_LENGTH: Final = 8  # bytes of the header length, and the alignment of the header
_DTYPES: Final[Mapping[str, str]] = {"F32": "<f4", "I8": "|i1"}

Tensor = npt.NDArray[np.float32] | npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """What a tensor must look like: ``F32`` or ``I8``, and its shape."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Bytes of the tensor."""
        return math.prod(self.shape) * np.dtype(_DTYPES[self.dtype]).itemsize


def encode_tensors(tensors: Mapping[str, Tensor]) -> bytes:
    """Return float32 and int8 tensors as one file.

    Raises:
        ValueError: If a tensor has another dtype.

    Examples:
        >>> data = encode_tensors({"b": np.array([1.5], np.float32)})
        >>> decode_tensors(data, {"b": TensorSpec("F32", (1,))})["b"].tolist()
        [1.5]
    """
    codes = {np.dtype(kind): code for code, kind in _DTYPES.items()}
    if not all(tensor.dtype in codes for tensor in tensors.values()):
        raise ValueError("a bundle holds float32 and int8 tensors only")
    header: dict[str, object] = {}
    body = b""
    for name, tensor in sorted(tensors.items(), key=lambda entry: (-entry[1].itemsize, entry[0])):
        start, code = len(body), codes[tensor.dtype]
        body += np.ascontiguousarray(tensor, _DTYPES[code]).tobytes()
        offsets = [start, len(body)]
        header[name] = {"dtype": code, "shape": list(tensor.shape), "data_offsets": offsets}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _LENGTH)
    return len(text).to_bytes(_LENGTH, "little") + text + body


def decode_tensors(data: bytes, expected: Mapping[str, TensorSpec]) -> dict[str, Tensor]:
    """Return the tensors of a file, which must be exactly the expected ones.

    Args:
        data: The whole file.
        expected: Name, dtype and shape of each tensor.

    Returns:
        Read-only arrays over ``data``.

    Raises:
        ValueError: If the header is too long or malformed, if a tensor is missing, unexpected or
            of another dtype or shape, or if the offsets leave a gap, overlap or pass the end.
    """
    length = int.from_bytes(data[:_LENGTH], "little")
    if len(data) < _LENGTH or length > LARGEST_HEADER or length > len(data) - _LENGTH:
        raise ValueError(f"the header of {length} bytes does not fit")
    if length % _LENGTH:
        raise ValueError("the header is not padded to 8 bytes")
    header = strict_loads(data[_LENGTH : _LENGTH + length])
    if not isinstance(header, dict) or set(header) != set(expected):
        raise ValueError(f"the tensors must be exactly {', '.join(sorted(expected))}")
    body = memoryview(data)[_LENGTH + length :]
    spans = {name: _span(name, header[name], spec) for name, spec in expected.items()}
    end = 0
    for start, stop in sorted(spans.values()):
        if start != end:
            raise ValueError("the tensors overlap or leave a gap")
        end = stop
    if end != len(body):
        raise ValueError(f"the tensors end at {end}, the file at {len(body)}")
    return {
        name: np.frombuffer(body[slice(*spans[name])], _DTYPES[spec.dtype]).reshape(spec.shape)
        for name, spec in expected.items()
    }


def _span(name: str, entry: object, spec: TensorSpec) -> tuple[int, int]:
    """Return the offsets of a header entry that is as expected."""
    fields = {"dtype", "shape", "data_offsets"}
    if not isinstance(entry, dict) or set(entry) != fields:
        raise ValueError(f"tensor {name} must have exactly dtype, shape and data_offsets")
    if entry["dtype"] != spec.dtype or entry["shape"] != list(spec.shape):
        raise ValueError(f"tensor {name} must be {spec.dtype} of shape {list(spec.shape)}")
    match entry["data_offsets"]:
        case [int(start), int(stop)] if 0 <= start <= stop and stop - start == spec.size:
            return start, stop
        case _:
            raise ValueError(f"tensor {name} must span {spec.size} bytes")
