"""Who hosts whom, in arrays: as a mapping says it, for one device and for many."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homebody_privacy.errors import IntegrityError
from homebody_server.hosts import Hosts, Register

NODES = st.integers(1, 6) | st.integers(2**63, 2**64 - 1)  # Flower numbers its nodes as it likes
MAPS = st.dictionaries(st.integers(0, 50), NODES)


@settings(max_examples=40)
@given(MAPS)
def test_the_arrays_say_what_the_mapping_said(told: dict[int, int]) -> None:
    hosts = Hosts.of(told)
    assert hosts == told
    assert list(hosts) == hosts.devices.tolist() == sorted(told)
    assert hosts.nodes == tuple(sorted(set(told.values())))
    assert [device in hosts for device in range(-2, 60)] == [d in told for d in range(-2, 60)]
    assert len(hosts) == len(told)


@settings(max_examples=40)
@given(MAPS, st.data())
def test_each_device_is_asked_on_its_own_node(told: dict[int, int], data: st.DataObject) -> None:
    drawn = data.draw(st.lists(st.sampled_from(sorted(told)), unique=True)) if told else []
    found = Hosts.of(told).by_node(np.array(drawn, np.int64))
    assert list(found) == sorted(found)
    expected: dict[int, list[int]] = {}
    for device in drawn:
        expected.setdefault(told[device], []).append(device)
    assert {node: part.tolist() for node, part in found.items()} == expected


@pytest.mark.parametrize("device", [-1, 1, 4, 99])
def test_who_did_not_enrol_has_no_node(device: int) -> None:
    hosts = Hosts.of({0: 7, 3: 7})
    with pytest.raises(KeyError):
        hosts[device]
    with pytest.raises(KeyError):
        hosts.by_node(np.array([0, device]))


@settings(max_examples=40)
@given(st.permutations(range(12)), st.lists(st.integers(0, 12), max_size=5), st.data())
def test_a_population_enrols_node_by_node(
    order: list[int], cuts: list[int], data: st.DataObject
) -> None:
    bounds = sorted({0, 12, *cuts})
    parts = [order[start:end] for start, end in itertools.pairwise(bounds)]
    nodes = data.draw(st.lists(NODES, min_size=len(parts), max_size=len(parts)))
    register = Register(12)
    for part, node in zip(parts, nodes, strict=True):
        assert not register.complete
        register.add(part, node)
    assert register.complete
    told = {device: node for part, node in zip(parts, nodes, strict=True) for device in part}
    assert register.hosts() == told


@pytest.mark.parametrize("claimed", [[2], [0, 0], [0, 5], [-1], [2**64], [-(2**70), 0]], ids=str)
def test_a_claim_that_would_count_a_device_twice_is_refused(claimed: list[int]) -> None:
    register = Register(5)
    register.add([1, 2], 8)
    register.add([], 9)
    with pytest.raises(IntegrityError, match="enrolled twice or outside"):
        register.add(claimed, 9)
    assert register.hosts() == {1: 8, 2: 8}


def test_more_nodes_than_sixteen_bits_count_are_told_apart() -> None:
    hosts = Hosts(range(1, 40_001), np.arange(40_000))
    assert hosts[39_999] == 40_000
    assert list(hosts.by_node(np.array([39_999, 35_000]))) == [35_001, 40_000]
