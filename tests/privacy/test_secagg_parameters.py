"""Sizes of a secure sum: those of the published table, minimal, and the same on every machine."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import hypergeom

from homebody_privacy.errors import InfeasibleError
from homebody_privacy.secagg.parameters import (
    MOST,
    SecAggParameters,
    choose_parameters,
    fewest_nearby,
    graph_sizes,
)

_SHARES = [(5, 10), (5, 30), (10, 10), (10, 30), (20, 10), (20, 30), (33, 30)]
_TABLE = {  # neighbours and threshold by corrupt and vanishing nodes, both in percent
    100: [(16, 6), (26, 6), (22, 11), (34, 11), (32, 21), (48, 21), (64, 34)],
    500: [(32, 16), (58, 20), (40, 23), (76, 31), (60, 39), (118, 56), (192, 105)],
    1000: [(36, 18), (66, 23), (46, 26), (88, 36), (68, 43), (140, 67), (244, 133)],
}
_ROWS = [
    (n, corrupt, gone, sizes)
    for n, row in _TABLE.items()
    for (corrupt, gone), sizes in zip(_SHARES, row, strict=True)
]


@pytest.mark.parametrize(("n", "corrupt", "gone", "sizes"), _ROWS)
def test_sparse_graphs_are_those_of_the_table(
    n: int, corrupt: int, gone: int, sizes: tuple[int, int]
) -> None:
    marked = math.ceil(n * corrupt / 100), math.ceil(n * gone / 100)
    assert graph_sizes(n, corrupt=marked[0], gone=marked[1]) == sizes
    if n > 100:
        chosen = choose_parameters(n, max_corrupt=corrupt / 100, max_dropout=gone / 100)
        assert (chosen.neighbours, chosen.threshold) == sizes


def fails(n: int, corrupt: int, gone: int, neighbours: int, threshold: int) -> bool:
    """Tell by SciPy's distributions whether one of the two bounds fails."""
    known = n * hypergeom(n - 1, corrupt, neighbours).sf(threshold - 1)
    void = n * hypergeom(n - 1, gone, neighbours).sf(neighbours - threshold)
    return bool(known > 2.0**-40 or void > 1e-6)


@settings(max_examples=20)
@given(st.integers(101, 1200), st.integers(0, 30), st.integers(0, 30))
def test_both_bounds_hold_and_two_neighbours_less_break_one(
    n: int, corrupt: int, gone: int
) -> None:
    marked = n * corrupt // 100, n * gone // 100
    neighbours, threshold = graph_sizes(n, corrupt=marked[0], gone=marked[1])
    assert not fails(n, *marked, neighbours, threshold)
    assert fails(n, *marked, neighbours, threshold - 1) or threshold == 2
    fewer = neighbours - 2
    assert all(fails(n, *marked, fewer, fewest) for fewest in range(2, fewer + 1))


@settings(max_examples=50)
@given(st.integers(101, 1200), st.integers(2, 60), st.integers(0, 30), st.integers(0, 30))
def test_a_ring_is_asked_for_what_losses_leave_and_corrupt_nodes_do_not_fill(
    n: int, half: int, corrupt: int, gone: int
) -> None:
    marked = n * corrupt // 100, n * gone // 100
    asked = fewest_nearby(n, half=half, corrupt=marked[0], gone=marked[1])
    stay, filled = hypergeom(n, n - marked[1], half), hypergeom(n, marked[0], half)

    def filled_too_often(least: int) -> bool:
        return bool(n * filled.sf(least - 1) > 2.0**-20 * (1 + 1e-9))

    assert n * stay.cdf(asked - 1) <= 1e-6 * (1 + 1e-9)
    assert all(filled_too_often(less) for less in range(asked))
    if filled_too_often(asked):  # then losses leave no room for more
        assert asked == half or n * stay.cdf(asked) > 1e-6 * (1 - 1e-9)


