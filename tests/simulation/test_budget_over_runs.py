"""PF-15: what earlier runs over the same people spent counts, where the budget is a lifetime's."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from homebody_client.devices_home import DevicesHome
from homebody_privacy.accounting import spent_epsilon
from homebody_privacy.charges import round_up
from homebody_privacy.environment import STATE
from homebody_privacy.errors import BudgetExhaustedError, IntegrityError
from homebody_privacy.ledger import read_ledger
from homebody_privacy.ledger_entries import Previous
from homebody_privacy.ledger_reading import read_lines
from homebody_server.run_folder import RunFolder
from homebody_server.run_spec import accounted_delta
from homebody_simulation.api import simulate
from homebody_simulation.simulate import SimulatedRun

DEVICES = 40
NAMES = ("first", "second")
PLAN: dict[str, Any] = {"rounds": 1, "cohort_size": DEVICES, "cohort_cap": 80, "delta": 1e-3}


def start(config: Path, runs: Path, name: str, **changes: Any) -> SimulatedRun:  # noqa: ANN401
    """Run a small run of about epsilon 2."""
    usual: dict[str, Any] = {"devices": DEVICES, "items": 20, "epsilon": 2.0}
    return simulate("synthetic", config=config, runs=runs, name=name, **(usual | changes))


@pytest.fixture(scope="module", autouse=True)
def _own_anchors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep this module's lifetime budgets apart: the synthetic people are the same everywhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(STATE, str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start with people nothing was spent on."""
    monkeypatch.setenv(STATE, str(tmp_path / "state"))


@pytest.fixture(scope="module")
def spent(
    write_config: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, SimulatedRun, SimulatedRun]:
    """Return config, folder and two runs, after which a lifetime budget of 3 is all but gone."""
    config = write_config(**PLAN, epsilon_max=3.0, budget_scope="lifetime")
    runs = tmp_path_factory.mktemp("runs")
    return config, runs, start(config, runs, "first"), start(config, runs, "second", epsilon=1.0)


def test_pf_15_two_runs_over_the_same_devices_compose(
    spent: tuple[Path, Path, SimulatedRun, SimulatedRun],
) -> None:
    _, _, first, second = spent
    assert first.epsilon is not None
    assert second.epsilon is not None
    assert 1.9 < first.epsilon["user"]["spent"] <= 2.0
    assert 2.0 < second.epsilon["user"]["spent"] <= 3.0
    assert second.epsilon["user"]["ceiling"] == 3.0
    assert second.report["privacy"]["earlier"]
    assert not first.report["privacy"]["earlier"]
    assert "all runs on the same devices" in second.report["claim"]["statement"]
    assert second.report["curve"][-1]["epsilon"] == second.epsilon["user"]["spent"]


def test_the_ledger_of_the_second_run_alone_gives_the_sum_of_a_lifetime(
    spent: tuple[Path, Path, SimulatedRun, SimulatedRun],
) -> None:
    _, runs, _, second = spent
    (before, _), (after, _) = (read_lines(runs / name / "ledger.jsonl") for name in NAMES)
    header = after.record.header
    assert (before.record.header.previous, before.record.carried) == (None, ())
    assert header.previous == Previous(
        run="first", size=before.record.entries, root=before.heads[-1].hex()
    )
    assert list(after.record.carried) == before.record.charges()
    assert second.epsilon is not None
    whole = spent_epsilon(after.record.lifetime_charges(), accounted_delta(header.delta))
    assert round_up(whole, 2) == pytest.approx(second.epsilon["user"]["spent"], abs=0.011)


def test_an_exhausted_budget_stops_a_run_before_anything_is_released(
    spent: tuple[Path, Path, SimulatedRun, SimulatedRun],
) -> None:
    config, runs, _, _ = spent
    with pytest.raises(BudgetExhaustedError, match="past the ceiling") as refusal:
        start(config, runs, "third")
    assert refusal.value.exit_code == 11
    folder = runs / "third"
    ledger, closed = read_ledger(folder / "ledger.jsonl")
    assert closed
    assert (ledger.opened, ledger.released, ledger.charges()) == (0, 0, [])
    assert (ledger.stops, ledger.ended) == (("round/1",), None)
    names = {file.name for file in folder.iterdir()}
    assert names.isdisjoint({"model.hbm", "report.json", "report.html", "metrics.jsonl"})


def test_new_events_of_the_same_people_do_not_renew_their_budget(
    spent: tuple[Path, Path, SimulatedRun, SimulatedRun],
) -> None:
    config, runs, _, _ = spent
    with pytest.raises(BudgetExhaustedError):
        start(config, runs, "later", items=21)


def test_other_people_have_a_budget_of_their_own(
    spent: tuple[Path, Path, SimulatedRun, SimulatedRun], tmp_path: Path
) -> None:
    config, runs, _, _ = spent
    file = tmp_path / "others.csv"
    rows = [f"u{u},i{(u + 7 * t) % 20},{t}\n" for u in range(DEVICES) for t in range(5)]
    file.write_text("user,item,timestamp\n" + "".join(rows), "utf-8")
    other = simulate(f"csv:{file}", config=config, runs=runs, name="others", epsilon=2.0)
    assert other.epsilon is not None
    assert other.epsilon["user"]["spent"] <= 2.0


