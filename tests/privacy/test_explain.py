"""``explain`` prints what follows from the config, and no figure whose premise failed."""

import json
import re
from itertools import product
from pathlib import Path

import pytest

from homebody.cli import run
from homebody_privacy.charges import round_up
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.explaining.explanation import explain, explanation_text
from homebody_privacy.explaining.matrix import ASK, NEVER, STARTS_ON, matrix
from homebody_privacy.explaining.promise import no_figure, promise
from homebody_privacy.planned import planned_loss, withheld
from homebody_privacy.variants import to_toml
from homebody_privacy.withdrawal_words import banned_words, odds_in_100

from .config_edits import EXAMPLE, GONE, SAMPLED, edited


def text(config: PrivacyConfig) -> str:
    loss = None if no_figure(config) else planned_loss(config)
    return explanation_text(explain(config, loss))


def flat(config: PrivacyConfig) -> str:
    return " ".join(text(config).split())


def test_the_documented_promise_is_computed() -> None:
    said = flat(edited({}))
    assert (
        "can be right at most 73 times in 100 after one run, never more than 93 (cap), "
        "but for a chance of 1e-07" in said
    )
    assert "The cap is reached after 5 runs (2.5 years)" in said
    assert "joins at most 5 rounds a run, 100 apart" in said
    assert "Every 180 days we start the model afresh" in said
    assert "epsilon 0.962 a run, of 2.5" in said


def test_the_matrix_is_that_of_the_file() -> None:
    shown = matrix(edited({}))
    assert shown.purposes == ("recommend", "training", "metrics")
    assert shown.leaves == (False, True, True)
    assert [row.cells for row in shown.rows] == [(ASK, ASK, ASK), (ASK, ASK, NEVER)]
    assert [row.kept for row in shown.rows] == ["365 days, 1000 rows", "180 days, 100 rows"]
    head, purchases, tastes, foot = text(edited({})).splitlines()[3:7]
    assert head.split() == ["recommend", "training", "metrics", "kept"]
    assert [line.split()[0] for line in (purchases, tastes)] == ["purchases", "tastes"]
    columns = [m.end() for m in re.finditer(r"recommend|training|metrics", head)]
    assert columns == [m.end() for m in re.finditer(r"ask first", purchases)]
    assert columns == [m.end() for m in re.finditer(r"stays on device|LEAVES DEVICE", foot)]


def test_a_switch_that_starts_on_is_shown_as_it_is() -> None:
    shown = matrix(edited({"purposes.recommend.default": "on"}))
    assert {row.cells[0] for row in shown.rows} == {STARTS_ON}


def test_of_secret_cohorts_both_figures_are_printed() -> None:
    config = edited(SAMPLED)
    loss = planned_loss(config)
    assert loss is not None
    told = promise(config, loss)
    assert told.figures is not None
    assert told.figures.epsilon == round_up(loss.epsilon, 3)
    assert told.figures.epsilon < told.figures.epsilon_unamplified
    one, seen, _ = told.bets
    assert f"at most {odds_in_100(loss.epsilon)} times" in one
    assert f"at most {odds_in_100(loss.epsilon_unamplified)} times" in seen
    assert "but not who takes part" in one
    assert any("sees who takes part" in whom for whom in told.not_against)
    assert "whoever sees who takes part" not in told.against
    row = explanation_text(explain(config, loss))
    assert f"{told.figures.epsilon:g} a run with the credit" in row
    assert f"{told.figures.epsilon_unamplified:g} without it" in row


def test_noise_that_is_not_fixed_is_said_with_the_way_to_fix_it() -> None:
    said = flat(edited({"dp.noise_multiplier": GONE}))
    assert "no figure: the noise is not fixed" in said
    assert "homebody plan --config FILE --write NEW" in said
    assert "in 100" not in said
    assert "No figure can be given" in said


_UNITS = ("user", "record")
_MECHANISMS = ("blt", "gaussian", "none")
_SAMPLINGS = ("poisson", "none")
_FIGURES = re.compile(r"in 100|epsilon \d+(\.\d+)? a run|1 in \d")


