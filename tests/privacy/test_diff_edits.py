"""Edits of the documented example, and what ``diff`` calls each of them."""

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homebody_privacy.comparing.changes import changes
from homebody_privacy.comparing.difference import Difference, difference
from homebody_privacy.comparing.fields import FIELDS, TABLES
from homebody_privacy.comparing.verdicts import Direction
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.planned import planned_loss

from .config_edits import GONE, edited

W, S, C = Direction.WEAKER, Direction.STRONGER, Direction.CHANGED

_PURPOSE = {
    "title": "Tell shops what sells",
    "leaves_device": True,
    "fides_use": "analytics.reporting",
    "dpv_purpose": "dpv:ServiceOptimisation",
}
_GROUP = {
    "fields": ["query"],
    "allow": ["recommend"],
    "fides_category": "user.behavior",
    "dpv_category": "pd:Preference",
    "sensitivity": "ordinary",
    "ttl_days": 30,
    "max_rows": 10,
}
_METRIC = {
    "purpose": "metrics",
    "features": ["purchases"],
    "noise_multiplier": 60.0,
    "releases_per_run": 1,
}
_RECORD = {"enabled": True, "max_grad_norm": 1.0, "noise_multiplier": 1.0, "delta": 1e-5}
_ONCE = {"recipe": "both", "popularity_multiplier": 9.0, "gram_multiplier": 9.0}
_FR = {"file": "notices/fr-4.md", "sha256": "00" * 32}

