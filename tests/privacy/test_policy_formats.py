"""A check in its four forms: the words of the design, JSON, SARIF with lines, JUnit."""

import json
import math
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import jsonschema  # type: ignore[import-untyped]
import pytest

from homebody_privacy.config import PrivacyConfig
from homebody_privacy.policy.check import check_config
from homebody_privacy.policy.findings import CheckResult
from homebody_privacy.policy.formats import to_json, to_junit
from homebody_privacy.policy.lines import line_numbers, line_of
from homebody_privacy.policy.policy_file import PolicyRules
from homebody_privacy.policy.registry import by_id
from homebody_privacy.policy.sarif import to_sarif
from homebody_privacy.policy.wording import as_text, lines, planned_lines

from .config_edits import EXAMPLE, SAMPLED, edited
from .sarif_shape import SARIF

PROPOSED: dict[str, object] = {
    "purposes.recommend.default": "on",
    "dp.epsilon_max": 8.0,
    "dp.delta": 1e-5,
    "dp.mechanism": "none",
    "dp.record.enabled": True,
    "aggregation.secagg": False,
}
POLICY = PolicyRules.model_validate(
    {
        "schema": "policy/1",
        "name": "Example Grocer baseline 3",
        "rule": [
            {
                "id": "DP-002",
                "path": "dp.epsilon_max",
                "op": "<=",
                "value": 3.0,
                "why": "privacy loss per person is capped",
                "ref": "NIST SP 800-226",
            }
        ],
    }
)
WORDS = """\
proposed.toml  sha256:4068faaa3eb7eb12  baseline 1 + "Example Grocer baseline 3"
  FAIL CON-010  purposes.recommend.default
       a purpose may not start switched on  [GDPR Art. 4(11), 25(2); CJEU C-673/17]
  FAIL DP-002   dp.epsilon_max
       is 8.0, policy wants <= 3.0 - privacy loss per person is capped  [NIST SP 800-226]
  FAIL DP-004   dp.delta
       1e-05 is not below 1/N = 5e-06: one person could lose everything  [NIST SP 800-226]
  FAIL DP-005   dp.mechanism
       record-level DP on the device protects one row, not one user  [NIST SP 800-226]
  FAIL AGG-001  aggregation.secagg
       is false, policy wants == true - the server may not see one person's update  \
[GDPR Art. 25, 32]
  planned privacy loss: not printed, DP-004, DP-005 failed
5 failed, 0 warned
"""


@pytest.fixture(scope="module")
def proposed() -> tuple[PrivacyConfig, CheckResult]:
    """Return the design's config that fails, and its check."""
    config = edited(PROPOSED)
    return config, check_config(config, policy=POLICY, now=0)


def test_the_words_are_those_of_the_design(proposed: tuple[PrivacyConfig, CheckResult]) -> None:
    config, result = proposed
    assert as_text(result, config, "proposed.toml") == WORDS


def test_colours_say_nothing_that_words_do_not(proposed: tuple[PrivacyConfig, CheckResult]) -> None:
    config, result = proposed
    plain = ["".join(span.text for span in line) for line in lines(result, config, "proposed.toml")]
    assert "\n".join(plain) + "\n" == WORDS


def test_what_a_run_costs_is_said_in_words() -> None:
    config = edited({})
    assert as_text(check_config(config, now=0), config, "privacy.toml") == (
        "privacy.toml  sha256:b9c4e58aa213bac7  baseline 1\n"
        "  planned privacy loss: epsilon 0.962 of 2.5 a run "
        "(delta 1e-07, per user, zero_out, lifetime)\n"
        "    best guess 73 in 100 after one run, 93 at the cap, after 5 runs (2.5 years)\n"
        "0 failed, 0 warned\n"
    )


