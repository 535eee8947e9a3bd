"""A server takes a wrong reply for none, gives a sum up for good, and never gives a wrong one."""

from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homebody_privacy.errors import RoundVoidError
from homebody_privacy.secagg.graph import ring
from homebody_privacy.secagg.opening import recover
from homebody_privacy.secagg.reasons import VoidReason
from homebody_privacy.secagg.server import SecAggServer, ServerState, Summed
from homebody_privacy.secagg.shamir import split
from homebody_privacy.secagg.wire import Advert, Confirmation, Masked, Shares, Unmasking
from homebody_privacy.signing import SigningKey

from .secagg_fleet import Entropy, Fleet


def void(fleet: Fleet, leg: str, *parts: Any) -> VoidReason:  # noqa: ANN401
    """Return why a server gives up; it stays so, and forgets the vectors."""
    with pytest.raises(RoundVoidError) as refusal:
        getattr(fleet.server, leg)(*parts)
    assert fleet.server.state is ServerState.VOID
    for closed in ("adverts", "shares", "masked", "signatures"):
        with pytest.raises(ValueError, match="in state void"):
            getattr(fleet.server, f"close_{closed}")()
    with pytest.raises(ValueError, match="in state void"):
        fleet.server.result()
    assert not fleet.server.add_masked(fleet.ids[0], b"")
    return refusal.value.reason


def test_adverts_that_are_not_their_nodes_own_are_not_taken() -> None:
    fleet = Fleet(4)
    sound = fleet.begin(0)
    advert = Advert.from_bytes(sound)
    other = Advert.from_bytes(fleet.begin(1))
    terms = fleet.settings(0).terms

    def signed(**fields: bytes) -> bytes:
        changed = replace(advert, **fields)
        text = terms.advert_text(fleet.ids[0], changed.mask_key, changed.channel_key)
        return replace(changed, signature=fleet.signers[0].sign(text)).to_bytes()

    server, first = fleet.server, fleet.ids[0]
    assert not server.add_advert(first, sound[:-1])
    assert not server.add_advert(first, sound + b"\0")
    assert not server.add_advert(first, replace(advert, mask_key=other.mask_key).to_bytes())
    assert not server.add_advert(fleet.ids[1], sound)
    assert not server.add_advert(bytes(32), sound)
    assert not server.add_advert(first, signed(mask_key=bytes(32)))
    assert not server.add_advert(first, signed(channel_key=bytes([1] + [0] * 31)))
    assert not server.add_advert(first, signed(mask_key=advert.channel_key))
    assert server.add_advert(fleet.ids[1], other.to_bytes())
    assert not server.add_advert(first, signed(mask_key=other.mask_key))
    assert server.add_advert(first, sound)
    assert not server.add_advert(first, sound)


def test_fewer_adverts_than_the_least_are_void() -> None:
    fleet = Fleet(5, least=4)
    for node in range(3):
        assert fleet.server.add_advert(fleet.ids[node], fleet.begin(node))
    assert void(fleet, "close_adverts") is VoidReason.TOO_FEW_ADVERTS


def test_bounds_that_contradict_are_void() -> None:
    fleet = Fleet(4, max_corrupt=0.5)
    for node in range(4):
        assert fleet.server.add_advert(fleet.ids[node], fleet.begin(node))
    assert void(fleet, "close_adverts") is VoidReason.NO_PARAMETERS


