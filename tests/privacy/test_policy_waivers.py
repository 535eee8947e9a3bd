"""A waiver lifts one rule at one field of one config, for a time; a premise is lifted by nobody."""

import json
from pathlib import Path
from typing import Any

import pytest

from homebody.cli import run
from homebody_privacy.approval.app_digest import installed_app
from homebody_privacy.approval.approvals_file import write_approvals
from homebody_privacy.approval.dsse import Envelope
from homebody_privacy.approval.statement import Waiver, sign
from homebody_privacy.policy.check import check_config
from homebody_privacy.policy.findings import CheckResult
from homebody_privacy.policy.policy_file import PolicyRules
from homebody_privacy.policy.wording import as_text
from homebody_privacy.variants import to_toml

from .config_edits import edited
from .review_world import DAY, DPO, KEYS, NOW, SECURITY, STRANGER, approval, keys_text, waiver

SMALL: dict[str, object] = {"aggregation.report_goal": 50}
CONFIG = edited(SMALL)


def signed(by: str = DPO, **changes: Any) -> Waiver:  # noqa: ANN401 - fields of a statement
    return waiver(by, **{"config": CONFIG.digest(), **changes})


def check(*waivers: Waiver, now: int = NOW, proposed: tuple[Waiver, ...] = ()) -> CheckResult:
    return check_config(CONFIG, waivers=waivers, proposed=proposed, now=now)


def test_cr_46_a_waiver_lifts_its_rule_and_stays_listed() -> None:
    assert check().exit_code == 10
    result = check(signed())
    assert (result.exit_code, result.failed, result.waived) == (0, 0, 1)
    (found,) = result.findings
    assert (found.rule, found.waived, found.note) == ("AGG-002", True, "waived, for 7 more days")
    text = as_text(result, CONFIG, "privacy.toml")
    assert "  waived AGG-002  aggregation.report_goal\n" in text
    assert text.endswith("0 failed, 0 warned, 1 waived\n")


@pytest.mark.parametrize(("after", "days"), [(7 * DAY, 0), (9 * DAY + 1, 2)])
def test_cr_46_an_expired_waiver_is_a_failure(after: int, days: int) -> None:
    result = check(signed(), now=NOW + after)
    (found,) = result.findings
    assert (result.exit_code, found.waived) == (10, False)
    assert found.note == f"its waiver expired {days} days ago"


def test_the_longest_waiver_counts() -> None:
    both = check(signed(), signed(expires=NOW + 20 * DAY), now=NOW + 8 * DAY)
    assert both.findings[0].note == "waived, for 12 more days"


def test_a_waiver_is_for_one_config_one_rule_and_one_field() -> None:
    for changes, note in (
        ({"config": edited({}).digest()}, "its waiver is for another config"),
        ({"rule": "AGG-004"}, ""),
        ({"path": "dp.rounds"}, ""),
    ):
        (found,) = check(signed(**changes)).findings
        assert (found.waived, found.note) == (False, note)


def test_a_proposed_waiver_lifts_nothing_and_is_told_of() -> None:
    (found,) = check(proposed=(signed(),)).findings
    assert not found.waived
    assert "too few people" in found.note


@pytest.mark.parametrize(
    ("edits", "rule", "path"),
    [
        ({"dp.unit": "record"}, "DP-003", "dp.unit"),
        ({"dp.delta": 1e-5}, "DP-004", "dp.delta"),
        ({"purposes.metrics.default": "on"}, "CON-010", "purposes.metrics.default"),
        ({"dp.noise_by": "devices"}, "DP-009", "dp.noise_by"),
    ],
)
def test_no_waiver_lifts_a_premise_or_a_legal_bar(
    edits: dict[str, object], rule: str, path: str
) -> None:
    config = edited(edits)
    wanted = waiver(DPO, rule=rule, path=path, config=config.digest())
    result = check_config(config, waivers=(wanted,), now=NOW)
    (found,) = result.findings
    assert (found.waived, found.note) == (False, "no waiver lifts this rule")
    assert result.exit_code == 10


