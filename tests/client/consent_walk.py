"""A random walk over everything that can happen to consent, judged by the oracle after each step.

Real vault, real store, real files. A crash is an exception that nobody catches, raised before,
after or in the middle of a durable step; what it leaves is opened anew, as a new process would.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any, Final
from unittest import mock

from homebody_client.consent import receipt_file
from homebody_client.consent.tickets import Ticket
from homebody_client.store import Store
from homebody_client.vault import Vault
from homebody_privacy.consent_terms import ConsentTerms, GroupTerms, PurposeTerms
from homebody_privacy.errors import ConsentMissingError, IntegrityError

from .consent_device import DAY, Clock, ConsentDevice
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
DURABLE: Final = (
    (Vault, "change"),
    (receipt_file.ReceiptFile, "append"),
    (receipt_file.ReceiptFile, "set_aside"),
    (Store, "set_wraps"),
    (Store, "drop_feature"),
    (Store, "drop_derived"),
    (Store, "dequeue"),
    (Store, "delete"),
    (Store, "clear"),
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


class Killed(BaseException):
    """The process died here."""


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


@dataclass
class Fault:
    """Kills at a moment of the durable steps to come; None never does."""

    moment: int | None = None
    passed: int = 0

    def pass_moment(self) -> None:
        """Count one moment, and die if it is the one."""
        self.passed += 1
        if self.moment is not None and self.passed >= self.moment:
            raise Killed


@contextmanager
def faults() -> Iterator[Fault]:
    """Put a possible death before and after every durable step, and inside an append."""
    fault = Fault()

    def guarded(real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as the step it stands for
            fault.pass_moment()
            result = real(*args, **kwargs)
            fault.pass_moment()
            return result

        return step

    with mock.patch.object(os, "write", _torn_write(fault)):
        patches = [
            mock.patch.object(kind, name, guarded(getattr(kind, name))) for kind, name in DURABLE
        ]
        for patch in patches:
            patch.start()
        try:
            yield fault
        finally:
            for patch in patches:
                patch.stop()


def _torn_write(fault: Fault) -> Callable[[int, memoryview], int]:
    real = os.write

    def write(descriptor: int, content: memoryview) -> int:
        if fault.moment is not None and fault.passed + 1 >= fault.moment:
            real(descriptor, content[: len(content) // 2])
        fault.pass_moment()
        return real(descriptor, content)

    return write


@dataclass
class Walk:
    """One device and its oracle."""

    folder: Path
    rng: Random
    fault: Fault
    clock: Clock = field(default_factory=Clock)
    terms: ConsentTerms | None = BASE
    newest: ConsentTerms = BASE
    tickets: list[tuple[Ticket, Used]] = field(default_factory=list)
    queued: dict[int, Used] = field(default_factory=dict)
    derived: dict[str, frozenset[tuple[str, str]]] = field(default_factory=dict)
    trace: list[str] = field(default_factory=list)
    sent: int = 0

    def __post_init__(self) -> None:
        """Open the device."""
        self.device = ConsentDevice.open(self.folder, clock=self.clock, terms=self.terms)
        self.oracle = Oracle(world_of(BASE), self.clock.time)

    def run(self, steps: int) -> None:
        """Walk, and look after each step.

        Raises:
            ViolationError: With the steps that led to it.
        """
        operations = [getattr(self, name) for name in sorted(OPERATIONS)]
        weights = [OPERATIONS[name] for name in sorted(OPERATIONS)]
        try:
            for _ in range(steps):
                [operation] = self.rng.choices(operations, weights)
                operation()
                self.tick()
                self.look()
        except (AssertionError, IntegrityError, ValueError, KeyError) as error:
            raise ViolationError(f"{error!r} after {'; '.join(self.trace)}") from error
        finally:
            self.device.store.close()

    # What can happen.

    def grant(self) -> None:
        """Give a yes to something."""
        features = frozenset(self.rng.sample(FEATURES, self.rng.randint(1, 2)))
        self.give(self.rng.choice(PURPOSES), features, over=self.rng.random() < 0.5)

    def give(self, purpose: str, features: frozenset[str], *, over: bool) -> None:
        """Give a yes."""
        self.change(
            f"grant {purpose} {sorted(features)} over={over}",
            lambda: self.device.book.grant(purpose, features=sorted(features), over_signal=over),
            lambda oracle: oracle.grant(purpose, features, over=over),
            allowed=self.oracle.may_grant(purpose, features, over=over),
        )

    def say_yes(self) -> None:
        """Have a grown-up switch on whatever can be, so that walks get somewhere."""
        self.set_age("18_plus")
        for purpose in PURPOSES:
            features = frozenset(FEATURES)
            if not self.oracle.may_grant(purpose, features, over=False):
                features = frozenset({"basket"})
            self.give(purpose, features, over=False)

    def withdraw(self) -> None:
        """Take a yes back."""
        purpose = self.rng.choice(PURPOSES)
        known = purpose in self.oracle.world.allow or bool(self.device.decided(purpose))
        self.change(
            f"withdraw {purpose}",
            lambda: self.device.book.withdraw(purpose),
            lambda oracle: oracle.withdraw(purpose),
            allowed=known,
        )

    def refuse(self) -> None:
        """Say no."""
        purpose = self.rng.choice(PURPOSES)
        known = purpose in self.oracle.world.allow or bool(self.device.decided(purpose))
        self.change(
            f"refuse {purpose}",
            lambda: self.device.book.refuse(purpose),
            lambda oracle: oracle.withdraw(purpose, refused=True),
            allowed=known,
        )

    def ask(self) -> None:
        """Show the prompt; a no must have been kept."""
        purpose = self.rng.choice(PURPOSES)
        self.trace.append(f"ask {purpose}")
        try:
            self.device.book.request(purpose)
        except ConsentMissingError:
            return
        assert self.oracle.may_ask(purpose), "asked again too early"
        if purpose in self.oracle.said and self.oracle.said[purpose].status == "no":
            del self.oracle.said[purpose]

    def restrict(self) -> None:
        """Freeze processing."""
        self.change("restrict", self.device.book.restrict, Oracle.restrict)

    def lift(self) -> None:
        """Lift the freeze."""
        self.change("lift", self.device.book.lift, Oracle.lift)

    def erase(self) -> None:
        """Erase all data."""
        self.change("erase", self.device.book.erase, Oracle.erase)

    def age(self) -> None:
        """Set some age band."""
        self.set_age(self.rng.choice([None, "13_15", "16_17", "18_plus"]))

    def set_age(self, band: str | None) -> None:
        """Set the age band."""
        self.change(
            f"age {band}",
            lambda: self.device.book.set_age_band(band),
            lambda oracle: oracle.set_age(band),
        )

    def signal(self) -> None:
        """Set some opt-out signal."""
        names = ("sec_gpc", "os_setting")
        self.set_signal(self.rng.choice(names), on=self.rng.choice((True, False, None)))

    def calm(self) -> None:
        """Switch all signals off."""
        for name in ("sec_gpc", "os_setting"):
            self.set_signal(name, on=False)

    def set_signal(self, name: str, *, on: bool | None) -> None:
        """Set an opt-out signal."""
        self.change(
            f"signal {name} {on}",
            lambda: self.device.book.set_signal(name, on),
            lambda oracle: oracle.set_signal(name, on=on),
        )

    def config(self) -> None:
        """Put some other config in force."""
        old = self.newest
        kind = self.rng.choice(("policy", "shrink", "drop", "full", "older", "none", "back"))
        if kind == "older":
            terms: ConsentTerms | None = replace(BASE, revision=old.revision - 1)
        elif kind in ("none", "back"):
            terms = None if kind == "none" else old
        else:
            terms = self._newer(kind)
        self.trace.append(f"config {kind}")
        self.terms = terms
        self.change(
            f"adopt {kind}",
            lambda: self.device.book.adopt(terms),
            lambda oracle: oracle.adopt(None if terms is None else world_of(terms)),
        )

    def _newer(self, kind: str) -> ConsentTerms:
        revision = self.newest.revision + 1
        changed: dict[str, Any] = {"revision": revision, "config_sha256": f"{revision:064x}"}
        groups, purposes = dict(BASE.groups), dict(BASE.purposes)
        if kind == "policy":
            changed["policy_version"] = self.newest.policy_version + 1
        else:
            changed["policy_version"] = self.newest.policy_version
        if kind == "shrink":
            groups["tastes"] = replace(groups["tastes"], allow=("recommend",))
        if kind == "drop":
            del purposes["metrics"]
            groups["basket"] = replace(groups["basket"], allow=("recommend", "training"))
        self.newest = replace(BASE, groups=groups, purposes=purposes, **changed)
        return self.newest

    def hours(self) -> None:
        """Let hours pass."""
        self.turn(self.rng.uniform(60, 20 * 3_600))

    def weeks(self) -> None:
        """Let weeks pass."""
        self.turn(self.rng.uniform(1, 30) * DAY)

    def year(self) -> None:
        """Let every yes run out, and perhaps what waits for a new one."""
        self.turn(self.rng.choice((366, 366, 380)) * DAY)

    def back(self) -> None:
        """Turn the clock back."""
        self.turn(-self.rng.choice((30.0, 3_600.0, DAY, 400 * DAY)))

    def right(self) -> None:
        """Set the clock to the latest time ever seen."""
        self.turn(max(self.oracle.last - self.clock.time, 0.0))

    def turn(self, seconds: float) -> None:
        """Turn the clock."""
        self.trace.append(f"clock {seconds:+.0f}")
        self.clock.time += seconds
        self.oracle.now = self.clock.time

    def collect(self) -> None:
        """Record an event, if any purpose may use it."""
        feature = self.rng.choice(FEATURES)
        self.trace.append(f"collect {feature}")
        kept = self.device.keep({feature: {"x": "SECRET"}})
        assert bool(kept) == self.oracle.collect(feature), f"collect {feature}: {kept}"

    def train(self) -> None:
        """Read, and keep the ticket; other things may happen before it is used."""
        purpose = self.rng.choice(PURPOSES)
        wanted = self.rng.choice((None, ["basket"], list(FEATURES)))
        self.trace.append(f"read {purpose} {wanted}")
        names = FEATURES if wanted is None else tuple(wanted)
        opened = tuple(sorted(f for f in names if self.oracle.is_open(purpose, f)))
        try:
            read = self.device.gates.read(purpose, wanted)
        except ConsentMissingError:
            assert not opened, f"read {purpose} was refused"
            return
        assert read.features == opened, f"read {purpose} gave {read.features}, not {opened}"
        seen = sum(self.oracle.visible(purpose, feature) for feature in opened)
        assert len(read.rows) == seen, f"read {purpose} gave {len(read.rows)} rows, not {seen}"
        used = self.oracle.used(purpose, opened)
        self.tickets.append((read.ticket, used))
        if self.rng.random() < 0.5:
            number = self.device.shelf.enqueue(read.ticket, b"payload")
            self.queued[number] = used
        if self.rng.random() < 0.5:
            name = f"{purpose}-model"
            self.device.shelf.put(name, read.ticket, b"model")
            self.derived[name] = frozenset((purpose, f) for f in opened)

    def finish(self) -> None:
        """Use a ticket taken earlier: finish its training and send."""
        if not self.tickets:
            return
        ticket, used = self.tickets.pop(self.rng.randrange(len(self.tickets)))
        self.trace.append(f"finish {used.purpose}")
        left: list[bytes] = []
        result = bytearray(b"update")
        fresh = self.oracle.is_fresh(used)
        try:
            self.device.gates.train(ticket, lambda: result)
            self.device.gates.send(ticket, bytes(result), what="update", deliver=left.append)
        except ConsentMissingError:
            assert not fresh, f"{used} was refused"
        assert bool(left) == fresh, f"{used} was sent although it was shut"
        assert fresh or not left, "something left"
        self.sent += len(left)

    def crash(self) -> None:
        """Die at some moment of the next change, then start anew."""
        self.fault.passed, self.fault.moment = 0, self.rng.randint(1, 12)
        self.trace.append(f"CRASH at {self.fault.moment}")
        operation = self.rng.choice(
            (
                self.grant,
                self.grant,
                self.withdraw,
                self.refuse,
                self.restrict,
                self.lift,
                self.erase,
                self.signal,
                self.age,
                self.say_yes,
            )
        )
        try:
            operation()
        finally:
            self.fault.moment = None

    def restart(self) -> None:
        """End the process and start anew."""
        self.trace.append("restart")
        self.reopen()

    def tamper(self) -> None:
        """Cut the last receipt, or put the profile back as it was before a no."""
        receipts = self.folder / "receipts.jsonl"
        if not receipts.exists() or not receipts.read_bytes():
            return
        self.trace.append("cut the last receipt")
        lines = receipts.read_bytes().splitlines(keepends=True)
        self.device.store.close()
        receipts.write_bytes(b"".join(lines[:-1]))
        self.oracle.breaks()
        self.reopen()

    # How it is judged.

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


OPERATIONS: Final = {
    "say_yes": 4,
    "grant": 10,
    "withdraw": 5,
    "refuse": 2,
    "ask": 2,
    "restrict": 1,
    "lift": 3,
    "erase": 1,
    "age": 2,
    "signal": 3,
    "calm": 3,
    "config": 4,
    "hours": 4,
    "weeks": 3,
    "year": 1,
    "back": 2,
    "right": 3,
    "collect": 12,
    "train": 12,
    "finish": 12,
    "crash": 8,
    "restart": 3,
    "tamper": 1,
}


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


def walk_once(folder: Path, seed: int, steps: int, fault: Fault) -> int:
    """Walk with one seed in a new folder, and return how many updates left."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    walk = Walk(folder=folder, rng=Random(seed), fault=fault)  # noqa: S311 - chooses what to try
    walk.run(steps)
    return walk.sent


def walk_many(folder: Path, seeds: range, steps: int) -> int:
    """Walk with many seeds and return how many updates left in all.

    Raises:
        ViolationError: At the first step that is against the rules, with its seed.
    """
    sent = 0
    with faults() as fault:
        for seed in seeds:
            try:
                sent += walk_once(folder, seed, steps, fault)
            except ViolationError as error:
                raise ViolationError(f"seed {seed}: {error}") from error
    return sent
