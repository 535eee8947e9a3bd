"""``policy.toml``: strict, only ever stricter, and nothing misspelt that looks like a rule kept."""

from pathlib import Path
from typing import Any

import pytest

from homebody_privacy.errors import InvalidFileError
from homebody_privacy.policy.check import check_config
from homebody_privacy.policy.expressions import judged
from homebody_privacy.policy.findings import CheckResult
from homebody_privacy.policy.policy_file import PolicyRules
from homebody_privacy.policy.values import OPS, Op, holds, values_of

from .config_edits import edited

HEAD = 'schema = "policy/1"\nname = "Firm"\n'
CAP = {"id": "DP-002", "path": "dp.epsilon_max", "op": "<=", "value": 3.0, "why": "a cap"}
OWN = {"id": "X-101", "path": "release.min_k", "op": ">=", "value": 20, "why": "many people"}


def rules(*each: dict[str, Any]) -> PolicyRules:
    return PolicyRules.model_validate({"schema": "policy/1", "name": "Firm", "rule": list(each)})


def check(policy: PolicyRules | None, edits: dict[str, object] | None = None) -> CheckResult:
    return check_config(edited(edits or {}), policy=policy, now=0)


def load(folder: Path, text: str) -> PolicyRules:
    file = folder / "policy.toml"
    file.write_text(text, "utf-8")
    return PolicyRules.load(file)


def test_the_documented_policy_is_read(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "policy.md").read_text("utf-8")
    text = page.split("```toml\n")[1].split("```")[0]
    policy = load(tmp_path, text)
    assert [rule.id for rule in policy.rule] == ["DP-002", "X-101", "X-102"]
    assert check(policy).exit_code == 0
    found = check(policy, {"dp.epsilon_max": 3.5, "activity.recipients": ["Example Ltd"]}).findings
    assert [(one.rule, one.source) for one in found] == [
        ("DP-002", "Example Grocer baseline 3"),
        ("X-102", "Example Grocer baseline 3"),
    ]
    assert found[0].message == "is 3.5, policy wants <= 3.0 - privacy loss per person is capped"
    assert found[1].path == "privacy.toml"


def test_cr_29_no_policy_file_is_the_baseline() -> None:
    edits: dict[str, object] = {"dp.epsilon_max": 9.0, "aggregation.secagg": False}
    empty = PolicyRules.model_validate({"schema": "policy/1", "name": "Firm"})
    assert check(None, edits).findings == check(empty, edits).findings
    assert [one.rule for one in check(None, edits).findings] == ["DP-002", "AGG-001"]


@pytest.mark.parametrize(
    ("rule", "edits"),
    [
        ({**CAP, "value": 100.0}, {"dp.epsilon_max": 9.0}),
        ({**CAP, "op": ">", "value": 0.0}, {"dp.epsilon_max": 9.0}),
        (
            {
                "id": "AGG-001",
                "path": "aggregation.secagg",
                "op": "==",
                "value": False,
                "why": "off",
            },
            {"aggregation.secagg": False},
        ),
        (
            {"id": "DP-003", "path": "dp.unit", "op": "==", "value": "record", "why": "other"},
            {"dp.unit": "record"},
        ),
    ],
)
def test_cr_29_a_policy_cannot_lower_what_the_baseline_refuses(
    rule: dict[str, Any], edits: dict[str, object]
) -> None:
    before, after = check(None, edits), check(rules(rule), edits)
    assert {(one.rule, one.path) for one in after.findings} >= {
        (one.rule, one.path) for one in before.findings
    }
    assert after.exit_code == before.exit_code == 10
    assert after.failed >= before.failed


def test_cr_29_a_stricter_rule_refuses_what_the_baseline_lets_pass() -> None:
    policy = rules({**CAP, "value": 1.0})
    assert check(None).exit_code == 0
    result = check(policy)
    assert (result.exit_code, [one.message for one in result.findings]) == (
        10,
        ["is 2.5, policy wants <= 1.0 - a cap"],
    )


def test_where_both_refuse_the_stricter_words_stand_once() -> None:
    for value, wanted in ((3.0, "<= 3.0"), (8.0, "<= 4.0")):
        found = check(rules({**CAP, "value": value}), {"dp.epsilon_max": 9.0}).findings
        assert [wanted in one.message for one in found] == [True]


@pytest.mark.parametrize(
    ("rule", "path", "op", "value", "wrong"),
    [
        ("REL-001", "release.min_k", ">=", 30, 10),
        ("CON-003", "consent.honour_gpc", "==", True, False),
        ("TLS-001", "transport.tls_min", "in", ["1.3"], "1.2"),
    ],
)
def test_every_kind_of_bound_that_both_refuse_is_told_once(
    rule: str, path: str, op: str, value: object, wrong: object
) -> None:
    policy = rules({"id": rule, "path": path, "op": op, "value": value, "why": "so"})
    found = check(policy, {path: wrong}).findings
    assert [one.source for one in found if one.rule == rule] == ["Firm"]


