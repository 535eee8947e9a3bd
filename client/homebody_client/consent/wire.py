"""What of consent other machines get to see: a random tag, a notice of leaving, a commitment.

The counter of changes stays on the device: it would tell how often a person changed their mind.
"""

from collections.abc import Sequence
from dataclasses import replace

from homebody_privacy.consent import why_purpose
from homebody_privacy.receipts import commitment
from homebody_privacy.signing import SigningKey

from .book import ConsentBook
from .keeper import refusal

_COMMITMENT = "receipts-commitment"


class ConsentOnTheWire:
    """What a device tells a server about its consent."""

    __slots__ = ("_book",)

    def __init__(self, book: ConsentBook) -> None:
        """Speak for a book."""
        self._book = book

    @property
    def signing_key(self) -> SigningKey:
        """Key of receipts and of notices of leaving; its ``public`` part verifies them."""
        with self._book.lock:
            return self._book.keeper.journal.key

    def tag(self, purpose: str) -> str:
        """Return what stands for the present decision, 32 hex digits; drawn anew with each change.

        Raises:
            ConsentMissingError: If the purpose is shut.
        """
        with self._book.lock:
            shut = why_purpose(self._book.keeper.situation(), purpose)
            if shut is not None:
                raise refusal(shut)
            return self._book.decision(purpose).tag

    def leaving(self) -> dict[str, tuple[str, ...]]:
        """Return the tags, by purpose, that servers may still hold and are to forget."""
        with self._book.lock:
            return dict(self._book.keeper.state.leaves)

    def left(self, tags: Sequence[str]) -> None:
        """Note that the servers were told to forget these tags."""
        keeper = self._book.keeper
        with self._book.lock:
            kept = {p: tuple(t for t in ts if t not in tags) for p, ts in self.leaving().items()}
            leaves = {purpose: rest for purpose, rest in kept.items() if rest}
            with keeper.writing():
                keeper.journal.save(replace(keeper.stamped(), leaves=leaves))

    def commitment(self) -> str:
        """Return what a server may keep as proof of the receipts, as hex: no name, no content."""
        with self._book.lock:
            keeper = self._book.keeper
            vault = keeper.journal.vault
            if vault.key(_COMMITMENT) is None:
                vault.change(new_keys=[_COMMITMENT])
            return commitment(vault.key(_COMMITMENT) or b"", keeper.state.end)

    def unlink(self) -> None:
        """Destroy the secret of the commitment: what a server kept belongs to nobody then."""
        with self._book.lock:
            self._book.keeper.journal.vault.change(drop_keys=[_COMMITMENT])