def test_both_figures_of_secret_cohorts_are_said() -> None:
    config = edited({**SAMPLED, "dp.epsilon_max": 0.6})
    exact = check_config(config, now=0).planned
    assert exact is not None
    said = planned_lines(exact, config)
    assert said[1].startswith("  epsilon 119.8")
    assert said[1].endswith("toward whoever sees who takes part")
    fast = check_config(config, now=0, fast=True)
    assert fast.planned is not None
    assert "upper bound" in planned_lines(fast.planned, config)[1]
    own = edited({"dp.budget_scope": "run"})
    loss = check_config(own, now=0).planned
    assert loss is not None
    assert planned_lines(loss, own)[-1].endswith("each run has a budget of its own")


def test_labels_line_up_and_profiles_are_named() -> None:
    config = edited({"ledger.witness": "none"})
    result = check_config(config, now=0, profiles=("health",))
    text = as_text(result, config, "privacy.toml").splitlines()
    assert text[0].endswith("baseline 1 + health")
    assert "  warn LED-002  ledger.witness" in text
    assert text[-1] == "4 failed, 1 warned"


def test_json_says_everything_and_rounds_figures_up() -> None:
    config = edited({})
    told = to_json(check_config(config, policy=POLICY, now=0), "privacy.toml")
    assert json.loads(json.dumps(told)) == told
    planned = told["planned"]
    assert planned["epsilon"] == 0.961768
    assert (planned["unit"], planned["adjacency"]) == ("user", "zero_out")
    assert math.isclose(planned["mu"], 0.206047, rel_tol=1e-5)
    assert told["policy"] == {"name": "Example Grocer baseline 3", "sha256": POLICY.digest()}
    assert (told["failed"], told["warned"], told["waived"], told["exit_code"]) == (0, 0, 0, 0)


def test_json_of_a_failure_names_rule_field_and_reason(
    proposed: tuple[PrivacyConfig, CheckResult],
) -> None:
    told = to_json(proposed[1], "proposed.toml")
    assert told["planned"] is None
    assert told["withheld"] == ["DP-004", "DP-005"]
    assert told["findings"][0] == {
        "rule": "CON-010",
        "level": "fail",
        "path": "purposes.recommend.default",
        "message": "a purpose may not start switched on",
        "ref": "GDPR Art. 4(11), 25(2); CJEU C-673/17",
        "source": "baseline",
        "waived": False,
        "note": "",
    }


def log_of(result: CheckResult, file: str = "privacy.toml", text: str = "") -> dict[str, Any]:
    return to_sarif(result, file, line_numbers(text), "1.2.3")


def test_sarif_has_the_shape_of_the_standard(proposed: tuple[PrivacyConfig, CheckResult]) -> None:
    for result in (proposed[1], check_config(edited({}), now=0)):
        log = log_of(result, text=EXAMPLE.read_text("utf-8"))
        jsonschema.Draft202012Validator(SARIF).validate(log)
        json.dumps(log)


def test_sarif_points_at_the_line_of_the_field(proposed: tuple[PrivacyConfig, CheckResult]) -> None:
    text = EXAMPLE.read_text("utf-8")
    (run,) = log_of(proposed[1], "conf/privacy.toml", text)["runs"]
    shown = text.splitlines()
    for found in run["results"]:
        (place,) = found["locations"]
        path = place["logicalLocations"][0]["fullyQualifiedName"]
        line = place["physicalLocation"]["region"]["startLine"]
        assert place["physicalLocation"]["artifactLocation"]["uri"] == "conf/privacy.toml"
        name = path.rpartition(".")[2]
        assert shown[line - 1].startswith((f"{name} ", "[purposes.recommend]")), (path, line)
        assert found["ruleId"] == run["tool"]["driver"]["rules"][found["ruleIndex"]]["id"]
        assert found["level"] == "error"
    assert {rule["id"] for rule in run["tool"]["driver"]["rules"]} <= set(by_id())
    assert run["properties"]["exitCode"] == 10