def test_without_losses_a_ring_is_asked_for_no_more_than_protects() -> None:
    assert fewest_nearby(1000, half=44, corrupt=0, gone=0) == 1
    assert fewest_nearby(1000, half=44, corrupt=100, gone=0) == 20
    assert fewest_nearby(1000, half=4, corrupt=500, gone=0) == 4


@given(st.integers(3, 100))
def test_small_fleets_are_complete_with_one_threshold_for_all(n: int) -> None:
    sizes = choose_parameters(n, max_corrupt=0.1, max_dropout=0.3)
    corrupt = -(-n // 10)
    assert sizes.complete
    assert sizes.holders == n
    assert sizes.threshold == sizes.quorum == (n + corrupt) // 2 + 1
    assert sizes.tolerated == n - max(3, sizes.quorum) >= 3 * n // 10


@given(st.integers(3, 2000), st.sampled_from([0.0, 0.05, 0.1, 0.2]))
def test_two_quorums_share_an_honest_node(n: int, max_corrupt: float) -> None:
    sizes = choose_parameters(n, max_corrupt=max_corrupt, max_dropout=0.1)
    shared = 2 * sizes.quorum - n
    assert shared > n * max_corrupt


def test_a_share_is_the_decimal_that_was_written() -> None:
    assert 0.07 * 100 > 7  # a float would make it eight nodes
    sizes = choose_parameters(100, max_corrupt=0.07, max_dropout=0.0)
    assert sizes.quorum == (100 + 7) // 2 + 1


@pytest.mark.parametrize("n", [0, 1, 2])
def test_pf_33_no_sum_is_over_one_or_two(n: int) -> None:
    with pytest.raises(InfeasibleError, match="over 3 to"):
        choose_parameters(n, max_corrupt=0.0, max_dropout=0.0)
    with pytest.raises(ValueError, match="least must be at least 3"):
        choose_parameters(10, max_corrupt=0.0, max_dropout=0.0, least=n)


def test_fewer_than_the_own_least_are_infeasible() -> None:
    assert choose_parameters(20, max_corrupt=0.1, max_dropout=0.3, least=20).least == 20
    for n in (19, MOST + 1):
        with pytest.raises(InfeasibleError):
            choose_parameters(n, max_corrupt=0.1, max_dropout=0.3, least=20)


def test_a_quorum_that_the_promised_losses_miss_is_infeasible() -> None:
    with pytest.raises(InfeasibleError, match="does not survive"):
        choose_parameters(100, max_corrupt=0.4, max_dropout=0.4)
    with pytest.raises(InfeasibleError, match="no thresholds"):
        graph_sizes(101, corrupt=60, gone=60)


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan"), float("inf")])
def test_shares_out_of_range_are_refused(share: float) -> None:
    with pytest.raises(ValueError, match="max_corrupt must be in"):
        choose_parameters(10, max_corrupt=share, max_dropout=0.1)
    with pytest.raises(ValueError, match="max_dropout must be in"):
        choose_parameters(10, max_corrupt=0.1, max_dropout=share)


@pytest.mark.parametrize(
    "wrong",
    [
        {"least": 2},
        {"participants": 3},
        {"neighbours": 0},
        {"neighbours": 10},
        {"threshold": 1},
        {"threshold": 11},
        {"nearby": 1},
        {"nearby": -1},
        {"quorum": 5},
        {"quorum": 11},
    ],
)
def test_pf_33_sizes_that_protect_nobody_cannot_be_built(wrong: dict[str, int]) -> None:
    sound = {
        "participants": 10,
        "neighbours": 9,
        "threshold": 6,
        "quorum": 6,
        "nearby": 0,
        "least": 4,
    }
    assert SecAggParameters.from_numbers(SecAggParameters(**sound).to_numbers()).least == 4
    with pytest.raises(ValueError, match=r"needs|not fit|quorum"):
        SecAggParameters(**(sound | wrong))
