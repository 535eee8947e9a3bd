"""The four gates: collect, read, train, send. What does not pass them does not happen.

=======  ==========================================================  ==============================
gate     passes when                                                 else
=======  ==========================================================  ==============================
collect  some purpose may use the feature group; only listed fields, the row never reaches the disk
         no row with an excluded value
read     the purpose may use it; by age, number and date of the yes  ``ConsentMissingError``
train    the ticket is fresh before the computation and after it     the result is zeroed
send     the ticket is fresh, the charge is on disk, the egress log  nothing leaves; the log says
         is on disk: one critical section with the handing over      why
=======  ==========================================================  ==============================
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from functools import lru_cache
from typing import TYPE_CHECKING, Final, TypeVar

from homebody_client.light_dataclass import dataclass
from homebody_client.store import Store, StoredRow, Value, overdue
from homebody_privacy.consent import Closed, all_required, closed, why
from homebody_privacy.consent_terms import GroupTerms
from homebody_privacy.errors import ConsentMissingError, HomebodyError, IntegrityError

from .book import ConsentBook
from .egress import EgressEntry, EgressLog
from .keeper import refusal
from .prune import is_fresh
from .state import BookState
from .tickets import Ticket
from .wipe import wipe

if TYPE_CHECKING:  # a device that only ranks tells no server
    from .wire import Leave

T = TypeVar("T")

_KIND: Final = "event"  # stands in every row, listed or not


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadResult:
    """What a read returned.

    Attributes:
        rows: Rows of the open feature groups, oldest first. Secret.
        features: The groups that were read.
        ticket: What the rows may be used under.
    """

    rows: list[StoredRow] = field(repr=False)
    features: tuple[str, ...]
    ticket: Ticket


@dataclass(frozen=True, slots=True, kw_only=True)
class _Admitted:
    """Which feature groups collect, and until when that answer holds without asking again."""

    state: BookState
    until: float
    features: frozenset[str]


class Gates:
    """The gates of one device."""

    __slots__ = ("_admitted", "_egress", "book")

    def __init__(self, book: ConsentBook, egress: EgressLog) -> None:
        """Guard the data of a book; whatever leaves is written to an egress log."""
        self.book = book
        self._egress = egress
        self._admitted: _Admitted | None = None

    # Collect.

    def collect(self, values: Mapping[str, Mapping[str, Value]]) -> dict[str, dict[str, Value]]:
        """Return what of an event may be kept now, by feature group.

        Args:
            values: Values of the event by feature group. Secret.

        Returns:
            For each group that some purpose may use: the listed fields alone. A group is left out
            if nothing of it is left, or if a value is excluded.
        """
        with self.book.lock:
            accepting = self._collecting()
            terms = self.book.terms
        if terms is None or not accepting:
            return {}
        kept = {
            feature: _listed(given, terms.groups[feature])
            for feature, given in values.items()
            if feature in accepting
        }
        return {feature: one for feature, one in kept.items() if one}

    def keys(self) -> dict[str, bytes]:
        """Return the keys of the groups that collect now; for whoever writes a batch. Secret.

        Asked at each write under the book's lock, so that what was taken before a no is dropped.
        """
        with self.book.lock:
            found = {feature: self._segment(feature) for feature in self._collecting()}
            return {feature: key for feature, key in found.items() if key is not None}

    def held_keys(self) -> dict[str, bytes]:
        """Return the keys of all groups with rows, shut ones too: for the person's own eyes.

        They see, correct and delete what is there, whatever it may be used for. Secret.
        """
        with self.book.lock:
            found = {feature: self._segment(feature) for feature in self._store().wraps()}
            return {feature: key for feature, key in found.items() if key is not None}

    # Read.

    def read(
        self,
        purpose: str,
        features: Sequence[str] | None = None,
        *,
        run: str = "",
        round_number: int = 0,
    ) -> ReadResult:
        """Return what a purpose may use now, and the ticket to use it under.

        Rows past their time, beyond their number, or older than the yes are left out; unless the
        config says ``reach_back`` a yes does not cover what was kept before it.

        Args:
            purpose: What for.
            features: Feature groups wanted; None for all. Those that are shut are left out.
            run: Run it is for.
            round_number: Round it is for, from 1; 0 for none.

        Raises:
            ConsentMissingError: If none of them is open; the message begins with the code.
            IntegrityError: If the store cannot be read.
        """
        with self.book.lock:
            opened = self._opened(purpose, features)
            rows = [row for feature in opened for row in self._rows(purpose, feature)]
            rows.sort(key=lambda row: (row.at, row.seq))
            ticket = self._ticket(purpose, opened, run, round_number)
            return ReadResult(rows=rows, features=opened, ticket=ticket)

    def ticket(self, purpose: str) -> Ticket:
        """Return what may be sent under a purpose now that rests on no row; none is read.

        Raises:
            ConsentMissingError: If no feature group is open for it.
            IntegrityError: If the store cannot be read.
        """
        with self.book.lock:
            return self._ticket(purpose, self._opened(purpose, None), "", 0)

    # Train.

    def train(self, ticket: Ticket, work: Callable[[], T], *, scratch: Sequence[object] = ()) -> T:
        """Compute under a ticket; the computation runs outside the lock.

        Args:
            ticket: Of the read whose rows are used.
            work: The computation.
            scratch: Arrays it may have left results in, zeroed too when the ticket has gone stale.

        Raises:
            ConsentMissingError: If the ticket is not fresh, before or after; then the result and
                the scratch arrays were zeroed and nothing of them is returned.
        """
        self.check(ticket)
        result = work()
        try:
            self.check(ticket)
        except ConsentMissingError:
            wipe(result)
            wipe(scratch)
            raise
        return result

    def stale(self, ticket: Ticket) -> Closed | None:
        """Say why a ticket is not fresh any more; None means that it is."""
        with self.book.lock:
            return is_fresh(ticket, self.book.keeper.state, self.book.keeper.situation())

    def check(self, ticket: Ticket) -> None:
        """Refuse a ticket that is not fresh any more.

        Raises:
            ConsentMissingError: Its message begins with the code.
        """
        shut = self.stale(ticket)
        if shut is not None:
            raise refusal(shut)

    # Send.

    def send(
        self,
        ticket: Ticket,
        payload: bytes,
        *,
        what: str,
        deliver: Callable[[bytes], None],
        charge: Callable[[], None] = lambda: None,
        kind: str = "update",
        round_number: int | None = None,
        paid_by: str | None = None,
    ) -> None:
        """Let bytes leave: the only way out. One critical section under the device's lock.

        In this order: the ticket is fresh; the charge is written; the egress log is written; the
        bytes are handed over. ``deliver`` must only hand over, and soon: a withdrawal waits for it.

        Args:
            ticket: What the payload was computed under.
            payload: What leaves. Secret.
            what: What it is, in words for the egress log; no value of an event.
            deliver: Hands the bytes over.
            charge: Counts it, durably, before; what it raises stops everything.
            kind: One of ``egress.KINDS``.
            round_number: Round it is for; by default the ticket's.
            paid_by: What pays for it in the run's ledger: a purchase, or ``round/3``.

        Raises:
            ConsentMissingError: If the ticket is not fresh; nothing left.
            HomebodyError: As ``charge``; nothing left.
        """
        with self.book.lock:
            number = round_number if round_number is not None else ticket.round or None

            def log(why_not: str) -> None:
                self._egress.append(
                    EgressEntry(
                        time=self.book.now(),
                        kind=kind,
                        purpose=ticket.purpose,
                        bytes=len(payload),
                        summary=what,
                        round=number,
                        charge=paid_by,
                        sent=not why_not,
                        why=why_not,
                    )
                )

            shut = self.stale(ticket)
            if shut is not None:
                log(str(shut))
                raise refusal(shut)
            try:
                charge()
            except HomebodyError as error:
                log(f"{error.code}: it could not be counted, so it was not sent")
                raise
            log("")
            deliver(payload)

    def leave(self, notice: "Leave", *, deliver: Callable[[bytes], None]) -> None:
        """Tell a server that this device no longer takes part; it needs no yes.

        Args:
            notice: The signed notice; nothing else may leave this way.
            deliver: Hands the bytes over.
        """
        with self.book.lock:
            payload = notice.to_bytes()
            self._egress.append(
                EgressEntry(
                    time=self.book.now(),
                    kind="leave",
                    purpose=notice.purpose,
                    bytes=len(payload),
                    summary="notice that this device no longer takes part",
                )
            )
            deliver(payload)

    def _opened(self, purpose: str, features: Sequence[str] | None) -> tuple[str, ...]:
        """Return the wanted groups that a purpose may use now, or refuse if there is none.

        Where the store cannot be read nothing goes on: an answer made of no rows would be one, too.
        """
        terms = self.book.terms
        wanted = (tuple(terms.groups) if terms else ()) if features is None else features
        reasons = {feature: self.book.why(purpose, feature) for feature in wanted}
        opened = tuple(sorted(f for f, reason in reasons.items() if reason is None))
        if not opened:
            raise refusal(_most_telling(list(reasons.values()), self._why_all(purpose)))
        self._store()
        return opened

    def _collecting(self) -> frozenset[str]:
        """Return the groups some purpose may use; asked again when anything changed."""
        keeper, known = self.book.keeper, self._admitted
        if known is not None and keeper.is_steady(known.state, known.until):
            return known.features
        situation = keeper.situation()
        terms = situation.terms
        purposes = () if terms is None else tuple(terms.purposes)
        features = frozenset(
            feature
            for feature in (() if terms is None else terms.groups)
            if any(why(situation, purpose, feature) is None for purpose in purposes)
        )
        ends = [d.valid_until for d in situation.decisions.values() if d.holds]
        until = min(ends, default=situation.now)
        steady = keeper.is_steady(keeper.state, until)
        known = _Admitted(state=keeper.state, until=until, features=features)
        self._admitted = known if steady else None
        return features

    def _rows(self, purpose: str, feature: str) -> list[StoredRow]:
        """Return the rows of an open pair that the purpose may see."""
        book, terms = self.book, self.book.terms
        key = self._segment(feature)
        if terms is None or key is None:
            return []
        group, rows = terms.groups[feature], self._store().rows(feature, key)
        gone = set(overdue(rows, now=book.now(), ttl_days=group.ttl_days, max_rows=group.max_rows))
        if gone:
            self._store().delete(sorted(gone))
        since = 0.0 if terms.reach_back else book.decision(purpose).since.get(feature, book.now())
        return [row for row in rows if row.seq not in gone and row.at >= since]

    def _segment(self, feature: str) -> bytes | None:
        keeper = self.book.keeper
        store = keeper.pruner.store
        return (
            None if store is None else store.segment_key(feature, keeper.pruner.keys(keeper.state))
        )

    def _ticket(self, purpose: str, features: tuple[str, ...], run: str, number: int) -> Ticket:
        terms, state = self.book.terms, self.book.keeper.state
        names = (purpose, *(() if terms is None else all_required(terms, purpose)))
        return Ticket(
            purpose=purpose,
            features=features,
            config_sha256="" if terms is None else terms.config_sha256,
            epochs={name: state.decision(name).epoch for name in names},
            run=run,
            round=number,
        )

    def _why_all(self, purpose: str) -> Closed:
        terms = self.book.terms
        some = next(iter(terms.groups), "") if terms is not None else ""
        return self.book.why(purpose, some) or closed("feature_not_chosen")

    def _store(self) -> Store:
        store = self.book.keeper.pruner.store
        if store is None:
            raise IntegrityError("the store of this device cannot be read")
        return store


@lru_cache(maxsize=256)
def _excluded(pairs: tuple[str, ...]) -> frozenset[tuple[str, ...]]:
    """Return fields and values that keep an event out."""
    return frozenset(tuple(pair.split(":", 1)) for pair in pairs)


def _listed(values: Mapping[str, Value], group: GroupTerms) -> dict[str, Value]:
    """Return the listed fields and the kind of event; nothing if the group does not take it.

    An excluded value keeps the whole event out, whether its field is listed or not.
    """
    excluded = _excluded(group.exclude)
    kind = values.get(_KIND)
    if group.events and kind not in group.events:
        return {}
    if excluded and any((name, str(value)) in excluded for name, value in values.items()):
        return {}
    kept = {name: values[name] for name in group.fields if name in values}
    return {_KIND: kind, **kept} if kept.keys() - {_KIND} and kind is not None else kept


def _most_telling(reasons: Sequence[Closed | None], general: Closed) -> Closed:
    """Return the reason that says most: any but that one group was not chosen or not allowed."""
    found = [reason for reason in reasons if reason is not None]
    telling = [r for r in found if r.code not in ("feature_not_chosen", "not_in_matrix")]
    return (telling or found or [general])[0]
