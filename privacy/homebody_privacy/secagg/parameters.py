"""How many neighbours, shares and signatures a secure sum over n nodes needs.

Two bounds, as in Bell et al. (CCS 2020, https://eprint.iacr.org/2020/704, section 3), each a union
over all nodes of a hypergeometric tail, in exact integers so that every machine finds the same:

- P[some node has ``threshold`` corrupt neighbours]  <= 2**-40: its secrets would be known;
- P[some node keeps fewer than ``threshold`` neighbours] <= 1e-6: the round would be void.

``fewest_nearby`` keeps the ring whole, as far as drop-outs leave room for it.

They speak of chance: neighbours are drawn by a hash of the roster, corrupt and vanishing nodes are
taken as chosen before it.
"""

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Final, Self

from homebody_privacy.errors import InfeasibleError

LEAST: Final = 3
"""No secure sum is over fewer: a sum of two shows each to the other."""

COMPLETE: Final = 100
"""Up to so many nodes everybody is everybody's neighbour."""

MOST: Final = 100_000
"""Nodes of one sum, at most."""

_KNOWN: Final = 1 << 40  # 1 / P[a secret known to corrupt nodes]
_FILLED: Final = 20  # bits of 1 / P[corrupt nodes alone fill some run of the ring]
_VOID: Final = 10**6  # 1 / P[a round void although no more vanished than promised]


@dataclass(frozen=True, slots=True, kw_only=True)
class SecAggParameters:
    """Sizes of one secure sum. Public.

    Attributes:
        participants: Nodes of the roster, n.
        neighbours: Nodes that each node shares masks and secrets with, k.
        threshold: Shares that open a secret, t. In the complete graph a node's own share counts.
        quorum: Signatures over the survivors that a node asks for before it unmasks, w.
        nearby: Survivors among any ``neighbours / 2`` consecutive places of the ring, at least;
            fewer in two places would cut the sum in two. 0 asks for none.
        least: Vectors of the smallest sum anybody takes part in.
    """

    participants: int
    neighbours: int
    threshold: int
    quorum: int
    nearby: int
    least: int

    def __post_init__(self) -> None:
        """Refuse sizes that protect nobody."""
        if not LEAST <= self.least <= self.participants <= MOST:
            raise ValueError(f"a secure sum needs {LEAST} <= least <= participants <= {MOST}")
        if not 1 <= self.neighbours < self.participants or not 1 < self.threshold <= self.holders:
            raise ValueError("neighbours and threshold do not fit the participants")
        if not 0 <= self.nearby <= self.neighbours // 2 or (self.complete and self.nearby):
            raise ValueError("nearby does not fit the neighbours")
        if not self.participants < 2 * self.quorum <= 2 * self.participants:
            raise ValueError("a quorum is more than half of the participants")

    def to_numbers(self) -> tuple[int, ...]:
        """Return all fields in order."""
        return astuple(self)

    @classmethod
    def from_numbers(cls, numbers: Sequence[int]) -> Self:
        """Return what ``to_numbers`` was made of."""
        return cls(**dict(zip((one.name for one in fields(cls)), numbers, strict=True)))

    @property
    def complete(self) -> bool:
        """Whether all nodes are neighbours."""
        return self.neighbours == self.participants - 1

    @property
    def holders(self) -> int:
        """Nodes that hold a share of one node's secrets; in the complete graph itself too."""
        return self.neighbours + self.complete

    @property
    def tolerated(self) -> int:
        """Nodes that may vanish, wherever they stand, before the quorum is missed."""
        return self.participants - max(self.quorum, self.least)


