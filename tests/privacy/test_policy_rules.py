"""The baseline and the profiles: every id is tried, says where and why, and is in the docs."""

import re
from pathlib import Path
from typing import Any

import pytest

from homebody_privacy.config import PrivacyConfig
from homebody_privacy.policy.check import check_config
from homebody_privacy.policy.findings import CheckResult
from homebody_privacy.policy.registry import EVERY, by_id, in_force, is_waivable
from homebody_privacy.policy.rule import Rule
from homebody_privacy.premises import broken_premises

from .config_edits import EXAMPLE, GONE, SAMPLED, edited

NOW = 1_800_000_000
_PAGE = Path(__file__).parents[2] / "docs" / "policy.md"

FROZEN = (
    "DP-001 DP-002 DP-003 DP-004 DP-005 DP-006 DP-007 DP-008 DP-009 DP-010 DP-011 DP-012 DP-013 "
    "DP-014 CON-001 CON-003 CON-004 CON-010 CON-011 CON-012 CON-013 CON-014 CON-020 CON-022 "
    "CON-023 FEA-001 FEA-002 FEA-003 FEA-004 FEA-005 TAX-001 TAX-002 TAX-003 TAX-004 DOC-001 "
    "ADM-001 AGG-001 AGG-002 AGG-003 AGG-004 TLS-001 TLS-002 REL-001 REL-002 RET-001 RGT-001 "
    "TRN-001 LED-002 APP-001 TXT-001 GDPR-001 GDPR-002 GDPR-003 GDPR-004 GDPR-005 GDPR-006 "
    "GDPR-007 GDPR-008 CCPA-001 CCPA-002 CCPA-003 CCPA-004 HLT-001 HLT-002 HLT-003 HLT-004 HLT-005 "
    "HLT-006 MED-001 MED-002 MED-003 MED-004"
)
"""Every id there ever was: none is taken out or given to another rule, new ones come at the end."""

STARRED = (
    "DP-001 DP-003 DP-004 DP-005 DP-007 DP-008 DP-010 DP-011 DP-012 DP-013 CON-010 CON-011 CON-020 "
    "FEA-002 FEA-005 ADM-001 RGT-001 TXT-001"
)
"""Premises and legal bars of the design: no waiver lifts them."""

_SPECIAL: dict[str, object] = {"features.tastes.sensitivity": "special"}
_FEW: dict[str, object] = {"rights.retrain_every_days": 60}