def test_a_firms_expression_may_be_lifted_like_another_rule() -> None:
    pytest.importorskip("cel", reason="the extra review")
    own = {"id": "X-101", "expr": "release.min_k >= 100", "why": "many people"}
    policy = PolicyRules.model_validate({"schema": "policy/1", "name": "Firm", "rule": [own]})
    config = edited({})
    lifted = waiver(DPO, rule="X-101", path="privacy.toml", config=config.digest())
    assert check_config(config, policy=policy, now=NOW).exit_code == 10
    assert check_config(config, policy=policy, waivers=(lifted,), now=NOW).exit_code == 0


def test_a_warning_needs_no_waiver() -> None:
    config = edited({"ledger.witness": "none"})
    wanted = waiver(DPO, rule="LED-002", path="ledger.witness", config=config.digest())
    (found,) = check_config(config, waivers=(wanted,), now=NOW).findings
    assert (found.level, found.waived) == ("warn", False)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with the config and the reviewers' keys, at the time of signing."""
    config = edited({**SMALL, "consent.notices": {}})
    (tmp_path / "privacy.toml").write_text(to_toml(config), "utf-8")
    (tmp_path / "keys.toml").write_text(keys_text(), "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("time.time", lambda: float(NOW))
    return tmp_path


def envelopes(*by: str, key: str | None = None, **changes: Any) -> list[Envelope]:  # noqa: ANN401
    digest = edited({**SMALL, "consent.notices": {}}).digest()
    return [sign(waiver(one, **{"config": digest, **changes}), KEYS[key or one]) for one in by]


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, object]]:
    code = run(["check", "privacy.toml", "--format", "json", *words])
    out = capsys.readouterr().out
    return code, json.loads(out) if out else {}


WAIVED = ("--waivers", "privacy.approvals.json")
COUNTED = (*WAIVED, "--reviewers", "keys.toml")


def test_cr_46_signatures_of_two_lift_a_rule(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(capsys)[0] == 10
    write_approvals(folder / "privacy.approvals.json", envelopes(DPO, SECURITY))
    code, told = said(capsys, *COUNTED)
    assert (code, told["waived"]) == (0, 1)
    assert said(capsys, *WAIVED)[0] == 10  # nobody checked the signatures


def test_a_waiver_and_an_approval_that_names_it_are_two(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = edited({**SMALL, "consent.notices": {}})
    own = waiver(DPO, config=config.digest())
    named = approval(SECURITY, of=config, app=installed_app(), waivers=(own.digest,))
    write_approvals(folder / "privacy.approvals.json", [sign(own, KEYS[DPO]), named])
    assert said(capsys, *COUNTED)[0] == 0


def test_one_signature_or_a_strangers_is_too_few(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for by in ((DPO,), (DPO, STRANGER)):
        write_approvals(folder / "privacy.approvals.json", envelopes(*by))
        code, told = said(capsys, *COUNTED)
        assert code == 10
        assert "too few people" in json.dumps(told)


def test_cr_46_an_expired_waiver_in_the_file_is_a_failure(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    late = envelopes(DPO, SECURITY, issued=NOW - 9 * DAY, expires=NOW - 2 * DAY)
    write_approvals(folder / "privacy.approvals.json", late)
    code, told = said(capsys, *COUNTED)
    assert code == 10
    assert "its waiver expired 2 days ago" in json.dumps(told)


def test_a_forged_signature_ends_with_14(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_approvals(folder / "privacy.approvals.json", envelopes(DPO, SECURITY, key=STRANGER))
    assert said(capsys, *COUNTED)[0] == 14


def test_options_that_cannot_be_meant_end_with_2(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(capsys, "--reviewers", "keys.toml")[0] == 2
    assert said(capsys, "--waivers", "nowhere.json", "--reviewers", "keys.toml")[0] == 2
    assert folder.exists()
