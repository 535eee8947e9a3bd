"""The one place that makes data follow consent.

Kept are: rows of feature groups that some decision holds open, keeps in grace or that are frozen;
what waits to leave under a fresh ticket; derived things all of whose pairs are open. All else is
deleted, and keys that nothing needs are destroyed. It can be run at any time, and again after a
crash at any point of it.
"""

import os
from collections.abc import Callable
from dataclasses import field, replace
from typing import Final

from homebody_client.light_dataclass import dataclass
from homebody_client.store import Store
from homebody_client.vault import Vault
from homebody_privacy.consent import GRACE_STATES, Closed, Decision, Situation, why
from homebody_privacy.errors import IntegrityError

from .state import VALUE, BookState
from .tickets import Ticket
from .transitions import grace_ends, lost

OUTGOING: Final = "outgoing"
"""Name of the key of the queue; the payloads in it are sealed under their purpose's key besides."""

_PREFIX: Final = "purpose:"
_KEY_BYTES: Final = 32


def key_name(purpose: str, epoch: int) -> str:
    """Return the name of the data key a decision brings; each decision has one of its own."""
    return f"{_PREFIX}{purpose}#{epoch}"


def is_retained(state: BookState, decision: Decision, feature: str, time: float) -> bool:
    """Say whether a decision keeps the rows of a feature group, open or shut.

    Args:
        state: The book.
        decision: One of its decisions.
        feature: The feature group.
        time: The time in force, Unix seconds.
    """
    terms = state.terms
    if terms is None or decision.purpose not in state.keys or feature not in decision.features:
        return False
    if decision.purpose not in terms.purposes or feature in lost(terms, decision):
        return False
    ends = [] if state.broken_at is None else [grace_ends(terms, state.broken_at)]
    if decision.state in GRACE_STATES:
        ends.append(grace_ends(terms, decision.changed_at))
    elif decision.holds:
        ends.append(grace_ends(terms, decision.valid_until))
    else:
        return False
    return time < min(ends)


def is_fresh(ticket: Ticket, state: BookState, situation: Situation) -> Closed | None:
    """Say why a ticket is not fresh any more; None means that it is."""
    for feature in ticket.features:
        shut = why(situation, ticket.purpose, feature)
        if shut is not None:
            return shut
    terms = situation.terms
    same = all(state.decision(name).epoch == epoch for name, epoch in ticket.epochs.items())
    if terms is None or not same or ticket.config_sha256 != terms.config_sha256:
        return Closed("not_fresh", "a choice, or what was agreed to, has changed since the read")
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruner:
    """Deletes what consent no longer covers.

    Attributes:
        vault: Where the keys are.
        store: Where the data is; None if it cannot be read.
        random: Gives that many unpredictable bytes.
    """

    vault: Vault = field(repr=False)
    store: Store | None = field(repr=False)
    random: Callable[[int], bytes] = field(default=os.urandom, repr=False)

    def prune(
        self, state: BookState, situation: Situation, changed: frozenset[str] = frozenset()
    ) -> BookState:
        """Make data follow a state, and return it without the keys that were destroyed.

        Args:
            state: The book as it is now, on disk already.
            situation: The same as the judge sees it.
            changed: Purposes whose data key is a new one: what was derived for them is unreadable.
        """
        if self.store is not None:
            wraps = self.store.wraps()
            for feature in sorted({*wraps, *state.seen}):
                self._follow(self.store, state, feature, situation.time, wraps.get(feature))
            self._prune_derived(self.store, state, situation, changed)
            self._prune_queue(self.store, state, situation)
        return state if state.restricted else self._destroy_keys(state, situation.time)

    def keys(self, state: BookState) -> dict[str, bytes]:
        """Return the data keys of a state that are there, by their names in the vault."""
        found = {name: self.vault.key(name) for name in state.keys.values()}
        return {name: key for name, key in found.items() if key is not None}

    def _follow(
        self,
        store: Store,
        state: BookState,
        feature: str,
        time: float,
        wrapped: tuple[str, ...] | None,
    ) -> None:
        """Wrap the key of a feature group for those who keep it; delete it if nobody does."""
        if state.restricted:
            if wrapped is not None and not any(map(self.vault.key, wrapped)):
                store.drop_feature(feature)
            return
        names = {
            state.keys[purpose]
            for purpose, decision in state.decisions.items()
            if is_retained(state, decision, feature, time)
        }
        held = self.keys(state)
        keys = {name: held[name] for name in names if name in held}
        if not keys:
            if wrapped is not None:
                store.drop_feature(feature)
            return
        if set(wrapped or ()) == set(keys) and store.segment_key(feature, keys) is not None:
            return
        segment = store.segment_key(feature, self.every_key())
        if segment is None:
            store.drop_feature(feature)
            segment = self.random(_KEY_BYTES)
        store.set_wraps(feature, segment, keys)

    def every_key(self) -> dict[str, bytes]:
        """Return all data keys of the vault, those about to be destroyed included."""
        names = [name for name in self.vault.names() if name.startswith(_PREFIX)]
        found = {name: self.vault.key(name) for name in names}
        return {name: key for name, key in found.items() if key is not None}

    def _prune_derived(
        self, store: Store, state: BookState, situation: Situation, changed: frozenset[str]
    ) -> None:
        gone = [
            name
            for name, pairs in store.derived_index()
            if not self._is_kept(store, state, situation, name, pairs, changed)
        ]
        if gone:
            store.drop_derived(gone)

    def _is_kept(
        self,
        store: Store,
        state: BookState,
        situation: Situation,
        name: str,
        pairs: frozenset[tuple[str, str]],
        changed: frozenset[str],
    ) -> bool:
        purposes = {purpose for purpose, _ in pairs}
        keys = {p: self.vault.key(state.keys.get(p, "")) for p in purposes}
        if not pairs or None in keys.values():
            return False
        shut = any(why(situation, *pair) is not None for pair in pairs)
        if not state.restricted and (shut or purposes & changed):
            return False
        if len(purposes) > 1:
            return True
        try:
            store.derived(name, keys[next(iter(purposes))] or b"")
        except IntegrityError:
            return False  # sealed under the key of an earlier decision
        return True

    def _prune_queue(self, store: Store, state: BookState, situation: Situation) -> None:
        key = self.vault.key(OUTGOING)
        if key is None:
            return
        stale = [
            number
            for number, ticket, _ in store.queue(key)
            if self._is_stale(ticket, state, situation)
        ]
        if stale:
            store.dequeue(stale)

    def _is_stale(self, content: bytes, state: BookState, situation: Situation) -> bool:
        try:
            ticket = Ticket.from_bytes(content)
        except ValueError:
            return True
        if state.restricted:
            return self.vault.key(state.keys.get(ticket.purpose, "")) is None
        return is_fresh(ticket, state, situation) is not None

    def _destroy_keys(self, state: BookState, time: float) -> BookState:
        """Destroy every data key that no decision needs, in one step with the state."""
        needed = {
            purpose: name
            for purpose, name in state.keys.items()
            if any(
                is_retained(state, state.decision(purpose), feature, time)
                for feature in state.decision(purpose).features
            )
        }
        stale = [
            name
            for name in self.vault.names()
            if name.startswith(_PREFIX) and name not in needed.values()
        ]
        if not stale and needed == dict(state.keys):
            return state
        state = replace(state, keys=needed)
        self.vault.change({VALUE: state.to_json()}, drop_keys=stale)
        return state
