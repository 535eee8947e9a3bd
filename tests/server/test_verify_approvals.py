"""Verify of what reviewers signed: approvals, policy and waivers, against what the ledger names."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from homebody_privacy.approval.dsse import Envelope
from homebody_privacy.approval.reviewers import ReviewerKeys
from homebody_privacy.approval.statement import Approval, Waiver, sign
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.policy.policy_file import PolicyRules
from homebody_privacy.signing import SigningKey
from homebody_server.evidence.facts import POLICY_FILE, RunFacts
from homebody_server.evidence.independent_lines import RawLedger
from homebody_server.evidence.verify_approvals import check_approvals

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "compliance" / "example.toml"
NOW, DAY = 1_800_000_000, 86_400
APP, OTHER = "ab" * 32, "cd" * 32
DPO, SECURITY = "dpo@example.org", "security@example.org"
SIGNERS = {DPO: SigningKey(bytes([1]) * 32), SECURITY: SigningKey(bytes([2]) * 32)}
KEYS = ReviewerKeys({name: key.public for name, key in SIGNERS.items()}, {})
POLICY = """\
schema = "policy/1"
name = "firm"
[[rule]]
id = "DP-002"
path = "dp.epsilon_max"
op = "<="
value = 3.0
why = "less"
"""

Entry = dict[str, Any]


@pytest.fixture(scope="module")
def config() -> PrivacyConfig:
    return PrivacyConfig.read(EXAMPLE)


def approval(config: PrivacyConfig, by: str, **changes: Any) -> Envelope:  # noqa: ANN401
    told: dict[str, Any] = {
        "config": config.digest(),
        "app": APP,
        "by": by,
        "revision": config.revision,
        "policy_version": config.activity.policy_version,
        "issued": NOW - DAY,
        "expires": NOW + 10 * DAY,
    }
    return sign(Approval(**{**told, **changes}), SIGNERS[by])


def waiver(config: PrivacyConfig, by: str) -> Envelope:
    said = Waiver(
        rule="AGG-002",
        path="aggregation.report_goal",
        reason="a pilot",
        config=config.digest(),
        by=by,
        issued=NOW - DAY,
        expires=NOW + DAY,
    )
    return sign(said, SIGNERS[by])


def entered(config: PrivacyConfig, *names: str, **changes: Any) -> Entry:  # noqa: ANN401
    keys = sorted(SIGNERS[name].key_id for name in names)
    told = {"kind": "config_approved", "config": config.digest(), "app": APP, "policy": None}
    return {**told, "keys": keys, **changes}


def lifted(config: PrivacyConfig) -> Entry:
    told = {"kind": "waiver", "rule": "AGG-002", "path": "aggregation.report_goal"}
    return {**told, "config": config.digest(), "keys": []}


def facts_of(
    config: PrivacyConfig,
    envelopes: Sequence[Envelope],
    *entries: Entry,
    folder: Path = Path(),
    policy: str | None = None,
) -> RunFacts:
    header = {"kind": "header", "config": config.digest()}
    lines = [header, *entries, {"kind": "intent", "round": 1, "charge": None}]
    return RunFacts(
        folder=folder,
        content={} if policy is None else {POLICY_FILE: policy.encode()},
        ledger=RawLedger(lines, [b""] * len(lines)),
        config=config,
        run=None,
        report=None,
        audit=None,
        envelopes=tuple(envelopes),
        damage=(),
    )


def said(facts: RunFacts, at: int | None = NOW, now: int = NOW) -> dict[str, tuple[str, int]]:
    return {one.text: (one.mark, one.code) for one in check_approvals(facts, KEYS, now, at)}


def wrong(found: dict[str, tuple[str, int]]) -> list[str]:
    return [text for text, (mark, _) in found.items() if mark == "WRONG"]


def both(config: PrivacyConfig) -> list[Envelope]:
    return [approval(config, DPO), approval(config, SECURITY)]


def test_cr_37_two_of_two_are_enough(config: PrivacyConfig) -> None:
    found = said(facts_of(config, both(config), entered(config, DPO, SECURITY)))
    assert wrong(found) == []
    assert f"2 approvals cover config {config.digest()[:12]} and app abababababab" in found


def test_cr_37_one_of_two_is_exit_10(config: PrivacyConfig) -> None:
    found = said(facts_of(config, both(config)[:1], entered(config, DPO)))
    ((text, (_, code)),) = [one for one in found.items() if one[1][0] == "WRONG"]
    assert code == 10
    assert text.startswith("1 of 2 approvals cover config")


def test_an_approval_of_the_day_of_the_run_may_have_expired_since(config: PrivacyConfig) -> None:
    facts = facts_of(config, both(config), entered(config, DPO, SECURITY))
    later = NOW + 100 * DAY
    assert wrong(said(facts, at=NOW, now=later)) == []
    assert "the approvals expired since: another run needs new ones" in said(facts, NOW, later)
    (text,) = wrong(said(facts, at=None, now=later))
    assert "expired 90 days ago" in text


def test_the_ledger_names_who_signed_and_nobody_else(config: PrivacyConfig) -> None:
    why = "the ledger names other approvers than those who signed"
    fewer = facts_of(config, both(config), entered(config, DPO))
    more = facts_of(config, both(config), entered(config, DPO, SECURITY, keys=["0" * 64]))
    assert why in wrong(said(fewer))
    assert why in wrong(said(more))


def test_who_signed_again_later_was_entered_again(config: PrivacyConfig) -> None:
    earlier = entered(config, DPO)
    facts = facts_of(config, both(config), earlier, entered(config, DPO, SECURITY))
    assert wrong(said(facts)) == []


def test_of_several_apps_the_approved_one_counts(config: PrivacyConfig) -> None:
    other = approval(config, DPO, app=OTHER)
    facts = facts_of(
        config,
        [*both(config), other],
        entered(config, DPO, app=OTHER),
        entered(config, DPO, SECURITY),
    )
    assert wrong(said(facts)) == []


def test_cr_37_an_app_that_ran_and_was_not_approved_is_exit_10(config: PrivacyConfig) -> None:
    good = facts_of(config, both(config), entered(config, DPO, SECURITY))
    assert wrong(said(replace(good, run={"app": APP, "policy": None}))) == []
    why = "approved for another app, abababababab, than ran, " + OTHER[:12]
    ran = replace(good, run={"app": OTHER, "policy": None})
    assert said(ran)[why] == ("WRONG", 10)
    nothing = facts_of(config, both(config))  # what was signed for another app is not entered
    for keys in (KEYS, None):
        facts = replace(nothing, run={"app": OTHER, "policy": None})
        found = {one.text: one.code for one in check_approvals(facts, keys, NOW, NOW)}
        assert found[why] == 10


def test_an_approval_of_another_config_is_caught(config: PrivacyConfig) -> None:
    facts = facts_of(config, both(config), {**entered(config, DPO, SECURITY), "config": OTHER})
    assert any("the ledger approves another config" in one for one in wrong(said(facts)))


def test_what_was_charged_before_anybody_approved_is_caught(config: PrivacyConfig) -> None:
    early = {"kind": "purchase", "name": "run", "charge": {}}
    facts = facts_of(config, both(config), early, entered(config, DPO, SECURITY))
    assert wrong(said(facts)) == ["entry 1 was charged before the config was approved"]


def test_an_envelope_that_is_no_statement_is_caught(config: PrivacyConfig) -> None:
    garbage = Envelope.sign("text/plain", b"{}", SIGNERS[DPO])
    found = said(facts_of(config, [*both(config), garbage], entered(config, DPO, SECURITY)))
    assert any("an approval is not what was signed" in one for one in wrong(found))


def test_cr_46_a_waiver_in_force_is_a_note(config: PrivacyConfig) -> None:
    envelopes = [*both(config), waiver(config, DPO), waiver(config, SECURITY)]
    ledger = (entered(config, DPO, SECURITY), lifted(config))
    found = said(facts_of(config, envelopes, *ledger))
    assert wrong(found) == []
    told = "AGG-002 was lifted at aggregation.report_goal by a signed waiver"
    assert found[told] == ("note", 0)
    unentered = said(facts_of(config, envelopes, ledger[0]))
    assert any("was signed and is not in the ledger" in one for one in unentered)


def test_cr_46_a_waiver_of_too_few_lifts_nothing(config: PrivacyConfig) -> None:
    envelopes = [*both(config), waiver(config, DPO)]
    found = said(facts_of(config, envelopes, entered(config, DPO, SECURITY), lifted(config)))
    assert wrong(found) == []
    assert any("has too few signatures: it lifts nothing" in one for one in found)


def test_cr_46_a_waiver_nobody_signed_is_caught(config: PrivacyConfig) -> None:
    found = said(facts_of(config, both(config), entered(config, DPO, SECURITY), lifted(config)))
    assert wrong(found) == ["the ledger names a waiver of AGG-002 that nobody who may signed"]


def test_cr_29_the_policy_is_the_one_that_was_approved(
    config: PrivacyConfig, tmp_path: Path
) -> None:
    path = tmp_path / POLICY_FILE
    path.write_text(POLICY, "utf-8")
    digest = PolicyRules.load(path).digest()
    envelopes = [approval(config, by, policy=digest) for by in SIGNERS]
    entry = entered(config, DPO, SECURITY, policy=digest)
    good = facts_of(config, envelopes, entry, folder=tmp_path, policy=POLICY)
    assert wrong(said(good)) == []
    assert f"policy {digest[:12]} is the one that was approved" in said(good)
    missing = facts_of(config, envelopes, entry, folder=tmp_path)
    assert wrong(said(missing)) == ["the run was approved by a policy, and policy.toml is missing"]
    path.write_text(POLICY.replace("3.0", "3.9"), "utf-8")
    assert wrong(said(good)) == ["policy.toml is not the policy that was approved"]
    path.write_text("schema", "utf-8")
    assert wrong(said(good)) == ["policy.toml is not what was approved: it breaks its schema"]


def test_without_keys_nothing_is_compared(config: PrivacyConfig) -> None:
    facts = facts_of(config, both(config), entered(config, DPO, SECURITY))
    ((line),) = check_approvals(facts, None, NOW, NOW)
    assert line.mark == "note"
