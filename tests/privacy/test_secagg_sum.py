"""Whoever vanishes and whenever: the sum is exact, or there is none."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homebody_privacy.errors import RoundVoidError, TooFewDevicesError
from homebody_privacy.secagg.device_state import DeviceState
from homebody_privacy.secagg.parameters import choose_parameters
from homebody_privacy.secagg.reasons import VoidReason
from homebody_privacy.secagg.server import ServerState, Summed

from .secagg_fleet import Fleet


@dataclass(frozen=True)
class Losses:
    """Numbers of the nodes that vanish before each of the five replies."""

    advert: frozenset[int] = frozenset()
    share: frozenset[int] = frozenset()
    mask: frozenset[int] = frozenset()
    confirm: frozenset[int] = frozenset()
    unmask: frozenset[int] = frozenset()


def run(fleet: Fleet, losses: Losses, workers: int = 1) -> Summed:
    fleet.advertise(losses.advert).share(losses.share).mask(losses.mask).confirm(losses.confirm)
    return fleet.unmask(losses.unmask, workers)


def plain(fleet: Fleet, losses: Losses) -> list[int]:
    """Return the sum of the vectors that were sent, by numpy alone."""
    lost = losses.advert | losses.share | losses.mask
    kept = [node for node in range(len(fleet.ids)) if node not in lost]
    return [int(one) for one in np.asarray(fleet.vectors[kept].sum(axis=0))]


def check(fleet: Fleet, losses: Losses, workers: int = 1) -> None:
    """Run a sum; exactly when enough stay it is the plain sum, otherwise it is void."""
    sizes = choose_parameters(len(fleet.ids) - len(losses.advert), max_corrupt=0.1, max_dropout=0.0)
    gone: set[int] = set()
    enough = True
    for lost in (losses.share, losses.mask, losses.confirm, losses.unmask):
        gone |= lost
        enough &= sizes.participants - len(gone - losses.advert) >= sizes.quorum
    if not enough:
        with pytest.raises(RoundVoidError):
            run(fleet, losses, workers)
        assert fleet.server.state is ServerState.VOID
        return
    summed = run(fleet, losses, workers)
    assert summed.total.tolist() == plain(fleet, losses)
    lost_vectors = losses.advert | losses.share | losses.mask
    assert summed.survivors == {
        node_id for node, node_id in enumerate(fleet.ids) if node not in lost_vectors
    }
    assert fleet.server.state is ServerState.RELEASED
    assert all(fleet.device(node).state is DeviceState.WIPED for node in fleet.live)


@st.composite
def lossy(draw: st.DrawFn) -> tuple[int, Losses]:
    count = draw(st.integers(3, 10))
    order = draw(st.permutations(range(count)))
    cuts = sorted(draw(st.lists(st.integers(0, count - 3), min_size=5, max_size=5)))
    steps = [frozenset(order[low:high]) for low, high in zip([0, *cuts], cuts, strict=False)]
    return count, Losses(*steps)


@settings(max_examples=60)
@given(lossy(), st.sampled_from([32, 64]), st.integers(1, 3))
def test_losses_at_every_step_leave_the_exact_sum_or_none(
    lost: tuple[int, Losses], bits: int, workers: int
) -> None:
    count, losses = lost
    check(Fleet(count, word_bits=bits, max_dropout=0.0), losses, workers)


@pytest.mark.parametrize("count", [3, 4, 7])
def test_without_losses_the_sum_is_the_plain_sum(count: int) -> None:
    check(Fleet(count, max_dropout=0.0), Losses())


@pytest.mark.parametrize("step", ["share", "mask", "confirm", "unmask"])
def test_as_many_as_tolerated_may_vanish_at_one_step_and_not_one_more(step: str) -> None:
    tolerated = choose_parameters(12, max_corrupt=0.1, max_dropout=0.3).tolerated
    assert tolerated == 4
    order = [3, 0, 11, 7, 5]
    check(Fleet(12), Losses(**{step: frozenset(order[:tolerated])}))
    reasons = {
        "share": VoidReason.TOO_FEW_SHARED,
        "mask": VoidReason.TOO_FEW_VECTORS,
        "confirm": VoidReason.QUORUM,
        "unmask": VoidReason.TOO_FEW_SHARES,
    }
    with pytest.raises(RoundVoidError) as refusal:
        run(Fleet(12), Losses(**{step: frozenset(order)}))
    assert refusal.value.reason is reasons[step]
    assert isinstance(refusal.value, TooFewDevicesError)
    assert (refusal.value.exit_code, refusal.value.code) == (15, "round-void")


def test_the_sum_is_exact_up_to_the_edge_of_half_a_word() -> None:
    fleet = Fleet(4, length=2)
    fleet.vectors[:] = [[2**29, -(2**29)]] * 3 + [[2**29 - 1, -(2**29)]]
    assert run(fleet, Losses()).total.tolist() == [2**31 - 1, -(2**31)]


def test_above_a_hundred_nodes_a_sparse_graph_gives_the_exact_sum() -> None:
    fleet = Fleet(104, max_corrupt=0.05, max_dropout=0.1, length=40)
    losses = Losses(
        share=frozenset({5, 50}), mask=frozenset(range(60, 67)), unmask=frozenset({1, 103})
    )
    summed = run(fleet, losses, workers=2)
    sizes = fleet.server.sizes
    assert not sizes.complete
    assert sizes.neighbours < 60
    assert summed.total.tolist() == plain(fleet, losses)


@pytest.mark.slow
@settings(max_examples=6)
@given(st.integers(101, 180), st.integers(0, 2**32 - 1))
def test_random_losses_in_a_sparse_graph_leave_the_exact_sum(count: int, seed: int) -> None:
    fleet = Fleet(count)
    draw = np.random.default_rng(seed).permutation(count).tolist()
    part = count // 10
    cuts = [frozenset(draw[part * at : part * (at + 1)]) for at in range(3)]
    losses = Losses(share=cuts[0], mask=cuts[1], unmask=cuts[2])
    assert run(fleet, losses, workers=2).total.tolist() == plain(fleet, losses)


def test_two_sums_of_the_same_vectors_share_no_masked_word() -> None:
    sent = []
    for session in (1, 2):
        fleet = Fleet(4, session=session, length=500)
        fleet.advertise().share().mask()
        sent.append(np.frombuffer(fleet.up[0][40:], "<u4"))
    assert (sent[0] == sent[1]).mean() < 0.01
    assert (sent[0] == fleet.vectors[0].astype("<u4")).mean() < 0.01
