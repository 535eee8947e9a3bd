"""An audit of the config a finished run ran under, and its place in the run's report."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from homebody_privacy.anchor import AnchorBook
from homebody_privacy.environment import STATE
from homebody_privacy.errors import InvalidFileError, UsageError
from homebody_server.run_folder import RunFolder
from homebody_simulation.api import simulate
from homebody_simulation.audit.finished import add_to_report, of_run
from homebody_simulation.audit.request import AuditRequest
from homebody_simulation.audit.run_audit import run_audit
from homebody_simulation.simulate import SimulatedRun

ASKED = AuditRequest(canaries=40, population=90, seed=5)


@pytest.fixture(scope="module")
def run(
    write_config: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> SimulatedRun:
    """Return a finished run of correlated noise over forty devices."""
    config = write_config(
        mechanism="blt",
        rounds=4,
        min_separation=2,
        max_rounds_per_device=2,
        cohort_size=20,
        cohort_cap=40,
        delta=1e-3,
    )
    runs = tmp_path_factory.mktemp("runs")
    return simulate("synthetic", devices=40, items=20, config=config, runs=runs, name="r")


def test_the_audit_is_of_the_noise_the_run_had(run: SimulatedRun) -> None:
    request = of_run(ASKED, run.folder)
    report = run_audit(request)
    spec = RunFolder(run.folder).read_json("run.json")["spec"]
    assert report.claim.noise_multiplier == spec["noise_multiplier"]
    assert report.claim.rounds == spec["rounds"]
    assert report.setting.config_digest == run.report["digests"]["config"]
    assert not report.is_refuted


def test_the_runs_report_shows_the_audit_and_its_figure(run: SimulatedRun) -> None:
    assert "<h2>Audit</h2>" not in (run.folder / "report.html").read_text("utf-8")
    report = run_audit(of_run(ASKED, run.folder))
    add_to_report(report, run.folder)
    page = (run.folder / "report.html").read_text("utf-8")
    assert "The audit did not refute the claim." in page
    assert page.count("<svg") >= 4  # the charts of the run, and those of the audit
    assert "An audit can refute a claim; it cannot prove it." in page
    whole = json.loads((run.folder / "report.json").read_text("utf-8"))
    assert whole["audit"]["verdict"] == "The audit did not refute the claim."
    assert {**whole, "audit": None} == {**run.report, "audit": None}
    assert json.loads((run.folder / "audit.json").read_text("utf-8"))["schema"] == "audit/1"


@pytest.mark.slow
def test_an_audit_spends_nothing_of_a_lifetime(
    write_config: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STATE, str(tmp_path))
    config = write_config(
        rounds=2, cohort_size=20, cohort_cap=60, delta=1e-3, budget_scope="lifetime"
    )
    for _ in range(2):
        assert not run_audit(replace(ASKED, config_file=config)).is_refuted
    assert AnchorBook.open(tmp_path / "anchors").names() == []


def test_a_run_that_has_not_ended_or_promised_nothing_is_not_audited(
    run: SimulatedRun, write_config: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(InvalidFileError):
        of_run(ASKED, tmp_path / "absent")
    config = write_config(rounds=1, cohort_size=20, cohort_cap=60, delta=1e-3)
    bare = simulate(
        "synthetic", devices=40, items=20, config=config, epsilon=None, rounds=1, runs=tmp_path
    )
    with pytest.raises(UsageError, match="no claim"):
        of_run(ASKED, bare.folder)
    RunFolder(run.folder).write_key(bytes(32))
    with pytest.raises(UsageError, match="not ended"):
        of_run(ASKED, run.folder)
    RunFolder(run.folder).destroy_key()


def test_of_a_run_with_statistics_the_rounds_are_audited_with_the_noise_they_had(
    write_config: Callable[..., Path], tmp_path: Path
) -> None:
    config = write_config(
        mechanism="blt",
        rounds=2,
        min_separation=1,
        max_rounds_per_device=2,
        cohort_size=40,
        cohort_cap=40,
        delta=1e-3,
        more='[statistics]\nrecipe = "both"\n',
    )
    usual = {"devices": 40, "items": 20}
    both = simulate("synthetic", config=config, runs=tmp_path, name="both", **usual)  # type: ignore[arg-type]
    report = run_audit(of_run(ASKED, both.folder))
    spec = RunFolder(both.folder).read_json("run.json")["spec"]
    assert (spec["rounds"], bool(spec["statistics"])) == (2, True)
    # The audited model has another size, which the fine lattice charges for: some 1e-6.
    assert report.claim.noise_multiplier == pytest.approx(spec["noise_multiplier"], rel=1e-5)
    assert not report.is_refuted
    alone = simulate(
        "synthetic",
        config=config,
        recipe="statistics",
        runs=tmp_path,
        name="alone",
        **usual,  # type: ignore[arg-type]
    )
    with pytest.raises(UsageError, match="no rounds"):
        of_run(ASKED, alone.folder)
