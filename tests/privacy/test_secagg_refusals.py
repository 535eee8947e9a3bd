"""A node leaves at everything an honest server would not send, and sends nothing more."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from homebody_privacy.errors import IntegrityError, SecAggAbortError
from homebody_privacy.secagg.device import SecAggDevice
from homebody_privacy.secagg.device_state import DeviceState
from homebody_privacy.secagg.graph import ring
from homebody_privacy.secagg.masks import Deriver, encrypt_shares
from homebody_privacy.secagg.reasons import AbortReason
from homebody_privacy.secagg.wire import (
    Confirmation,
    Forwarded,
    Quorum,
    Roster,
    Survivors,
)

from .secagg_fleet import Entropy, Fleet, vouch


def digest_of(fleet: Fleet) -> bytes:
    return fleet.settings(0).terms.roster_digest(fleet.down[0])


@pytest.mark.parametrize("leg", ["share", "check_forwarded", "confirm", "unmask"])
@pytest.mark.parametrize("wrong", ["cut", "longer", "empty", "kind", "version"])
def test_messages_of_another_length_or_kind_are_refused(leg: str, wrong: str) -> None:
    fleet = Fleet(4).advertise()
    if leg != "share":
        fleet.share()
    if leg in ("confirm", "unmask"):
        fleet.mask()
    if leg == "unmask":
        fleet.confirm()
    sound = fleet.down[0]
    message = {
        "cut": sound[:-1],
        "longer": sound + b"\0",
        "empty": b"",
        "kind": sound[:1] + b"\x63" + sound[2:],
        "version": b"\x02" + sound[1:],
    }[wrong]
    parts = (message, vouch) if leg == "share" else (message,)
    assert fleet.refusal(0, leg, *parts) is AbortReason.MALFORMED
    fleet.is_left(0)


def forwarded_refusal(change: Callable[[Forwarded], Forwarded], count: int = 5) -> AbortReason:
    fleet = Fleet(count).advertise().share({count - 1} if count > 4 else ())
    message = change(Forwarded.from_bytes(fleet.down[0])).to_bytes()
    reason = fleet.refusal(0, "check_forwarded", message)
    fleet.is_left(0)
    return reason


def test_shares_altered_moved_or_missing_are_refused() -> None:
    def flipped(message: Forwarded) -> Forwarded:
        first, *rest = message.sealed
        return replace(message, sealed=(first[:-1] + bytes([first[-1] ^ 1]), *rest))

    def swapped(message: Forwarded) -> Forwarded:
        first, second, *rest = message.sealed
        return replace(message, sealed=(second, first, *rest))

    def repeated(message: Forwarded) -> Forwarded:
        first, _, *rest = message.sealed
        return replace(message, sealed=(first, first, *rest))

    for change in (flipped, swapped, repeated):
        assert forwarded_refusal(change) is AbortReason.BAD_SHARE
    for sealed in (slice(1, None), slice(0, 0)):
        reason = forwarded_refusal(lambda m, s=sealed: replace(m, sealed=m.sealed[s]))  # type: ignore[misc]
        assert reason is AbortReason.MALFORMED


def test_shares_replayed_from_an_earlier_sum_are_refused() -> None:
    old = Fleet(4, session=11).advertise().share()
    fleet = Fleet(4).advertise().share()
    assert fleet.refusal(0, "check_forwarded", old.down[0]) is AbortReason.BAD_SHARE
    fleet.is_left(0)


def test_a_nodes_own_shares_sent_back_to_it_are_refused() -> None:
    fleet = Fleet(4).advertise()
    own = fleet.leg(0, "share", fleet.down[0], vouch)
    forwarded = Forwarded(
        4, (0, 1, 2, 3), tuple(own[6 + 82 * at : 88 + 82 * at] for at in range(3))
    )
    assert fleet.refusal(0, "check_forwarded", forwarded.to_bytes()) is AbortReason.BAD_SHARE


def test_a_list_of_sharers_without_oneself_too_short_or_of_another_roster_is_refused() -> None:
    def without_self(message: Forwarded) -> Forwarded:
        return replace(message, shared=message.shared[1:])

    def fewer(message: Forwarded) -> Forwarded:
        return replace(message, shared=message.shared[:2], sealed=message.sealed[:1])

    def larger(message: Forwarded) -> Forwarded:
        return replace(message, participants=message.participants + 1)

    assert forwarded_refusal(without_self) is AbortReason.OWN_ID
    assert forwarded_refusal(fewer) is AbortReason.TOO_FEW_SHARED
    assert forwarded_refusal(larger) is AbortReason.MALFORMED


def test_too_few_neighbours_that_shared_are_refused_although_the_quorum_is_kept() -> None:
    fleet = Fleet(102, max_corrupt=0.0, max_dropout=0.0).advertise()
    assert fleet.server.sizes.neighbours < 20
    fleet.leg(0, "share", fleet.down[0], vouch)
    memory = fleet.memory(0)
    kept = tuple(node for node in range(102) if node not in memory.neighbours)
    message = Forwarded(102, kept, ()).to_bytes()
    assert len(kept) > memory.sizes.quorum
    assert fleet.refusal(0, "check_forwarded", message) is AbortReason.TOO_FEW_SHARED


def test_too_few_sharers_for_a_quorum_are_refused_although_all_neighbours_shared() -> None:
    fleet = Fleet(102, max_corrupt=0.05, max_dropout=0.1).advertise().share()
    memory, message = fleet.memory(0), Forwarded.from_bytes(fleet.down[0])
    near = [0, *memory.neighbours]
    others = [node for node in range(102) if node not in near]
    shared = tuple(sorted((near + others)[: memory.sizes.quorum - 1]))
    assert len(shared) > len(near)
    fewer = replace(message, shared=shared).to_bytes()
    assert fleet.refusal(0, "check_forwarded", fewer) is AbortReason.TOO_FEW_SHARED


def test_a_share_that_is_no_element_of_the_field_is_refused() -> None:
    for wrong in (b"\xff" * 33 + bytes(33), bytes(33) + b"\xff" * 33):
        fleet = Fleet(4).advertise()
        channel = Entropy("fleet 1")(64)[32:]  # node 1 lies, with its own keys
        theirs = Roster.from_bytes(fleet.down[0]).members[0][1].channel_key
        agreed = X25519PrivateKey.from_private_bytes(channel).exchange(
            X25519PublicKey.from_public_bytes(theirs)
        )
        terms, digest, (zero, one) = fleet.settings(0).terms, digest_of(fleet), fleet.ids[:2]
        key = Deriver(terms, digest).share(agreed, one, zero)
        lie = encrypt_shares(key, wrong, terms.share_context(digest, one, zero))
        fleet.share()
        message = Forwarded.from_bytes(fleet.down[0])
        lied = replace(message, sealed=(lie, *message.sealed[1:])).to_bytes()
        assert fleet.refusal(0, "check_forwarded", lied) is AbortReason.BAD_SHARE


def survivors_refusal(change: Callable[[Survivors], Survivors]) -> AbortReason:
    fleet = Fleet(7).advertise().share({6}).mask({5})
    message = change(Survivors.from_bytes(fleet.down[0])).to_bytes()
    reason = fleet.refusal(0, "confirm", message)
    fleet.is_left(0)
    return reason


def test_pf_34_an_id_in_both_lists_is_refused() -> None:
    assert survivors_refusal(lambda m: replace(m, gone=(1, 5))) is AbortReason.BOTH_LISTS
    assert survivors_refusal(lambda m: replace(m, gone=(0, 5))) is AbortReason.BOTH_LISTS


def test_pf_34_an_id_in_neither_list_or_one_that_never_shared_is_refused() -> None:
    changed = AbortReason.CHANGED_PARTICIPANTS
    assert survivors_refusal(lambda m: replace(m, gone=())) is changed
    assert survivors_refusal(lambda m: replace(m, alive=m.alive[:-1])) is changed
    assert survivors_refusal(lambda m: replace(m, alive=(*m.alive, 6))) is changed
    assert survivors_refusal(lambda m: replace(m, gone=(5, 6))) is changed


def test_survivors_without_oneself_too_few_or_of_another_roster_are_refused() -> None:
    def without_self(message: Survivors) -> Survivors:
        return replace(message, alive=message.alive[1:], gone=(0, 5))

    def fewer(message: Survivors) -> Survivors:
        return replace(message, alive=(0, 1, 2), gone=(3, 4, 5))

    assert survivors_refusal(without_self) is AbortReason.OWN_ID
    assert survivors_refusal(fewer) is AbortReason.TOO_FEW_SURVIVORS
    assert survivors_refusal(lambda m: replace(m, participants=8)) is AbortReason.MALFORMED


def test_survivors_that_would_cut_the_ring_in_two_are_refused() -> None:
    fleet = Fleet(104, max_corrupt=0.05, max_dropout=0.1).advertise()
    sizes, order = fleet.server.sizes, ring(fleet.ids, digest_of(fleet))
    half = sizes.neighbours // 2
    assert sizes.nearby >= 1
    first = order[0]
    fleet.share().check()
    for node in (first, order[52]):
        fleet.leg(node, "mask", fleet.vectors[node])
    runs = {*order[10 : 10 + half], *order[70 : 70 + half]}
    assert len(runs) == 2 * half

    def shown(gone: set[int]) -> bytes:
        alive = tuple(node for node in range(104) if node not in gone)
        return Survivors(104, alive, tuple(sorted(gone))).to_bytes()

    assert fleet.refusal(first, "confirm", shown(runs)) is AbortReason.THIN_RING
    kept = {order[10 + at] for at in range(sizes.nearby)}
    kept |= {order[70 + at] for at in range(sizes.nearby)}
    assert fleet.leg(order[52], "confirm", shown(runs - kept))


def test_pf_34_two_survivor_sets_cannot_both_reach_a_quorum() -> None:
    fleet = Fleet(8).advertise().share().mask()
    shown = [  # both are lists every single node would sign
        Survivors(8, (0, 1, 2, 3, 4, 5), (6, 7)).to_bytes(),
        Survivors(8, (2, 3, 4, 5, 6, 7), (0, 1)).to_bytes(),
    ]
    signed: list[list[tuple[int, bytes]]] = [[], []]
    for node in range(8):
        side = 0 if node < 4 else 1
        reply = fleet.leg(node, "confirm", shown[side])
        signed[side].append((node, Confirmation.from_bytes(reply).signature))
    quorum = fleet.memory(0).sizes.quorum
    assert quorum == 5
    for node in range(8):
        everything = sorted(signed[0] + signed[1])
        own = signed[0 if node < 4 else 1]
        outcome = fleet.refusal(
            node, "unmask", Quorum(tuple(everything if node % 2 else own)).to_bytes()
        )
        assert outcome in {AbortReason.QUORUM, AbortReason.BAD_SIGNATURE}
        fleet.is_left(node)


def quorum_refusal(change: Callable[[Quorum], Quorum]) -> AbortReason:
    fleet = Fleet(8).advertise().share().mask({7}).confirm()
    message = change(Quorum.from_bytes(fleet.down[0])).to_bytes()
    reason = fleet.refusal(0, "unmask", message)
    fleet.is_left(0)
    return reason


def test_a_missed_quorum_is_refused() -> None:
    assert quorum_refusal(lambda m: Quorum(m.signatures[:-1])) is AbortReason.QUORUM
    assert quorum_refusal(lambda _: Quorum(())) is AbortReason.QUORUM


def test_signatures_that_are_forged_moved_or_repeated_are_refused() -> None:
    def forged(message: Quorum) -> Quorum:
        return Quorum((*message.signatures[:-1], (message.signatures[-1][0], bytes(64))))

    def moved(message: Quorum) -> Quorum:
        first, second, *rest = message.signatures
        return Quorum(((first[0], second[1]), (second[0], first[1]), *rest))

    def repeated(message: Quorum) -> Quorum:
        return Quorum((message.signatures[0], *message.signatures[:-1]))

    def by_a_vanished_one(message: Quorum) -> Quorum:
        return Quorum((*message.signatures, (7, message.signatures[-1][1])))

    assert quorum_refusal(forged) is AbortReason.BAD_SIGNATURE
    assert quorum_refusal(moved) is AbortReason.BAD_SIGNATURE
    assert quorum_refusal(repeated) is AbortReason.MALFORMED
    assert quorum_refusal(by_a_vanished_one) is AbortReason.QUORUM


def test_a_quorum_of_an_earlier_sum_is_refused() -> None:
    old = Fleet(4, session=11).advertise().share().mask().confirm()
    fleet = Fleet(4).advertise().share().mask().confirm()
    assert fleet.refusal(0, "unmask", old.down[0]) is AbortReason.BAD_SIGNATURE


def test_pf_34_a_second_unmasking_is_refused_and_both_shares_of_one_node_never_leave() -> None:
    fleet = Fleet(8).advertise().share().mask({7}).confirm()
    held = {node: fleet.memory(node).held for node in fleet.live}
    for node in fleet.live:
        reply = fleet.leg(node, "unmask", fleet.down[node])
        assert all((both[:33] in reply) != (both[33:] in reply) for both in held[node])
        assert fleet.refusal(node, "unmask", fleet.down[node]) is AbortReason.OUT_OF_STATE
        assert fleet.device(node).state is DeviceState.WIPED


def test_legs_out_of_order_are_refused() -> None:
    fleet = Fleet(4).advertise()
    assert fleet.refusal(0, "mask", fleet.vectors[0]) is AbortReason.OUT_OF_STATE
    fleet.is_left(0)
    fleet = Fleet(4).advertise().share()
    assert fleet.refusal(0, "mask", fleet.vectors[0]) is AbortReason.OUT_OF_STATE
    fleet = Fleet(4).advertise().share().mask()
    assert fleet.refusal(0, "mask", fleet.vectors[0]) is AbortReason.OUT_OF_STATE
    assert fleet.refusal(1, "unmask", fleet.down[1]) is AbortReason.OUT_OF_STATE


def test_a_vector_that_does_not_fit_changes_nothing() -> None:
    fleet = Fleet(4).advertise().share().check()
    for vector in (np.zeros(4, np.int64), np.full(5, 1 << 31)):
        with pytest.raises(ValueError, match="vector"):
            fleet.leg(0, "mask", vector)
        assert fleet.device(0).state is DeviceState.READY
    fleet.leg(0, "mask", fleet.vectors[0])


def test_whoever_drives_a_node_can_leave_at_any_time() -> None:
    fleet = Fleet(4).advertise().share().mask()
    fleet.leg(0, "abort")
    fleet.is_left(0)


def test_the_error_names_a_reason_and_no_secret() -> None:
    error = SecAggAbortError(AbortReason.BAD_SIGNATURE)
    assert isinstance(error, IntegrityError)
    assert (error.exit_code, error.code) == (14, "secagg-abort")
    assert str(error) == "this node left the secure sum: bad-signature"


def test_an_identity_that_is_not_the_settings_or_short_entropy_is_refused() -> None:
    fleet = Fleet(3)
    with pytest.raises(ValueError, match="signing key"):
        SecAggDevice.begin(fleet.settings(0), signer=fleet.signers[1])
    with pytest.raises(ValueError, match="entropy"):
        SecAggDevice.begin(
            fleet.settings(0), signer=fleet.signers[0], entropy=lambda n: bytes(n - 1)
        )
