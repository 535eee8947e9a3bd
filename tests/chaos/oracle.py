"""The judge of a scenario: it knows the coins and the noise, and trusts nothing of the run.

Every claim is checked against another way to the same result: the model against a replay in clear
with exactly the nodes that each sum was made of, the ledger against the raw lines of its file, the
wire and the disk against bytes that may not stand there.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pytest
from flwr.app import Message
from flwr.serverapp import Grid

from homebody_privacy import messages
from homebody_privacy.accounting import spent_epsilon
from homebody_privacy.charges import charge_from_dict
from homebody_privacy.errors import InfeasibleError, RoundVoidError
from homebody_privacy.ledger_record import INTERRUPTED
from homebody_privacy.secagg.parameters import choose_parameters
from homebody_privacy.secagg.reasons import VoidReason
from homebody_server import flower_app
from homebody_server.gathering import collect, enrol
from homebody_server.hosts import Hosts
from homebody_server.release import Contribution
from homebody_server.replies import Replies, asking_record, devices_asked, integers_of
from homebody_server.run_folder import RunFolder, TrainState
from homebody_server.run_spec import RunSpec
from homebody_server.spending import open_budget, open_ledger
from homebody_simulation.grid import Cohort
from tests.server.world import Work, World, same_end
from tests.system.fleet_wire import Needles, pieces, vector_pieces

from .observed import Observed, Outcome, What
from .weather import Weather

REASONS: Final = frozenset({*map(str, VoidReason), INTERRUPTED, "report-goal"})
Entry = Mapping[str, Any]


class WrongError(AssertionError):
    """The run did what it may not."""


def demand(good: object, wrong: str) -> None:
    """Refuse a run of which something is not so."""
    if not good:
        raise WrongError(wrong)


# The sum.


def check_sums(weather: Weather) -> None:
    """Demand that every sum is that of its survivors' vectors, to the last digit."""
    numbers = {one.identity.node_id: one for one in weather.town.nodes.values()}
    for (metric, number), outcome in weather.seen.outcomes:
        if outcome.total is None:
            continue
        bits = 64 if metric else 32
        vectors = [numbers[i].vectors[outcome.session] for i in sorted(outcome.survivors)]
        expected: npt.NDArray[np.int64] = np.sum([*vectors, 0 * outcome.total], axis=0)
        moved = weather.seen.changed.get(outcome.session)
        expected = wrapped(expected if moved is None else expected + moved, bits)
        demand((expected == outcome.total).all(), f"round {number} has another sum")


def wrapped(total: npt.NDArray[np.int64], bits: int) -> npt.NDArray[np.int64]:
    """Return what stays of a sum in words of so many bits."""
    return total.astype(np.int32).astype(np.int64) if bits == 32 else total


@dataclass(slots=True)
class Scripted:
    """A gatherer in clear that asks exactly those who were in each sum.

    Attributes:
        grid: How the devices are reached.
        script: How each gathering of the run ended.
        present: Devices behind each outcome.
        moved: By how much a lying node moved a sum, by session.
    """

    grid: Grid
    script: Mapping[What, Outcome]
    present: Mapping[int, frozenset[int]]
    moved: Mapping[int, npt.NDArray[np.int64]]

    def enrol(self, devices: int) -> Hosts:
        """Return the node of each device."""
        return enrol(self.grid, devices, 5.0)

    def gather(self, asked: Sequence[Message], length: int) -> list[Contribution]:
        """Return one contribution: the sum of those who were in it."""
        if not asked:
            return []
        record = asking_record(asked[0])
        what = str(record.get("metric", "")), int(record["round"])  # type: ignore[call-overload]
        demand(what in self.script, f"{what} was released and never gathered")
        outcome = self.script[what]
        if outcome.void:
            raise RoundVoidError(outcome.void)  # type: ignore[arg-type]
        there = self.present[outcome.session]
        kept = [m for m in asked if set(_devices(m)) <= there]
        came = Replies(devices_asked(kept), collect(self.grid, kept, 20.0) if kept else [], length)
        parts = list(came)
        total = sum((one.integers for one in parts), np.zeros(length, np.int64))
        moved = self.moved.get(outcome.session)
        total = total if moved is None else wrapped(total + moved, 64 if what[0] else 32)
        return [Contribution(total, len(parts))] if parts else []


def _devices(asked: Message) -> list[int]:
    named = asking_record(asked)[messages.DEVICES]
    return [int(one) for one in named] if isinstance(named, list) else []


def replay(world: World, script: Scripted, singles: list[npt.NDArray[np.int64]]) -> TrainState:
    """Run a world in clear by a script; ``singles`` takes what each device alone sent."""

    def listening(work: Work) -> list[Message | None]:
        replies = world.honest(work)
        for reply in replies:
            integers = None if reply is None else integers_of(reply)
            if integers is not None:
                singles.append(integers)
        return replies

    script.grid = world.grid(_cohort(listening))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flower_app, "Plain", lambda **_: script)
        return flower_app.run_rounds(script.grid, world.folder, lambda _number, _model: None)