def test_text_has_no_order() -> None:
    with pytest.raises(TypeError, match="only numbers have an order"):
        holds("b", ">", "a")


def test_a_firms_failure_takes_the_place_of_a_warning() -> None:
    policy = rules({"id": "DP-004", "path": "dp.delta", "op": "<", "value": 1e-7, "why": "less"})
    found = check(policy, {"dp.delta": 1e-6}).findings
    assert [(one.rule, one.level, one.source) for one in found] == [("DP-004", "fail", "Firm")]


def test_two_bounds_of_one_field_are_both_kept() -> None:
    policy = rules(
        {**OWN, "id": "X-101", "value": 60},
        {**OWN, "id": "X-102", "op": "!=", "value": 50},
    )
    assert [one.rule for one in check(policy).findings] == ["X-101", "X-102"]


def test_a_star_is_every_name_of_a_table() -> None:
    policy = rules(
        {"id": "X-101", "path": "features.*.ttl_days", "op": "<", "value": 100, "why": "short"},
        {
            "id": "X-102",
            "path": "metrics.*.noise_multiplier",
            "op": ">",
            "value": 1,
            "why": "noise",
        },
    )
    assert [one.path for one in check(policy).findings] == [
        "features.purchases.ttl_days",
        "features.tastes.ttl_days",
    ]
    assert [one.rule for one in check(policy, {"metrics": {}}).findings] == ["X-101", "X-101"]


@pytest.mark.parametrize(
    ("path", "op", "value", "said"),
    [
        ("release.min_kk", ">=", 20, "is missing"),
        ("relaese.*.min_k", ">=", 20, "is missing"),
        ("dp.statistics.gram_multiplier", ">=", 20, "is missing"),
        ("release.min_k.more", ">=", 20, "is missing"),
        ("release.min_k", "==", "50", "cannot be judged, a number is no text"),
        ("aggregation.secagg", "==", 1, "cannot be judged, a truth value is no number"),
        ("transport.tls_min", ">=", 1, "cannot be judged, a text is no number"),
        ("transport.tls_min", "not_in", [1, 2], "cannot be judged"),
        ("release.min_k", "contains", 5, "cannot be judged, it is no list"),
        ("release", "==", "x", "cannot be judged, a table is no text"),
        ("transport.tls_min", ">=", 1, "cannot be judged"),
        ("release.min_k", "subset_of", ["a"], "cannot be judged, both must be lists"),
    ],
)
def test_what_cannot_be_judged_is_a_failure(path: str, op: str, value: object, said: str) -> None:
    policy = rules({"id": "X-101", "path": path, "op": op, "value": value, "why": "so"})
    (found,) = check(policy).findings
    assert (found.rule, found.level, found.path) == ("X-101", "fail", path)
    assert said in found.message


