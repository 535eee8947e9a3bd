"""A figure whose premise failed is in no output of a check, over all combinations there are."""

import json
import re
from collections.abc import Iterator
from itertools import product

import pytest

from homebody_privacy.config import PrivacyConfig
from homebody_privacy.errors import PolicyViolationError
from homebody_privacy.planned import planned_charges, planned_loss, withheld
from homebody_privacy.policy.check import check_config
from homebody_privacy.policy.findings import CheckResult, Finding
from homebody_privacy.policy.formats import to_json, to_junit
from homebody_privacy.policy.sarif import to_sarif
from homebody_privacy.policy.wording import as_text

from .config_edits import GONE, SAMPLED, edited

UNITS = ("user", "record")
ADJACENCIES = ("zero_out", "add_remove", "replace_one")
MECHANISMS = ("blt", "gaussian", "none")
SAMPLINGS = ("none", "poisson")
SWITCHES = (False, True)
_FIGURE = re.compile(
    r"epsilon|best guess|per user|in 100|runs? to the cap|\b0\.96|\bmu\b", re.IGNORECASE
)


def combinations() -> Iterator[tuple[dict[str, object], bool]]:
    """Return every combination, alone and with what gaussian needs besides, and if it may count."""
    for unit, adjacency, mechanism, sampling, credit, record, secret in product(
        UNITS, ADJACENCIES, MECHANISMS, SAMPLINGS, SWITCHES, SWITCHES, SWITCHES
    ):
        edits: dict[str, object] = {
            **({} if not secret else SAMPLED),
            "dp.unit": unit,
            "dp.adjacency": adjacency,
            "dp.mechanism": mechanism,
            "dp.sampling": sampling,
            "dp.amplification": credit,
            "dp.record.enabled": record,
        }
        honest = (unit, adjacency) == ("user", "zero_out")
        correlated = mechanism == "blt" and sampling == "none" and not credit
        # The edits of secret cohorts raise the cap to what separation 1 allows: sound with blt too.
        sampled = mechanism == "gaussian" and sampling == "poisson" and credit and secret
        yield edits, honest and (correlated or sampled)


def outputs(result: CheckResult, config: PrivacyConfig) -> dict[str, str]:
    return {
        "text": as_text(result, config, "privacy.toml"),
        "json": json.dumps(to_json(result, "privacy.toml")),
        "sarif": json.dumps(to_sarif(result, "privacy.toml", {}, "1.0")["runs"][0]["results"]),
        "junit": to_junit(result, "privacy.toml"),
    }


def test_cr_32_cr_33_no_output_holds_a_figure_whose_premise_failed() -> None:
    tried, shown = 0, 0
    for edits, sound in combinations():
        config = edited(edits)
        result = check_config(config, now=0, fast=True)
        told = outputs(result, config)
        tried += 1
        if sound:
            shown += result.planned is not None
            assert result.withheld == ()
            assert (result.planned is None) == (
                config.dp.mechanism == "blt" and config.dp.blt is None
            )
            continue
        assert result.planned is None, edits
        assert result.withheld == withheld(config) != (), edits
        assert json.loads(told["json"])["planned"] is None
        assert f"not printed, {', '.join(result.withheld)} failed" in told["text"]
        for name, text in told.items():
            assert _FIGURE.search(text) is None, (name, edits, text)
        for compute in (planned_charges, planned_loss):
            with pytest.raises(PolicyViolationError) as refused:
                compute(config)
            assert _FIGURE.search(str(refused.value)) is None
    assert tried == 2 * 3 * 3 * 2 * 2 * 2 * 2
    assert shown == 4  # blt as it is, gaussian with its premises; each with and without a record


def test_cr_32_record_level_alone_is_no_promise_to_a_user() -> None:
    config = edited({"dp.mechanism": "none", "dp.record.enabled": True})
    result = check_config(config, now=0)
    assert [one.rule for one in result.findings] == ["DP-005"]
    assert result.exit_code == 10
    text = as_text(result, config, "privacy.toml")
    assert "planned privacy loss: not printed, DP-005 failed\n" in text
    assert "per user" not in text


def test_cr_32_a_second_layer_is_not_added_to_the_first() -> None:
    alone, both = (
        check_config(edited({"dp.record.enabled": on}), now=0).planned for on in SWITCHES
    )
    assert alone == both
    assert alone is not None


def test_cr_33_amplification_without_poisson_is_refused() -> None:
    for edits in ({"dp.amplification": True}, {**SAMPLED, "dp.sampling": "none"}):
        result = check_config(edited(edits), now=0)
        assert "DP-007" in {one.rule for one in result.findings}
        assert "DP-007" in result.withheld
        assert result.exit_code == 10


def test_a_result_cannot_hold_a_figure_beside_a_failed_premise() -> None:
    config = edited({})
    sound = check_config(config, now=0)
    with pytest.raises(ValueError, match="never shown"):
        CheckResult(
            config_sha256=sound.config_sha256,
            policy="",
            policy_sha256="",
            profiles=(),
            findings=(),
            planned=sound.planned,
            withheld=("DP-001",),
        )


def test_noise_to_be_solved_is_said_to_be() -> None:
    config = edited({"dp.noise_multiplier": GONE})
    result = check_config(config, now=0)
    assert (result.planned, result.withheld, result.exit_code) == (None, (), 0)
    assert "not known, the file leaves noise to be solved" in as_text(result, config, "p.toml")


def test_a_finding_has_a_known_level_and_exit_code() -> None:
    for fields in ({"level": "info"}, {"level": "fail", "exit_code": 3}):
        with pytest.raises(ValueError, match="must be"):
            Finding(rule="DP-001", path="dp", message="m", ref="", **fields)
