"""A run with the record level on: a second promise, reported apart and never mixed in."""

from collections.abc import Callable
from pathlib import Path

import pytest

from homebody import simulate
from homebody_simulation.simulate import SimulatedRun

DEVICES = 16
RECORD = """
[dp.record]
enabled = true
max_grad_norm = 1.0
noise_multiplier = 2.0
sampling_rate = 0.5
steps = 2
delta = 1e-4
"""


@pytest.fixture(scope="module")
def runs(
    tmp_path_factory: pytest.TempPathFactory, write_config: Callable[..., Path]
) -> tuple[SimulatedRun, SimulatedRun]:
    """Return a run with the record level on, and the same with it off."""
    plan = {"rounds": 2, "cohort_size": DEVICES, "cohort_cap": 40, "delta": 1e-3}
    folder = tmp_path_factory.mktemp("runs")
    on, off = (
        simulate(
            "synthetic",
            devices=DEVICES,
            items=20,
            config=write_config(more=more, **plan),
            runs=folder,
            name=name,
            seed=1,
        )
        for name, more in (("on", RECORD), ("off", ""))
    )
    return on, off


def test_record_level_is_reported_apart(runs: tuple[SimulatedRun, SimulatedRun]) -> None:
    on, off = runs
    assert on.epsilon is not None
    assert off.epsilon is not None
    assert off.epsilon["record"] is None
    record = on.epsilon["record"]
    assert set(record) == {"spent", "delta", "accountant", "mechanism", "unit", "rounds"}
    assert record["spent"] > 0
    assert (record["delta"], record["unit"], record["rounds"]) == (1e-4, "record", 2)
    assert on.epsilon["user"] == off.epsilon["user"]


def test_record_level_changes_what_devices_send(runs: tuple[SimulatedRun, SimulatedRun]) -> None:
    on, off = runs
    assert on.report["digests"]["model"] != off.report["digests"]["model"]


def test_the_ledger_knows_the_user_level_alone(runs: tuple[SimulatedRun, SimulatedRun]) -> None:
    texts = [(run.folder / "ledger.jsonl").read_text() for run in runs]
    charges = [[line for line in t.splitlines() if '"intent"' in line] for t in texts]
    parts = [[line.split('"root"')[0] for line in lines] for lines in charges]
    assert parts[0] == parts[1]


def test_the_report_names_both_and_adds_neither(runs: tuple[SimulatedRun, SimulatedRun]) -> None:
    on, _ = runs
    page = (on.folder / "report.html").read_text("utf-8")
    assert on.epsilon is not None
    record, user = on.epsilon["record"]["spent"], on.epsilon["user"]["spent"]
    assert str(record) in page
    assert "never added to the first" in page
    assert f"{record + user:.3f}" not in page
    assert str(record) not in on.report["claim"]["statement"]