def _cohort(cohort: Cohort) -> Cohort:
    return cohort


def script_of(weather: Weather, lines: Sequence[Entry]) -> Scripted:
    """Return how each round and figure ended, by what was seen and, of cut rounds, the ledger."""
    script = weather.seen.last()
    for entry in lines:
        if entry["kind"] == "void" and entry["reason"] == INTERRUPTED:
            script["", entry["round"]] = Outcome(session=0, void=INTERRUPTED)
    present = {
        outcome.session: weather.town.devices_of(outcome.survivors) for outcome in script.values()
    }
    return Scripted(_NoGrid(), script, present, weather.seen.changed)  # type: ignore[arg-type]


class _NoGrid:
    """Stands where a grid will be."""


def check_end(state: TrainState, expected: TrainState) -> None:
    """Demand the same model and optimizer, bit for bit."""
    demand(same_end(state, expected), "the released model is not that of the surviving devices")


# The ledger.


def raw_lines(folder: RunFolder) -> list[Entry]:
    """Return the entries of a ledger's file, read by nothing of the product."""
    return [json.loads(line)["entry"] for line in folder.ledger_file.read_bytes().splitlines()]


def check_ledger(lines: Sequence[Entry], spec: RunSpec) -> None:
    """Demand one charge for each round and figure, before what it paid for, and none besides."""
    demand(lines[0]["kind"] == "header", "the ledger does not begin with its header")
    intents = [e["round"] for e in lines if e["kind"] == "intent"]
    ends = [e["round"] for e in lines if e["kind"] in ("release", "void")]
    every = [*range(1, spec.rounds + 1)]
    demand(intents == every, f"rounds charged: {intents}")
    demand(ends == every, f"rounds that ended: {ends}")
    order = [(e["round"], e["kind"] == "intent") for e in lines if "round" in e]
    demand(
        all(one[0] == other[0] or not one[1] for one, other in pairwise(order)),
        "a round was opened while another was open",
    )
    price = spec.round_charge()
    wanted = None if price is None else price.to_dict()
    charged = [e["charge"] for e in lines if e["kind"] == "intent"]
    demand(all(one == wanted for one in charged), "a round was charged at another price")
    _check_purchases(lines, spec)


def _check_purchases(lines: Sequence[Entry], spec: RunSpec) -> None:
    figures = {
        plan.purchase(number): plan.charge().to_dict()
        for plan in spec.metrics
        for number in plan.rounds(spec.rounds)
    }
    before = {name: charge.to_dict() for name, charge in spec.before_first_round()}
    bought = [(e["name"], e["charge"]) for e in lines if e["kind"] == "purchase"]
    demand(len(bought) == len(dict(bought)), "something was bought twice")
    demand(dict(bought) == {**before, **figures}, "what was bought is not what was released")
    answered = [e["name"] for e in lines if e["kind"] in ("answer", "unanswered")]
    demand(sorted(answered) == sorted(figures), f"figures that ended: {answered}")


def check_epsilon(folder: RunFolder, spec: RunSpec, lines: Sequence[Entry]) -> None:
    """Demand that the budget says what the raw lines and the spec's prices come to."""
    with open_ledger(folder, spec) as ledger:
        claimed = open_budget(folder, spec, ledger).spent()
        decided = ledger.record.decided
    raw = [charge_from_dict(e["charge"]) for e in lines if e.get("charge") is not None]
    own = [charge for _, charge in spec.before_first_round()]
    price = spec.round_charge()
    own += [] if price is None else [price] * spec.rounds
    own += [plan.charge() for plan in spec.metrics for _ in range(plan.releases)]
    demand(sorted(map(repr, raw)) == sorted(map(repr, own)), "the charges are not the run's")
    demand(claimed == spent_epsilon(raw, spec.accounted_delta), "epsilon is not the ledger's")
    void = {e["reason"] for e in lines if e["kind"] == "void"}
    demand(decided is bool(void - {INTERRUPTED}), "credit is taken for coins that were shown")


# Void rounds.


def check_voids(weather: Weather, lines: Sequence[Entry], cut_open: Iterable[int]) -> None:
    """Demand that whatever released nothing has a known reason, the one that was seen."""
    last = weather.seen.last()
    for entry in lines:
        if entry["kind"] == "void":
            reason, number = entry["reason"], entry["round"]
            seen = INTERRUPTED if reason == INTERRUPTED else last["", number].void
            demand(reason in REASONS and reason == seen, f"round {number} is void: {reason}")
            demand(reason != INTERRUPTED or number in set(cut_open), "nothing interrupted it")
        if entry["kind"] == "unanswered":
            _, metric, number = entry["name"].split("/")
            seen = last[metric, int(number)].void
            demand(entry["reason"] in REASONS and entry["reason"] == seen, "a figure is lost")


