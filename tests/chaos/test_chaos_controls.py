"""The judge of the suite notices each thing it is there for: every one is planted once."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Message

from homebody_client.secure.memory import NodeMemory
from homebody_privacy.charges import Charge
from homebody_privacy.errors import RoundVoidError
from homebody_privacy.secagg.reasons import VoidReason
from homebody_privacy.secagg.server import SecAggServer, Summed
from homebody_server.run_spec import RunSpec
from homebody_server.secure.gatherer import Secure
from tests.server.world import Builder

from . import oracle
from .observed import observed
from .plan import KINDS, SETTINGS, Fault, Kind, Plan, draw
from .scenario import Scenario
from .test_chaos_seeds import SEEDS

pytestmark = pytest.mark.chaos

Make = Callable[..., Scenario]


@pytest.fixture
def calm(build: Builder, folder: Path) -> Make:
    """Maker of a scenario without an accident but those given."""

    def make(*faults: Fault) -> Scenario:
        plan = Plan(seed=0, setting="gaussian, shards", faults=faults, key=bytes(range(32)))
        return Scenario.of(plan, build, folder)

    return make


def ended(scenario: Scenario) -> Scenario:
    """Return a scenario after its run."""
    with observed(scenario.weather.seen):
        scenario.run()
    return scenario


@contextmanager
def broken(owner: type, name: str, wrong: Callable[..., Any]) -> Iterator[None]:
    """Break the product while the block lasts; ``wrong`` is given what it replaces, first."""
    real = getattr(owner, name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, lambda *args, **named: wrong(real, *args, **named))
        yield


def test_a_run_without_accidents_is_found_good(calm: Make) -> None:
    found = ended(calm()).judge()
    assert (found.sums, found.voids, found.starts, found.kinds) == (3, [], 1, [])


def test_a_sum_that_is_off_by_one_is_noticed(calm: Make) -> None:
    def off(real: Callable[..., Summed], server: SecAggServer, workers: int = 1) -> Summed:
        summed = real(server, workers)
        summed.total[5] += 1
        return summed

    with broken(SecAggServer, "result", off):
        scenario = ended(calm())
    with pytest.raises(oracle.WrongError, match="another sum"):
        scenario.judge()


def test_a_release_of_something_else_than_the_sum_is_noticed(calm: Make) -> None:
    def off(real: Callable[..., list[Any]], gatherer: Secure, asked: Any, length: int) -> list[Any]:  # noqa: ANN401
        (one,) = real(gatherer, asked, length)
        return [replace(one, integers=np.roll(one.integers, 1))]

    with broken(Secure, "gather", off):
        scenario = ended(calm())
    with pytest.raises(oracle.WrongError, match="not that of the surviving devices"):
        scenario.judge()


def test_a_round_charged_at_another_price_is_noticed(calm: Make) -> None:
    def twice(real: Callable[..., Charge], spec: RunSpec) -> Charge:
        return replace(real(spec), rounds=2)  # type: ignore[arg-type]

    with broken(RunSpec, "round_charge", twice):
        scenario = ended(calm())
    with pytest.raises(oracle.WrongError, match="another price"):
        scenario.judge()


def _twice(lines: list[oracle.Entry], kind: str) -> list[oracle.Entry]:
    at = next(i for i, entry in enumerate(lines) if entry["kind"] == kind)
    return [*lines[: at + 1], *lines[at:]]


@pytest.mark.parametrize("kind", ["intent", "release"])
def test_a_second_line_of_a_round_and_a_lost_one_are_noticed(calm: Make, kind: str) -> None:
    scenario = ended(calm())
    lines, spec = oracle.raw_lines(scenario.world.folder), scenario.world.spec
    oracle.check_ledger(lines, spec)
    with pytest.raises(oracle.WrongError, match="rounds"):
        oracle.check_ledger(_twice(lines, kind), spec)
    with pytest.raises(oracle.WrongError, match="rounds"):
        oracle.check_ledger([e for e in lines if (e["kind"], e.get("round")) != (kind, 2)], spec)
    more = [*lines, next(e for e in lines if e["kind"] == "intent")]
    with pytest.raises(oracle.WrongError, match="charges"):
        oracle.check_epsilon(scenario.world.folder, spec, more)


def test_a_node_that_is_left_out_for_nothing_is_noticed(calm: Make) -> None:
    def deaf(real: Callable[..., bool], server: SecAggServer, node_id: bytes, body: bytes) -> bool:
        return node_id != left_out and real(server, node_id, body)

    scenario = calm()
    left_out = scenario.weather.town.nodes[2].identity.node_id
    with broken(SecAggServer, "add_masked", deaf):
        ended(scenario)
    with pytest.raises(oracle.WrongError, match="lost a node that nothing hurt"):
        scenario.judge()


def test_a_round_that_is_void_for_nothing_is_noticed(calm: Make) -> None:
    def void(_real: object, _server: SecAggServer) -> bytes:
        raise RoundVoidError(VoidReason.QUORUM)

    with broken(SecAggServer, "close_signatures", void):
        scenario = ended(calm())
    with pytest.raises(oracle.WrongError, match="void though 0 nodes were hurt"):
        scenario.judge()


def test_a_node_that_answers_a_message_anew_is_noticed(calm: Make) -> None:
    scenario = calm(Fault(kind=Kind.TWICE_DOWN))
    forgets = broken(NodeMemory, "answered", lambda _real, _memory, _head: None)
    with forgets, pytest.raises(AssertionError):
        ended(scenario)


def test_what_stands_in_clear_on_the_wire_or_on_disk_is_noticed(calm: Make) -> None:
    scenario = ended(calm())
    scenario.judge()
    weather = scenario.weather
    node = next(iter(weather.town.nodes.values()))
    vector = next(iter(node.vectors.values())).astype(np.int32).tobytes()
    model = scenario.models[-1].tobytes()
    secret = node.secrets[0]
    for planted in (vector, model, secret, b'{"devices":[1,7]}'):
        weather.wire.add(b"some bytes before " + planted)
        with pytest.raises(oracle.WrongError, match="the wire shows"):
            scenario._check_unseen([])  # noqa: SLF001 - the judge's own part
        weather.wire.remove(b"some bytes before " + planted)
    for planted in (vector, secret):
        scenario.disk.append(b"some bytes before " + planted)
        with pytest.raises(oracle.WrongError, match="folder shows"):
            scenario._check_unseen([])  # noqa: SLF001
        scenario.disk.pop()
    total = next(o.total for _, o in weather.seen.outcomes if o.total is not None)
    scenario.disk.append((total * scenario.world.spec.lattice.step).astype("<f4").tobytes())
    with pytest.raises(oracle.WrongError, match="a sum without noise"):
        scenario._check_unseen([])  # noqa: SLF001


def test_a_state_that_holds_a_key_in_clear_is_noticed(calm: Make) -> None:
    def careless(real: Callable[..., Message | None], node: Any, *args: Any) -> Message | None:  # noqa: ANN401
        reply = real(node, *args)
        if node.secrets:
            with (node.folder.path / "state.db").open("ab") as state:
                state.write(node.secrets[-1])
            node._look()  # noqa: SLF001
        return reply

    scenario = calm()
    with broken(type(scenario.weather.town.nodes[1]), "handle", careless):
        ended(scenario)
    with pytest.raises(oracle.WrongError, match="state shows"):
        scenario.judge()


def test_the_seeds_hold_every_kind_of_accident_and_every_setting_and_repeat() -> None:
    plans = [draw(seed) for seed in SEEDS]
    assert len(plans) >= 200
    firsts = [plan.faults[0].kind for plan in plans]
    assert min(firsts.count(kind) for kind in KINDS) >= 5
    assert {plan.setting for plan in plans} == set(SETTINGS)
    assert plans == [draw(seed) for seed in SEEDS]
    assert len({plan.key for plan in plans}) == len(plans)
