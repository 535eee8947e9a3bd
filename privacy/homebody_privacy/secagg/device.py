"""A node's side of a secure sum: IDLE, ADVERTISED, SHARED, READY, SENT, SIGNED, WIPED, or ABORTED.

No I/O, no clock. Every leg takes a message of the server and returns the reply. Anything that is
not exactly what an honest server would send ends in ABORTED with a reason; from then on, as from
WIPED, the machine holds no key and does nothing. A participation counts from ``mask`` on.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from typing import Final, NoReturn, Self, TypeVar

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from homebody_privacy.errors import InfeasibleError, IntegrityError, SecAggAbortError
from homebody_privacy.signing import SigningKey, verify_ed25519

from . import device_state
from .device_state import DeviceMemory, DeviceSettings, DeviceState
from .graph import holders, is_thin, neighbours_of
from .masks import (
    Deriver,
    Mask,
    agree,
    apply_masks,
    decrypt_shares,
    encrypt_shares,
    keystream,
    pair_sign,
    to_words,
)
from .parameters import SecAggParameters, choose_parameters
from .reasons import AbortReason
from .session import KEY_BYTES, id_of, survivors_digest
from .shamir import SHARE_BYTES, element, split
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

Verify = Callable[[bytes], tuple[bytes, bytes]]
"""From a certificate to node id and raw Ed25519 public key; ``IntegrityError`` if it is bad."""

verified: Final = lru_cache(maxsize=1 << 13)(verify_ed25519)
"""Whether a signature is good. It is a pure function: many nodes in one process ask it once."""

_T = TypeVar("_T")
_SECRETS: Final = 4  # mask key, channel key, self seed, key of the polynomials


class SecAggDevice:
    """One node in one secure sum. Made by ``begin`` or ``from_bytes``.

    Every method of a leg raises ``SecAggAbortError`` and leaves ABORTED behind, whatever is wrong
    with the message or its time. The state may be looked at; it is public.
    """

    __slots__ = ("_memory", "_settings", "_signer")

    def __init__(self, settings: DeviceSettings, memory: DeviceMemory, signer: SigningKey) -> None:
        """Keep all three; use ``begin`` or ``from_bytes``."""
        if id_of(signer.public) != settings.node_id:
            raise ValueError("node_id is not that of the signing key")
        self._settings, self._memory, self._signer = settings, memory, signer

    def __repr__(self) -> str:
        """Show how far it is, nothing else."""
        return f"SecAggDevice(state={self.state.value!r})"

    @property
    def state(self) -> DeviceState:
        """How far this node has come."""
        return self._memory.state

    @classmethod
    def begin(
        cls,
        settings: DeviceSettings,
        *,
        signer: SigningKey,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> tuple[Self, bytes]:
        """Make the keys of one sum.

        Args:
            settings: The sum, by this node's own account.
            signer: Its identity.
            entropy: Returns so many unpredictable bytes; used four times, here alone.

        Returns:
            The machine in ADVERTISED, and its advert.

        Raises:
            ValueError: If the identity is not the settings' or the entropy is short.
        """
        keys = tuple(entropy(KEY_BYTES) for _ in range(_SECRETS))
        if any(len(key) != KEY_BYTES for key in keys):
            raise ValueError(f"entropy must return the {KEY_BYTES} bytes it was asked for")
        mask_key, channel_key = (
            X25519PrivateKey.from_private_bytes(key).public_key().public_bytes_raw()
            for key in keys[:2]
        )
        text = settings.terms.advert_text(settings.node_id, mask_key, channel_key)
        advert = Advert(mask_key=mask_key, channel_key=channel_key, signature=signer.sign(text))
        memory = DeviceMemory(state=DeviceState.ADVERTISED, advert=advert.body(), keys=keys)
        return cls(settings, memory, signer), advert.to_bytes()

    def share(self, roster: bytes, verify: Verify) -> bytes:
        """Check who takes part, and split both secrets among the neighbours.

        Args:
            roster: Message of the server.
            verify: Checks a certificate against the pinned authority.

        Returns:
            Shares for the neighbours, encrypted to each.
        """
        self._enter(DeviceState.ADVERTISED)
        members = self._read(Roster.from_bytes, roster).members
        sizes = self._sizes(len(members))
        identities = [self._identity(certificate, verify) for certificate, _ in members]
        adverts = [advert for _, advert in members]
        node_ids = tuple(node_id for node_id, _ in identities)
        if any(left >= right for left, right in pairwise(node_ids)):
            self._abort(AbortReason.MALFORMED)
        self._check_adverts(identities, adverts)
        number = node_ids.index(self._settings.node_id)
        digest = self._settings.terms.roster_digest(roster)
        neighbours = neighbours_of(number, node_ids, digest, sizes)
        self._memory = replace(
            self._memory,
            state=DeviceState.SHARED,
            advert=b"",
            digest=digest,
            node_ids=node_ids,
            signers=tuple(public for _, public in identities),
            number=number,
            neighbours=neighbours,
            numbers=sizes.to_numbers(),
        )
        return self._split([adverts[other] for other in neighbours], sizes)

    def check_forwarded(self, forwarded: bytes) -> None:
        """Open the neighbours' shares; before any training, so that a lost cause ends early.

        Args:
            forwarded: Message of the server.
        """
        self._enter(DeviceState.SHARED)
        memory, message = self._memory, self._read(Forwarded.from_bytes, forwarded)
        shared = set(message.shared)
        if message.participants != len(memory.node_ids):
            self._abort(AbortReason.MALFORMED)
        if memory.number not in shared:
            self._abort(AbortReason.OWN_ID)
        places = [place for place, node in enumerate(memory.neighbours) if node in shared]
        if len(message.sealed) != len(places):
            self._abort(AbortReason.MALFORMED)
        if (
            len(shared) < max(memory.sizes.quorum, self._settings.least)
            or len(places) + memory.sizes.complete < memory.sizes.threshold
        ):
            self._abort(AbortReason.TOO_FEW_SHARED)
        held = dict(zip(memory.holding, memory.held, strict=True))
        for place, sealed in zip(places, message.sealed, strict=True):
            held[memory.neighbours[place]] = self._opened(place, sealed)
        self._memory = replace(
            memory,
            state=DeviceState.READY,
            open_keys=(),
            neighbours=tuple(memory.neighbours[place] for place in places),
            mask_keys=tuple(memory.mask_keys[place] for place in places),
            holding=tuple(sorted(held)),
            held=tuple(held[node] for node in sorted(held)),
            shared=message.shared,
        )

    def mask(self, vector: npt.NDArray[np.integer]) -> bytes:
        """Mask this node's vector: from here on it takes part.

        Args:
            vector: Integers of shape ``(length,)``: of the word's own type, or signed ones in
                [-2**(word_bits - 1), 2**(word_bits - 1)). Secret.

        Returns:
            The masked vector, uniform to whoever lacks one of its masks.

        Raises:
            ValueError: If the vector has another shape or range; nothing has happened then.
        """
        self._enter(DeviceState.READY)
        memory, own = self._memory, self._settings.node_id
        words = to_words(vector, self._settings.terms)
        deriver = Deriver(self._settings.terms, memory.digest)
        masks = [Mask(deriver.own(memory.seed, own), add=True)]
        for node, key in zip(memory.neighbours, memory.mask_keys, strict=True):
            masks.append(Mask(key, add=pair_sign(own, memory.node_ids[node])))
        apply_masks(words, masks)
        commitment = self._settings.terms.commitment(own, memory.seed)
        self._memory = replace(memory, state=DeviceState.SENT, seed=b"", mask_keys=())
        return Masked(commitment, words).to_bytes()

    def confirm(self, survivors: bytes) -> bytes:
        """Check who survived and sign it.

        Args:
            survivors: Message of the server.

        Returns:
            Signature over R and the digest of the survivors.
        """
        self._enter(DeviceState.SENT)
        memory, message = self._memory, self._read(Survivors.from_bytes, survivors)
        alive, gone = set(message.alive), set(message.gone)
        if message.participants != len(memory.node_ids):
            self._abort(AbortReason.MALFORMED)
        if alive & gone:
            self._abort(AbortReason.BOTH_LISTS)
        if alive | gone != set(memory.shared):
            self._abort(AbortReason.CHANGED_PARTICIPANTS)
        if memory.number not in alive:
            self._abort(AbortReason.OWN_ID)
        if len(alive) < max(memory.sizes.quorum, self._settings.least):
            self._abort(AbortReason.TOO_FEW_SURVIVORS)
        if is_thin(alive, memory.node_ids, memory.digest, memory.sizes):
            self._abort(AbortReason.THIN_RING)
        self._memory = replace(memory, state=DeviceState.SIGNED, alive=message.alive)
        return Confirmation(self._signer.sign(self._confirm_text())).to_bytes()

    def unmask(self, quorum: bytes) -> bytes:
        """Check that enough survivors signed the same, give out one share per node, and forget.

        Args:
            quorum: Message of the server.

        Returns:
            A share of the self seed of each survivor, of the mask key of each that vanished, among
            those whose shares this node holds.
        """
        self._enter(DeviceState.SIGNED)
        memory, signatures = self._memory, self._read(Quorum.from_bytes, quorum).signatures
        alive, text = set(memory.alive), self._confirm_text()
        if len(signatures) < memory.sizes.quorum or not alive.issuperset(
            node for node, _ in signatures
        ):
            self._abort(AbortReason.QUORUM)
        if not all(verified(memory.signers[node], one, text) for node, one in signatures):
            self._abort(AbortReason.BAD_SIGNATURE)
        shares = tuple(
            both[:SHARE_BYTES] if node in alive else both[SHARE_BYTES:]
            for node, both in zip(memory.holding, memory.held, strict=True)
        )
        self._memory = DeviceMemory(state=DeviceState.WIPED)
        return Unmasking(shares).to_bytes()

    def abort(self) -> None:
        """Leave: the deadline passed, consent was withdrawn, a later round was seen."""
        if self.state is not DeviceState.WIPED:
            self._memory = DeviceMemory(state=DeviceState.ABORTED)

    def to_bytes(self) -> bytes:
        """Return the machine for the next process. Secret, unless WIPED or ABORTED: encrypt it."""
        return device_state.write(self._settings, self._memory)

    @classmethod
    def from_bytes(cls, content: bytes, signer: SigningKey) -> Self:
        """Go on from what ``to_bytes`` wrote.

        Raises:
            ValueError: If it is no state, or another identity's.
        """
        settings, memory = device_state.read(content)
        return cls(settings, memory, signer)

    def _sizes(self, participants: int) -> SecAggParameters:
        own = self._settings
        try:
            return choose_parameters(
                participants,
                max_corrupt=own.max_corrupt,
                max_dropout=own.max_dropout,
                least=own.least,
            )
        except (InfeasibleError, ValueError) as error:
            self._abort(AbortReason.PARAMETERS, error)

    def _identity(self, certificate: bytes, verify: Verify) -> tuple[bytes, bytes]:
        try:
            node_id, public = verify(certificate)
        except IntegrityError as error:
            self._abort(AbortReason.BAD_CERTIFICATE, error)
        if id_of(public) != node_id:
            self._abort(AbortReason.BAD_CERTIFICATE)
        return node_id, public

    def _check_adverts(
        self, identities: Sequence[tuple[bytes, bytes]], adverts: Sequence[Advert]
    ) -> None:
        """Refuse a changed own advert, a key that occurs twice, and a wrong signature."""
        own, terms = self._settings.node_id, self._settings.terms
        by_id = dict(zip((node_id for node_id, _ in identities), adverts, strict=True))
        if own not in by_id or by_id[own].body() != self._memory.advert:
            self._abort(AbortReason.OWN_ADVERT)
        keys = {key for advert in adverts for key in (advert.mask_key, advert.channel_key)}
        if len(keys) != 2 * len(adverts):
            self._abort(AbortReason.REPEATED_KEY)
        for (node_id, public), advert in zip(identities, adverts, strict=True):
            text = terms.advert_text(node_id, advert.mask_key, advert.channel_key)
            if node_id != own and not verified(public, advert.signature, text):
                self._abort(AbortReason.BAD_SIGNATURE)

    def _split(self, adverts: Sequence[Advert], sizes: SecAggParameters) -> bytes:
        """Agree on keys with each neighbour, and encrypt its shares; drop all private keys."""
        memory, own = self._memory, self._settings.node_id
        mask_secret, channel_secret, seed, polynomial = memory.keys
        deriver = Deriver(self._settings.terms, memory.digest)
        points = [node + 1 for node in holders(memory.number, memory.neighbours, sizes)]

        def draw(use: str) -> Callable[[int], bytes]:
            return lambda n: keystream(deriver.polynomial(polynomial, use, own), n)

        seed_shares = split(seed, points, sizes.threshold, draw("seed"))
        mask_shares = split(mask_secret, points, sizes.threshold, draw("mask"))
        both = dict(zip(points, map(bytes.__add__, seed_shares, mask_shares), strict=True))
        mask_private = X25519PrivateKey.from_private_bytes(mask_secret)
        channel_private = X25519PrivateKey.from_private_bytes(channel_secret)
        mask_keys, open_keys, sealed = [], [], []
        for node, advert in zip(memory.neighbours, adverts, strict=True):
            other = memory.node_ids[node]
            pair = self._agree(mask_private, advert.mask_key)
            channel = self._agree(channel_private, advert.channel_key)
            mask_keys.append(deriver.mask(pair, own, other))
            open_keys.append(deriver.share(channel, other, own))
            context = self._settings.terms.share_context(memory.digest, own, other)
            send_key = deriver.share(channel, own, other)
            sealed.append(encrypt_shares(send_key, both[node + 1], context))
        self._memory = replace(
            memory,
            keys=(),
            seed=seed,
            mask_keys=tuple(mask_keys),
            open_keys=tuple(open_keys),
            holding=(memory.number,) if sizes.complete else (),
            held=(both[memory.number + 1],) if sizes.complete else (),
        )
        return Shares(tuple(sealed)).to_bytes()

    def _agree(self, own: X25519PrivateKey, other: bytes) -> bytes:
        try:
            return agree(own, X25519PublicKey.from_public_bytes(other))
        except ValueError as error:
            self._abort(AbortReason.BAD_KEY, error)

    def _opened(self, place: int, sealed: bytes) -> bytes:
        memory, terms = self._memory, self._settings.terms
        sender = memory.node_ids[memory.neighbours[place]]
        context = terms.share_context(memory.digest, sender, self._settings.node_id)
        try:
            both = decrypt_shares(memory.open_keys[place], sealed, context)
            element(both[:SHARE_BYTES])
            element(both[SHARE_BYTES:])
        except ValueError as error:
            self._abort(AbortReason.BAD_SHARE, error)
        return both

    def _confirm_text(self) -> bytes:
        memory = self._memory
        survivors = survivors_digest([memory.node_ids[node] for node in memory.alive])
        return self._settings.terms.confirm_text(memory.digest, survivors)

    def _read(self, decode: Callable[[bytes], _T], content: bytes) -> _T:
        try:
            return decode(content)
        except ValueError as error:
            self._abort(AbortReason.MALFORMED, error)

    def _enter(self, due: DeviceState) -> None:
        if self.state is not due:
            self._abort(AbortReason.OUT_OF_STATE)

    def _abort(self, reason: AbortReason, cause: Exception | None = None) -> NoReturn:
        self.abort()
        raise SecAggAbortError(reason) from cause