def choose_parameters(
    participants: int, *, max_corrupt: float, max_dropout: float, least: int = LEAST
) -> SecAggParameters:
    """Return the sizes of a secure sum; every node computes them and refuses any others.

    Args:
        participants: Nodes of the roster, n.
        max_corrupt: Share of them assumed to work with the server, in [0, 1).
        max_dropout: Share that may vanish without voiding the round, in [0, 1).
        least: Vectors of the smallest sum, at least 3.

    Returns:
        For n <= 100 the complete graph, threshold = quorum. Above it the fewest neighbours, always
        even, for which both bounds of this module hold. The quorum is floor((n + c) / 2) + 1 for
        c = ceil(max_corrupt * n): two sets of signers share an honest node.

    Raises:
        ValueError: If a share or ``least`` is out of range.
        InfeasibleError: If there are fewer nodes than ``least``, or the bounds contradict.

    Examples:
        >>> sizes = choose_parameters(100, max_corrupt=0.1, max_dropout=0.3)
        >>> sizes.neighbours, sizes.threshold, sizes.quorum, sizes.tolerated
        (99, 56, 56, 44)
        >>> sizes = choose_parameters(1000, max_corrupt=0.1, max_dropout=0.3)
        >>> sizes.neighbours, sizes.threshold, sizes.quorum
        (88, 36, 551)
    """
    for name, share in (("max_corrupt", max_corrupt), ("max_dropout", max_dropout)):
        if not 0.0 <= share < 1.0:  # false for NaN too
            raise ValueError(f"{name} must be in [0, 1), got {share!r}")
    if least < LEAST:
        raise ValueError(f"least must be at least {LEAST}, got {least}")
    if not least <= participants <= MOST:
        raise InfeasibleError(f"a secure sum is over {least} to {MOST} nodes, not {participants}")
    corrupt = math.ceil(_exact(max_corrupt) * participants)
    quorum = (participants + corrupt) // 2 + 1
    if participants - math.floor(_exact(max_dropout) * participants) < quorum:
        raise InfeasibleError(
            f"with {participants} nodes, {max_corrupt:g} of them corrupt, a secure sum does not"
            f" survive that {max_dropout:g} of them vanish",
            fix="more nodes, or lower max_corrupt or max_dropout",
        )
    if participants <= COMPLETE:
        neighbours, threshold, nearby = participants - 1, quorum, 0
    else:
        gone = math.ceil(_exact(max_dropout) * participants)
        neighbours, threshold = graph_sizes(participants, corrupt=corrupt, gone=gone)
        nearby = fewest_nearby(participants, half=neighbours // 2, corrupt=corrupt, gone=gone)
    return SecAggParameters(
        participants=participants,
        neighbours=neighbours,
        threshold=threshold,
        quorum=quorum,
        nearby=nearby,
        least=least,
    )


@lru_cache(maxsize=64)
def graph_sizes(participants: int, *, corrupt: int, gone: int) -> tuple[int, int]:
    """Return neighbours and threshold of the sparsest graph that keeps both bounds.

    Args:
        participants: Nodes, n.
        corrupt: How many of them are corrupt.
        gone: How many of them vanish.

    Raises:
        InfeasibleError: If no graph does.

    Examples:
        >>> graph_sizes(500, corrupt=50, gone=150)
        (76, 31)
    """
    others = participants - 1
    for neighbours in range(2, participants, 2):
        ways = math.comb(others, neighbours)
        threshold = _least_secret(participants, corrupt, neighbours, ways)
        most_gone = neighbours - threshold
        if most_gone < 0:
            continue
        void = participants * _tail(others, gone, neighbours, most_gone + 1)
        if void * _VOID <= ways:
            return neighbours, threshold
    raise InfeasibleError(f"no thresholds keep the bounds with {participants} nodes")


@lru_cache(maxsize=64)
def fewest_nearby(participants: int, *, half: int, corrupt: int, gone: int) -> int:
    """Return how many survivors nodes ask for in any run of half a neighbourhood on the ring.

    A server that says who vanished could empty two runs but for corrupt nodes, and learn the sum of
    each part. As many are asked for as corrupt nodes fill a run with at most once in 2**20 rosters,
    two runs hence once in 2**40; but never more than any run keeps, except in one round of a
    million. Where that is less, enough corrupt nodes in the right places still cut the ring.

    Args:
        participants: Nodes, n.
        half: Consecutive places of the ring, half a neighbourhood.
        corrupt: How many nodes are corrupt.
        gone: How many nodes vanish.

    Examples:
        >>> fewest_nearby(1000, half=44, corrupt=100, gone=300)
        12
        >>> fewest_nearby(1000, half=44, corrupt=0, gone=300)
        1
    """
    ways, asked = math.comb(participants, half), 0
    void = _draws(participants, gone, half, half)  # ways to keep no more than are asked for
    while (
        participants * void * _VOID <= ways
        and participants * _tail(participants, corrupt, half, asked) << _FILLED > ways
    ):
        asked += 1
        void += _draws(participants, gone, half, half - asked)
    return asked


def _least_secret(participants: int, corrupt: int, neighbours: int, ways: int) -> int:
    """Return the least threshold that corrupt neighbours alone reach too rarely."""
    threshold, known = neighbours + 1, 0
    while threshold > 2:  # noqa: PLR2004 - a share alone must open nothing
        known += _draws(participants - 1, corrupt, neighbours, threshold - 1)
        if participants * known * _KNOWN > ways:
            break
        threshold -= 1
    return threshold


def _tail(others: int, marked: int, drawn: int, least: int) -> int:
    """Return the ways to draw at least ``least`` marked among ``drawn`` of ``others``."""
    return sum(_draws(others, marked, drawn, hit) for hit in range(least, drawn + 1))


def _draws(others: int, marked: int, drawn: int, hit: int) -> int:
    """Return the ways to draw ``hit`` marked; of all others at most all can be marked."""
    marked = min(marked, others)
    return math.comb(marked, hit) * math.comb(others - marked, drawn - hit)


def _exact(share: float) -> Fraction:
    """Return the decimal that was written, so that 0.1 of 30 is 3 on every machine."""
    return Fraction(Decimal(repr(float(share))))
