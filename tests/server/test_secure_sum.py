"""A run in sealed sessions releases bit for bit what the plain run does."""

from typing import Any

import pytest

from homebody_privacy.legs import Step
from homebody_privacy.sealing import read_context
from homebody_server.run_spec import MetricPlan

from .secure_time import Time
from .secure_world import Fleet, Sent, envelope_of_down, nodes_of, sent_envelopes
from .world import DEVICES, Builder, World, entries, ledger_of, same_end

QUALITY = MetricPlan(name="quality", noise_multiplier=4.0, releases=2)


def fleet(make_world: Builder, name: str, parts: int = DEVICES, **own: Any) -> Fleet:  # noqa: ANN401
    """Return a fleet of a sealed run."""
    return nodes_of(make_world(name, secagg=True, **own), parts, Time())


def plain(make_world: Builder, **own: Any) -> World:  # noqa: ANN401
    """Return a world whose replies are read one by one."""
    return make_world("plain", **own)


WORLDS: dict[str, dict[str, Any]] = {
    "gaussian, half drawn": {"cohort_size": 7, "rounds": 2},
    "adaptive clip": {"count_multiplier": 2.0, "rounds": 2},
    "blt": {"mechanism": "blt", "cohort_size": 4, "rounds": 2},
    "reference": {"noise_multiplier": 0.0, "ceiling": None, "rounds": 2},
}


@pytest.mark.parametrize("kind", WORLDS)
def test_s74_one_device_a_node_sums_as_in_clear_bit_by_bit(make_world: Builder, kind: str) -> None:
    clear, sealed = plain(make_world, **WORLDS[kind]), fleet(make_world, "sealed", **WORLDS[kind])
    expected = clear.run()
    assert same_end(sealed.run(), expected)
    assert sum(map(len, (node.added for node in sealed.nodes.values()))) > 0
    if clear.spec.ceiling is not None:
        assert entries(sealed.world)[1:] == entries(clear)[1:]
        assert ledger_of(sealed.world).voids == 0


SHARDS: dict[str, dict[str, Any]] = {
    "gaussian": {"rounds": 2},
    "few drawn": {"cohort_size": 3},
    "adaptive clip": {"count_multiplier": 2.0, "cohort_size": 5},
    "blt": {"mechanism": "blt"},
}


@pytest.mark.parametrize("kind", SHARDS)
def test_shards_sum_as_in_clear_bit_by_bit_and_all_are_asked_each_time(
    make_world: Builder, kind: str
) -> None:
    clear, sealed = plain(make_world, **SHARDS[kind]), fleet(make_world, "s", 4, **SHARDS[kind])
    asked: Sent = []
    assert same_end(sealed.run(sent_envelopes(sealed.honest, asked)), clear.run())
    pushes: dict[tuple[int, Step], set[int]] = {}
    for message, _ in asked:
        context = read_context(envelope_of_down(message))
        nodes = pushes.setdefault((context.session, context.step), set())
        nodes.add(message.metadata.dst_node_id)
    assert set(map(frozenset, pushes.values())) == {frozenset({1, 2, 3, 4})}
    steps = {step for _, step in pushes}
    figures = {Step.FIGURES} if "metrics" in SHARDS[kind] else set()
    assert steps == {*Step} - {Step.DECLINE, Step.FIGURES} | figures


def test_a_round_in_which_a_shard_has_nobody_drawn_still_takes_its_zeros(
    make_world: Builder,
) -> None:
    sealed = fleet(make_world, "s", 6, cohort_size=2, rounds=4)
    sealed.run()
    each = [node.added for node in sealed.nodes.values()]
    assert {len(added) for added in each} == {4}
    assert any(not vector.any() for added in each for vector in added)
    assert any(vector.any() for added in each for vector in added)


def test_the_run_is_not_longer_than_its_messages_take(make_world: Builder) -> None:
    """Where everybody answers at once nobody waits."""
    sealed = fleet(make_world, "s", rounds=1)
    sealed.run()
    assert sealed.time.slept == []
