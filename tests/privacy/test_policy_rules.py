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
from .rule_edits import CASES, FROZEN, SPECIAL, STARRED, TRIED

NOW = 1_800_000_000
_PAGE = Path(__file__).parents[2] / "docs" / "policy.md"


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
    edits = {**SPECIAL, "features.tastes.risk_ref": "R-4", "features.tastes.allow": ["recommend"]}
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
