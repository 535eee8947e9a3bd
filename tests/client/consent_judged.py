"""One device beside its oracle: each change goes to both, and both must then say the same."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from homebody_client.consent.tickets import Ticket
from homebody_privacy.consent_terms import ConsentTerms, GroupTerms, PurposeTerms
from homebody_privacy.errors import ConsentMissingError

from .consent_device import DAY, Clock, ConsentDevice
from .consent_faults import Fault, Killed
from .consent_oracle import Oracle, Used, World

FEATURES: Final = ("basket", "tastes")
PURPOSES: Final = ("recommend", "training", "metrics")
BASE: Final = ConsentTerms(
    config_sha256="0" * 64,
    revision=1,
    policy_version=1,
    purposes={
        "recommend": PurposeTerms(title="r", leaves_device=False),
        "training": PurposeTerms(title="t", leaves_device=True, requires=("recommend",)),
        "metrics": PurposeTerms(title="m", leaves_device=True, requires=("training",)),
    },
    groups={
        "basket": GroupTerms(fields=("x",), allow=PURPOSES, ttl_days=90),
        "tastes": GroupTerms(fields=("x",), allow=("recommend", "training"), ttl_days=400),
    },
    expiry_days=365,
    grace_days=14,
)
_UNWRITTEN_S: Final = 700.0  # the latest time seen is written every ten minutes
_CLOSINGS: Final = {"ConsentWithdrawn", "ConsentRefused", "ProcessingRestricted"}
_OPENINGS: Final = {"ConsentGiven", "RenewedConsentGiven", "ProcessingRestrictionLifted"}
_STATUS: Final = {
    "ConsentGiven": "yes",
    "RenewedConsentGiven": "yes",
    "ConsentExpired": "waits",
    "ConsentInvalidated": "waits",
    "ConsentRefused": "no",
    "ConsentWithdrawn": "no",
    "ConsentRevoked": "no",
}


class ViolationError(AssertionError):
    """The book did what the rules forbid, or forbade what they allow."""


def world_of(terms: ConsentTerms) -> World:
    """Return the rules of some terms as plain tables."""
    return World(
        revision=terms.revision,
        policy=terms.policy_version,
        leaves={name: purpose.leaves_device for name, purpose in terms.purposes.items()},
        requires={name: purpose.requires for name, purpose in terms.purposes.items()},
        allow={
            name: frozenset(f for f, group in terms.groups.items() if name in group.allow)
            for name in terms.purposes
        },
        expiry=terms.expiry_days * DAY,
        grace=terms.grace_days * DAY,
        refusal=terms.refusal_days * DAY,
        ttl={name: group.ttl_days * DAY for name, group in terms.groups.items()},
    )


@dataclass(kw_only=True)
class Judged:
    """One device and its oracle."""

    folder: Path
    fault: Fault
    clock: Clock = field(default_factory=Clock)
    terms: ConsentTerms | None = BASE
    tickets: list[tuple[Ticket, Used]] = field(default_factory=list)
    queued: dict[int, Used] = field(default_factory=dict)
    derived: dict[str, frozenset[tuple[str, str]]] = field(default_factory=dict)
    trace: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Open the device."""
        self.device = ConsentDevice.open(self.folder, clock=self.clock, terms=self.terms)
        self.oracle = Oracle(world_of(BASE), self.clock.time)

    def change(
        self,
        words: str,
        act: Callable[[], object],
        follow: Callable[[Oracle], object],
        *,
        allowed: bool = True,
    ) -> None:
        """Do a thing, and let the oracle follow; after a death before it, either is right."""
        self.trace.append(words)
        before = self.oracle.copy()
        try:
            act()
        except ConsentMissingError as refused:
            if allowed:
                raise ViolationError(f"{words} was refused: {refused}") from refused
            return
        except Killed:
            self.fault.moment = None
            self.after_death(before, follow)
            return
        assert allowed, f"{words} was taken"
        follow(self.oracle)
        self.look()

    def after_death(self, before: Oracle, follow: Callable[[Oracle], object]) -> None:
        """Open what a death left: as before, as after, or set right and then as before."""
        self.trace.append("died")
        middle, righted, after = before.copy(), before.copy(), before.copy()
        middle.set_right(clock=False)
        righted.set_right(clock=True)
        follow(after)
        ahead = self._ahead_of_anchor()
        self.device.store.close()
        self.device = ConsentDevice.open(self.folder, clock=self.clock, terms=self.terms)
        candidates = [before, middle, righted, after]
        if ahead & _CLOSINGS:  # honoured
            candidates = [after]
        elif ahead & _OPENINGS:  # a yes without its anchor was not given
            candidates = [before, middle, righted]
        for oracle in candidates:
            oracle.adopt(None if self.terms is None else world_of(self.terms))
            oracle.tick()
        shown = self._shown()
        time = self.device.book.now()
        fitting = [
            oracle
            for oracle in candidates
            if _expected(oracle) == shown and abs(oracle.time - time) < _UNWRITTEN_S
        ]
        assert fitting, f"after a death: {shown}, not {[_expected(one) for one in candidates]}"
        self.oracle = fitting[0]
        self.tickets.clear()  # a death leaves no process that could use one

    def _ahead_of_anchor(self) -> set[str]:
        """Return the events of the receipts that lie ahead of their anchor."""
        kept: Any = self.device.vault.value("consent")
        receipts = self.folder / "receipts.jsonl"
        if kept is None or kept["broken_at"] is not None or not receipts.exists():
            return set()
        whole = receipts.read_bytes().split(b"\n")[:-1]
        ahead = whole[kept["end"][0] - kept["base"][0] :]
        return {json.loads(line)["receipt"]["event"] for line in ahead}

    def reopen(self) -> None:
        """Open the device as a new process finds it."""
        self.device.store.close()
        self.device = ConsentDevice.open(self.folder, clock=self.clock, terms=self.terms)
        self.oracle.adopt(None if self.terms is None else world_of(self.terms))

    def tick(self) -> None:
        """Let time do what it does."""
        self.device.book.tick()
        self.oracle.tick()

    def look(self) -> None:
        """Compare what the book says and what lies on the disk with the oracle."""
        assert self._shown() == _expected(self.oracle), (
            f"is {self._shown()}, must be {_expected(self.oracle)}"
        )
        if self.oracle.broken is None:
            self._look_at_chain()
        if not self.oracle.restricted and self.oracle.now >= self.oracle.last - 60.0:
            self._look_at_what_is_kept()

    def _shown(self) -> tuple[object, ...]:
        pairs = [(p, f, self.device.book.why(p, f) is None) for p in PURPOSES for f in FEATURES]
        rows = [(f, self.device.rows(f)) for f in FEATURES]
        kept: Any = self.device.vault.value("consent")
        said = {
            one["purpose"]: _stands(_STATUS[one["state"]], over=one["over_signal"])
            for one in kept["decisions"]
            if one["state"] in _STATUS
        }
        broken = kept["broken_at"] is not None
        return pairs, rows, said, kept["signals"], kept["age"], kept["restricted"], broken

    def _look_at_chain(self) -> None:
        kept: Any = self.device.vault.value("consent")
        receipts = self.folder / "receipts.jsonl"
        lines = receipts.read_bytes().splitlines() if receipts.exists() else []
        number, head = kept["base"]
        told: dict[str, set[str]] = {}
        for line in lines:
            receipt = json.loads(line)["receipt"]
            _retell(told, receipt)
            number += 1
            assert receipt["n"] == number, "a receipt is out of place"
            assert receipt["prev"] == head, "the chain is broken"
            head = sha256(line).hexdigest()
        assert [number, head] == kept["end"], "the anchor is not where the chain ends"
        said = {name: one for name, one in self.oracle.said.items() if one.status == "yes"}
        assert told == {name: one.features for name, one in said.items()}, "receipts tell otherwise"

    def _look_at_what_is_kept(self) -> None:
        key = self.device.vault.key("outgoing")
        waiting = {number for number, *_ in self.device.store.queue(key)} if key else set()
        for number in waiting:
            assert self.oracle.is_fresh(self.queued[number]), "a stale entry waits to leave"
        for name, pairs in self.device.store.derived_index():
            shut = [pair for pair in pairs if not self.oracle.is_open(*pair)]
            assert not shut, f"{name} was made from {shut}"


def _stands(status: str, *, over: bool) -> tuple[str, bool]:
    return status, over and status == "yes"


def _retell(told: dict[str, set[str]], receipt: dict[str, Any]) -> None:
    """Follow what is on, by the receipts alone."""
    purpose, features = receipt["purpose"], set(receipt["features"])
    if receipt["event"] in ("ConsentGiven", "RenewedConsentGiven"):
        told[purpose] = features
    elif purpose in told:
        part = receipt["event"] == "ConsentRevoked" and told[purpose] - features
        if part:
            told[purpose] = told[purpose] - features
        else:
            del told[purpose]


def _expected(oracle: Oracle) -> tuple[object, ...]:
    pairs = [(p, f, oracle.is_open(p, f)) for p in PURPOSES for f in FEATURES]
    rows = [(f, len(oracle.rows.get(f, []))) for f in FEATURES]
    said = {name: _stands(one.status, over=one.over) for name, one in oracle.said.items()}
    broken = oracle.broken is not None
    return pairs, rows, said, oracle.signals, oracle.age, oracle.restricted, broken