def check_patience(weather: Weather, spec: RunSpec) -> None:
    """Demand a sum with every node that nothing hurt, where no more were hurt than it survives."""
    for (_, number), outcome in weather.seen.outcomes:
        invited = weather.invited[outcome.session]
        hurt = weather.hurt.get(outcome.session, set()) & invited
        if outcome.session in weather.poisoned or not _survives(len(invited), len(hurt), spec):
            continue
        demand(not outcome.void, f"round {number} was void though {len(hurt)} nodes were hurt")
        whole = {weather.town.nodes[n].identity.node_id for n in invited - hurt}
        demand(whole <= outcome.survivors, f"round {number} lost a node that nothing hurt")


def _survives(invited: int, hurt: int, spec: RunSpec) -> bool:
    """Tell whether a sum stands, in whichever leg the hurt nodes vanish."""
    for early in range(hurt + 1):
        try:
            sizes = choose_parameters(
                invited - early,
                max_corrupt=spec.max_corrupt,
                max_dropout=spec.max_dropout,
                least=spec.min_nodes,
            )
        except InfeasibleError:
            return False
        if hurt - early > sizes.tolerated:
            return False
    return True


# What may not be seen.


def secrets_of(weather: Weather, singles: Iterable[npt.NDArray[np.int64]], key: bytes) -> Needles:
    """Return what may stand on no wire, in no file of the server and in no state of a node."""
    nodes = weather.town.nodes.values()
    own = [key, weather.town.home.signing.secret, weather.town.authority.secret]
    own += [s for one in nodes for s in (one.identity.signing.secret, *one.secrets)]
    return Needles(
        {
            "a key": tuple(secret[i : i + 16] for secret in own for i in (0, 16)),
            "a recipient key": tuple(one.identity.recipient.to_bytes()[:16] for one in nodes),
            "a node's vector": _vectors(v for one in nodes for v in one.vectors.values()),
            "a device's vector": _vectors(singles),
            "a list of devices": (b'"devices":[', b"'devices': [", b'"devices": ['),
        }
    )


def sums_of(weather: Weather, spec: RunSpec) -> Needles:
    """Return sums before their noise, in the forms that files could hold them in."""
    found: list[bytes] = []
    for _, outcome in weather.seen.outcomes:
        if outcome.total is None:
            continue
        update = outcome.total * spec.lattice.step
        for values in (update, -update, update / spec.cohort_size, -update / spec.cohort_size):
            found += [*_some(pieces(values)), *_some(pieces(values.astype(np.float32)))]
        found += _some(vector_pieces(outcome.total))
    return Needles({"a sum without noise": tuple(found)})


def models_of(states: Iterable[npt.NDArray[np.float32]]) -> Needles:
    """Return models, which no wire shows in clear."""
    return Needles({"a model": tuple(piece for state in states for piece in _some(pieces(state)))})


def _vectors(vectors: Iterable[npt.NDArray[np.integer]]) -> tuple[bytes, ...]:
    return tuple({piece for vector in vectors for piece in _some(vector_pieces(vector))})


def _some(found: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Return two dozen pieces, evenly spread: whoever has the vector has them."""
    return found[:: max(1, len(found) // 24)]


def check_unseen(where: str, content: bytes, needles: Needles) -> None:
    """Demand that none of the needles stands in some bytes."""
    found = needles.found_in(content)
    demand(not found, f"{where} shows {sorted(found)}")


def on_disk(folder: RunFolder, keep: Iterable[str] = ()) -> bytes:
    """Return all bytes of a run's folder, but for files that are there to hold a secret."""
    own = {"run.key", "aggregator.key", *keep}
    files = (f for f in sorted(folder.path.rglob("*")) if f.is_file() and f.name not in own)
    return b"\0".join(file.read_bytes() for file in files)


@dataclass(slots=True)
class Tally:
    """What a scenario came to.

    Attributes:
        kinds: Faults that struck.
        sums: How many sums were made.
        voids: Why rounds and figures released nothing.
        starts: How often the server app was started.
    """

    kinds: list[str] = field(default_factory=list)
    sums: int = 0
    voids: list[str] = field(default_factory=list)
    starts: int = 1


def tally(weather: Weather, lines: Sequence[Entry], starts: int) -> Tally:
    """Return what a scenario came to."""
    seen: Observed = weather.seen
    return Tally(
        kinds=sorted(str(fault.kind) for fault in seen.fired),
        sums=sum(outcome.total is not None for _, outcome in seen.outcomes),
        voids=[e["reason"] for e in lines if e["kind"] in ("void", "unanswered")],
        starts=starts,
    )