TRIED: dict[str, list[tuple[dict[str, object], str]]] = {
    "DP-001": [({"dp.mechanism": "none"}, "dp.mechanism")],
    "DP-002": [({"dp.epsilon_max": 4.5}, "dp.epsilon_max")],
    "DP-003": [({"dp.unit": "record"}, "dp.unit")],
    "DP-004": [({"dp.delta": 1e-5}, "dp.delta"), ({"dp.delta": 1e-6}, "dp.delta")],
    "DP-005": [({"dp.mechanism": "none", "dp.record.enabled": True}, "dp.mechanism")],
    "DP-006": [({"dp.budget_scope": "run"}, "dp.budget_scope")],
    "DP-007": [({"dp.amplification": True}, "dp.amplification")],
    "DP-008": [({"dp.noise_multiplier": 7.0}, "dp.noise_multiplier")],
    "DP-009": [({"dp.noise_by": "devices"}, "dp.noise_by")],
    "DP-010": [
        ({**SAMPLED, "dp.sampling": "none"}, "dp.sampling"),
        ({**SAMPLED, "dp.cohort_cap": 1_100}, "dp.cohort_cap"),
        ({"dp.sampling": "poisson"}, "dp.sampling"),
    ],
    "DP-011": [
        ({"dp.blt": {"theta": [0.9], "omega": [-0.2]}}, "dp.blt"),
        ({"dp.blt": {"theta": [1.01], "omega": [0.2]}}, "dp.blt"),
        ({"dp.max_rounds_per_device": 6}, "dp.max_rounds_per_device"),
    ],
    "DP-012": [({"dp.adjacency": "replace_one"}, "dp.adjacency")],
    "DP-013": [
        ({"dp.tuning_data": "private"}, "dp.tuning_runs"),
        ({"dp.adaptive_clip": True}, "dp.adaptive_clip"),
    ],
    "DP-014": [(_FEW, "dp.epsilon_max")],
    "CON-001": [({"consent.expiry_days": 396}, "consent.expiry_days")],
    "CON-003": [({"consent.honour_gpc": False}, "consent.honour_gpc")],
    "CON-004": [({"consent.min_age": 12}, "consent.min_age")],
    "CON-010": [({"purposes.metrics.default": "on"}, "purposes.metrics.default")],
    "CON-011": [
        ({"purposes.training.legal_basis": "contract"}, "purposes.training.legal_basis"),
    ],
    "CON-012": [
        ({"purposes.recommend.legal_basis": "contract"}, "purposes.recommend.reason"),
    ],
    "CON-013": [({"purposes.metrics.requires": ["sharing"]}, "purposes.metrics.requires")],
    "CON-014": [({"purposes.recommend.requires": ["training"]}, "purposes.*.requires")],
    "CON-020": [
        ({"consent.signals": ["os_setting"]}, "consent.signals"),
        ({"consent.honour_gpc": False}, "consent.honour_gpc"),
    ],
    "CON-022": [({"consent.notices.en.sha256": "0" * 64}, "consent.notices.en.sha256")],
    "CON-023": [({"consent.grace_days": 31}, "consent.grace_days")],
    "FEA-001": [({"features.tastes.allow": ["sharing"]}, "features.tastes.allow")],
    "FEA-002": [
        ({**_SPECIAL, "features.tastes.risk_ref": "R-4"}, "features.tastes.allow"),
        (
            {"features.tastes.sensitivity": "criminal", "features.tastes.risk_ref": "R-4"},
            "features.tastes.allow",
        ),
    ],
    "FEA-003": [({"features.tastes.allow": []}, "features.tastes.allow")],
    "FEA-004": [({"features.purchases.risk_ref": " "}, "features.purchases.risk_ref")],
    "FEA-005": [
        ({"features.tastes.fields": ["topic", "email_hash"]}, "features.tastes.fields"),
        (
            {"features.tastes.fides_category": "user.unique_id.pseudonymous"},
            "features.tastes.fides_category",
        ),
        ({"features.tastes.dpv_category": "pd:EmailAddress"}, "features.tastes.dpv_category"),
    ],
    "TAX-001": [({"purposes.metrics.fides_use": "analytics.all"}, "purposes.metrics.fides_use")],
    "TAX-002": [
        ({"features.tastes.fides_category": "user.mood"}, "features.tastes.fides_category"),
    ],
    "TAX-003": [
        ({"purposes.metrics.dpv_purpose": "dpv:Improve"}, "purposes.metrics.dpv_purpose"),
    ],
    "TAX-004": [({"features.tastes.dpv_category": "Preference"}, "features.tastes.dpv_category")],
    "DOC-001": [({"activity.dpia_ref": ""}, "activity.dpia_ref")],
    "ADM-001": [
        ({"transparency.significant_decision": True}, "transparency.significant_decision"),
    ],
    "AGG-001": [({"aggregation.secagg": False}, "aggregation.secagg")],
    "AGG-002": [
        ({"aggregation.report_goal": 99}, "aggregation.report_goal"),
        ({"aggregation.report_goal": GONE}, "aggregation.report_goal"),
    ],
    "AGG-003": [
        ({"dp.cohort_size": 200, "aggregation.report_goal": 201}, "aggregation.report_goal")
    ],
    "AGG-004": [
        ({"activity.population": 99_999}, "dp.rounds"),
        ({"activity.population": 900}, "dp.cohort_size"),
        (
            {"activity.population": 80_000, "dp.rounds": 400, "dp.max_rounds_per_device": 4},
            "dp.rounds",
        ),
        ({"activity.population": 99_000, "dp.rounds": 460}, "dp.min_separation"),
    ],
    "TLS-001": [({"transport.tls_min": "1.2"}, "transport.tls_min")],
    "TLS-002": [({"transport.ip_log": "full"}, "transport.ip_log")],
    "REL-001": [({"release.min_k": 19}, "release.min_k")],
    "REL-002": [
        ({"release.requires": ["audit_passed"]}, "release.requires"),
        ({"release.requires": ["ledger_verified"]}, "release.requires"),
    ],
    "RET-001": [({"retention.server_updates_hours": 25}, "retention.server_updates_hours")],
    "RGT-001": [({"rights.trained_model": "unlearn"}, "rights.trained_model")],
    "TRN-001": [
        ({"transparency.non_profiling_option": False}, "transparency.non_profiling_option"),
    ],
    "LED-002": [({"ledger.witness": "none"}, "ledger.witness")],
    "APP-001": [
        ({"approval.required": 1}, "approval.required"),
        ({"approval.approvers": ["one@example.org"] * 2}, "approval.approvers"),
    ],
    "TXT-001": [
        ({"purposes.training.title": "Anonymous training"}, "purposes.training.title"),
        ({"activity.name": "Zero risk suggestions"}, "activity.name"),
        (
            {"transparency.main_parameters": ["your data never leaves"]},
            "transparency.main_parameters",
        ),
    ],
    "GDPR-001": [({"consent.notices": {}}, "consent.notices")],
    "GDPR-002": [({"activity.authority": ""}, "activity.authority")],
    "GDPR-003": [
        ({"consent.receipts_years": 1, "consent.expiry_days": 366}, "consent.receipts_years"),
    ],
    "GDPR-004": [
        (
            {
                **_SPECIAL,
                "features.tastes.allow": ["recommend"],
                "purposes.recommend.legal_basis": "contract",
            },
            "purposes.recommend.legal_basis",
        ),
    ],
    "GDPR-005": [
        (
            {"features.tastes.fides_category": "user.health_and_medical"},
            "features.tastes.sensitivity",
        ),
    ],
    "GDPR-006": [({"features.tastes.user_editable": False}, "features.tastes.user_editable")],
    "GDPR-007": [({"consent.min_age": 15}, "consent.min_age")],
    "GDPR-008": [({"consent.reach_back": True}, "consent.reach_back")],
    "CCPA-001": [({"consent.honour_gpc": False}, "consent.honour_gpc")],
    "CCPA-002": [({"consent.signals": []}, "consent.signals")],
    "CCPA-003": [({"activity.recipients": ["Example Media Ltd"]}, "consent.refusal_days")],
    "CCPA-004": [({"activity.jurisdictions": ["EU"]}, "activity.jurisdictions")],
    "HLT-001": [({}, "dp.epsilon_max")],
    "HLT-002": [({}, "features.purchases.allow")],
    "HLT-003": [({}, "features.purchases.ttl_days")],
    "HLT-004": [({"retention.server_updates_hours": 1}, "retention.server_updates_hours")],
    "HLT-005": [
        (
            {"features.tastes.fides_category": "user.biometric.health"},
            "features.tastes.sensitivity",
        ),
    ],
    "HLT-006": [({}, "release.min_k")],
    "MED-001": [
        ({"transparency.non_profiling_option": False}, "transparency.non_profiling_option"),
    ],
    "MED-002": [
        (
            {"features.tastes.fides_category": "user.behavior.media_consumption"},
            "features.tastes.sensitivity",
        ),
    ],
    "MED-003": [({"features.tastes.user_editable": False}, "features.tastes.user_editable")],
    "MED-004": [({"features.purchases.ttl_days": 366}, "features.purchases.ttl_days")],
}
CASES = [(rule, edits, path) for rule, tries in TRIED.items() for edits, path in tries]


