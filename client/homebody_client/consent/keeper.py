"""How the book is kept: every change in one of the two orders, and everything shut while in doubt.

``Keeper`` carries the book's state from one change to the next. A write that fails leaves it torn:
shut, until the next change has read again what the disk says.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from homebody_client.store import overdue
from homebody_privacy.consent import (
    CLOCK_SLACK_S,
    GRACE_STATES,
    Closed,
    ConsentState,
    Decision,
    Situation,
)
from homebody_privacy.consent_terms import DAY_S
from homebody_privacy.errors import ConsentMissingError
from homebody_privacy.receipts import ConsentReceipt

from .journal import Journal
from .prune import Pruner, is_retained, key_name
from .state import BookState, Pending
from .transitions import Closing, after_doubt, apply, due, told

PERSON: Final = "DataSubject"

_TAG_BYTES: Final = 16
_YEAR_S: Final = 365 * DAY_S
_STAMP_S: Final = 600.0  # the time seen is written at least this often while anybody ticks


def refusal(shut: Closed) -> ConsentMissingError:
    """Return the error of a gate that is shut: code and sentence."""
    return ConsentMissingError(str(shut))


class Keeper:
    """State of the book, and the only way it changes. Its caller holds the lock."""

    __slots__ = ("_callbacks", "_now", "_random", "_seen", "_torn", "approved", "journal", "pruner")

    def __init__(
        self,
        journal: Journal,
        pruner: Pruner,
        *,
        now: Callable[[], float],
        random: Callable[[int], bytes],
    ) -> None:
        """Keep the parts; ``heal`` reads what they hold."""
        self.journal = journal
        self.pruner = pruner
        self.approved = False
        self._now = now
        self._random = random
        self._torn = True
        self._seen = 0.0
        self._callbacks: list[Callable[[int], None]] = []

    @property
    def state(self) -> BookState:
        """The book as it stands."""
        return self.journal.state

    def on_change(self, callback: Callable[[int], None]) -> None:
        """Have a function called with the counter after each change."""
        self._callbacks.append(callback)

    # Time and situation.

    def see(self) -> float:
        """Look at the clock, remember the latest time, and return the clock."""
        now = self._now()
        self._seen = max(self._seen, now)  # what is not a number is not seen
        return now

    def situation(self, state: BookState | None = None, *, on_disk: bool = False) -> Situation:
        """Return what the judge looks at.

        Args:
            state: A state the book may come to; None for the book as it stands.
            on_disk: That state is on disk and about to be opened, whatever is torn now.
        """
        now, latest = self.see(), self._seen
        if state is None:
            state = self.state
            latest = max(latest, state.last_seen)
        else:
            latest = state.last_seen
        held = self.journal.vault.key
        missing = [p for p, name in state.keys.items() if held(name) is None]
        missing += [p for p, d in state.decisions.items() if d.holds and p not in state.keys]
        return Situation(
            terms=state.terms,
            decisions=state.decisions,
            now=now,
            last_seen=latest,
            restricted=state.restricted,
            chain_ok=state.broken_at is None and (on_disk or not self._torn),
            config_ok=self.approved,
            age=state.age,
            signals=state.signals,
            unkeyed=frozenset(missing),
        )

    def is_steady(self, state: BookState, until: float) -> bool:
        """Say whether an answer worked out in a state, and true until a time, holds still."""
        now = self.see()
        same = state is self.state and self.approved and not self._torn
        return same and max(self._seen, state.last_seen) <= now < until

    def time(self) -> float:
        """Return the time in force: the latest ever seen."""
        self.see()
        return max(self._seen, self.state.last_seen)

    def stamped(self) -> BookState:
        """Return the state with the latest time seen."""
        return replace(self.state, last_seen=self.time())

    def next(self) -> BookState:
        """Return the state at the next count, with the latest time seen."""
        return replace(self.stamped(), epoch=self.state.epoch + 1)

    # Writing.

    def heal(self) -> None:
        """Read again what the disk says, if a write failed or nothing was read yet."""
        if self._torn:
            self.journal.load(self.see())
            self._seen = max(self._seen, self.state.last_seen)
            self._sweep_ahead()
            self._torn = False

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Shut everything if the block fails: what the disk says is not known then."""
        self._torn, before = True, self._torn
        yield
        self._torn = before

    def note(self, state: BookState) -> None:
        """Keep a state that needs no receipt, and let data and decisions follow it."""
        with self.writing():
            self.journal.save(state)
        self.settle()
        self.follow()
        self.tell()

    def settle(self) -> None:
        """Close what has to close by itself. A broken chain closes everything already."""
        closings = [] if self.state.broken_at is not None else due(self.situation())
        if closings:
            self.close(closings, self.stamped(), destroy=not self.state.restricted)

    def close(
        self,
        closings: Sequence[Closing],
        state: BookState,
        *,
        destroy: bool = True,
        every_key: bool = False,
    ) -> tuple[ConsentReceipt, ...]:
        """Close first, write after, and let data follow.

        Args:
            closings: What closes.
            state: The book before it.
            destroy: Whether keys are destroyed now; while processing is frozen only the person's
                own no does that.
            every_key: Destroy all data keys, those too that a frozen book kept for decisions that
                had ended already.
        """
        drop, new, promises, at = [], [], [], state.last_seen
        keys = dict(state.keys)
        for closing in closings:
            features = closing.part or state.decision(closing.purpose).features
            state = apply(state, closing, self._random(_TAG_BYTES).hex())
            promises.append(_promise(closing, features, at))
            if closing.purpose in keys and destroy and closing.erases:
                if closing.part:
                    keys[closing.purpose] = key_name(closing.purpose, state.epoch)
                    new.append(keys[closing.purpose])
                else:
                    drop.append(keys.pop(closing.purpose))
        if every_key:
            drop, new, keys = [*drop, *keys.values()], [], {}
        state = replace(state, keys=keys, pending=(*state.pending, *promises))
        with self.writing():
            receipts = self.journal.shut(state, drop_keys=drop, new_keys=new)
        self.follow(frozenset(closing.purpose for closing in closings))
        self.tell()
        return receipts

    def admit(self, decision: Decision, *, method: str) -> ConsentReceipt:
        """Write a yes first, open it after; what its data key opened before goes with the key.

        Args:
            decision: What was said, without state, epoch, tag and since: they are given here.
            method: How it was said.
        """
        before = self.next()
        old, at = before.decision(decision.purpose), before.last_seen
        again = old.holds or old.state in GRACE_STATES
        since = {
            f: old.since[f] if again and f in old.since and _keeps(before, old, f, at) else at
            for f in decision.features
        }
        given = replace(
            decision,
            state=ConsentState.RENEWED if again else ConsentState.GIVEN,
            epoch=before.epoch,
            tag=self._random(_TAG_BYTES).hex(),
            since=since,
        )
        name = key_name(decision.purpose, before.epoch)
        after = told(before, decision.purpose).with_decision(given)
        after = replace(after, keys={**after.keys, decision.purpose: name})
        said = Pending(
            event=given.state,
            at=at,
            purpose=given.purpose,
            features=given.features,
            by=PERSON,
            method=method,
        )
        with self.writing():
            after, receipt = self.journal.admit(after, said, new_keys=[name])
            changed = frozenset({decision.purpose})
            self._opened(after, changed)
        self.tell()
        return receipt

    def admit_lifting(self, said: Pending, state: BookState) -> None:
        """Write the end of a freeze first; what became overdue goes before anything opens."""
        fresh = {  # what was lost of a decision meanwhile must not open with the rest
            purpose: key_name(purpose, state.decision(purpose).epoch)
            for purpose in state.keys
            if state.keys[purpose] != key_name(purpose, state.decision(purpose).epoch)
        }
        state = replace(state, keys={**state.keys, **fresh})
        with self.writing():
            after, _ = self.journal.admit(state, said, new_keys=fresh.values())
            self.sweep(after)
            self._opened(after, frozenset(fresh))
        self.settle()
        self.tell()

    def set_right(self, *, clock: bool) -> None:
        """Begin a new chain if it is broken and, for a new yes, believe a clock that went back."""
        now, before = self.see(), self.stamped()
        state, closings = after_doubt(before, now, CLOCK_SLACK_S if clock else float("inf"))
        if state == before:
            return
        if before.broken_at is not None:
            self.journal.file.set_aside()
        self._seen = state.last_seen
        with self.writing():
            if not closings:
                self.journal.save(state)
        if closings:
            self.close(closings, state)
        with self.writing():
            self._sweep_ahead()

    def follow(self, changed: frozenset[str] = frozenset()) -> None:
        """Let data follow the book as it stands."""
        situation = self.situation()
        with self.writing():
            self.journal.state = self.pruner.prune(self.state, situation, changed)

    def tell(self) -> None:
        """Tell whoever asked for it that something changed."""
        for callback in self._callbacks:
            callback(self.state.epoch)

    # What time does.

    def tick(self) -> None:
        """Close, erase and forget what time has ended, and write down how late it is."""
        self.settle()
        self.drop_ended()
        time = self.time()
        with self.writing():
            self.sweep(self.state)
            self._forget_receipts(time)
            if time - self.state.last_seen >= _STAMP_S:
                self.journal.save(self.stamped())

    def drop_ended(self) -> None:
        """Erase what waited for a new yes longer than it may."""
        state, time = self.state, self.time()
        ended = [p for p in state.keys if not _keeps_any(state, state.decision(p), time)]
        if ended and not state.restricted:
            self.follow()
            self.tell()

    def sweep(self, state: BookState, *, ahead_s: float = float(DAY_S)) -> None:
        """Delete rows that are too old or too many, or that claim to come from the future.

        Args:
            state: The book; nothing is deleted while it is frozen.
            ahead_s: How far ahead of the time in force a row may lie.
        """
        store, terms = self.pruner.store, state.terms
        if store is None or terms is None or state.restricted:
            return
        time = max(state.last_seen, self._seen)
        keys = self.pruner.every_key()
        for feature in store.wraps():
            key, group = store.segment_key(feature, keys), terms.groups.get(feature)
            if key is None or group is None:
                continue
            rows = store.rows(feature, key)
            gone = set(overdue(rows, now=time, ttl_days=group.ttl_days, max_rows=group.max_rows))
            gone |= {row.seq for row in rows if row.at > time + ahead_s}
            if gone:
                store.delete(sorted(gone))

    def _sweep_ahead(self) -> None:
        """Delete rows from ahead of a clock that was set right: their age cannot be told."""
        if self.state.unswept:
            self.sweep(self.state, ahead_s=0.0)
            self.journal.save(replace(self.state, unswept=False))

    def _opened(self, state: BookState, changed: frozenset[str] = frozenset()) -> None:
        """Let data follow a state that is on disk, then make it the book as it stands."""
        situation = self.situation(state, on_disk=True)
        self.journal.state = self.pruner.prune(state, situation, changed)

    def _forget_receipts(self, time: float) -> None:
        state = self.state
        if state.terms is None or state.end == state.base or state.broken_at is not None:
            return
        last = max((decision.changed_at for decision in state.decisions.values()), default=time)
        if time - last >= state.terms.receipts_years * _YEAR_S:
            self.journal.cut()


def _promise(closing: Closing, features: tuple[str, ...], at: float) -> Pending:
    return Pending(
        event=closing.state,
        at=at,
        purpose=closing.purpose,
        features=features,
        cause=closing.cause,
        by=closing.by,
        method=closing.method,
    )


def _keeps(state: BookState, decision: Decision, feature: str, time: float) -> bool:
    return is_retained(state, decision, feature, time)


def _keeps_any(state: BookState, decision: Decision, time: float) -> bool:
    return any(is_retained(state, decision, feature, time) for feature in decision.features)
