"""From ordered rows to the arrays of ``Interactions``, and from labels to content features."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from homebody_models.interactions import Catalog, Interactions


def histories(rows: pl.DataFrame, catalog: Catalog, *, repeats: bool) -> Interactions:
    """Pack rows into one history for each device.

    Args:
        rows: Columns ``user`` (any type), ``item`` (index), ``time`` (Unix seconds) and ``value``;
            users adjacent, events of a user oldest first.
        catalog: The items that ``item`` counts.
        repeats: Whether an item may be chosen again.

    Returns:
        Devices in the order of ``rows``; the users themselves are forgotten.

    Raises:
        ValueError: If the rows are not histories over the catalog.
    """
    lengths = rows["user"].rle().struct.field("len").to_numpy()
    return Interactions(
        ptr=np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64),
        items=rows["item"].cast(pl.Int32).to_numpy(),
        times=rows["time"].cast(pl.Int64).to_numpy(),
        values=rows["value"].cast(pl.Float32).to_numpy(),
        repeats=repeats,
        catalog=catalog,
    )


def one_hot(
    label: str, values: Sequence[str | None]
) -> tuple[tuple[str, ...], npt.NDArray[np.float32]]:
    """Encode one label for each item as columns of zeros and ones.

    Args:
        label: Prefix of the column names.
        values: One value for each item; None gives a row of zeros.

    Returns:
        Names ``label=value`` in ascending order, and float32 of shape ``(items, names)``.

    Examples:
        >>> names, columns = one_hot("brand", ["own", None, "other"])
        >>> names
        ('brand=other', 'brand=own')
        >>> columns.tolist()
        [[0.0, 1.0], [0.0, 0.0], [1.0, 0.0]]
    """
    levels = sorted({value for value in values if value is not None})
    column = {level: index for index, level in enumerate(levels)}
    matrix = np.zeros((len(values), len(levels)), dtype=np.float32)
    known = [(row, column[value]) for row, value in enumerate(values) if value is not None]
    if known:
        matrix[tuple(np.array(known).T)] = 1.0
    return tuple(f"{label}={level}" for level in levels), matrix