def change(edits: dict[str, object]) -> PrivacyConfig:
    """Return the example after edits; a goal above the cohort is put in past the schema."""
    goal = edits.get("aggregation.report_goal")
    size = edits.get("dp.cohort_size")
    if isinstance(goal, int) and isinstance(size, int) and goal > size:
        config = edited({**edits, "aggregation.report_goal": size})
        aggregation = config.aggregation.model_copy(update={"report_goal": goal})
        return config.model_copy(update={"aggregation": aggregation})
    return edited(edits)


def profile_of(rule: str) -> tuple[str, ...]:
    source = by_id()[rule][0].source
    return () if source == "baseline" else (source,)


def check(config: PrivacyConfig, folder: Path | None = None, **more: Any) -> CheckResult:  # noqa: ANN401 - arguments
    return check_config(config, folder=folder, now=NOW, fast=True, **more)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the notice the example names, and other words in it."""
    made = tmp_path_factory.mktemp("config")
    (made / "notices").mkdir()
    (made / "notices" / "en-4.md").write_text("What we do, and what we do not.\n", "utf-8")
    return made


def test_ids_are_never_reused_or_lost() -> None:
    assert list(by_id()) == FROZEN.split()


def test_no_waiver_lifts_a_premise_or_a_legal_bar() -> None:
    assert all(not is_waivable(rule) for rule in STARRED.split())


def test_what_nothing_runs_without_is_lifted_by_no_waiver() -> None:
    broken = {
        one.rule for edits in (e for _, e, _ in CASES) for one in broken_premises(change(edits))
    }
    assert broken >= {"DP-001", "DP-009", "DP-013", "CON-013", "CON-014", "FEA-001"}
    assert all(not is_waivable(rule) for rule in broken)


def test_every_rule_is_tried() -> None:
    assert list(TRIED) == FROZEN.split()


@pytest.mark.parametrize(("rule", "edits", "path"), CASES)
def test_cr_42_each_weakening_edit_meets_its_rule(
    rule: str, edits: dict[str, object], path: str, folder: Path
) -> None:
    result = check(change(edits), folder, profiles=profile_of(rule))
    found = [one for one in result.findings if one.rule == rule and one.path == path]
    assert found, [(one.rule, one.path) for one in result.findings]
    for one in found:
        entries = by_id()[rule]
        assert one.message
        assert one.ref == entries[0].ref
        assert one.level in {entry.level for entry in entries}
        assert any(entry.covers(path) for entry in entries)
        assert one.exit_code == (12 if rule in ("AGG-003", "AGG-004") else 10)
    assert result.exit_code in ((0, 10, 12) if found[0].level == "warn" else (10, 12))


def test_the_example_keeps_every_rule_but_the_words_it_has_not_beside_it() -> None:
    result = check(edited({}))
    assert (result.failed, result.warned, result.exit_code) == (0, 0, 0)
    assert [one.rule for one in check(edited({}), EXAMPLE.parent / "nowhere").findings] == [
        "CON-022"
    ]


def test_at_its_limits_nothing_is_refused() -> None:
    limits: dict[str, object] = {
        "dp.epsilon_max": 4.0,
        "consent.expiry_days": 395,
        "consent.min_age": 13,
        "consent.grace_days": 30,
        "aggregation.report_goal": 100,
        "release.min_k": 20,
        "retention.server_updates_hours": 24,
        "activity.population": 100_000,  # 500 rounds of 1000 fill 5 rounds of each
        "transport.ip_log": "truncated",
        "approval.required": 2,
    }
    assert check(edited(limits)).findings == ()


def test_rules_that_warn_refuse_nothing() -> None:
    result = check(edited({"ledger.witness": "none", "features.tastes.allow": []}))
    assert (result.failed, result.warned, result.exit_code) == (0, 2, 0)


@pytest.mark.parametrize(
    ("delta", "level"),
    [(5.0e-6, "fail"), (4.99e-6, "warn"), (5.01e-7, "warn"), (5.0e-7, None), (4.9e-7, None)],
)
def test_cr_30_delta_is_held_against_one_in_n_and_one_in_ten_n(
    delta: float, level: str | None
) -> None:
    result = check(edited({"dp.delta": delta}))  # N = 200 000
    assert [one.level for one in result.findings if one.rule == "DP-004"] == (
        [level] if level else []
    )
    assert result.exit_code == (10 if level == "fail" else 0)


def test_cr_30_more_people_than_the_file_says_tighten_delta() -> None:
    config = edited({"dp.delta": 4e-7})
    assert check(config, enrolled=200_000).exit_code == 0
    assert [one.rule for one in check(config, enrolled=3_000_000).findings] == ["DP-004"]
    assert check(config, enrolled=3_000_000).planned is None


def test_fewer_people_than_the_file_says_cannot_fill_the_rounds() -> None:
    result = check(edited({}), enrolled=90_000)
    assert [(one.rule, one.exit_code) for one in result.findings] == [("AGG-004", 12)]
    assert result.exit_code == 12


def test_cr_31_too_little_noise_is_found_by_computing() -> None:
    result = check(edited({"dp.noise_multiplier": 8.0}))
    assert result.exit_code == 0
    result = check(edited({"dp.noise_multiplier": 7.0}))
    assert [one.rule for one in result.findings] == ["DP-008"]
    assert result.planned is not None
    assert result.planned.epsilon > 2.5
    assert "above dp.epsilon_max = 2.5" in result.findings[0].message


def test_a_cohort_nobody_can_fill_has_no_figure() -> None:
    result = check(edited(dict(SAMPLED)), enrolled=900)
    assert (result.planned, result.withheld) == (None, ("AGG-004",))
    assert result.exit_code == 12
    with pytest.raises(ValueError, match="enrolled must be at least 1"):
        check(edited({}), enrolled=0)


def test_a_run_without_rounds_is_held_to_no_rule_of_rounds() -> None:
    sums = {"recipe": "statistics", "popularity_multiplier": 50.0, "gram_multiplier": 40.0}
    config = edited(
        {
            "statistics": sums,
            "dp.noise_multiplier": GONE,
            "dp.blt": GONE,
            "metrics": {},
            "aggregation.report_goal": GONE,
        }
    )
    result = check(config, enrolled=900)
    assert (result.exit_code, result.findings) == (0, ())


def test_secret_cohorts_have_no_goal_to_be_too_small() -> None:
    assert check(edited({**SAMPLED, "dp.epsilon_max": 4.0})).findings[0].rule == "DP-008"
    assert all(one.rule != "AGG-002" for one in check(edited(dict(SAMPLED))).findings)


def test_special_data_on_an_explicit_yes_is_no_matter_for_the_gdpr_profile() -> None:
    edits = {**_SPECIAL, "features.tastes.risk_ref": "R-4", "features.tastes.allow": ["recommend"]}
    assert check(edited(edits), profiles=("gdpr",)).findings == ()


def test_a_rule_has_an_id_of_one_form() -> None:
    with pytest.raises(ValueError, match="looks like DP-005"):
        Rule(id="dp5", paths=(), fails_on="", ref="", judge=lambda _: ())


def test_a_fast_check_refuses_what_it_cannot_judge() -> None:
    config = edited(dict(SAMPLED))
    (found,) = check(config).findings  # fast
    assert found.rule == "DP-008"
    assert found.message.startswith("is not judged by --fast")
    exact = check_config(config, now=NOW)
    assert (exact.exit_code, exact.findings) == (0, ())


def test_10_comes_before_12() -> None:
    result = check(edited({"activity.population": 99_999, "consent.min_age": 12}))
    assert {one.exit_code for one in result.findings if one.refuses} == {10, 12}
    assert result.exit_code == 10


def test_findings_come_in_the_order_of_the_file() -> None:
    result = check(
        edited({"approval.required": 1, "dp.unit": "record", "purposes.metrics.default": "on"})
    )
    assert [one.rule for one in result.findings] == ["CON-010", "DP-003", "APP-001"]


def test_every_phrase_of_a_title_is_found() -> None:
    config = edited({"activity.name": "Anonymous, zero risk"})
    assert [one.path for one in check(config).findings] == ["activity.name"] * 2


def test_words_in_a_notice_are_read(tmp_path: Path) -> None:
    (tmp_path / "notices").mkdir()
    (tmp_path / "notices" / "en-4.md").write_text("You stay anonymous.", "utf-8")
    found = {(one.rule, one.path) for one in check(edited({}), tmp_path).findings}
    assert ("TXT-001", "consent.notices.en.file") in found


def test_a_profile_only_adds() -> None:
    for name in ("retail", "gdpr", "ccpa", "health", "media"):
        assert set(in_force([name])) >= set(in_force())
    with pytest.raises(ValueError, match="a profile is one of"):
        check(edited({}), profiles=("law",))


def test_s54_health_and_media_refuse_what_retail_accepts() -> None:
    config = edited({"features.tastes.fides_category": "user.behavior.media_consumption"})
    assert check(config, profiles=("retail",)).exit_code == 0
    health = check(config, profiles=("health",))
    assert health.exit_code == 10
    assert {one.rule for one in health.findings} == {"HLT-001", "HLT-002", "HLT-003", "HLT-006"}
    media = check(config, profiles=("media",))
    assert (media.exit_code, [one.rule for one in media.findings]) == (10, ["MED-002"])


def test_docs_list_every_rule_with_what_it_refuses_and_rests_on() -> None:
    rows = re.findall(
        r"(?m)^\| (`[A-Z]+-\d{3}`\*?) \| (fail|warn|fail, warn) \| (.*?) \| (.*?) \|$",
        _PAGE.read_text("utf-8"),
    )
    told = {
        f"`{rule}`" + ("" if is_waivable(rule) else "*"): (
            ", ".join(entry.level for entry in entries),
            "; ".join(entry.fails_on for entry in entries),
            entries[0].ref,
        )
        for rule, entries in by_id().items()
    }
    assert {row[0]: row[1:] for row in rows} == told
    assert len(rows) == len(told)


def test_every_rule_says_what_it_rests_on() -> None:
    assert all(rule.ref and rule.fails_on and rule.paths for rule in EVERY)
