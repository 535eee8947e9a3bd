"""A small device with consent: real vault, real store, real files, and a clock one can turn."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from threading import RLock
from typing import Any, Self

from homebody_client.consent.book import ConsentBook
from homebody_client.consent.egress import EgressLog
from homebody_client.consent.gates import Gates
from homebody_client.consent.shelf import Shelf
from homebody_client.consent.wire import ConsentOnTheWire
from homebody_client.keystores import FileKeyStore
from homebody_client.store import NewRow, Store
from homebody_client.vault import Vault
from homebody_privacy.consent_terms import DAY_S, ConsentTerms, GroupTerms, PurposeTerms

START = 1_772_355_600.0
DAY = float(DAY_S)

_NUMBERS = count()

PURPOSES = {
    "recommend": PurposeTerms(title="Suggest, on this device only", leaves_device=False),
    "training": PurposeTerms(title="Help improve", leaves_device=True, requires=("recommend",)),
    "metrics": PurposeTerms(title="Count", leaves_device=True, requires=("recommend",)),
}
GROUPS = {
    "purchases": GroupTerms(
        fields=("product_id", "category"),
        exclude=("category:FAMILY PLANNING",),
        allow=("recommend", "training", "metrics"),
        ttl_days=365,
        max_rows=1_000,
        sensitivity="elevated",
        risk_ref="R-3",
    ),
    "tastes": GroupTerms(fields=("topic",), allow=("recommend", "training"), ttl_days=180),
}
TERMS = ConsentTerms(
    config_sha256="c" * 64,
    revision=12,
    policy_version=4,
    purposes=PURPOSES,
    groups=GROUPS,
    notices={"en": "e" * 64, "de": "d" * 64},
)


def terms(**changed: Any) -> ConsentTerms:  # noqa: ANN401 - any field of the terms
    """Return the terms of the tests with some fields changed, at the next revision."""
    return replace(TERMS, **{"revision": 13, "config_sha256": "d" * 64, **changed})


@dataclass
class Clock:
    """A clock that a test turns."""

    time: float = START

    def __call__(self) -> float:
        """Return the time."""
        return self.time


@dataclass
class ConsentDevice:
    """What a device has of consent."""

    folder: Path
    clock: Clock
    vault: Vault
    store: Store
    book: ConsentBook
    gates: Gates
    shelf: Shelf
    wire: ConsentOnTheWire
    egress: EgressLog
    changes: list[int] = field(default_factory=list)

    @classmethod
    def open(
        cls, folder: Path, *, clock: Clock | None = None, terms: ConsentTerms | None = TERMS
    ) -> Self:
        """Open a device kept in a folder."""
        clock = clock or Clock()
        vault = Vault.open(folder / "state" / "keys.vault", FileKeyStore(folder / "state"))
        if vault.key("dedupe") is None:
            vault.change(new_keys=["dedupe"])
        store = Store.open(folder / "store.sqlite", dedupe_key=vault.key("dedupe") or b"")
        book = ConsentBook.open(
            terms=terms,
            vault=vault,
            store=store,
            receipts=folder / "receipts.jsonl",
            lock=RLock(),
            now=clock,
        )
        egress = EgressLog(folder / "egress.jsonl")
        gates = Gates(book, egress)
        return cls(
            folder, clock, vault, store, book, gates, Shelf(gates), ConsentOnTheWire(book), egress
        )

    def reopen(self, terms: ConsentTerms | None = TERMS) -> "ConsentDevice":
        """Return the device as a new process finds it."""
        self.store.close()
        return ConsentDevice.open(self.folder, clock=self.clock, terms=terms)

    def keep(self, values: Mapping[str, Mapping[str, Any]], *, at: float | None = None) -> int:
        """Collect one event through the gate and return how many rows it left."""
        kept = self.gates.collect(values)
        rows = [
            NewRow(
                feature=feature,
                values=one,
                at=self.clock() if at is None else at,
                event_id=str(next(_NUMBERS)),
            )
            for feature, one in kept.items()
        ]
        keys = self.gates.keys()
        return len([n for n in self.store.append(rows, keys) if n is not None]) if rows else 0

    def buy(self, product: str = "MILK") -> int:
        """Record a purchase."""
        return self.keep({"purchases": {"event": "purchase", "product_id": product}})

    def like(self, topic: str = "tea") -> int:
        """Record a taste."""
        return self.keep({"tastes": {"event": "like", "topic": topic}})

    def say_yes(self) -> None:
        """Have everything switched on by a grown-up."""
        self.book.set_age_band("18_plus")
        self.book.grant("recommend", features=["purchases", "tastes"])
        self.book.grant("training", features=["purchases", "tastes"])
        self.book.grant("metrics", features=["purchases"])

    def code(self, purpose: str, feature: str = "purchases") -> str:
        """Return why a pair is shut; empty if it is open."""
        shut = self.book.why(purpose, feature)
        return "" if shut is None else shut.code

    def decided(self, purpose: str) -> bool:
        """Return whether anything was ever said of a purpose."""
        return self.book.decision(purpose).changed_at > 0

    def rows(self, feature: str) -> int:
        """Return how many rows of a group are on the disk, readable or not."""
        query = "SELECT count(*) FROM rows WHERE feature = ?"
        return int(str(self.store._database.read(query, (feature,))[0][0]))  # noqa: SLF001 - the bytes