def test_replies_of_another_length_leg_or_sender_are_not_taken() -> None:
    fleet = Fleet(4)
    add = fleet.server
    fleet.advertise()
    nodes = fleet.ids
    assert not add.add_shares(bytes(32), fleet.up[0])
    assert not add.add_shares(nodes[0], fleet.up[0])
    assert not add.add_shares(nodes[0], Shares((bytes(82),) * 2).to_bytes())
    assert not add.add_shares(nodes[0], Shares((bytes(82),) * 4).to_bytes())
    fleet.share()
    assert not add.add_shares(nodes[0], fleet.up[0])
    fleet.check()
    masked = fleet.leg(0, "mask", fleet.vectors[0])
    words = Masked.from_bytes(masked)
    assert not add.add_masked(nodes[0], masked[:-1])
    assert not add.add_masked(nodes[0], Masked(words.commitment, words.words[:-1]).to_bytes())
    wider = words.words.astype("<u8")
    assert not add.add_masked(nodes[0], Masked(words.commitment, wider).to_bytes())
    assert add.add_masked(nodes[0], masked)
    assert not add.add_masked(nodes[0], masked)  # once
    for node in (1, 2):
        assert add.add_masked(nodes[node], fleet.leg(node, "mask", fleet.vectors[node]))
    late = fleet.leg(3, "mask", fleet.vectors[3])
    survivors = add.close_masked()
    assert not add.add_masked(nodes[3], late)
    reply = fleet.leg(0, "confirm", survivors)
    assert not add.add_signature(nodes[0], reply[:-1])
    assert not add.add_signature(nodes[1], reply)
    assert not add.add_signature(nodes[3], reply)
    assert not add.add_signature(nodes[0], Confirmation(bytes(64)).to_bytes())
    assert add.add_signature(nodes[0], reply)
    assert not add.add_signature(nodes[0], reply)
    for node in (1, 2):
        assert add.add_signature(nodes[node], fleet.leg(node, "confirm", survivors))
    quorum = add.close_signatures()
    shares = fleet.leg(0, "unmask", quorum)
    opened = Unmasking.from_bytes(shares).shares
    assert not add.add_unmasking(nodes[0], shares[:-1])
    assert not add.add_unmasking(nodes[0], Unmasking(opened[:-1]).to_bytes())
    assert not add.add_unmasking(nodes[0], Unmasking((b"\xff" * 33, *opened[1:])).to_bytes())
    assert not add.add_unmasking(nodes[3], shares)
    assert add.add_unmasking(nodes[0], shares)
    assert not add.add_unmasking(nodes[0], shares)
    for node in (1, 2):
        assert add.add_unmasking(nodes[node], fleet.leg(node, "unmask", quorum))
    assert add.result().total.tolist() == fleet.vectors[:3].sum(axis=0).tolist()


def test_a_late_vector_is_refused_unread() -> None:
    fleet = Fleet(5).advertise().share()
    fleet.check()
    late = fleet.leg(4, "mask", fleet.vectors[4])
    fleet.live = [0, 1, 2, 3]
    for node in fleet.live:
        fleet.server.add_masked(fleet.ids[node], fleet.leg(node, "mask", fleet.vectors[node]))
    fleet.down = dict.fromkeys(fleet.live, fleet.server.close_masked())

    class Unreadable(bytes):
        def __getitem__(self, _: object) -> Any:  # noqa: ANN401
            raise AssertionError("a late vector was read")

    assert not fleet.server.add_masked(fleet.ids[4], Unreadable(late))
    summed = fleet.confirm().unmask()
    assert summed.total.tolist() == fleet.vectors[:4].sum(axis=0).tolist()
    assert fleet.ids[4] not in summed.survivors