@pytest.mark.parametrize(
    ("actual", "op", "wanted", "fine"),
    [
        (2, "==", 2.0, True),
        (2, "!=", 2.0, False),
        ("a", "==", "a", True),
        (["a"], "==", ["a"], True),
        (True, "!=", False, True),
        (1.0, "<", 1, False),
        (1.0, "<=", 1, True),
        (2, ">", 1, True),
        (2, ">=", 3, False),
        ("a", "in", ["a", "b"], True),
        ("a", "not_in", ["a", "b"], False),
        (["a"], "contains", "b", False),
        (["a"], "not_contains", "b", True),
        ("abc", "contains", "b", True),
        (["a"], "subset_of", ["a", "b"], True),
        (["a", "c"], "subset_of", ["a", "b"], False),
        ([], "subset_of", [], True),
    ],
)
def test_each_operation_does_what_its_name_says(
    actual: object,
    op: Op,
    wanted: object,
    fine: bool,  # noqa: FBT001 - a column of the table
) -> None:
    assert op in OPS
    assert holds(actual, op, wanted) is fine


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "schema"),
        ('schema = "policy/2"\nname = "x"', "schema"),
        (HEAD + "rules = []", "rules: Extra inputs"),
        (HEAD + 'name = "again"', "not TOML"),
        (HEAD + "[[rule]]\nid = 'X-101'\nwhy = 'w'", "path, op and value, or expr"),
        (HEAD + "[[rule]]\nid = 'X-101'\npath = 'a.b'\nop = '<='\nwhy = 'w'", "path, op and value"),
        (
            HEAD + "[[rule]]\nid = 'X-101'\npath = 'a.b'\nop = '=<'\nvalue = 1\nwhy = 'w'",
            "rule.0.op",
        ),
        (
            HEAD + "[[rule]]\nid = 'X-101'\npath = 'a.b'\nop = '<='\nvalue = nan\nwhy = 'w'",
            "finite",
        ),
        (
            HEAD + "[[rule]]\nid = 'X-101'\npath = 'a.b'\nop = '<='\nvalue = '3'\nwhy = 'w'",
            "value of <= must be a number",
        ),
        (
            HEAD + "[[rule]]\nid = 'X-101'\npath = 'a.b'\nop = '<='\nvalue = true\nwhy = 'w'",
            "value of <= must be a number",
        ),
        (
            HEAD + "[[rule]]\nid = 'X-101'\npath = 'a.b'\nop = 'in'\nvalue = 3\nwhy = 'w'",
            "value of in must be a list",
        ),
        (
            HEAD + "[[rule]]\nid = 'X-101'\npath = 'a.b'\nop = 'contains'\nvalue = [3]\nwhy = 'w'",
            "must be one value",
        ),
        (
            HEAD + "[[rule]]\nid = 'X-101'\npath = 'a.b'\nop = '<='\nvalue = 1",
            "rule.0.why: Field required",
        ),
        (
            HEAD + "[[rule]]\nid = 'X-101'\nexpr = 'true'\nop = '<='\nwhy = 'w'",
            "expr stands alone",
        ),
        (HEAD + "[[rule]]\nid = 'DP-002'\nexpr = 'true'\nwhy = 'w'", "expr needs an id"),
        (
            HEAD + "[[rule]]\nid = 'DP-099'\npath = 'a.b'\nop = '<='\nvalue = 1\nwhy = 'w'",
            "DP-099 is no rule",
        ),
        (
            HEAD + "[[rule]]\nid = 'X-201'\npath = 'a.b'\nop = '<='\nvalue = 1\nwhy = 'w'",
            "X-201 is no rule",
        ),
        (
            HEAD + "[[rule]]\nid = 'DP-002'\npath = 'dp.delta'\nop = '<='\nvalue = 1\nwhy = 'w'",
            "DP-002 is about dp.epsilon_max, not dp.delta",
        ),
        (HEAD + "[[rule]]\nid = 'X-101'\nexpr = 'true'\nwhy = 'w'\n" * 2, "there twice"),
        (
            HEAD + "[[rule]]\nid = 'X-101'\nlevel = 'warn'\nexpr = 'true'\nwhy = 'w'",
            "rule.0.level: Extra inputs",
        ),
    ],
)
def test_a_file_that_breaks_its_schema_is_named_by_its_field(
    text: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidFileError) as refused:
        load(tmp_path, text)
    assert said in str(refused.value)
    assert refused.value.exit_code == 2


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidFileError, match=r"missing\.toml: cannot be read"):
        PolicyRules.load(tmp_path / "missing.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidFileError, match="is not UTF-8"):
        PolicyRules.load(tmp_path / "bytes.toml")


def test_the_digest_is_of_what_the_rules_say() -> None:
    assert rules(CAP).digest() == rules(dict(reversed(CAP.items()))).digest()
    assert rules(CAP).digest() != rules({**CAP, "value": 2.0}).digest()
    assert rules(CAP, OWN).digest() != rules(OWN, CAP).digest()
    assert check(rules(CAP)).policy_sha256 == rules(CAP).digest()


cel = pytest.importorskip("cel", reason="the extra review")


@pytest.mark.parametrize(
    "expression",
    [
        "dp.epsilon_max <= 3",
        "size(activity.recipients) == 0 || release.min_k >= 100",
        "!has(dp.record) || !dp.record.enabled || dp.record.noise_multiplier >= 1.0",
        'purposes.all(p, purposes[p].legal_basis == "consent")',
        'features.all(f, features[f].sensitivity == "ordinary" || features[f].ttl_days <= 365)',
        'activity.jurisdictions.exists(j, j == "US-CA")',
        "'dp.nothing' != activity.name",
        "!has(statistics.recipe)",
    ],
)
def test_an_expression_that_is_true_holds(expression: str) -> None:
    values = values_of(edited({}))
    if expression.startswith("!has(statistics"):
        values["statistics"] = {}
    assert judged(expression, values) is None


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("dp.epsilon_max <= 2", "does not hold"),
        ("dp.epsilon_max", "is no condition"),
        ('"yes"', "is no condition"),
        ("1", "is no condition"),
        ("null", "is no condition"),
        ("dp.epsilon_maxx <= 3.0", "names dp.epsilon_maxx"),
        ("true || dp.epsilon_maxx <= 3.0", "names dp.epsilon_maxx"),
        ("dp.rounds / 0 == 1", "cannot be judged"),
        ("dp.rounds + 1.5 > 2.0", "cannot be judged"),
        ("nothing.at_all == 1", "cannot be judged"),
        ('dp.epsilon_max <= "3"', "cannot be judged"),
        ("(((", "cannot be judged"),
        ("dp.rounds + 9223372036854775807 > 0", "cannot be judged"),
    ],
)
def test_whatever_is_not_plainly_true_is_a_failure(expression: str, said: str) -> None:
    policy = rules({"id": "X-101", "expr": expression, "why": "the firm says so"})
    (found,) = check(policy).findings
    assert (found.rule, found.level, found.path) == ("X-101", "fail", "privacy.toml")
    assert said in found.message
    assert found.message.endswith("- the firm says so")
