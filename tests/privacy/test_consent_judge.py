"""The judge of consent: the order of its reasons, and that whatever goes wrong is a no."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homebody_privacy.consent import (
    Closed,
    ConsentState,
    Decision,
    Situation,
    all_dependent,
    all_required,
    closed,
    is_old_enough,
    why,
    why_purpose,
)
from homebody_privacy.consent_terms import DAY_S, ConsentTerms, GroupTerms, PurposeTerms

NOW = 1_772_355_600.0
TERMS = ConsentTerms(
    config_sha256="c" * 64,
    revision=1,
    policy_version=4,
    purposes={
        "recommend": PurposeTerms(title="Suggest", leaves_device=False),
        "training": PurposeTerms(title="Improve", leaves_device=True, requires=("recommend",)),
    },
    groups={
        "purchases": GroupTerms(fields=("x",), allow=("recommend", "training"), ttl_days=1),
        "tastes": GroupTerms(fields=("x",), allow=("recommend",), ttl_days=1),
    },
)


def _yes(purpose: str, **changed: Any) -> Decision:  # noqa: ANN401 - one of the fields' types
    usual: dict[str, Any] = {
        "features": ("purchases",),
        "state": ConsentState.GIVEN,
        "policy_version": 4,
        "valid_until": NOW + DAY_S,
    }
    return Decision(purpose=purpose, **(usual | changed))


OPEN = Situation(
    terms=TERMS,
    decisions={"recommend": _yes("recommend"), "training": _yes("training")},
    now=NOW,
    age="18_plus",
)

WORSE: list[tuple[str, Mapping[str, Any]]] = [  # each reason, the first of the order first
    ("chain_broken", {"chain_ok": False}),
    ("config_not_approved", {"config_ok": False}),
    ("not_in_matrix", {"terms": replace(TERMS, groups={
        "purchases": replace(TERMS.groups["purchases"], sensitivity="special")})}),
    ("restricted", {"restricted": True}),
    ("withdrawn", {"decisions": {"training": _yes("training", state="ConsentWithdrawn")}}),
    ("clock_went_back", {"last_seen": NOW + 3_600}),
    ("terms_changed", {"terms": replace(TERMS, policy_version=5)}),
    ("feature_not_chosen", {"decisions": {"training": _yes("training", features=("tastes",))}}),
    ("age_locked", {"age": "13_15"}),
    ("opt_out_signal", {"signals": {"sec_gpc": True}}),
    ("needs:recommend", {"decisions": {"training": _yes("training")}}),
]  # fmt: skip


def _code(situation: Situation, purpose: str = "training", feature: str = "purchases") -> str:
    shut = why(situation, purpose, feature)
    return "" if shut is None else shut.code


def test_all_is_open_where_all_was_said() -> None:
    assert _code(OPEN) == ""
    assert why_purpose(OPEN, "training") is None


@pytest.mark.parametrize(("code", "change"), WORSE, ids=[code for code, _ in WORSE])
def test_each_reason_closes_by_itself(code: str, change: Mapping[str, Any]) -> None:
    assert _code(replace(OPEN, **change)) == code


@pytest.mark.parametrize("place", range(len(WORSE) - 1))
def test_of_two_reasons_the_first_in_order_is_given(place: int) -> None:
    (first, one), (_, two) = WORSE[place], WORSE[place + 1]
    if one.keys().isdisjoint(two):
        assert _code(replace(OPEN, **{**one, **two})) == first


@pytest.mark.parametrize(
    ("state", "code"),
    [
        ("ConsentUnknown", "not_asked"),
        ("ConsentRequested", "not_asked"),
        ("ConsentRequestDeferred", "deferred"),
        ("ConsentRefused", "refused"),
        ("ConsentWithdrawn", "withdrawn"),
        ("ConsentExpired", "expired"),
        ("ConsentRevoked", "revoked"),
        ("ConsentInvalidated", "invalidated"),
    ],
)
def test_every_state_but_given_and_renewed_is_closed(state: str, code: str) -> None:
    decisions = {**OPEN.decisions, "training": _yes("training", state=state)}
    assert _code(replace(OPEN, decisions=decisions)) == code


def test_an_age_an_expiry_and_a_key_close_too() -> None:
    assert _code(replace(OPEN, now=NOW + DAY_S)) == "expired"
    assert _code(replace(OPEN, last_seen=NOW + DAY_S)) == "expired", "the clock in force decides"
    assert _code(replace(OPEN, unkeyed=frozenset({"training"}))) == "withdrawn"
    assert _code(replace(OPEN, age=None)) == "age_locked"
    assert _code(replace(OPEN, age="old enough, honest")) == "age_locked"
    assert _code(replace(OPEN, age=None), "recommend") == ""
    assert is_old_enough("16_17", 16)
    assert not is_old_enough("16_17", 17)


def test_cr_04_unknown_is_closed() -> None:
    assert _code(OPEN, "advertising") == "unknown_purpose"
    assert _code(OPEN, "training", "location") == "unknown_feature"
    assert _code(OPEN, "training", "tastes") == "not_in_matrix"
    assert _code(replace(OPEN, terms=None)) == "config_not_approved"
    assert _code(replace(OPEN, now=float("nan"))) != ""


def test_a_signal_said_over_an_unreadable_one_and_one_not_honoured() -> None:
    over = {**OPEN.decisions, "training": _yes("training", over_signal=True)}
    assert _code(replace(OPEN, decisions=over, signals={"sec_gpc": True})) == ""
    assert _code(replace(OPEN, decisions=over, signals={"sec_gpc": None})) == "opt_out_signal"
    deaf = replace(TERMS, honour_gpc=False)
    assert _code(replace(OPEN, terms=deaf, signals={"sec_gpc": True})) == ""
    assert _code(replace(OPEN, signals={"sec_gpc": True}), "recommend") == ""


def test_special_data_on_the_device_needs_an_explicit_yes() -> None:
    groups = {"purchases": replace(TERMS.groups["purchases"], sensitivity="special")}
    special = replace(OPEN, terms=replace(TERMS, groups=groups))
    assert _code(special, "recommend") == "feature_not_chosen"
    decisions = {"recommend": _yes("recommend", explicit=True)}
    assert _code(replace(special, decisions=decisions), "recommend") == ""


def test_cr_04_any_exception_is_a_no() -> None:
    broken: Any = {"training": object()}
    assert _code(replace(OPEN, decisions=broken)) == "internal_error"


def test_a_circle_of_requirements_is_closed() -> None:
    purposes = {
        "a": PurposeTerms(title="a", leaves_device=False, requires=("b",)),
        "b": PurposeTerms(title="b", leaves_device=False, requires=("a",)),
    }
    groups = {"x": GroupTerms(fields=("x",), allow=("a", "b"), ttl_days=1)}
    terms = replace(TERMS, purposes=purposes, groups=groups)
    decisions = {name: _yes(name, features=("x",)) for name in "ab"}
    assert _code(replace(OPEN, terms=terms, decisions=decisions), "a", "x") == "needs:b"
    assert all_required(terms, "a") == ("b",)


def test_requirements_are_followed_to_any_depth() -> None:
    purposes = {
        "c": PurposeTerms(title="c", leaves_device=False),
        "b": PurposeTerms(title="b", leaves_device=False, requires=("c",)),
        "a": PurposeTerms(title="a", leaves_device=False, requires=("b",)),
    }
    groups = {"x": GroupTerms(fields=("x",), allow=("a", "b", "c"), ttl_days=1)}
    terms = replace(TERMS, purposes=purposes, groups=groups)
    assert all_required(terms, "a") == ("b", "c")
    assert all_dependent(terms, "c") == ("a", "b")
    decisions = {name: _yes(name, features=("x",)) for name in "ab"}
    assert _code(replace(OPEN, terms=terms, decisions=decisions), "a", "x") == "needs:b"


def test_an_answer_is_true_and_reads_as_code_and_sentence() -> None:
    assert closed("withdrawn")
    assert str(closed("withdrawn")) == "withdrawn: you switched this off"
    assert why(replace(OPEN, decisions={"training": _yes(
        "training", state="ConsentWithdrawn", cause="signal")}), "training", "purchases") == Closed(
        "withdrawn", "an opt-out signal switched this off")  # fmt: skip


def test_a_yes_to_nothing_cannot_be_built() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Decision(purpose="a", state=ConsentState.GIVEN)
    with pytest.raises(ValueError, match="since"):
        Decision(purpose="a", features=("x",), since={"y": 1.0})


@given(
    worse=st.lists(st.sampled_from(WORSE), min_size=1, max_size=4),
    now=st.floats(NOW - 10 * DAY_S, NOW + 10 * DAY_S),
)
def test_nothing_that_closes_opens_another(
    worse: list[tuple[str, Mapping[str, Any]]], now: float
) -> None:
    change: dict[str, Any] = {}
    for _, one in worse:
        change |= one
    assert _code(replace(OPEN, **{**change, "now": min(now, NOW)})) != ""
