"""What ``[release]`` holds a run to: the least people of a figure, the days of its model."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from homebody_client.bundles import open_model, trust_key
from homebody_privacy.config import PrivacyConfig
from homebody_privacy.errors import IntegrityError
from homebody_server.evidence.facts import read_run_facts
from homebody_server.evidence.verify_config import check_config
from homebody_server.evidence.verify_egress import check_egress
from homebody_simulation.api import simulate
from homebody_simulation.publish import lifetime
from homebody_simulation.simulate import SimulatedRun

from .conftest import DEVICES

DAYS = 30
KEY = "publisher.pub"


@pytest.fixture(scope="module")
def suppressed(tmp_path_factory: pytest.TempPathFactory, both_config: Path) -> SimulatedRun:
    """Return a finished run of one person fewer than any figure may be about; read only."""
    folder = tmp_path_factory.mktemp("suppressed")
    text = both_config.read_text("utf-8").replace("min_k = 1\n", f"min_k = {DEVICES + 1}\n")
    text = text.replace("retire_after_days = 180", f"retire_after_days = {DAYS}")
    config = folder / "privacy.toml"
    config.write_text(text, "utf-8")
    release = PrivacyConfig.load(config).release
    assert (release.min_k, release.retire_after_days) == (DEVICES + 1, DAYS)
    return simulate("synthetic", devices=DEVICES, items=20, config=config, runs=folder, name="few")


def test_cr_36_the_report_says_in_words_why_there_is_no_figure(suppressed: SimulatedRun) -> None:
    report = suppressed.report
    assert report["released"] == {}
    assert [(one["what"], one["reason"]) for one in report["voids"]] == [
        ("metrics/quality/0", "below-min-k"),
        ("metrics/quality/2", "below-min-k"),
    ]
    said = "metrics/quality/2 released nothing: fewer people than release.min_k"
    assert any(line.startswith(said) for line in report["limits"])
    assert "fewer people than release.min_k" in (suppressed.folder / "report.html").read_text()


def test_cr_36_what_was_suppressed_is_charged_like_what_was_released(
    suppressed: SimulatedRun, both_run: SimulatedRun
) -> None:
    assert suppressed.report["epsilon"]["user"] == both_run.report["epsilon"]["user"]


def test_cr_36_without_figures_the_start_is_shipped(suppressed: SimulatedRun) -> None:
    shipping = suppressed.report["shipping"]
    assert shipping["shipped"] == "start"
    assert [stage["value"] for stage in shipping["stages"]] == [None, None]


def test_cr_36_what_left_devices_tells_that_nobody_was_asked(suppressed: SimulatedRun) -> None:
    text = (suppressed.folder / "egress.jsonl").read_text("utf-8")
    figures = [line for line in map(json.loads, text.splitlines()) if line["purpose"] == "metrics"]
    assert [(line["charge"], line["sent"], line["bytes"]) for line in figures] == [
        ("metrics/quality/0", False, 0),
        ("metrics/quality/2", False, 0),
    ]


def test_cr_36_verify_finds_a_charge_that_nothing_left_for_in_order_and_no_other(
    suppressed: SimulatedRun, both_run: SimulatedRun, tmp_path: Path
) -> None:
    few, many = (read_run_facts(run.folder) for run in (suppressed, both_run))
    assert [one.mark for one in check_egress(few)] == ["ok"]
    levels = {one.text: one.mark for one in check_config(few)}
    assert "WRONG" not in levels.values()
    assert any("suppressed" in text for text in levels)
    # What was released for so few is wrong, whatever run.json says.
    of_few = replace(many, config=few.config, run=None)
    assert any(
        one.mark == "WRONG" and "fewer people than release.min_k" in one.text
        for one in check_config(of_few)
    )
    # A figure that was released did leave: no line may say that it was not sent.
    copy = tmp_path / "run"
    shutil.copytree(both_run.folder, copy)
    lines = [json.loads(line) for line in (copy / "egress.jsonl").read_text().splitlines()]
    hidden = [{**one, "sent": False} if one["purpose"] == "metrics" else one for one in lines]
    (copy / "egress.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in hidden))
    assert "WRONG" in [one.mark for one in check_egress(read_run_facts(copy))]


def test_cr_45_devices_start_no_model_older_than_the_config_says(suppressed: SimulatedRun) -> None:
    trust = trust_key((suppressed.folder.parent / KEY).read_bytes())
    facts = json.loads((suppressed.bundle / "manifest.json").read_text("utf-8"))
    end = facts["expires"]
    assert end - facts["created"] == DAYS * 86_400
    assert not open_model(suppressed.bundle, trust, now=end).stale
    with pytest.raises(IntegrityError, match="expired"):
        open_model(suppressed.bundle, trust, now=end + 1)
    assert open_model(suppressed.bundle, trust, now=end + 1, active=True).stale


def test_cr_45_a_bundle_ends_after_ninety_days_at_the_latest(
    suppressed: SimulatedRun, both_run: SimulatedRun
) -> None:
    configs = [PrivacyConfig.load(r.folder / "privacy.toml") for r in (suppressed, both_run)]
    assert [lifetime(one) for one in configs] == [DAYS * 86_400, 90 * 86_400]


def test_a_run_says_what_must_hold_before_its_model_is_released(suppressed: SimulatedRun) -> None:
    (said,) = [one for one in suppressed.report["limits"] if one.startswith("Before its model")]
    assert "homebody audit --run" in said
    assert "homebody verify" in said
    page = (suppressed.folder / "report.html").read_text("utf-8")
    assert "Before its model is released" in page