@pytest.mark.usefixtures("alone")
def test_a_damaged_ledger_of_an_earlier_run_stops_the_next(
    write_config: Callable[..., Path], tmp_path: Path
) -> None:
    config = write_config(**PLAN, budget_scope="lifetime")
    earlier = tmp_path / "earlier"
    earlier.mkdir()
    (earlier / "ledger.jsonl").write_text('{"entry": {}, "hash": ""}\n')
    with pytest.raises(IntegrityError, match="ledger"):
        start(config, tmp_path, "next")
    assert not (tmp_path / "next" / "model.hbm").exists()


def test_a_budget_of_a_run_does_not_count_other_runs(
    write_config: Callable[..., Path], tmp_path: Path
) -> None:
    config = write_config(**PLAN, epsilon_max=3.0, budget_scope="run")
    for name in ("first", "second"):
        run = start(config, tmp_path, name)
        assert run.epsilon is not None
        assert run.epsilon["user"]["spent"] <= 2.0
        assert "this run" in run.report["claim"]["statement"]


@pytest.fixture
def first(alone: None, write_config: Callable[..., Path], tmp_path: Path) -> tuple[Path, Path]:
    """Return a config of a lifetime budget and the folder of runs that holds a finished one."""
    del alone
    config = write_config(**PLAN, epsilon_max=3.0, budget_scope="lifetime")
    start(config, tmp_path / "runs", "first", epsilon=1.0)
    return config, tmp_path / "runs"


def forget(run: Path, how: str) -> None:
    """Try to get an earlier run's budget back."""
    ledger = run / "ledger.jsonl"
    lines = ledger.read_bytes().splitlines(keepends=True)
    match how:
        case "its ledger deleted":
            ledger.unlink()
        case "its folder deleted":
            shutil.rmtree(run)
        case "its folder moved away":
            run.rename(run.parent.parent / "elsewhere")
        case "an older copy put back":
            ledger.write_bytes(b"".join(lines[:1]))
        case "its last entry cut off":
            ledger.write_bytes(b"".join(lines[:-1]))


FORGETTING = [
    "its ledger deleted",
    "its folder deleted",
    "its folder moved away",
    "an older copy put back",
    "its last entry cut off",
]


@pytest.mark.parametrize("how", FORGETTING)
def test_pf_15_cr_34_a_budget_does_not_come_back(first: tuple[Path, Path], how: str) -> None:
    config, runs = first
    forget(runs / "first", how)
    with pytest.raises(IntegrityError) as refusal:
        start(config, runs, "second")
    assert refusal.value.exit_code == 14
    second = runs / "second"
    assert not (second / "model.hbm").exists()
    assert not (second / "ledger.jsonl").exists()  # nothing was charged, so nothing was released


def test_pf_15_cr_34_another_folder_of_runs_has_the_same_budget(
    first: tuple[Path, Path], tmp_path: Path
) -> None:
    config, _ = first
    again = start(config, tmp_path / "other-runs", "first", epsilon=1.0)
    assert again.epsilon is not None
    assert again.report["privacy"]["earlier"]
    assert 1.0 < again.epsilon["user"]["spent"] <= 3.0
    with pytest.raises(BudgetExhaustedError):
        start(config, tmp_path / "third-runs", "first", epsilon=2.9)


def test_pf_15_anchors_that_are_gone_stop_the_next_run(
    first: tuple[Path, Path], tmp_path: Path
) -> None:
    config, runs = first
    shutil.rmtree(tmp_path / "state")
    with pytest.raises(IntegrityError, match="anchor"):
        start(config, runs, "second")


def test_pf_15_a_run_without_a_lifetime_budget_is_not_stopped_by_a_lost_ledger(
    first: tuple[Path, Path], write_config: Callable[..., Path]
) -> None:
    _, runs = first
    forget(runs / "first", "its ledger deleted")
    apart = write_config(**PLAN, epsilon_max=3.0, budget_scope="run")
    assert start(apart, runs, "second").epsilon is not None


@pytest.mark.usefixtures("alone")
def test_pf_42_devices_remember_every_run_of_a_life_and_notice_an_older_copy(
    write_config: Callable[..., Path], tmp_path: Path
) -> None:
    config = write_config(**PLAN, budget_scope="lifetime")
    runs = tmp_path / "runs"
    start(config, runs, "first", epsilon=1.0)
    (home,) = runs.glob("devices-*")
    shutil.copytree(home, tmp_path / "backup")
    second = start(config, runs, "second", epsilon=1.0)
    assert not (second.folder / "devices").exists()
    with DevicesHome.open(home, lifetime=True).participation() as store:
        assert store.anchored
        ids = [RunFolder(runs / name).read_json("run.json")["spec"]["run_id"] for name in NAMES]
        joined = [sum(store.joins(device, run) for device in range(DEVICES)) for run in ids]
        assert joined == [DEVICES, DEVICES]
    shutil.rmtree(home)
    shutil.copytree(tmp_path / "backup", home)
    with pytest.raises(IntegrityError, match="older copy"):
        start(config, runs, "third", epsilon=1.0)
    assert not (runs / "third" / "model.hbm").exists()