def test_sarif_says_what_is_waived_and_what_warns() -> None:
    config = edited({"ledger.witness": "none", "consent.min_age": 12})

    class Signed:
        rule, path, config, expires = "CON-004", "consent.min_age", "", 10**9

    signed = Signed()
    signed.config = config.digest()
    result = check_config(config, now=0, waivers=[signed])
    (run,) = log_of(result)["runs"]
    told = {one["ruleId"]: one for one in run["results"]}
    assert told["LED-002"]["level"] == "warning"
    assert told["CON-004"]["suppressions"] == [{"kind": "external", "status": "accepted"}]
    assert "region" not in told["CON-004"]["locations"][0]["physicalLocation"]
    suite = ET.fromstring(to_junit(result, "privacy.toml"))[0]  # noqa: S314 - our own
    assert (suite.get("failures"), suite.get("skipped")) == ("0", "1")
    assert [case.get("name") for case in suite if case.find("skipped") is not None] == ["CON-004"]
    absolute = log_of(result, "/conf/my privacy.toml")["runs"][0]["artifacts"][0]["location"]["uri"]
    assert absolute == "file:///conf/my%20privacy.toml"


def test_junit_has_a_case_for_each_rule(proposed: tuple[PrivacyConfig, CheckResult]) -> None:
    suite = ET.fromstring(to_junit(proposed[1], "proposed.toml"))[0]  # noqa: S314 - our own
    cases = {case.get("name"): case for case in suite}
    own = [rule for rule, entries in by_id().items() if entries[0].source == "baseline"]
    assert list(cases) == own
    assert int(suite.get("tests") or 0) == len(own)
    assert suite.get("failures") == "5"
    failed = [name for name, case in cases.items() if case.find("failure") is not None]
    assert failed == ["DP-002", "DP-004", "DP-005", "CON-010", "AGG-001"]


def test_junit_survives_what_a_firm_may_write() -> None:
    policy = PolicyRules.model_validate(
        {
            "schema": "policy/1",
            "name": 'A & "B" <C>',
            "rule": [
                {"id": "X-101", "path": "dp.unit", "op": "==", "value": "<&\x00>", "why": "'\x1b"}
            ],
        }
    )
    result = check_config(edited({"ledger.witness": "none"}), policy=policy, now=0)
    suite = ET.fromstring(to_junit(result, 'a "b".toml'))[0]  # noqa: S314 - our own
    cases = {case.get("name"): case for case in suite}
    assert cases["X-101"].get("classname") == 'A & "B" <C>'
    assert cases["X-101"].find("failure") is not None
    assert cases["LED-002"].find("system-out") is not None


TOML = '''\
schema = "privacy/1"

[dp]  # [not.this]
unit = "user"  # key = no
text = """
inner = 1
[inner]
"""
many = [
  1,
  2,  # [x]
]
blt = { theta = [0.5], omega = [0.2] }
[consent]
notices.en = { file = "a", sha256 = "b" }
"quoted key" = 1
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("schema", 1),
        ("dp", 3),
        ("dp.unit", 4),
        ("dp.text", 5),
        ("dp.many", 9),
        ("dp.blt.omega", 13),
        ("dp.blt.more", 13),
        ("dp.left_out", 3),
        ("consent.notices.en.file", 15),
        ("consent.quoted key", 16),
        ("privacy.toml", None),
        ("inner", None),
    ],
)
def test_the_line_of_a_field_is_found_or_that_of_its_table(path: str, line: int | None) -> None:
    assert line_of(path, line_numbers(TOML)) == line


def test_every_field_of_the_example_has_the_line_it_is_in() -> None:
    text = EXAMPLE.read_text("utf-8")
    numbers = line_numbers(text)
    shown = text.splitlines()
    for path, number in numbers.items():
        assert path.rpartition(".")[2] in shown[number - 1]
    assert len(numbers) > 120


def test_the_file_of_the_example_is_where_the_tests_look() -> None:
    assert Path(EXAMPLE).is_file()
