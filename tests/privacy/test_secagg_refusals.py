"""A node leaves at everything an honest server would not send, and sends nothing more."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from homebody_privacy.errors import IntegrityError, SecAggAbortError
from homebody_privacy.secagg.device import SecAggDevice
from homebody_privacy.secagg.device_state import DeviceState
from homebody_privacy.secagg.reasons import AbortReason
from homebody_privacy.secagg.wire import (
    Advert,
    Confirmation,
    Forwarded,
    Quorum,
    Roster,
    Survivors,
)
from homebody_privacy.signing import SigningKey

from .secagg_fleet import Entropy, Fleet, certificate, vouch

Members = list[tuple[bytes, Advert]]


def is_left(fleet: Fleet, node: int = 0) -> None:
    """The node is out, holds nothing, and answers no leg."""
    assert fleet.device(node).state is DeviceState.ABORTED
    memory = fleet.memory(node)
    assert not any((memory.keys, memory.seed, memory.mask_keys, memory.open_keys, memory.held))
    for leg, parts in (
        ("share", (b"", vouch)),
        ("check_forwarded", (b"",)),
        ("mask", (fleet.vectors[node],)),
        ("confirm", (b"",)),
        ("unmask", (b"",)),
    ):
        assert fleet.refusal(node, leg, *parts) is AbortReason.OUT_OF_STATE


def roster_refusal(change: Callable[[Members], Members], count: int = 4) -> AbortReason:
    """Return why node 0 leaves at a changed roster."""
    fleet = Fleet(count).advertise()
    members = list(Roster.from_bytes(fleet.down[0]).members)
    roster = Roster(tuple(change(members))).to_bytes()
    reason = fleet.refusal(0, "share", roster, vouch)
    is_left(fleet)
    return reason


def with_advert(node: int, **fields: bytes) -> Callable[[Members], Members]:
    def change(members: Members) -> Members:
        content, advert = members[node]
        return [*members[:node], (content, replace(advert, **fields)), *members[node + 1 :]]

    return change


def resigned(fleet: Fleet, node: int, advert: Advert, session: int) -> Advert:
    terms = replace(fleet.settings(node), session=session).terms
    text = terms.advert_text(fleet.ids[node], advert.mask_key, advert.channel_key)
    return replace(advert, signature=fleet.signers[node].sign(text))


def test_an_unchanged_roster_is_answered() -> None:
    Fleet(4).advertise().share()


def test_substituted_keys_of_another_node_are_refused() -> None:
    for use in ("mask_key", "channel_key"):
        assert roster_refusal(with_advert(2, **{use: bytes([9] * 32)})) is AbortReason.BAD_SIGNATURE
    assert roster_refusal(with_advert(2, signature=bytes(64))) is AbortReason.BAD_SIGNATURE


def test_an_advert_replayed_from_an_earlier_sum_is_refused() -> None:
    fleet = Fleet(4)
    fleet.advertise()
    members = list(Roster.from_bytes(fleet.down[0]).members)
    old = resigned(fleet, 2, members[2][1], session=11)
    members[2] = (members[2][0], old)
    reason = fleet.refusal(0, "share", Roster(tuple(members)).to_bytes(), vouch)
    assert reason is AbortReason.BAD_SIGNATURE


def test_own_keys_substituted_or_missing_are_refused() -> None:
    for use in ("mask_key", "channel_key"):
        assert roster_refusal(with_advert(0, **{use: bytes([9] * 32)})) is AbortReason.OWN_ADVERT
    assert roster_refusal(with_advert(0, signature=bytes(64))) is AbortReason.OWN_ADVERT
    assert roster_refusal(lambda members: members[1:]) is AbortReason.OWN_ADVERT


def test_a_key_that_occurs_twice_is_refused() -> None:
    def copied(members: Members) -> Members:
        return with_advert(2, mask_key=members[1][1].mask_key)(members)

    def doubled(members: Members) -> Members:
        return with_advert(2, channel_key=members[2][1].mask_key)(members)

    assert roster_refusal(copied) is AbortReason.REPEATED_KEY
    assert roster_refusal(doubled) is AbortReason.REPEATED_KEY


def test_a_node_twice_or_out_of_order_is_refused() -> None:
    assert roster_refusal(lambda m: [m[0], m[1], m[1], m[2]]) is AbortReason.MALFORMED
    assert roster_refusal(lambda m: [m[0], m[2], m[1], m[3]]) is AbortReason.MALFORMED


def test_a_node_the_authority_did_not_vouch_for_is_refused() -> None:
    def sybil(members: Members) -> Members:
        return [*members[:2], (b"mine:" + bytes(32), members[2][1]), members[3]]

    assert roster_refusal(sybil) is AbortReason.BAD_CERTIFICATE


def test_an_id_that_is_not_its_keys_is_refused() -> None:
    fleet = Fleet(4).advertise()
    reason = fleet.refusal(
        0, "share", fleet.down[0], lambda content: (bytes(32), vouch(content)[1])
    )
    assert reason is AbortReason.BAD_CERTIFICATE


def test_a_key_of_small_order_is_refused_although_its_node_signed_it() -> None:
    for use in ("mask_key", "channel_key"):
        fleet = Fleet(4).advertise()
        members = list(Roster.from_bytes(fleet.down[0]).members)
        small = replace(members[2][1], **{use: bytes([1] + [0] * 31)})
        members[2] = (members[2][0], resigned(fleet, 2, small, session=12))
        reason = fleet.refusal(0, "share", Roster(tuple(members)).to_bytes(), vouch)
        assert reason is AbortReason.BAD_KEY
        is_left(fleet)


def test_pf_33_a_roster_below_three_or_the_own_least_is_refused() -> None:
    for kept in (0, 1, 2):
        assert roster_refusal(lambda m, kept=kept: m[:kept]) is AbortReason.PARAMETERS  # type: ignore[misc]
    fleet = Fleet(4)
    fleet.begin(0, least=5)
    assert fleet.refusal(0, "share", Fleet(4).advertise().down[0], vouch) is AbortReason.PARAMETERS


def test_pf_33_a_roster_that_cannot_keep_the_own_bounds_is_refused() -> None:
    fleet = Fleet(4)
    fleet.begin(0, max_corrupt=0.5, max_dropout=0.3)
    assert fleet.refusal(0, "share", Fleet(4).advertise().down[0], vouch) is AbortReason.PARAMETERS


def test_pf_33_nodes_of_one_key_holder_count_only_if_the_authority_vouched() -> None:
    fleet = Fleet(3).advertise()
    members = list(Roster.from_bytes(fleet.down[0]).members)
    extra = SigningKey(Entropy("sybil")(32))
    members.append((certificate(extra.public)[1:], members[0][1]))
    reason = fleet.refusal(0, "share", Roster(tuple(members)).to_bytes(), vouch)
    assert reason is AbortReason.BAD_CERTIFICATE


@pytest.mark.parametrize("field", ["run", "session", "round", "length", "config_sha256"])
def test_nodes_that_disagree_about_the_sum_do_not_share_it(field: str) -> None:
    fleet, other = Fleet(4), {"run": "b", "session": 9, "round": 9, "length": 9}
    fleet.begin(0, **{field: other.get(field, "d1" * 32)})
    roster = Fleet(4).advertise().down[0]
    assert fleet.refusal(0, "share", roster, vouch) in {
        AbortReason.OWN_ADVERT,
        AbortReason.BAD_SIGNATURE,
    }


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
    is_left(fleet)


def forwarded_refusal(change: Callable[[Forwarded], Forwarded], count: int = 5) -> AbortReason:
    fleet = Fleet(count).advertise().share({count - 1} if count > 4 else ())
    message = change(Forwarded.from_bytes(fleet.down[0])).to_bytes()
    reason = fleet.refusal(0, "check_forwarded", message)
    is_left(fleet)
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
    is_left(fleet)


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
    assert len(kept) > memory.quorum
    assert fleet.refusal(0, "check_forwarded", message) is AbortReason.TOO_FEW_SHARED


def survivors_refusal(change: Callable[[Survivors], Survivors]) -> AbortReason:
    fleet = Fleet(7).advertise().share({6}).mask({5})
    message = change(Survivors.from_bytes(fleet.down[0])).to_bytes()
    reason = fleet.refusal(0, "confirm", message)
    is_left(fleet)
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
    quorum = fleet.memory(0).quorum
    assert quorum == 5
    for node in range(8):
        everything = sorted(signed[0] + signed[1])
        own = signed[0 if node < 4 else 1]
        outcome = fleet.refusal(
            node, "unmask", Quorum(tuple(everything if node % 2 else own)).to_bytes()
        )
        assert outcome in {AbortReason.QUORUM, AbortReason.BAD_SIGNATURE}
        is_left(fleet, node)


def quorum_refusal(change: Callable[[Quorum], Quorum]) -> AbortReason:
    fleet = Fleet(8).advertise().share().mask({7}).confirm()
    message = change(Quorum.from_bytes(fleet.down[0])).to_bytes()
    reason = fleet.refusal(0, "unmask", message)
    is_left(fleet)
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
    is_left(fleet)
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
    is_left(fleet)


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
