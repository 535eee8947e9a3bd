"""Recover the secrets that survivors opened, and take the masks off a sum.

What is recovered is checked: a mask key against the advertised public key, a self seed against the
commitment that came with the vector. Wrong shares therefore void a sum and never change it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from homebody_privacy.errors import RoundVoidError

from .masks import Deriver, Mask, Words, agree, apply_in_parallel, pair_sign
from .reasons import VoidReason
from .shamir import combine

_JOB: Final = 32  # masks of one piece of work


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """A sum whose survivors are fixed.

    Attributes:
        deriver: Derives its keys.
        node_ids: Ids of the roster.
        mask_keys: Advertised X25519 mask keys, in the same order.
        neighbours: Numbers of each node's neighbours.
        threshold: Shares that open a secret.
        alive: Commitment of each survivor by number.
        gone: Numbers of those who shared and vanished.
    """

    deriver: Deriver
    node_ids: Sequence[bytes] = field(repr=False)
    mask_keys: Sequence[bytes] = field(repr=False)
    neighbours: Sequence[tuple[int, ...]] = field(repr=False)
    threshold: int
    alive: Mapping[int, bytes] = field(repr=False)
    gone: Sequence[int] = field(repr=False)

    def unmask(self, total: Words, shares: Mapping[int, Mapping[int, bytes]], workers: int) -> None:
        """Take all masks off, in place.

        Args:
            total: Sum of the masked vectors. Secret once this returns.
            shares: By node whose secret it is, then by point of who opened it: of the seed of a
                survivor, of the mask key of a node that vanished. Secret.
            workers: Threads.

        Raises:
            RoundVoidError: If some secret cannot be recovered; ``total`` is as it was.
        """
        liars: set[int] = set()
        seeds = {node: self._seed(node, shares.get(node, {}), liars) for node in self.alive}
        secrets = {node: self._mask_secret(node, shares.get(node, {}), liars) for node in self.gone}
        jobs = [*self._own_masks(seeds), *map(self._pair_masks, secrets.items())]
        apply_in_parallel(total, jobs, workers)

    def _seed(self, node: int, shares: Mapping[int, bytes], liars: set[int]) -> bytes:
        session, node_id = self.deriver.session, self.node_ids[node]
        return recover(
            shares,
            self.threshold,
            lambda seed: session.commitment(node_id, seed) == self.alive[node],
            liars,
        )

    def _mask_secret(self, node: int, shares: Mapping[int, bytes], liars: set[int]) -> bytes:
        def fits(secret: bytes) -> bool:
            private = X25519PrivateKey.from_private_bytes(secret)
            return private.public_key().public_bytes_raw() == self.mask_keys[node]

        return recover(shares, self.threshold, fits, liars)

    def _own_masks(self, seeds: Mapping[int, bytes]) -> Iterator[list[Mask]]:
        """Yield the masks the survivors put on by themselves, to be taken away."""
        nodes = list(seeds.items())
        for start in range(0, len(nodes), _JOB):
            yield [
                Mask(self.deriver.own(seed, self.node_ids[node]), add=False)
                for node, seed in nodes[start : start + _JOB]
            ]

    def _pair_masks(self, vanished: tuple[int, bytes]) -> Iterator[Mask]:
        """Yield the masks that survivors share with one node that vanished, the other way."""
        node, secret = vanished
        private, node_id = X25519PrivateKey.from_private_bytes(secret), self.node_ids[node]
        for other in self.neighbours[node]:
            if other in self.alive:
                public = X25519PublicKey.from_public_bytes(self.mask_keys[other])
                other_id = self.node_ids[other]
                key = self.deriver.mask(agree(private, public), node_id, other_id)
                yield Mask(key, add=not pair_sign(other_id, node_id))


def recover(
    shares: Mapping[int, bytes],
    threshold: int,
    fits: Callable[[bytes], bool],
    liars: set[int],
) -> bytes:
    """Give back a secret although one of its shares may be wrong.

    Args:
        shares: Share by point of its holder, each an element of the field. Secret.
        threshold: Shares that open it.
        fits: Tells whether a secret is the right one.
        liars: Points of holders known to give wrong shares; a new one is added.

    Returns:
        32 bytes. Secret.

    Raises:
        RoundVoidError: If shares are missing, or no choice of them that leaves out one fits.
    """
    points = sorted(shares.keys() - liars)
    if len(points) < threshold:
        raise RoundVoidError(VoidReason.TOO_FEW_SHARES)
    first, spare = points[:threshold], points[threshold:]

    def opens(chosen: Sequence[int]) -> bytes | None:
        secret = combine({point: shares[point] for point in chosen})
        return secret if secret is not None and fits(secret) else None

    secret = opens(first)
    if secret is not None:
        return secret
    for left_out in first if spare else ():
        secret = opens([spare[0], *(point for point in first if point != left_out)])
        if secret is not None:
            liars.add(left_out)
            return secret
    raise RoundVoidError(VoidReason.WRONG_SHARES)