@pytest.mark.parametrize(
    ("unit", "mechanism", "sampling", "amplified"),
    list(product(_UNITS, _MECHANISMS, _SAMPLINGS, (True, False))),
)
def test_cr_32_a_figure_whose_premise_failed_is_never_printed(
    unit: str, mechanism: str, sampling: str, *, amplified: bool
) -> None:
    edits = dict(SAMPLED) if mechanism == "gaussian" else {}
    edits |= {
        "dp.unit": unit,
        "dp.mechanism": mechanism,
        "dp.sampling": sampling,
        "dp.amplification": amplified,
    }
    config = edited(edits)
    sound = unit == "user" and (mechanism, sampling, amplified) in {
        ("blt", "none", False),
        ("gaussian", "poisson", True),
    }
    said = text(config)
    assert (_FIGURES.search(said) is not None) == sound
    assert ("no figure" in said) != sound
    if not sound:
        loss = planned_loss(edited({}))
        assert promise(config, loss).figures is None  # although a loss is at hand
        assert "per user" not in said
        for rule in withheld(config):
            assert f"{rule} failed" in said


def test_the_rules_that_withhold_a_figure_are_those_of_the_policy() -> None:
    for edits in ({}, {"dp.unit": "record"}, {"dp.delta": 1e-5}, {"dp.sampling": "poisson"}):
        config = edited(edits)
        assert tuple(sorted({one.rule for one in no_figure(config)})) == withheld(config)


def test_a_budget_for_each_run_bounds_nothing_over_runs() -> None:
    said = flat(edited({"dp.budget_scope": "run"}))
    assert "each run by itself" in said
    assert "nothing in this file bounds the sum" in said
    assert "never more than" not in said


def test_a_run_past_the_cap_does_not_start() -> None:
    assert "One run would already pass the cap" in flat(edited({"dp.epsilon_max": 0.5}))


def test_a_figure_that_is_no_limit_says_so() -> None:
    said = flat(edited({"dp.noise_multiplier": 1.0}))
    assert "at most 100 times in 100" in said
    assert "that is no limit" in said


@pytest.mark.parametrize("mode", ["dp_only_stop_future", "retrain_window", "unlearn"])
def test_cr_26_the_words_of_a_withdrawal_are_those_of_its_mode(mode: str) -> None:
    told = promise(edited({"rights.trained_model": mode}), planned_loss(edited({})))
    if mode == "unlearn":
        assert told.after is None
        assert "No words can be given" in text(edited({"rights.trained_model": mode}))
        return
    assert told.after is not None
    assert ("afresh" in told.after) == (mode == "retrain_window")
    assert "right at most 73 times in 100" in told.after


@pytest.mark.parametrize(
    ("edits", "words"),
    [
        ({"aggregation.secagg": False}, "sees each device's update before the noise"),
        ({"ledger.witness": "none"}, "nobody cosigns"),
        ({"dp.tuning_data": "private", "dp.tuning_runs": 1}, "holds the witness's key"),
        ({"dp.record.enabled": True}, "never added to this one"),
    ],
)
def test_in_whom_one_must_trust_follows_the_file(edits: dict[str, object], words: str) -> None:
    assert words in flat(edited(edits))


@pytest.mark.parametrize(
    "edits", [{}, dict(SAMPLED), {"dp.unit": "record"}, {"dp.mechanism": "none"}]
)
def test_nothing_is_said_that_may_not_be_said(edits: dict[str, object]) -> None:
    said = text(edited(edits | {"dp.budget_scope": "run"}))
    assert banned_words(said) == []
    assert max(map(len, said.splitlines())) <= 108


def test_the_command_explains_a_file_that_may_not_run_and_refuses_one_that_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "proposed.toml"
    file.write_text(to_toml(edited({"dp.unit": "record"})), "utf-8")
    assert run(["explain", str(file)]) == 0
    assert "DP-003 failed" in capsys.readouterr().out
    assert run(["explain", str(EXAMPLE), "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["config_sha256"] == edited({}).digest()
    assert told["promise"]["figures"]["guess"] == 73
    file.write_text("schema = 1", "utf-8")
    assert run(["explain", str(file)]) == 2
