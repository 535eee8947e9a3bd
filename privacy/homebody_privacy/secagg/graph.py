"""Who is whose neighbour, computed by everybody from the roster alone.

Bell et al. (CCS 2020), section 3.1: a ring over the nodes in an order nobody chose, each linked to
the ``neighbours / 2`` next on either side. The order is that of a hash of the roster's digest and
the id: a server can only try other rosters, which costs its bound what it tries.
"""

from collections.abc import Collection, Sequence

from .parameters import SecAggParameters
from .session import ring_place


def ring(node_ids: Sequence[bytes], digest: bytes) -> list[int]:
    """Return the numbers of the nodes in the order of the ring."""
    return sorted(range(len(node_ids)), key=lambda number: ring_place(digest, node_ids[number]))


def neighbours_of(
    node: int, node_ids: Sequence[bytes], digest: bytes, sizes: SecAggParameters
) -> tuple[int, ...]:
    """Return the numbers of one node's neighbours, increasing.

    Args:
        node: Its number: its place in ``node_ids``.
        node_ids: Ids of the roster, increasing.
        digest: R of the roster.
        sizes: Sizes of the sum; ``neighbours`` is even, or all others.
    """
    order = range(len(node_ids)) if sizes.complete else ring(node_ids, digest)
    return _around(order, order.index(node), sizes)


def neighbourhoods(
    node_ids: Sequence[bytes], digest: bytes, sizes: SecAggParameters
) -> list[tuple[int, ...]]:
    """Return the neighbours of every node: a symmetric relation, of one size for all."""
    order = range(len(node_ids)) if sizes.complete else ring(node_ids, digest)
    found: list[tuple[int, ...]] = [()] * len(order)
    for place, node in enumerate(order):
        found[node] = _around(order, place, sizes)
    return found


def holders(node: int, neighbours: Sequence[int], sizes: SecAggParameters) -> tuple[int, ...]:
    """Return who holds shares of a node's secrets: its neighbours, in the complete graph itself."""
    return tuple(sorted((*neighbours, node))) if sizes.complete else tuple(neighbours)


def is_thin(
    alive: Collection[int], node_ids: Sequence[bytes], digest: bytes, sizes: SecAggParameters
) -> bool:
    """Tell whether some run of half a neighbourhood on the ring keeps too few survivors.

    Args:
        alive: Numbers of the survivors.
        node_ids: Ids of the roster, increasing.
        digest: R of the roster.
        sizes: Sizes of the sum; of ``nearby`` 0, none is too few.
    """
    if not sizes.nearby:
        return False
    stays = [node in alive for node in ring(node_ids, digest)]
    half = sizes.neighbours // 2
    near = sum(stays[:half])
    for place, stay in enumerate(stays):  # the run that starts here
        if near < sizes.nearby:
            return True
        near += stays[(place + half) % len(stays)] - stay
    return False


def _around(order: Sequence[int], place: int, sizes: SecAggParameters) -> tuple[int, ...]:
    if sizes.complete:
        return tuple(node for node in order if node != order[place])
    half = sizes.neighbours // 2
    steps = (*range(-half, 0), *range(1, half + 1))
    return tuple(sorted(order[(place + step) % len(order)] for step in steps))
