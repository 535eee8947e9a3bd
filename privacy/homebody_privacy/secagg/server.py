"""The server's side of a secure sum: CONFIG, ADVERTISED, SHARED, MASKED, FIXED, RELEASED, or VOID.

No I/O, no clock. Each leg is ``add_...`` for every reply, then ``close_...``, which returns what
goes to the nodes. A reply that is wrong counts as none: ``add_...`` says False and nothing changes.
Too few replies make the sum VOID for good. No method returns one vector, one mask or one secret;
vectors are added up as they come and dropped.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NoReturn

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from homebody_privacy.errors import InfeasibleError, RoundVoidError
from homebody_privacy.signing import verify_ed25519

from .graph import holders, is_thin, neighbourhoods
from .masks import Deriver, Words, agree, centred, word_type
from .opening import Closed
from .parameters import SecAggParameters, choose_parameters
from .reasons import VoidReason
from .session import Session, survivors_digest
from .shamir import element
from .wire import (
    Advert,
    Confirmation,
    Forwarded,
    Masked,
    Quorum,
    Roster,
    Shares,
    Survivors,
    Unmasking,
)


class ServerState(StrEnum):
    """Which leg was closed last."""

    CONFIG = "config"
    ADVERTISED = "advertised"
    SHARED = "shared"
    MASKED = "masked"
    FIXED = "fixed"
    RELEASED = "released"
    VOID = "void"


@dataclass(frozen=True, slots=True)
class Summed:
    """What a secure sum gives.

    Attributes:
        total: int64 of shape ``(length,)``: the exact sum, if it is within half a word. Secret
            until noise was added.
        survivors: Ids of the nodes in it. Not for logs.
    """

    total: npt.NDArray[np.int64] = field(repr=False)
    survivors: frozenset[bytes] = field(repr=False)


class SecAggServer:
    """One secure sum over the nodes that were asked.

    Args:
        run: Identity of the run, 1 to 255 bytes of UTF-8.
        session: Serial of the sum within the run.
        round: Round it is for.
        length: Words of the vector.
        word_bits: 32 or 64.
        max_corrupt: Share of nodes assumed to work with the server.
        max_dropout: Share that may vanish without voiding the round.
        least: Vectors of the smallest sum.
        config_sha256: Digest of the privacy config in force.
        model_sha256: Digest of the model the vectors are made with; may be empty.
        certificates: Certificate by id, of all nodes that are asked.
        publics: Raw Ed25519 public key by id, of the same.
    """

    __slots__ = (
        "_adverts",
        "_certificates",
        "_commitments",
        "_confirm_text",
        "_digest",
        "_ids",
        "_keys",
        "_least",
        "_max_corrupt",
        "_max_dropout",
        "_neighbours",
        "_numbers",
        "_opened",
        "_publics",
        "_sealed",
        "_shared",
        "_signatures",
        "_sizes",
        "_state",
        "_terms",
        "_total",
    )

    def __init__(  # noqa: PLR0913 - the constants of a sum, by keyword only
        self,
        *,
        run: str,
        session: int,
        round: int,  # noqa: A002 - the protocol's word
        length: int,
        word_bits: int,
        max_corrupt: float,
        max_dropout: float,
        least: int,
        config_sha256: str,
        model_sha256: str,
        certificates: Mapping[bytes, bytes],
        publics: Mapping[bytes, bytes],
    ) -> None:
        """Wait for adverts."""
        if certificates.keys() != publics.keys():
            raise ValueError("certificates and publics must name the same nodes")
        self._terms = Session(
            run=run,
            session=session,
            round=round,
            length=length,
            word_bits=word_bits,
            config_sha256=config_sha256,
            model_sha256=model_sha256,
        )
        self._max_corrupt, self._max_dropout, self._least = max_corrupt, max_dropout, least
        self._certificates, self._publics = dict(certificates), dict(publics)
        self._state = ServerState.CONFIG
        self._adverts: dict[bytes, Advert] = {}
        self._keys: set[bytes] = set()
        self._sealed: dict[int, tuple[bytes, ...]] = {}
        self._commitments: dict[int, bytes] = {}
        self._signatures: dict[int, bytes] = {}
        self._opened: dict[int, tuple[bytes, ...]] = {}
        self._ids: list[bytes] = []
        self._numbers: dict[bytes, int] = {}
        self._neighbours: list[tuple[int, ...]] = []
        self._shared: dict[int, None] = {}  # a set in increasing order
        self._digest = self._confirm_text = b""
        self._sizes: SecAggParameters | None = None
        self._total: Words = np.zeros(length, word_type(word_bits))

    def __repr__(self) -> str:
        """Show how far it is, nothing else."""
        return f"SecAggServer(state={self._state.value!r})"

    @property
    def state(self) -> ServerState:
        """Which leg was closed last."""
        return self._state

    @property
    def sizes(self) -> SecAggParameters:
        """Sizes of the sum, once the adverts are closed."""
        if self._sizes is None:
            raise ValueError("the adverts are not closed")
        return self._sizes

    def add_advert(self, node_id: bytes, payload: bytes) -> bool:
        """Take a node's keys; False if they are not its own, or no keys."""
        if self._state is not ServerState.CONFIG or node_id in self._adverts:
            return False
        try:
            advert = Advert.from_bytes(payload)
            text = self._terms.advert_text(node_id, advert.mask_key, advert.channel_key)
            own = X25519PrivateKey.generate()  # only finds keys of small order
            for key in (advert.mask_key, advert.channel_key):
                agree(own, X25519PublicKey.from_public_bytes(key))
        except ValueError:
            return False
        keys = {advert.mask_key, advert.channel_key}
        if len(keys) == 1 or not keys.isdisjoint(self._keys):
            return False
        if not verify_ed25519(self._publics.get(node_id, b""), advert.signature, text):
            return False
        self._adverts[node_id] = advert
        self._keys |= keys
        return True

    def close_adverts(self) -> dict[bytes, bytes]:
        """Fix who takes part; returns the roster for each of them."""
        self._close(ServerState.CONFIG, ServerState.ADVERTISED)
        if len(self._adverts) < self._least:
            self._void(VoidReason.TOO_FEW_ADVERTS)
        self._ids = sorted(self._adverts)
        self._numbers = {node_id: number for number, node_id in enumerate(self._ids)}
        try:
            self._sizes = choose_parameters(
                len(self._ids),
                max_corrupt=self._max_corrupt,
                max_dropout=self._max_dropout,
                least=self._least,
            )
        except InfeasibleError:
            self._void(VoidReason.NO_PARAMETERS)
        members = tuple((self._certificates[one], self._adverts[one]) for one in self._ids)
        roster = Roster(members).to_bytes()
        self._digest = self._terms.roster_digest(roster)
        self._neighbours = neighbourhoods(self._ids, self._digest, self._sizes)
        return dict.fromkeys(self._ids, roster)

    def add_shares(self, node_id: bytes, payload: bytes) -> bool:
        """Take the shares a node encrypted to its neighbours."""
        node = self._sender(node_id, ServerState.ADVERTISED)
        if node is None or node in self._sealed:
            return False
        try:
            sealed = Shares.from_bytes(payload).sealed
        except ValueError:
            return False
        if len(sealed) != len(self._neighbours[node]):
            return False
        self._sealed[node] = sealed
        return True

    def close_shares(self) -> dict[bytes, bytes]:
        """Fix who shared; returns for each of them what the others encrypted to it."""
        self._close(ServerState.ADVERTISED, ServerState.SHARED)
        self._shared = dict.fromkeys(sorted(self._sealed))
        if len(self._shared) < max(self.sizes.quorum, self._least):
            self._void(VoidReason.TOO_FEW_SHARED)
        inbox: dict[int, list[bytes]] = {node: [] for node in self._shared}
        for node in self._shared:  # in increasing order, as each receiver counts them
            for receiver, sealed in zip(self._neighbours[node], self._sealed[node], strict=True):
                if receiver in inbox:
                    inbox[receiver].append(sealed)
        self._sealed.clear()
        count, shared = len(self._ids), tuple(self._shared)
        return {
            self._ids[node]: Forwarded(count, shared, tuple(sealed)).to_bytes()
            for node, sealed in inbox.items()
        }

    def add_masked(self, node_id: bytes, payload: bytes) -> bool:
        """Add a masked vector to the sum; a late one is not even read."""
        node = self._sender(node_id, ServerState.SHARED)
        if node is None or node in self._commitments or node not in self._shared:
            return False
        try:
            masked = Masked.from_bytes(payload)
        except ValueError:
            return False
        if masked.words.dtype != self._total.dtype or masked.words.shape != self._total.shape:
            return False
        self._total += masked.words
        self._commitments[node] = masked.commitment
        return True

    def close_masked(self) -> bytes:
        """Fix whose vectors are in the sum; returns the lists that go to all of them."""
        self._close(ServerState.SHARED, ServerState.MASKED)
        if len(self._commitments) < max(self.sizes.quorum, self._least):
            self._void(VoidReason.TOO_FEW_VECTORS)
        if is_thin(self._commitments, self._ids, self._digest, self.sizes):
            self._void(VoidReason.THIN_RING)
        alive = tuple(sorted(self._commitments))
        survivors = survivors_digest([self._ids[node] for node in alive])
        self._confirm_text = self._terms.confirm_text(self._digest, survivors)
        return Survivors(len(self._ids), alive, tuple(self._gone())).to_bytes()

    def add_signature(self, node_id: bytes, payload: bytes) -> bool:
        """Take a survivor's signature over the survivors."""
        node = self._sender(node_id, ServerState.MASKED)
        if node is None or node in self._signatures or node not in self._commitments:
            return False
        try:
            signature = Confirmation.from_bytes(payload).signature
        except ValueError:
            return False
        if not verify_ed25519(self._publics[node_id], signature, self._confirm_text):
            return False
        self._signatures[node] = signature
        return True

    def close_signatures(self) -> bytes:
        """Fix the sum; returns as many signatures as nodes ask for, no more."""
        self._close(ServerState.MASKED, ServerState.FIXED)
        if len(self._signatures) < self.sizes.quorum:
            self._void(VoidReason.QUORUM)
        return Quorum(tuple(sorted(self._signatures.items())[: self.sizes.quorum])).to_bytes()

    def add_unmasking(self, node_id: bytes, payload: bytes) -> bool:
        """Take one share for each node whose shares the sender holds."""
        node = self._sender(node_id, ServerState.FIXED)
        if node is None or node in self._opened or node not in self._commitments:
            return False
        try:
            shares = Unmasking.from_bytes(payload).shares
            for share in shares:
                element(share)
        except ValueError:
            return False
        if len(shares) != len(self._held_by(node)):
            return False
        self._opened[node] = shares
        return True

    def result(self, workers: int = 1) -> Summed:
        """Take the masks off the sum.

        Args:
            workers: Threads, at least 1; each takes the memory of one vector.

        Returns:
            The exact sum of the survivors' vectors. The machine forgets all else.
        """
        if workers < 1:
            raise ValueError(f"workers must be at least 1, got {workers}")
        self._close(ServerState.FIXED, ServerState.RELEASED)
        try:
            self._closed().unmask(self._total, self._shares(), workers)
        except RoundVoidError as error:
            self._void(error.reason)
        survivors = frozenset(self._ids[node] for node in self._commitments)
        total = centred(self._total)
        self._forget()
        return Summed(total, survivors)

    def _closed(self) -> Closed:
        return Closed(
            deriver=Deriver(self._terms, self._digest),
            node_ids=self._ids,
            mask_keys=[self._adverts[node_id].mask_key for node_id in self._ids],
            neighbours=self._neighbours,
            threshold=self.sizes.threshold,
            alive=self._commitments,
            gone=self._gone(),
        )

    def _gone(self) -> list[int]:
        return [node for node in self._shared if node not in self._commitments]

    def _shares(self) -> dict[int, dict[int, bytes]]:
        """Return what was opened, by whose secret it is and by the point of who held it."""
        found: dict[int, dict[int, bytes]] = {node: {} for node in self._shared}
        for holder, shares in self._opened.items():
            for node, share in zip(self._held_by(holder), shares, strict=True):
                found[node][holder + 1] = share
        return found

    def _held_by(self, holder: int) -> list[int]:
        """Return whose shares a node holds, increasing."""
        around = holders(holder, self._neighbours[holder], self.sizes)
        return [node for node in around if node in self._shared]

    def _sender(self, node_id: bytes, due: ServerState) -> int | None:
        return self._numbers.get(node_id) if self._state is due else None

    def _close(self, due: ServerState, then: ServerState) -> None:
        if self._state is not due:
            raise ValueError(f"this leg cannot be closed in state {self._state.value}")
        self._state = then

    def _forget(self) -> None:
        self._total = self._total[:0]
        for kept in (self._sealed, self._signatures, self._opened):
            kept.clear()

    def _void(self, reason: VoidReason) -> NoReturn:
        self._state = ServerState.VOID
        self._forget()
        raise RoundVoidError(reason)
