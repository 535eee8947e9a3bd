"""The item table a device multiplies with: float32 if small, else int8 taken in chunks.

A table of at most 4 MB in float32 is expanded once. A larger one stays int8 in memory and is
expanded 4,096 rows at a time, which is as fast and takes a quarter of the memory.
"""

from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

_DENSE_BYTES: Final = 4_000_000
_CHUNK: Final = 4_096


class ItemTable(Protocol):
    """Rows of an item table, whatever form they are kept in."""

    @property
    def shape(self) -> tuple[int, int]:
        """Items and width."""
        ...

    def rows(self, items: npt.NDArray[np.int64]) -> Array:
        """Return rows in float32, shape ``(len(items), dim)``."""
        ...

    def times(self, user: Array) -> Array:
        """Return the product of the table with a user vector, shape ``(items,)``."""
        ...

    def gram(self) -> npt.NDArray[np.float64]:
        """Return the table's transpose times the table, shape ``(dim, dim)``."""
        ...

    def lengths(self) -> Array:
        """Return the Euclidean length of each row, shape ``(items,)``."""
        ...


class DenseTable:
    """A table in float32."""

    __slots__ = ("_table",)

    def __init__(self, table: Array) -> None:
        """Keep ``table`` of shape ``(items, dim)``."""
        self._table = np.ascontiguousarray(table, np.float32)

    @property
    def shape(self) -> tuple[int, int]:
        """Items and width."""
        return self._table.shape[0], self._table.shape[1]

    def rows(self, items: npt.NDArray[np.int64]) -> Array:
        """Return rows, shape ``(len(items), dim)``."""
        return self._table[items]

    def times(self, user: Array) -> Array:
        """Return the product with a user vector, shape ``(items,)``."""
        return self._table @ user

    def gram(self) -> npt.NDArray[np.float64]:
        """Return the transpose times the table, shape ``(dim, dim)``."""
        return (self._table.T @ self._table).astype(np.float64)

    def lengths(self) -> Array:
        """Return the length of each row, shape ``(items,)``."""
        lengths: Array = np.sqrt(np.einsum("ij,ij->i", self._table, self._table))
        return lengths


class ChunkedTable:
    """A table in int8 with a scale per row, expanded in chunks."""

    __slots__ = ("_rows", "_scale")

    def __init__(self, rows: npt.NDArray[np.int8], scale: Array) -> None:
        """Keep ``rows`` of shape ``(items, dim)`` and ``scale`` of shape ``(items,)``."""
        self._rows, self._scale = rows, scale

    @property
    def shape(self) -> tuple[int, int]:
        """Items and width."""
        return self._rows.shape[0], self._rows.shape[1]

    def rows(self, items: npt.NDArray[np.int64]) -> Array:
        """Return rows in float32, shape ``(len(items), dim)``."""
        return self._rows[items] * self._scale[items, None]

    def times(self, user: Array) -> Array:
        """Return the product with a user vector, shape ``(items,)``."""
        product = np.empty(len(self._rows), np.float32)
        expanded = np.empty((_CHUNK, self.shape[1]), np.float32)  # one for all chunks
        for start in range(0, len(product), _CHUNK):
            rows = self._rows[start : start + _CHUNK]
            np.copyto(expanded[: len(rows)], rows)
            np.dot(expanded[: len(rows)], user, out=product[start : start + _CHUNK])
        product *= self._scale
        return product

    def gram(self) -> npt.NDArray[np.float64]:
        """Return the transpose times the table, shape ``(dim, dim)``."""
        total = np.zeros((self.shape[1], self.shape[1]))
        for start in range(0, len(self._rows), _CHUNK):
            part = slice(start, start + _CHUNK)
            expanded = self._rows[part] * self._scale[part, None]
            total += expanded.T @ expanded
        return total

    def lengths(self) -> Array:
        """Return the length of each row, shape ``(items,)``."""
        lengths = np.empty(len(self._rows), np.float32)
        for start in range(0, len(lengths), _CHUNK):
            part = slice(start, start + _CHUNK)
            expanded = self._rows[part].astype(np.float32)
            lengths[part] = np.sqrt(np.einsum("ij,ij->i", expanded, expanded))
        return lengths * self._scale


def int8_table(rows: npt.NDArray[np.int8], scale: Array) -> ItemTable:
    """Return the form a quantised table is served from: dense up to 4 MB, else chunked."""
    if rows.size * 4 <= _DENSE_BYTES:
        return DenseTable(rows * scale[:, None])
    return ChunkedTable(rows, scale)
