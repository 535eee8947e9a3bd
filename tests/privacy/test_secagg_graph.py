"""Neighbours: mutual, as many for everybody, and moved by every change of the roster."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homebody_privacy.secagg.graph import holders, is_thin, neighbourhoods, neighbours_of, ring
from homebody_privacy.secagg.parameters import SecAggParameters, choose_parameters

from .secagg_fleet import Entropy

_DIGEST = bytes(range(32))


def sizes_of(n: int) -> SecAggParameters:
    return choose_parameters(n, max_corrupt=0.1, max_dropout=0.3)


def node_ids(n: int) -> list[bytes]:
    entropy = Entropy("graph")
    return sorted(entropy(32) for _ in range(n))


@pytest.mark.parametrize("n", [3, 4, 99, 100, 101, 102, 250, 501])
def test_neighbours_are_mutual_and_as_many_for_everybody(n: int) -> None:
    sizes = sizes_of(n)
    around = neighbourhoods(node_ids(n), _DIGEST, sizes)
    assert {len(set(some)) for some in around} == {sizes.neighbours}
    assert all(node not in some for node, some in enumerate(around))
    assert all(node in around[other] for node, some in enumerate(around) for other in some)
    assert all(list(some) == sorted(some) for some in around)


@settings(max_examples=10)
@given(st.integers(3, 300), st.binary(min_size=32, max_size=32))
def test_each_node_finds_what_the_server_finds(n: int, digest: bytes) -> None:
    sizes, ids = sizes_of(n), node_ids(n)
    around = neighbourhoods(ids, digest, sizes)
    for node in {0, n // 2, n - 1}:
        assert neighbours_of(node, ids, digest, sizes) == around[node]


def test_neighbours_stand_nearest_on_the_ring() -> None:
    sizes, ids = sizes_of(150), node_ids(150)
    order = ring(ids, _DIGEST)
    assert sorted(order) == list(range(150))
    assert order != list(range(150))
    half = sizes.neighbours // 2
    expected = {order[-step] for step in range(1, half + 1)} | set(order[1 : half + 1])
    assert set(neighbours_of(order[0], ids, _DIGEST, sizes)) == expected


def test_another_roster_has_another_ring() -> None:
    ids = node_ids(150)
    assert ring(ids, _DIGEST) != ring(ids, bytes(32))


def test_up_to_a_hundred_everybody_is_everybodys_neighbour_and_keeps_a_share() -> None:
    sizes, ids = sizes_of(100), node_ids(100)
    around = neighbours_of(7, ids, _DIGEST, sizes)
    assert around == tuple(node for node in range(100) if node != 7)
    assert holders(7, around, sizes) == tuple(range(100))


def test_above_it_neighbours_alone_hold_shares() -> None:
    sizes, ids = sizes_of(101), node_ids(101)
    around = neighbours_of(7, ids, _DIGEST, sizes)
    assert holders(7, around, sizes) == around
    assert len(around) == sizes.neighbours < 100


@settings(max_examples=50)
@given(st.sets(st.integers(0, 149), max_size=70), st.integers(0, 149), st.integers(0, 20))
def test_a_ring_is_thin_where_any_run_keeps_too_few(gone: set[int], start: int, run: int) -> None:
    sizes, ids = sizes_of(150), node_ids(150)
    order, half = ring(ids, _DIGEST), sizes.neighbours // 2
    gone |= {order[(start + step) % 150] for step in range(run)}
    alive = set(range(150)) - gone
    runs = [[order[(place + step) % 150] for step in range(half)] for place in range(150)]
    fewest = min(len(alive.intersection(some)) for some in runs)
    assert is_thin(alive, ids, _DIGEST, sizes) is (fewest < sizes.nearby)
