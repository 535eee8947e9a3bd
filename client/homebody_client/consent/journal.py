"""The order of writes: what is shut is shut first and written after, what opens is written first.

=======================  ==========================================================================
close first, write after shut in memory; one change of the vault destroys the keys, moves the epoch
                         and promises the receipts; receipts, synced; anchor
write first, open after  receipt, synced; one change of the vault makes the key, moves the epoch and
                         the anchor; open in memory, by whoever called
=======================  ==========================================================================

A crash leaves one of: nothing; a promise, which the next start keeps; closing receipts ahead of
their anchor, which are honoured; a yes ahead of its anchor, which was not given.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from homebody_client.vault import Vault
from homebody_privacy.consent import ConsentState
from homebody_privacy.errors import IntegrityError
from homebody_privacy.receipts import RESTRICTED, ConsentReceipt
from homebody_privacy.signing import SigningKey

from .receipt_file import Found, ReceiptFile
from .state import VALUE, BookState, Pending, receipt_of

SIGNING: Final = "device-signing"
"""Name of the device's signing key in the vault."""


class Journal:
    """State of the book in memory, in the vault and in the file of receipts."""

    __slots__ = ("file", "state", "vault")

    def __init__(self, vault: Vault, file: ReceiptFile) -> None:
        """Use a vault and a file; ``load`` reads them."""
        self.vault = vault
        self.file = file
        self.state = BookState()

    @property
    def key(self) -> SigningKey:
        """The device's signing key, made at the first use."""
        secret = self.vault.key(SIGNING)
        if secret is None:
            self.vault.change(new_keys=[SIGNING])
            secret = self.vault.key(SIGNING)
        return SigningKey(secret or b"")

    def load(self, now: float) -> None:
        """Read what was written last and finish what a crash interrupted.

        A chain that does not verify is noted in the state, with the time it was first seen so.

        Raises:
            IntegrityError: If the state in the vault was not written by this module.
        """
        kept = self.vault.value(VALUE)
        if isinstance(kept, dict):
            try:
                self.state = BookState.from_json(kept)
            except ValueError as error:
                raise IntegrityError("the state of consent cannot be read") from error
        else:
            self.state = BookState(broken_at=now if self.file.exists() else None)
        if self.state.broken_at is None:
            try:
                found = self.file.look(self.state.base, self.state.end, self.key)
            except IntegrityError:
                at = max(now, self.state.last_seen)
                self.save(replace(self.state, broken_at=at, epoch=self.state.epoch + 1))
            else:
                self._honour(found)
                self._keep_promises()

    def save(self, state: BookState) -> None:
        """Keep a state that needs no receipt."""
        self.state = state
        self.vault.change({VALUE: state.to_json()})

    def shut(
        self, state: BookState, *, drop_keys: Iterable[str] = (), new_keys: Iterable[str] = ()
    ) -> tuple[ConsentReceipt, ...]:
        """Close first, write after; return the receipts that the state's ``pending`` promised."""
        self.state = state
        self.vault.change({VALUE: state.to_json()}, drop_keys=drop_keys, new_keys=new_keys)
        return self._keep_promises()

    def admit(
        self, state: BookState, pending: Pending, *, new_keys: Iterable[str] = ()
    ) -> tuple[BookState, ConsentReceipt]:
        """Write first; return the state that may now be opened, and the receipt."""
        [receipt], end = self.file.append([receipt_of(pending, state)], state.end, self.key)
        state = replace(state, end=end)
        self.vault.change({VALUE: state.to_json()}, new_keys=new_keys)
        return state, receipt

    def receipts(self) -> tuple[ConsentReceipt, ...]:
        """Return the receipts up to the anchor.

        Raises:
            IntegrityError: If they are not what the anchor vouches for.
        """
        return self.file.read(self.state.base, self.state.end)

    def cut(self) -> None:
        """Remove all receipts; the count and the hash of the last one stay as the new beginning."""
        end = self.state.end
        self.save(replace(self.state, base=end))
        self.file.remove()

    def _keep_promises(self) -> tuple[ConsentReceipt, ...]:
        state = self.state
        if not state.pending:
            return ()
        drafts = [receipt_of(pending, state) for pending in state.pending]
        receipts, end = self.file.append(drafts, state.end, self.key)
        self.save(replace(state, end=end, pending=()))
        return receipts

    def _honour(self, found: Found) -> None:
        """Close what receipts ahead of the anchor say is closed, and move the anchor."""
        if not found.closings:
            return
        state = replace(
            self.state, end=found.end, pending=self.state.pending[len(found.closings) :]
        )
        for receipt in found.closings:
            decision = state.decision(receipt.purpose)
            if receipt.event == RESTRICTED:
                state = replace(state, restricted=True)
            elif decision.holds and receipt.epoch > decision.epoch:
                closed = replace(
                    decision,
                    state=ConsentState(receipt.event),
                    changed_at=float(receipt.at),
                    epoch=receipt.epoch,
                    cause=receipt.cause,
                )
                epoch = max(state.epoch, receipt.epoch)
                state = replace(state, epoch=epoch).with_decision(closed)
        self.save(state)
