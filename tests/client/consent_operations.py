"""What can happen to a device and its consent; each operation is one step of a walk."""

from dataclasses import dataclass, replace
from random import Random
from typing import Any

from homebody_privacy.consent_terms import ConsentTerms
from homebody_privacy.errors import ConsentMissingError

from .consent_device import DAY
from .consent_judged import BASE, FEATURES, PURPOSES, Judged, world_of
from .consent_oracle import Oracle


@dataclass(kw_only=True)
class Operations(Judged):
    """All that can happen, drawn from one source of chance."""

    rng: Random
    newest: ConsentTerms = BASE
    sent: int = 0

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