EDITS: dict[str, tuple[str, object, tuple[Direction, ...]]] = {
    "another name": ("activity.name", "Shopping", (C,)),
    "another controller": ("activity.controller", "Other Grocer GmbH", (C,)),
    "another contact": ("activity.contact", "privacy@example.org", (C,)),
    "no authority": ("activity.authority", "", (W,)),
    "a jurisdiction more": ("activity.jurisdictions", ["EU", "UK", "US-CA", "CH"], (C,)),
    "children too": ("activity.data_subjects", ["customer", "child"], (W,)),
    "more people": ("activity.population", 300_000, (C,)),
    "a recipient": ("activity.recipients", ["Example Ads Ltd"], (W,)),
    "transfers": ("activity.transfers", "scc", (W,)),
    "no assessment": ("activity.dpia_ref", "", (W,)),
    "another assessment": ("activity.dpia_ref", "DPIA-2027-001", (C,)),
    "another title": ("purposes.training.title", "Train the model", (C,)),
    "no consent": ("purposes.recommend.legal_basis", "legitimate_interests", (W,)),
    "starts on": ("purposes.recommend.default", "on", (W,)),
    "leaves": ("purposes.recommend.leaves_device", True, (W,)),
    "needs nothing": ("purposes.metrics.requires", [], (C,)),
    "another use": ("purposes.training.fides_use", "improve.system", (C,)),
    "a purpose more": ("purposes.sales", _PURPOSE, (W,)),
    "a field more": ("features.tastes.fields", ["topic", "weight", "brand"], (W,)),
    "a field less": ("features.purchases.fields", ["product_id", "day"], (S, S)),
    "another field": ("features.tastes.fields", ["topic", "stars"], (W, S)),
    "one kind of event": ("features.tastes.events", ["rating"], (S,)),
    "nothing excluded": ("features.purchases.exclude", [], (W,)),
    "more excluded": (
        "features.purchases.exclude",
        ["category:FAMILY PLANNING", "category:PHARMACY"],
        (S,),
    ),
    "used for metrics": ("features.tastes.allow", ["recommend", "training", "metrics"], (W,)),
    "not used for training": ("features.tastes.allow", ["recommend"], (S,)),
    "in another order": ("features.tastes.allow", ["training", "recommend"], (C,)),
    "treated as ordinary": ("features.purchases.sensitivity", "ordinary", (W,)),
    "no risk named": ("features.purchases.risk_ref", "", (W,)),
    "kept longer": ("features.tastes.ttl_days", 365, (W,)),
    "kept shorter": ("features.tastes.ttl_days", 90, (S,)),
    "more rows": ("features.purchases.max_rows", 2000, (W,)),
    "not editable": ("features.tastes.user_editable", False, (W,)),
    "a group more": ("features.searches", _GROUP, (W,)),
    "a yes holds longer": ("consent.expiry_days", 395, (W,)),
    "longer grace": ("consent.grace_days", 30, (W,)),
    "a no is forgotten": ("consent.refusal_days", 30, (W,)),
    "reaches back": ("consent.reach_back", True, (W,)),
    "slow withdrawal": ("consent.withdraw_max_seconds", 60, (W,)),
    "no copy": ("consent.server_copy", "none", (C,)),
    "signals ignored": ("consent.honour_gpc", False, (W,)),
    "a signal less": ("consent.signals", ["sec_gpc"], (W,)),
    "younger people": ("consent.min_age", 13, (W,)),
    "another notice": ("consent.notices.en.sha256", "11" * 32, (C,)),
    "a language more": ("consent.notices.fr", _FR, (C,)),
    "one record protected": ("dp.unit", "record", (W,)),
    "no noise": ("dp.mechanism", "none", (W,)),
    "credit for no coins": ("dp.amplification", True, (W,)),
    "a larger bound": ("dp.clip_norm", 1.0, (C,)),
    "more rounds": ("dp.rounds", 600, (W,)),
    "fewer rounds": ("dp.rounds", 400, (W, S)),  # the cap is more than 400 rounds can hold: DP-011
    "joins sooner": ("dp.min_separation", 50, (W,)),
    "joins less": ("dp.max_rounds_per_device", 4, (S,)),
    "own limit below the cap": ("dp.device_epsilon_max", 1.5, (S,)),
    "own limit at the cap": ("dp.device_epsilon_max", 2.5, (C,)),
    "larger cohorts": ("dp.cohort_size", 1100, (C,)),
    "higher cap": ("dp.epsilon_max", 4.0, (W,)),
    "lower cap": ("dp.epsilon_max", 2.0, (S,)),
    "smaller failure chance": ("dp.delta", 1e-8, (S,)),
    "a budget for each run": ("dp.budget_scope", "run", (W,)),
    "tuned on people": ("dp.tuning_data", "private", (W,)),
    "tuned more": ("dp.tuning_runs", 3, (C,)),
    "less noise": ("dp.noise_multiplier", 14.0, (W,)),
    "more noise": ("dp.noise_multiplier", 30.0, (S,)),
    "noise left open": ("dp.noise_multiplier", GONE, (C,)),
    "other correlation": ("dp.blt", {"theta": [0.9], "omega": [0.9]}, (W, C, C)),
    "record level on": ("dp.record.enabled", True, (S,)),
    "no second layer": ("dp.record", GONE, (C,)),
    "record level with less noise": ("dp.record.noise_multiplier", 0.5, (W,)),
    "record level without a cap": ("dp.record.epsilon_max", GONE, (W,)),
    "sums before": ("statistics", _ONCE, (W, C)),
    "a figure more": ("metrics.active", _METRIC, (W,)),
    "a figure less": ("metrics.drift", GONE, (S,)),
    "a figure more often": ("metrics.drift.releases_per_run", 8, (W,)),
    "a figure with less noise": ("metrics.drift.noise_multiplier", 40.0, (W,)),
    "sums in clear": ("aggregation.secagg", False, (W,)),
    "more replies needed": ("aggregation.report_goal", 500, (S,)),
    "no goal": ("aggregation.report_goal", GONE, (W,)),
    "more may vanish": ("aggregation.max_dropout", 0.4, (W,)),
    "more may collude": ("aggregation.max_corrupt", 0.2, (S,)),
    "more nodes needed": ("aggregation.min_nodes", 5, (S,)),
    "replies wait longer": ("aggregation.update_ttl_hours", 48, (W,)),
    "older TLS": ("transport.tls_min", "1.2", (W,)),
    "addresses logged": ("transport.ip_log", "truncated", (W,)),
    "fewer people behind a figure": ("release.min_k", 20, (W,)),
    "no audit": ("release.requires", ["ledger_verified"], (W,)),
    "a weaker audit": ("release.audit_max_advantage", 0.1, (W,)),
    "models stay longer": ("release.retire_after_days", 365, (W,)),
    "replies kept": ("retention.server_updates_hours", 24, (W,)),
    "ledger kept shorter": ("retention.ledger_years", 1, (W,)),
    "no fresh start": ("rights.retrain_every_days", 0, (W,)),
    "models stay": ("rights.trained_model", "dp_only_stop_future", (W,)),
    "other parameters told": ("transparency.main_parameters", ["what you bought"], (C,)),
    "no list without profiling": ("transparency.non_profiling_option", False, (W,)),
    "decides about people": ("transparency.significant_decision", True, (W,)),
    "fewer checkpoints": ("ledger.checkpoint_every_rounds", 10, (W,)),
    "no witness": ("ledger.witness", "none", (W,)),
    "another witness": ("ledger.witness", "public_log", (C,)),
    "one signs": ("approval.required", 1, (W,)),
    "another approver": ("approval.approvers", ["dpo@example.org", "cto@example.org"], (C, C)),
    "approvals hold longer": ("approval.expires_days", 365, (W,)),
    "another address": ("activity.address", "2 Market St, Berlin", (C,)),
    "another reason": ("purposes.recommend.reason", "part of the contract", (C,)),
    "another purpose of DPV": ("purposes.training.dpv_purpose", "dpv:Marketing", (C,)),
    "another category of Fides": ("features.tastes.fides_category", "user", (C,)),
    "another category of DPV": ("features.tastes.dpv_category", "pd:Interest", (C,)),
    "receipts kept longer": ("consent.receipts_years", 5, (C,)),
    "a notice elsewhere": ("consent.notices.en.file", "notices/en.md", (C,)),
    "another adjacency": ("dp.adjacency", "add_remove", (W, C)),  # no figure any more: DP-012
    "coins": ("dp.sampling", "poisson", (W, C)),
    "a bound that adapts": ("dp.adaptive_clip", True, (W, C)),
    "noise by devices": ("dp.noise_by", "devices", (W, C)),
    "a finer grid": ("dp.lattice_bits", 18, (C,)),
    "a wider cap of cohorts": ("dp.cohort_cap", 1300, (C,)),
    "pretrained": ("dp.pretraining", "ImageNet, CC BY", (C,)),
    "longer memory of noise": ("dp.blt.theta", [0.99, 0.58627], (W, C)),
    "lighter correlation": ("dp.blt.omega", [0.2, 0.2], (S, C)),
    "record level with another bound": ("dp.record.max_grad_norm", 2.0, (C,)),
    "record level with small batches": ("dp.record.sampling_rate", 0.1, (S,)),
    "record level with more steps": ("dp.record.steps", 5, (W,)),
    "record level with a larger delta": ("dp.record.delta", 1e-4, (W,)),
    "a figure from less": ("metrics.drift.features", [], (S,)),
    "a figure under another switch": ("metrics.drift.purpose", "training", (C,)),
    "another share of pairs": ("statistics.popularity_share", 0.2, (C,)),
    "another share of rounds": ("statistics.rounds_share", 0.2, (C,)),
    "another window": ("statistics.window", 0.5, (C,)),
    "more pairs": ("statistics.head", 2000, (C,)),
    "less noise on popularity": ("statistics.popularity_multiplier", 5.0, (W,)),
    "more noise on pairs": ("statistics.gram_multiplier", 20.0, (S,)),
    "another class": ("transparency.ai_act_class", "limited", (C,)),
}
"""Field, new value, and the direction of every change it makes, what is weaker first."""


