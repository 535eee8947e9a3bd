"""The book of consent: what a person decided, kept so that data follows it, crash or no crash.

Closing shuts first and writes after; a yes is written first and opens after (``journal``). Each
change raises the counter and lets ``prune`` delete what is no longer covered. Nothing is asked of
a network; the clock, the lock and the randomness are given.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Final, Self

from homebody_client.store import Store
from homebody_client.vault import Vault
from homebody_privacy.consent import (
    AGE_BANDS,
    GRACE_STATES,
    Closed,
    ConsentState,
    Decision,
    closed,
    why,
    why_purpose,
)
from homebody_privacy.consent_terms import DAY_S, ConsentTerms
from homebody_privacy.receipts import ConsentReceipt
from homebody_privacy.signing import SigningKey

from . import answers
from .journal import Journal
from .keeper import Keeper, refusal
from .prune import OUTGOING, Pruner
from .receipt_file import ReceiptFile
from .transitions import no_grant

if TYPE_CHECKING:
    from .matrix import MatrixRow

SIGNALS: Final = ("sec_gpc", "os_setting")
"""Opt-out signals a device can be told of."""

_NOES: Final = frozenset({ConsentState.REFUSED, ConsentState.WITHDRAWN})


class ConsentBook:
    """Consent of one device. Made by ``open`` only; safe to use from several threads.

    Each method that changes something raises UsageError if the disk cannot be written, and
    IntegrityError if the store is damaged; then everything is shut until what the disk says has
    been read again, which the next change does.

    Attributes:
        keeper: How the book is kept; for the gates.
        lock: Held during each call.
    """

    __slots__ = ("keeper", "lock")

    def __init__(self, keeper: Keeper, lock: RLock) -> None:
        """Keep the parts; ``open`` reads what they hold."""
        self.keeper = keeper
        self.lock = lock

    @classmethod
    def open(
        cls,
        *,
        terms: ConsentTerms | None,
        vault: Vault,
        store: Store | None,
        receipts: Path,
        lock: RLock,
        now: Callable[[], float],
        random: Callable[[int], bytes] = os.urandom,
    ) -> Self:
        """Open the book, finish what a crash interrupted, and close what is due.

        Rows that are too old or too many go at the next ``tick`` and whenever they are read.

        Args:
            terms: Of the config in force; None if no config passed the device's check.
            vault: Keeps state and keys, outside every backup of the profile.
            store: The data; None if it cannot be read.
            receipts: File of the receipts, in the profile.
            lock: Held during each call; shared with whoever else uses vault and store.
            now: The clock, Unix seconds.
            random: Gives that many unpredictable bytes.

        Raises:
            IntegrityError: If the state in the vault cannot be read, or the store is damaged.
            UsageError: If a file cannot be read or written.
        """
        pruner = Pruner(vault=vault, store=store, random=random)
        keeper = Keeper(Journal(vault, ReceiptFile(receipts)), pruner, now=now, random=random)
        book = cls(keeper, lock)
        book.adopt(terms)
        with lock:
            keeper.drop_ended()
        return book

    # What is asked of the book.

    def why(self, purpose: str, feature: str) -> Closed | None:
        """Say why a purpose may not use a feature group now; None means that it may."""
        with self.lock:
            return why(self.keeper.situation(), purpose, feature)

    def open_features(self, purpose: str) -> tuple[str, ...]:
        """Return the feature groups a purpose may use now."""
        with self.lock:
            situation = self.keeper.situation()
            names = () if situation.terms is None else tuple(situation.terms.groups)
            return tuple(f for f in names if why(situation, purpose, f) is None)

    def matrix(self) -> "list[MatrixRow]":
        """Return one row for each pair that may be asked, for the person's own screen."""
        from .matrix import matrix_rows  # noqa: PLC0415 a screen asks, not a list

        with self.lock:
            return matrix_rows(self.keeper.situation())

    def decision(self, purpose: str) -> Decision:
        """Return the current decision of a purpose."""
        with self.lock:
            return self.keeper.state.decision(purpose)

    def receipts(self) -> tuple[ConsentReceipt, ...]:
        """Return all receipts, oldest first.

        Raises:
            IntegrityError: If they are not what their anchor vouches for.
        """
        with self.lock:
            return self.keeper.journal.receipts()

    def may_ask(self, purpose: str) -> bool:
        """Say whether the person may be asked now: a no is kept, and a lock is not argued with."""
        with self.lock:
            situation, decision = self.keeper.situation(), self.decision(purpose)
            terms = situation.terms
            if terms is None or why_purpose(situation, purpose) is None:
                return False
            kept = situation.time - decision.changed_at < terms.refusal_days * DAY_S
            if decision.state in _NOES and not decision.cause.startswith("cascade") and kept:
                return False
            locked = no_grant(situation, purpose, (), explicit=True, over_signal=False)
            return locked is None

    @property
    def terms(self) -> ConsentTerms | None:
        """Terms last in force; what a device without an approved config still keeps to."""
        return self.keeper.state.terms

    @property
    def epoch(self) -> int:
        """Counter of changes. Never leaves the device."""
        return self.keeper.state.epoch

    @property
    def restricted(self) -> bool:
        """Whether the person froze processing."""
        return self.keeper.state.restricted

    @property
    def age_band(self) -> str | None:
        """The person's age band; None while it is not known."""
        return self.keeper.state.age

    @property
    def signals(self) -> Mapping[str, bool | None]:
        """Opt-out signals by name: True is on, None cannot be read."""
        return self.keeper.state.signals

    @property
    def signing_key(self) -> SigningKey:
        """Key of receipts and of notices of leaving; its ``public`` part verifies them."""
        with self.lock:
            return self.keeper.journal.key

    def now(self) -> float:
        """Return the time in force, Unix seconds."""
        with self.lock:
            return self.keeper.time()

    def purpose_key(self, purpose: str) -> bytes:
        """Return the data key of a purpose, for what is derived from its data. Secret.

        Raises:
            ConsentMissingError: If the purpose is shut.
        """
        with self.lock:
            shut = why_purpose(self.keeper.situation(), purpose)
            key = self.keeper.journal.vault.key(self.keeper.state.keys.get(purpose, ""))
            if shut is not None or key is None:
                raise refusal(shut or closed("withdrawn"))
            return key

    def on_change(self, callback: Callable[[int], None]) -> None:
        """Have a function called with the counter after each change, under the lock."""
        self.keeper.on_change(callback)

    # What the person says.

    def request(self, purpose: str) -> None:
        """Note that the prompt was shown.

        Raises:
            ConsentMissingError: If the person may not be asked now.
        """
        self._ask(purpose, ConsentState.REQUESTED)

    def defer(self, purpose: str) -> None:
        """Note that the person said: not now.

        Raises:
            ConsentMissingError: As ``request``.
        """
        self._ask(purpose, ConsentState.DEFERRED)

    def grant(
        self,
        purpose: str,
        *,
        features: Sequence[str],
        language: str = "en",
        explicit: bool = False,
        over_signal: bool = False,
        method: str = "api",
    ) -> ConsentReceipt:
        """Take a yes to a purpose for some feature groups; a second one replaces the first.

        Args:
            purpose: The switch.
            features: What may be used; what is not named is dropped.
            language: Language of the words the person read.
            explicit: The person gave a second, explicit yes to special categories.
            over_signal: The person confirmed although an opt-out signal is on.
            method: How it was said, such as ``tap``.

        Raises:
            ConsentMissingError: If it cannot be taken; its message begins with the code, such as
                ``needs:recommend``. No other purpose is ever switched on.
            UsageError: If there is no notice in the language, or as the class says.
            ValueError: If no feature group is named.
        """
        if not features:
            raise ValueError("a yes must name at least one feature group")
        with self.lock:
            return answers.take_yes(
                self.keeper,
                purpose,
                features,
                language=language,
                explicit=explicit,
                over_signal=over_signal,
                method=method,
            )

    def withdraw(self, purpose: str, *, cause: str = "", method: str = "api") -> ConsentReceipt:
        """Take a yes back: shut and erased when the call returns, with all that needs it.

        Raises:
            ConsentMissingError: If there is no such purpose.
        """
        with self.lock:
            return answers.take_no(
                self.keeper, purpose, ConsentState.WITHDRAWN, cause=cause, method=method
            )

    def refuse(self, purpose: str, *, method: str = "api") -> ConsentReceipt:
        """Take a no; kept, and not asked again for a while.

        Raises:
            ConsentMissingError: If there is no such purpose.
        """
        with self.lock:
            return answers.take_no(self.keeper, purpose, ConsentState.REFUSED, method=method)

    def object_to(self, purpose: str) -> ConsentReceipt:
        """Take an objection (GDPR Art. 21): the purpose is withdrawn.

        Raises:
            ConsentMissingError: If there is no such purpose.
        """
        return self.withdraw(purpose, cause="objection")

    def restrict(self, *, method: str = "api") -> None:
        """Freeze processing (GDPR Art. 18): every gate shut, nothing erased by time."""
        with self.lock:
            answers.freeze(self.keeper, method=method)

    def lift(self, *, method: str = "api") -> None:
        """Lift the freeze; what became overdue meanwhile goes before any gate opens."""
        with self.lock:
            answers.thaw(self.keeper, method=method)

    def set_age_band(self, band: str | None) -> None:
        """Keep the age band, asked once or told by the OS; None is not known.

        Growing older opens nothing: what leaves has to be asked for.

        Raises:
            ValueError: If there is no such band.
        """
        if band is not None and band not in AGE_BANDS:
            raise ValueError(f"an age band is one of {', '.join(AGE_BANDS)}, or None")
        with self.lock:
            self.keeper.heal()
            if band != self.keeper.state.age:
                self.keeper.note(replace(self.keeper.next(), age=band))

    def set_signal(self, name: str, on: bool | None) -> None:  # noqa: FBT001 - a signal is a truth value
        """Keep what an opt-out signal says; None is unreadable: shut, not erased.

        A signal that comes on withdraws every purpose that leaves, whatever was said before it;
        that it goes off again opens nothing.

        Raises:
            ValueError: If there is no such signal.
        """
        if name not in SIGNALS:
            raise ValueError(f"a signal is one of {', '.join(SIGNALS)}")
        with self.lock:
            answers.heed_signal(self.keeper, name, on=on)

    def erase(self) -> None:
        """Erase all data (GDPR Art. 17). Receipts, counters and what left the device stay."""
        with self.lock:
            self.keeper.heal()
            self.keeper.set_right(clock=False)
            state = self.keeper.stamped()
            closings = [
                answers.person_closes(
                    self.keeper, name, ConsentState.WITHDRAWN, cause="erasure", method="api"
                )
                for name, decision in sorted(state.decisions.items())
                if decision.holds or decision.state in GRACE_STATES
            ]
            self.keeper.close(closings, state, every_key=True)
            with self.keeper.writing():
                self.keeper.journal.vault.change(drop_keys=[OUTGOING])
                if self.keeper.pruner.store is not None:
                    self.keeper.pruner.store.clear()

    def cut_receipts(self) -> None:
        """Cut the receipts to the hash of the last one, as the person asked."""
        with self.lock:
            self.keeper.heal()
            self.keeper.set_right(clock=False)
            with self.keeper.writing():
                self.keeper.journal.cut()

    # What time and the provider do.

    def adopt(self, terms: ConsentTerms | None) -> Closed | None:
        """Put terms in force; decisions they no longer cover close, and their data goes.

        Returns:
            Why they are not in force: None was given, or a lower revision than seen before. Then
            everything is shut until terms are adopted that may be.
        """
        with self.lock:
            self.keeper.heal()
            before = self.terms
            newest = 0 if before is None else before.revision
            self.keeper.approved = terms is not None and terms.revision >= newest
            if self.keeper.approved and terms != before:
                self.keeper.note(replace(self.keeper.next(), terms=terms))
            else:
                self.keeper.settle()
                self.keeper.follow()
            return None if self.keeper.approved else closed("config_not_approved")

    def tick(self) -> None:
        """Close and erase what time has ended; call it now and then, and before a round."""
        with self.lock:
            self.keeper.heal()
            self.keeper.tick()

    def close(self) -> None:
        """Write down the latest time seen, before vault and store are put away."""
        with self.lock:
            self.keeper.heal()
            if self.keeper.time() > self.keeper.state.last_seen:
                with self.keeper.writing():
                    self.keeper.journal.save(self.keeper.stamped())

    # How it is done.

    def _ask(self, purpose: str, state: ConsentState) -> None:
        with self.lock:
            self.keeper.heal()
            self.keeper.settle()
            if not self.may_ask(purpose):
                shut = why_purpose(self.keeper.situation(), purpose)
                raise refusal(shut or Closed("already_given", "the answer is yes already"))
            answers.note_asked(self.keeper, purpose, state)
