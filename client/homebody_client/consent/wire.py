"""What of consent other machines get to see: a random tag, a notice of leaving, a commitment.

The counter of changes stays on the device: it would tell how often a person changed their mind.
"""

import json
from collections.abc import Sequence
from dataclasses import field, replace
from typing import Final, Self

from homebody_client.light_dataclass import dataclass
from homebody_privacy.consent import why_purpose
from homebody_privacy.errors import IntegrityError
from homebody_privacy.receipts import canonical, commitment
from homebody_privacy.signing import SigningKey, verify_ed25519

from .book import ConsentBook
from .keeper import refusal
from .state import COMMITMENT

_LABEL: Final = b"homebody/leave/v1\0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave:
    """A notice that a device no longer takes part under a tag, signed by the device.

    Whoever holds something of this tag, such as a queue of work, drops it.

    Attributes:
        purpose: The purpose that was closed or changed.
        tag: The tag it had, 32 hex digits.
        signature: Ed25519 over both.
    """

    purpose: str
    tag: str
    signature: bytes = field(repr=False)

    def to_bytes(self) -> bytes:
        """Return the notice as it is sent: RFC 8785 JSON."""
        return canonical({**_told(self.purpose, self.tag), "sig": self.signature.hex()})

    @classmethod
    def from_bytes(cls, content: bytes, public: bytes) -> Self:
        """Read a notice and check that the device of ``public`` signed it.

        Raises:
            IntegrityError: If it is none, or of another device.
        """
        try:
            values = json.loads(content)
            purpose, tag = str(values["leave"]), str(values["tag"])
            signature = bytes.fromhex(values["sig"])
            message = _LABEL + canonical(_told(purpose, tag))
            sound = canonical({**_told(purpose, tag), "sig": signature.hex()}) == content
        except (KeyError, RecursionError, TypeError, ValueError) as error:
            raise IntegrityError("it is no notice of leaving") from error
        if not sound or not verify_ed25519(public, signature, message):
            raise IntegrityError("the notice of leaving is not of this device")
        return cls(purpose=purpose, tag=tag, signature=signature)


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
            return self._book.signing_key

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

    def notices(self) -> list[Leave]:
        """Return a signed notice for each of these tags."""
        key = self.signing_key
        return [
            Leave(
                purpose=purpose,
                tag=tag,
                signature=key.sign(_LABEL + canonical(_told(purpose, tag))),
            )
            for purpose, tags in sorted(self.leaving().items())
            for tag in tags
        ]

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
            if vault.key(COMMITMENT) is None:
                vault.change(new_keys=[COMMITMENT])
            return commitment(vault.key(COMMITMENT) or b"", keeper.state.end)

    def unlink(self) -> None:
        """Destroy the secret of the commitment: what a server kept belongs to nobody then."""
        with self._book.lock:
            self._book.keeper.journal.vault.change(drop_keys=[COMMITMENT])


def _told(purpose: str, tag: str) -> dict[str, object]:
    return {"v": 1, "leave": purpose, "tag": tag}