ONE_VALUE = {"dp.accountant", "transport.seal"}
"""Fields whose schema knows one value."""

ELSEWHERE = {"statistics.recipe"}
"""Fields that no other field may stay for: another recipe is a table that comes or goes."""


def base(path: str) -> dict[str, object]:
    """Return the edits a file needs before a field of it can be edited."""
    return {"statistics": dict(_ONCE)} if path.startswith("statistics.") else {}


def pattern(path: str) -> str:
    """Return a path with ``*`` for the names of tables."""
    for named in ("consent.notices", "purposes", "features", "metrics"):
        path = re.sub(rf"^{named}\.\w+", f"{named}.*", path)
    return path


def compared(old: PrivacyConfig, new: PrivacyConfig) -> Difference:
    return difference(old, new, loss=planned_loss)


def test_cr_42_every_field_and_table_has_an_edit() -> None:
    covered = {pattern(path) for path, _, _ in EDITS.values()}
    assert covered | ONE_VALUE | ELSEWHERE == {*FIELDS, *TABLES}


def test_cr_42_the_table_has_more_than_forty_edits() -> None:
    assert len(EDITS) >= 40
    assert {d for _, _, directions in EDITS.values() for d in directions} == {W, S, C}


@pytest.mark.parametrize("edit", EDITS)
def test_cr_42_an_edit_has_its_direction_and_the_way_back_the_other(edit: str) -> None:
    path, value, expected = EDITS[edit]
    old, new = edited(base(path)), edited(base(path) | {path: value})
    there, back = compared(old, new), compared(new, old)
    assert tuple(change.direction for change in there.changes) == expected
    assert all(change.path.startswith((path, "planned loss")) for change in there.changes)
    turned = sorted(change.direction.turned for change in there.changes)
    assert sorted(change.direction for change in back.changes) == turned
    assert there.exit_code == 10  # revision and policy_version did not rise
    assert there.voids_approvals


@pytest.mark.parametrize("edit", EDITS)
def test_cr_10_what_is_weaker_needs_a_higher_policy_version(edit: str) -> None:
    path, value, expected = EDITS[edit]
    old, higher = edited(base(path)), base(path) | {"revision": 13, path: value}
    told = compared(old, edited(higher))
    assert (told.exit_code == 10) >= (W in expected)
    assert bool(told.ask_again) == (told.exit_code == 10)
    asked = compared(old, edited(higher | {"activity.policy_version": 5}))
    assert asked.exit_code == 0
    assert asked.ask_again == told.ask_again


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(sorted(EDITS)), max_size=5), st.data())
def test_any_edits_together_turn_with_the_files(names: list[str], data: st.DataObject) -> None:
    left, right = [n for n in names if data.draw(st.booleans())], names
    files = [several(left), several(right)]
    if None in files:
        return
    old, new = (file for file in files if file is not None)
    there, back = changes(old, new), changes(new, old)
    assert sorted((c.path, c.direction.turned) for c in there) == sorted(
        (c.path, c.direction) for c in back
    )
    assert bool(there) == (old.digest() != new.digest())


def several(names: list[str]) -> PrivacyConfig | None:
    """Return the example after all of some edits; None where they contradict each other."""
    edits: dict[str, Any] = {EDITS[name][0]: EDITS[name][1] for name in names}
    try:
        return edited(edits)
    except (KeyError, TypeError, ValueError):
        return None
