"""CR-37: nothing runs before enough people who may sign approved this config in this app."""

import json
from typing import Any

import pytest

from homebody_privacy.approval.dsse import Envelope
from homebody_privacy.approval.quorum import approved, require_approved
from homebody_privacy.approval.reviewers import ReviewerKeys
from homebody_privacy.approval.statement import sign
from homebody_privacy.errors import IntegrityError, PolicyViolationError

from .review_world import (
    APP,
    DAY,
    DPO,
    KEYS,
    NOW,
    SECURITY,
    STRANGER,
    approval,
    example,
    pinned,
    waiver,
)


def state(*envelopes: Envelope, **options: Any) -> Any:  # noqa: ANN401 - arguments of ``approved``
    now, keys = options.pop("now", NOW), options.pop("keys", pinned())
    return approved(example(), options.pop("app", APP), envelopes, keys, now, **options)


def test_cr_37_two_people_who_may_sign_are_enough() -> None:
    found = state(approval(DPO), approval(SECURITY))
    assert (found.valid, found.enough, found.refused) == ((DPO, SECURITY), True, ())
    assert str(found) == "2 of 2 approvals: may run"
    assert found.key_ids == tuple(sorted(KEYS[name].key_id for name in (DPO, SECURITY)))


def test_cr_37_one_of_two_may_not_run_yet() -> None:
    found = state(approval(DPO))
    assert (found.enough, str(found)) == (False, "1 of 2 approvals: may not run yet")
    with pytest.raises(PolicyViolationError, match="1 of 2 approvals"):
        require_approved(example(), APP, [approval(DPO)], pinned(), NOW)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "another app": ({"app": "cd" * 32}, "another app"),
    "another config": ({"config": "cd" * 32}, "another config"),
    "expired": ({"issued": NOW - 9 * DAY, "expires": NOW}, "expired 0 days ago"),
    "another revision": ({"revision": 11}, "another revision"),
    "another notice": ({"policy_version": 3}, "another revision or policy_version"),
    "of the future": ({"issued": NOW + DAY}, "in the future"),
    "too long": ({"expires": NOW + 181 * DAY}, "longer than approval.expires_days"),
    "another policy": ({"policy": "cd" * 32}, "another policy"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_cr_37_an_approval_of_something_else_does_not_count(case: str) -> None:
    changes, reason = REFUSED[case]
    found = state(approval(DPO), approval(SECURITY, **changes))
    assert not found.enough
    assert len(found.valid) == 1
    (said,) = found.refused
    assert reason in said


def test_cr_37_nobody_approves_whose_key_is_not_pinned_or_who_is_not_asked() -> None:
    for keys, stranger in ((pinned([DPO]), SECURITY), (pinned([*KEYS]), STRANGER)):
        found = state(approval(DPO), approval(stranger), keys=keys)
        assert (found.valid, found.enough) == ((DPO,), False)
        assert found.refused[0].startswith(f"{stranger}: their signature does not count here")


def test_cr_37_one_key_under_two_names_is_one_person() -> None:
    keys = ReviewerKeys({DPO: KEYS[DPO].public, SECURITY: KEYS[DPO].public}, {})
    found = state(approval(DPO), approval(SECURITY, key=KEYS[DPO]), keys=keys)
    assert (found.valid, found.enough) == ((DPO,), False)
    assert found.refused == (f"{SECURITY}: has the same key as {DPO}, who approved already",)


def test_cr_37_one_person_who_signs_twice_is_one_person() -> None:
    found = state(approval(DPO), approval(DPO, expires=NOW + DAY))
    assert (found.valid, found.enough) == ((DPO,), False)


def test_cr_37_a_signature_in_anothers_name_is_broken_and_stops_everything() -> None:
    forged = approval(SECURITY, key=KEYS[STRANGER])
    found = state(approval(DPO), forged)
    assert (found.enough, len(found.broken)) == (False, 1)
    with pytest.raises(IntegrityError, match="does not match what was signed"):
        require_approved(example(), APP, [approval(DPO), approval(SECURITY), forged], pinned(), NOW)


def test_cr_37_a_config_that_asks_for_one_does_not_lower_what_the_reader_needs() -> None:
    terms = example().approval.model_copy(update={"required": 1})
    config = example().model_copy(update={"approval": terms})
    signed = [approval(DPO, of=config)]
    assert approved(config, APP, signed, pinned(), NOW).enough
    assert not approved(config, APP, signed, pinned(), NOW, least=2).enough


def test_cr_37_a_config_that_asks_for_none_is_not_approved_by_nobody() -> None:
    terms = example().approval.model_copy(update={"required": 0})
    config = example().model_copy(update={"approval": terms})
    assert not approved(config, APP, [], pinned(), NOW).enough


def test_cr_37_changed_bytes_of_an_envelope_never_count() -> None:
    value = approval(SECURITY).to_json()
    text = json.dumps(value)
    for at in range(0, len(text), 7):
        changed = text[:at] + chr(ord(text[at]) ^ 1) + text[at + 1 :]
        try:
            envelope = Envelope.from_json(json.loads(changed))
        except ValueError:
            continue
        if envelope == Envelope.from_json(value):
            continue
        found = state(approval(DPO), envelope)
        # A key id is a hint that nothing rests on: changed or not, the signature is the person's.
        assert not found.enough or envelope.payload == Envelope.from_json(value).payload
        if envelope.signatures[0].sig != Envelope.from_json(value).signatures[0].sig:
            assert not found.enough


def test_cr_46_a_waiver_is_in_force_once_as_many_stand_behind_it_as_must_approve() -> None:
    lifted = waiver(DPO)
    alone = sign(lifted, KEYS[DPO])
    assert state(approval(DPO), approval(SECURITY), alone).waivers == ()
    assert state(approval(DPO), approval(SECURITY), alone).proposed == (lifted,)
    named = state(approval(DPO), approval(SECURITY, waivers=(lifted.digest,)), alone)
    assert named.waivers == (lifted,)
    both = state(alone, sign(waiver(SECURITY), KEYS[SECURITY]))
    assert [one.lifts("AGG-002", "aggregation.report_goal") for one in both.waivers] == [True]


def test_cr_46_an_expired_waiver_lifts_nothing() -> None:
    lifted = waiver(DPO)
    envelopes = (sign(lifted, KEYS[DPO]), sign(waiver(SECURITY), KEYS[SECURITY]))
    assert state(*envelopes, now=lifted.expires - 1).waivers
    after = state(*envelopes, now=lifted.expires)
    assert (after.waivers, after.proposed) == ((), ())
    assert "the waiver expired" in after.refused[0]


def test_cr_46_a_waiver_of_another_config_lifts_nothing() -> None:
    other = waiver(DPO, config="cd" * 32)
    assert state(sign(other, KEYS[DPO])).proposed == ()


def test_the_end_of_a_set_of_approvals_is_when_too_few_are_left() -> None:
    found = state(approval(DPO, expires=NOW + DAY), approval(SECURITY, expires=NOW + 2 * DAY))
    assert found.expires == NOW + DAY
