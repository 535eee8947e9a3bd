"""The state of an open device: its parts, its rows, what it serves with, whom it tells."""

import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from homebody_client.consent.book import ConsentBook
from homebody_client.device_rows import Rows
from homebody_client.erasure import STRENGTH, begin_anew, erase
from homebody_client.events.event import Event
from homebody_client.housekeeping import Housekeeper
from homebody_client.parts import STORE_UNREADABLE, Parts
from homebody_client.recommend import Recommendations
from homebody_client.serving.interactions import Interaction
from homebody_client.serving.query import Query
from homebody_client.setup import Setup
from homebody_privacy.consent import closed
from homebody_privacy.errors import ConsentMissingError, HomebodyError, IntegrityError

if TYPE_CHECKING:
    from homebody_client.check_in import Condition
    from homebody_client.feature_store import FeatureStore

RECOMMEND: Final = "recommend"
"""The purpose lists are made for; it stays on the device."""

CONSENT_CLOSED: Final = "consent-closed"
"""``fallback_reason`` of a list for all, shown because nothing may be read for it."""

FULL: Final = 100

_UNTELLING: Final = frozenset({"feature_not_chosen", "not_in_matrix"})


class Core:
    """What is behind ``Device``; one for each opening.

    Attributes:
        setup: What the app gave.
        lock: Held during each call that changes something.
        parts: Its parts.
        rows: Its rows; None where nothing can be kept.
        condition: State of the machine, as the app said last; None before that.
        shelved: Model and catalog in use.
        maker: Makes lists of them.
    """

    def __init__(self, setup: Setup) -> None:
        """Bring up what can be brought up."""
        self.setup = setup
        self.lock = threading.RLock()
        self.rows: Rows | None = None
        self.condition: Condition | None = None
        self._callbacks: list[Callable[[], None]] = []
        self._rng: np.random.Generator | None = None
        self._closed = False
        self._start(setup)
        self._housekeeper = Housekeeper(self.tick)

    def close(self) -> None:
        """Put on disk what waits, and unlock the profile."""
        self._housekeeper.stop()
        with self.lock:
            if self._closed:
                return
            self._closed = True
            try:
                if self.rows is not None:
                    self.rows.flush()
            finally:
                try:
                    self.parts.close()
                finally:
                    self.setup.profile.close()

    def tick(self) -> None:
        """Do what time demands: expiry, retention."""
        with self.lock:
            if isinstance(self.parts.book, ConsentBook) and not self._closed:
                self.parts.book.tick()

    def now(self) -> float:
        """Return the time in force: it never goes back."""
        book = self.parts.book
        return book.now() if isinstance(book, ConsentBook) else self.setup.now()

    def strength(self) -> int:
        """Return how personal lists are, 0 to 100."""
        value = None if self.parts.vault is None else self.parts.vault.value(STRENGTH)
        return value if isinstance(value, int) else FULL

    def set_strength(self, value: int) -> None:
        """Keep how personal lists are; ``ValueError`` if it is out of range."""
        if type(value) is not int or not 0 <= value <= FULL:
            raise ValueError(f"strength must be a whole number in 0..{FULL}")
        with self.lock:
            if self.parts.vault is not None:
                self.parts.vault.change({STRENGTH: value})
        self.tell()

    # Rows.

    def take(self, event: Event, *, own: bool = False) -> bool:
        """Keep what may be kept of an event; return whether any row was."""
        with self.lock:  # else an erasure could come between, and these rows be of before it
            if self.rows is None:
                return False
            kept = self.rows.record(event, self.shelved.catalog, own=own)
        if kept:
            self.tell()
        return kept

    def react(self, product_id: str, reaction: str) -> bool:
        """Take what was said on this device; return whether it was kept."""
        from homebody_client.events.parse import parse_event  # noqa: PLC0415 not to rank

        now = self.now()
        said = {
            "user_id": "the person here",
            "event": reaction,
            "product_id": product_id,
            "timestamp": datetime.fromtimestamp(now).astimezone().isoformat(),  # their hour
        }
        return self.take(parse_event(said, now=now), own=True)

    def gone(self, count: int) -> int:
        """Tell of ``count`` changed rows, if there are any; return the count."""
        if count:
            self.tell()
        return count

    def erase(self) -> None:
        """Erase the person; where a part is damaged, begin it anew."""
        with self.lock:
            if self.rows is not None:
                self.rows.discard()
            if erase(self.parts):
                self._read_rows()
            else:
                begin_anew(self.parts, self.setup.keys)
                self._start(self.setup)
        self.tell()

    @property
    def problems(self) -> tuple[str, ...]:
        """What was refused or is missing."""
        return (*self.setup.problems, *self.parts.problems, *self.shelved.problems)

    def model_facts(self) -> dict[str, object]:
        """Return the facts of the model in use, as JSON; empty without one. Public."""
        from homebody_client.model_facts import model_facts  # noqa: PLC0415 words for people

        terms = self.parts.book.terms
        return model_facts(self.shelved.bundle, engine=self.engine, now=self.now(), terms=terms)

    def features(self) -> "FeatureStore":
        """Return what computes features.

        Raises:
            IntegrityError: If nothing can be read.
        """
        # Loaded here, not at import: a device that only ranks does without.
        from homebody_client.feature_store import FeatureStore  # noqa: PLC0415
        from homebody_client.features.defaults import DEFAULT_SPECS  # noqa: PLC0415

        if self.rows is None or self.parts.gates is None:
            raise IntegrityError(
                "the rows of this device cannot be read", fix="erase the device and begin anew"
            )
        self.rows.flush()
        specs = self.setup.shop.features
        return FeatureStore(self.parts.gates, DEFAULT_SPECS if specs is None else specs)

    # Lists.

    def query(self, **fields: Any) -> Query:  # noqa: ANN401 the fields of Query, checked there
        """Return a call for a list, made now."""
        now = self.now()
        if fields.get("hour") is None:
            fields["hour"] = datetime.fromtimestamp(now).astimezone().hour
        return Query(now=now, strength=self.strength(), rng=self._draws(fields), **fields)

    def _draws(self, fields: Mapping[str, Any]) -> "np.random.Generator | None":
        """Return randomness where a surface explores; elsewhere none of it is even loaded."""
        shop = self.setup.shop
        surface = shop.surfaces.get(fields.get("surface", "home"))
        if self._rng is None and surface is not None and surface.explore > 0.0:
            self._rng = shop.rng or np.random.default_rng()
        return self._rng

    def make(self, query: Query) -> Recommendations:
        """Return a list."""
        interactions, reason = self.open_interactions()
        return self.maker.make(interactions, query, fallback_reason=reason)

    def open_interactions(self) -> tuple[Sequence[Interaction], str | None]:
        """Return what a list may be made from, or why it must be the one for all."""
        if self.rows is None:
            return (), STORE_UNREADABLE
        try:
            return self.rows.interactions(), None
        except ConsentMissingError:
            return (), CONSENT_CLOSED
        except HomebodyError:  # a damaged store must not leave a place of the app empty
            return (), STORE_UNREADABLE

    def install(self, bundle: Path | None, catalog: Path | None) -> None:
        """Take a model or a catalog into use; raises as ``Device.install``."""
        with self.lock:
            library, now = self.setup.library(self.parts), int(self.now())
            if catalog is not None:
                library.install_catalog(catalog, now=now)
            if bundle is not None:
                library.install_bundle(bundle, now=now)
            self.shelve(replace(self.setup, bundle=None, catalog=None))
        self.tell()

    def shelve(self, setup: Setup) -> None:
        """Serve with what is in use, or with what is offered if it is newer."""
        library = setup.library(self.parts)
        found = library.open(bundle=setup.bundle, catalog=setup.catalog, now=int(self.now()))
        self.shelved, self.engine = setup.shop.accelerated(found)
        terms = self.parts.book.terms
        groups = () if terms is None else terms.groups.values()
        never = [pair.partition(":") for group in groups for pair in group.exclude]
        sensitive = {value for name, _, value in never if name == "category"}
        self.maker = setup.shop.lists(self.shelved, sensitive)

    # Consent.

    def why_shut(self, purpose: str) -> str:
        """Return the code that says most about why a purpose is shut."""
        terms = self.parts.book.terms
        if terms is None:
            return closed("config_not_approved").code
        reasons = [self.parts.book.why(purpose, feature) for feature in terms.groups]
        codes = [reason.code for reason in reasons if reason is not None]
        telling = [code for code in codes if code not in _UNTELLING]
        return (telling or codes or [closed("unknown_feature").code])[0]

    # Changes.

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call ``callback`` after every change; return a function that ends that."""
        self._callbacks.append(callback)

        def end() -> None:
            if callback in self._callbacks:
                self._callbacks.remove(callback)

        return end

    def tell(self) -> None:
        """Tell everybody who subscribed.

        What one of them raises goes where a thread's own failures go: it must not stop a change of
        consent halfway, before the data has followed.
        """
        for callback in tuple(self._callbacks):
            try:
                callback()
            except Exception:  # noqa: BLE001 as said above
                kind, error, trace = sys.exc_info()
                where = threading.current_thread()
                threading.excepthook(threading.ExceptHookArgs((kind, error, trace, where)))

    def _start(self, setup: Setup) -> None:
        self.parts: Parts = setup.open_parts(self.lock)
        self._read_rows()
        if isinstance(self.parts.book, ConsentBook):
            self.parts.book.on_change(self._consent_changed)
        self.shelve(setup)

    def _read_rows(self) -> None:
        """Begin with what the store holds now, if rows can be kept at all."""
        parts, self.rows = self.parts, None
        if isinstance(parts.book, ConsentBook) and parts.vault and parts.store and parts.gates:
            self.rows = Rows(parts.vault, parts.store, parts.book, parts.gates, RECOMMEND)

    def _consent_changed(self, _: int) -> None:
        if self.rows is not None:
            self.rows.drop()
        self.tell()