def test_survivors_too_thin_on_the_ring_make_the_sum_void() -> None:
    fleet = Fleet(104, max_corrupt=0.05, max_dropout=0.1).advertise().share()
    sizes = fleet.server.sizes
    order = ring(fleet.ids, fleet.settings(0).terms.roster_digest(fleet.rosters[0]))
    gone = set(order[20 : 20 + sizes.neighbours // 2])
    assert len(order) - len(gone) > sizes.quorum
    with pytest.raises(RoundVoidError) as refusal:
        fleet.mask(gone)
    assert refusal.value.reason is VoidReason.THIN_RING


def test_a_vector_of_a_node_that_never_shared_is_not_taken() -> None:
    fleet = Fleet(6).advertise().share({5})
    assert not fleet.server.add_masked(
        fleet.ids[5], Masked(bytes(32), np.zeros(5, "<u4")).to_bytes()
    )


def test_legs_cannot_be_closed_twice_or_early() -> None:
    fleet = Fleet(4)
    with pytest.raises(ValueError, match="in state config"):
        fleet.server.close_shares()
    with pytest.raises(ValueError, match="not closed"):
        _ = fleet.server.sizes
    fleet.advertise()
    with pytest.raises(ValueError, match="in state advertised"):
        fleet.server.close_adverts()
    fleet.share().mask().confirm()
    with pytest.raises(ValueError, match="workers"):
        fleet.server.result(0)
    fleet.unmask()
    with pytest.raises(ValueError, match="in state released"):
        fleet.server.result()


def altered(fleet: Fleet, liars: set[int], which: int) -> Summed:
    """Let some nodes give a wrong share of the secrets of one node."""
    for node in fleet.live:
        shares = list(Unmasking.from_bytes(fleet.leg(node, "unmask", fleet.down[node])).shares)
        if node in liars:
            shares[which] = (int.from_bytes(shares[which], "big") ^ 1).to_bytes(33, "big")
        assert fleet.server.add_unmasking(fleet.ids[node], Unmasking(tuple(shares)).to_bytes())
    return fleet.server.result()


@settings(max_examples=20)
@given(st.integers(0, 8), st.integers(0, 9))
def test_one_wrong_share_is_found_and_left_out(liar: int, which: int) -> None:
    fleet = Fleet(10).advertise().share().mask({9}).confirm()
    total = altered(fleet, {liar}, which).total
    assert total.tolist() == fleet.vectors[:9].sum(axis=0).tolist()


@settings(max_examples=20)
@given(st.sets(st.integers(0, 6), min_size=2), st.integers(0, 9))
def test_more_wrong_shares_make_the_sum_void_or_change_nothing(liars: set[int], which: int) -> None:
    fleet = Fleet(7).advertise().share().mask().confirm()
    summed = None
    with suppress(RoundVoidError):  # wrong shares may cancel, and the secret is right after all
        summed = altered(fleet, liars, which % 7)
    if summed is None:
        assert fleet.server.state is ServerState.VOID
    else:
        assert summed.total.tolist() == fleet.vectors.sum(axis=0).tolist()


def test_two_wrong_shares_among_the_first_make_the_sum_void() -> None:
    fleet = Fleet(7).advertise().share().mask().confirm()
    with pytest.raises(RoundVoidError) as refusal:
        altered(fleet, {0, 1}, 3)
    assert refusal.value.reason is VoidReason.WRONG_SHARES
    assert fleet.server.state is ServerState.VOID


def test_a_wrong_share_with_none_to_spare_makes_the_sum_void() -> None:
    fleet = Fleet(3).advertise().share().mask().confirm()
    with pytest.raises(RoundVoidError) as refusal:
        altered(fleet, {1}, 0)
    assert refusal.value.reason is VoidReason.WRONG_SHARES


def test_a_node_that_committed_to_another_seed_makes_the_sum_void() -> None:
    fleet = Fleet(5).advertise().share().check()
    for node in fleet.live:
        masked = Masked.from_bytes(fleet.leg(node, "mask", fleet.vectors[node]))
        lie = bytes(32) if node == 2 else masked.commitment
        assert fleet.server.add_masked(fleet.ids[node], Masked(lie, masked.words).to_bytes())
    fleet.down = dict.fromkeys(fleet.live, fleet.server.close_masked())
    fleet.confirm()
    with pytest.raises(RoundVoidError) as refusal:
        fleet.unmask()
    assert refusal.value.reason is VoidReason.WRONG_SHARES


def test_a_holder_caught_once_is_not_asked_again() -> None:
    secrets = [bytes([number]) * 32 for number in range(2)]
    points = [1, 2, 3, 4, 5]
    liars: set[int] = set()
    for secret in secrets:
        shares = dict(zip(points, split(secret, points, 3, Entropy("liar")), strict=True))
        shares[2] = bytes(33)
        assert recover(shares, 3, lambda found, secret=secret: found == secret, liars) == secret  # type: ignore[misc]
        assert liars == {2}


def test_nothing_secret_stays_or_is_shown() -> None:
    fleet = Fleet(4).advertise().share().mask().confirm()
    assert repr(fleet.server) == "SecAggServer(state='fixed')"
    summed = fleet.unmask()
    assert repr(summed) == "Summed()"
    assert repr(fleet.server) == "SecAggServer(state='released')"


def test_certificates_and_keys_of_different_nodes_are_refused() -> None:
    key = SigningKey(bytes(32))
    with pytest.raises(ValueError, match="the same nodes"):
        SecAggServer(**Fleet(3).sum, certificates={}, publics={bytes(32): key.public})
