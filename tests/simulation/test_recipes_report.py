"""A run of statistics and rounds reports both models, and ships what its charged figures say."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from homebody_models.recommender import model_digest
from homebody_models.split import leave_one_out
from homebody_server.run_folder import RunFolder
from homebody_server.run_spec import RunSpec
from homebody_simulation import shipping
from homebody_simulation.api import simulate
from homebody_simulation.datasets import load_dataset
from homebody_simulation.hosting import held_out_items, host_of
from homebody_simulation.request import Request
from homebody_simulation.setup import prepare
from homebody_simulation.simulate import SimulatedRun


def entries(run: SimulatedRun) -> list[dict[str, Any]]:
    """Return the entries of a run's ledger."""
    lines = (run.folder / "ledger.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line)["entry"] for line in lines]


def start_of(run: SimulatedRun) -> str:
    """Return the digest of the model that statistics gave."""
    return model_digest(np.load(run.folder / "start.npy"))


def manifest(run: SimulatedRun) -> dict[str, Any]:
    """Return what the publisher signed of a run's model."""
    found: dict[str, Any] = json.loads((run.bundle / "manifest.json").read_text("utf-8"))
    return found


def test_the_better_charged_figure_decides_which_model_devices_get(both_run: SimulatedRun) -> None:
    report = both_run.report
    answers = {entry["name"]: entry["values"] for entry in entries(both_run) if "values" in entry}
    start, end = (answers[f"metrics/quality/{number}"]["ndcg@10"] for number in (0, 2))
    shipped = "end" if end > start else "start"
    assert report["shipping"]["shipped"] == shipped
    assert [stage["value"] for stage in report["shipping"]["stages"]] == [start, end]
    digests = {stage["name"]: stage["model"] for stage in report["shipping"]["stages"]}
    assert digests["start"] == start_of(both_run) != digests["end"]
    assert report["digests"]["model"] == digests[shipped]
    assert both_run.metrics == both_run.stages[shipped]


@pytest.mark.parametrize("better", ["start", "end"])
def test_the_model_that_the_figures_prefer_is_the_one_shipped(
    better: str, both_run: SimulatedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipping, "decide", lambda *_: (better, "so"))
    folder = RunFolder(both_run.folder)
    spec = RunSpec.from_dict(folder.read_json("run.json")["spec"])
    found = shipping.shipping_of(SimpleNamespace(folder=folder, spec=spec))  # type: ignore[arg-type]
    ends = {"start": start_of(both_run), "end": folder.load_state().digest()}
    assert model_digest(found.shipped.parameters) == ends[better]
    assert (found.shipped.name, found.why) == (better, "so")


def test_both_models_are_rows_and_the_shipped_one_is_marked(both_run: SimulatedRun) -> None:
    report, page = both_run.report, (both_run.folder / "report.html").read_text("utf-8")
    rows = {row["name"]: row for row in report["utility"]["rows"]}
    assert list(rows)[:2] == ["core-tower, start", "core-tower, end"]
    shipped = report["shipping"]["shipped"]
    assert [name for name, row in rows.items() if row["own"]] == [f"core-tower, {shipped}"]
    assert set(rows) > {"popularity", "rules"}
    assert f"Devices get the <b>{shipped}</b>" in page
    for stage in report["shipping"]["stages"]:
        assert f"{stage['value']:.4f}" in page
        assert f"{1.96 * stage['noise_sd']:.4f}" in page


def test_the_bundle_is_the_shipped_model_and_says_which(both_run: SimulatedRun) -> None:
    stated = manifest(both_run)["privacy"]
    assert (stated["recipe"], stated["chosen_by"]) == ("both", "charged validation")
    assert stated["shipped"] == both_run.report["shipping"]["shipped"]
    assert set(stated["statistics"]) == {"popularity", "gram"}
    assert "2 one-shot statistics and 2 rounds" in stated["statement"]


def test_everything_is_charged_ahead_and_within_the_ceiling(both_run: SimulatedRun) -> None:
    kinds = [(e["kind"], e.get("name", e.get("round"))) for e in entries(both_run)[1:]]
    assert kinds == [
        ("purchase", "run"),
        *[(k, "statistics/popularity") for k in ("purchase", "statistic")],
        *[(k, "statistics/gram") for k in ("purchase", "statistic")],
        *[(k, "metrics/quality/0") for k in ("purchase", "answer")],
        *[(k, number) for number in (1, 2) for k in ("intent", "release")],
        *[(k, "metrics/quality/2") for k in ("purchase", "answer")],
        *[(k, None) for k in ("model_released", "run_closed", "retention_run")],
    ]
    user = both_run.report["epsilon"]["user"]
    assert user["spent"] <= 4.0
    assert set(user["parts"]) == {"statistics", "training", "metrics"}


def test_the_curve_begins_with_the_start(both_run: SimulatedRun) -> None:
    points = both_run.report["curve"]
    assert [point["round"] for point in points] == [0, 1, 2]
    assert len({point["epsilon"] for point in points}) == 1  # all of it was paid before


def test_what_a_device_sends_is_listed_and_logged_alike(both_run: SimulatedRun) -> None:
    lines = (both_run.folder / "egress.jsonl").read_text("utf-8").splitlines()
    logged = [(line["round"], line["bytes"]) for line in map(json.loads, lines)]
    sent = {row["what"]: row for row in both_run.report["uploads"]}
    update = sent["update of a round"]["bytes"]
    assert logged == [
        (0, sent["statistic popularity"]["bytes"]),
        (0, sent["statistic gram"]["bytes"]),
        (0, 16),
        (1, update),
        (2, update),
        (2, 16),
    ]
    assert sent["statistic popularity"]["bytes"] == 4 * 20
    assert update == 4 * both_run.report["model"]["trained"]
    # Two rounds of 20 of 40 devices: one update is expected of each.
    expected = sum(size for number, size in logged if number < 2) + 16
    assert both_run.report["upload_bytes"] == expected


def test_statistics_alone_are_one_model_and_no_round(statistics_run: SimulatedRun) -> None:
    report = statistics_run.report
    assert (report["recipe"], report["passes"], report["rounds"]) == ("statistics", 2, 0)
    assert report["digests"]["model"] == start_of(statistics_run)
    assert [stage["name"] for stage in report["shipping"]["stages"]] == ["start"]
    assert "over 2 one-shot statistics;" in report["claim"]["statement"]
    assert set(report["epsilon"]["user"]["parts"]) == {"statistics"}
    assert manifest(statistics_run)["privacy"]["noise_multiplier"] is None


def test_a_refit_holds_nothing_back_and_asks_no_figure_of_lists(
    statistics_run: SimulatedRun,
) -> None:
    report, page = statistics_run.report, (statistics_run.folder / "report.html").read_text("utf-8")
    assert report["released"] == {}
    assert report["utility"]["validation"]["ndcg@10"] is None
    assert [(point["loss"], point["ndcg@10"]) for point in report["curve"]] == [(None, None)]
    assert "trained on all the rest" in report["utility"]["protocol"]
    assert "validation item by round" not in page
    assert "--refit" in report["reproduce"]
    assert "--recipe statistics" in report["reproduce"]


@pytest.mark.parametrize("kind", ["both_run", "statistics_run"])
def test_pf_24_no_more_files_than_the_documented_ones(
    kind: str, request: pytest.FixtureRequest
) -> None:
    run: SimulatedRun = request.getfixturevalue(kind)
    assert {file.name for file in run.folder.iterdir()} == {
        *("catalog", "egress.jsonl", "features.npy", "ledger.jsonl", "metrics.jsonl", "model.hbm"),
        *("privacy.toml", "report.html", "report.json", "run.json", "start.npy", "state.npz"),
        *("checkpoint", "statistics.npz"),
    }


def test_devices_of_a_refit_train_on_all_but_their_last_event(
    tmp_path: Path, both_config: Path
) -> None:
    request = Request(
        data="synthetic",
        options={"devices": 40, "items": 20},
        config_file=both_config,
        recipe="statistics",
        runs=tmp_path,
    )
    usual = prepare(replace(request, name="usual"))
    refit = prepare(replace(request, name="refit", refit=True))
    split = leave_one_out(load_dataset("synthetic", devices=40, items=20).interactions)
    assert host_of(usual).histories.digest() == split.train.digest()
    assert host_of(refit).histories.digest() == split.refit.digest()
    assert (held_out_items(refit) == -1).all()
    assert (held_out_items(usual) >= 0).sum() == len(split.validation)


def test_a_reference_sums_without_noise_and_chooses_by_a_look(
    tmp_path: Path, both_config: Path
) -> None:
    run = simulate(
        "synthetic",
        devices=40,
        items=20,
        config=both_config,
        runs=tmp_path,
        recipe="both",
        rounds=1,
        epsilon=None,
        name="reference",
    )
    train = leave_one_out(load_dataset("synthetic", devices=40, items=20).interactions).train
    with np.load(run.folder / "statistics.npz") as sums:
        summed = float((sums["popularity"].astype(np.float64)).sum())
    each = [np.sqrt(len(np.unique(train.history(u)))) for u in range(40)]
    assert summed == pytest.approx(sum(each), rel=1e-3)
    start, end = (point["ndcg@10"] for point in run.report["curve"])
    said = run.report["shipping"]
    assert (said["by"], said["shipped"]) == (
        "validation",
        "end" if end > start else "start",
    )
    assert "differential privacy" in run.report["utility"]["laboratory"]
