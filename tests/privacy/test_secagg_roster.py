"""A node leaves at a roster that is not what everybody sent, or that protects nobody."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from homebody_privacy.secagg.reasons import AbortReason
from homebody_privacy.secagg.wire import Advert, Roster
from homebody_privacy.signing import SigningKey

from .secagg_fleet import Entropy, Fleet, certificate, vouch

Members = list[tuple[bytes, Advert]]


def roster_refusal(change: Callable[[Members], Members], count: int = 4) -> AbortReason:
    """Return why node 0 leaves at a changed roster."""
    fleet = Fleet(count).advertise()
    members = list(Roster.from_bytes(fleet.down[0]).members)
    roster = Roster(tuple(change(members))).to_bytes()
    reason = fleet.refusal(0, "share", roster, vouch)
    fleet.is_left(0)
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
        fleet.is_left(0)


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
