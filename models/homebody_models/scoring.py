"""The product of user vectors and an item table, together or each vector on its own."""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]


def products(users: Array, table: Array, out: Array, *, apart: bool) -> None:
    """Write the scores of user vectors into ``out``.

    Args:
        users: User vectors of shape ``(n, dim)``. Secret.
        table: Item table of shape ``(items, dim)``. Public.
        out: Where to, shape ``(n, items)``.
        apart: One product a vector: each row then has the bits that it has when it is alone, which
            one product of all does not promise. It takes about twice as long.
    """
    if apart:
        np.matmul(users[:, None, :], table.T, out=out[:, None, :])
    else:
        np.matmul(users, table.T, out=out)
