"""A sweep over processes: what is finished is never run again, whatever ended the rest."""

import json
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from homebody_privacy.closed_form import gaussian_epsilon
from homebody_privacy.errors import (
    HomebodyError,
    InfeasibleError,
    IntegrityError,
    InvalidFileError,
    PolicyViolationError,
    UsageError,
)
from homebody_privacy.ledger import read_ledger
from homebody_server.run_spec import accounted_delta
from homebody_simulation.frontier import Frontier
from homebody_simulation.sweep_grid import Grid
from homebody_simulation.sweep_run import begin, carry_out, sweep
from homebody_simulation.sweep_worker import carry_out as work

from .sweep_world import names, pretender

GRID = Grid(data="synthetic", options={"devices": 40}, epsilons=(1.0, 4.0), seeds=(0, 1))


@pytest.fixture
def begun(tmp_path: Path, small_config: Path) -> Path:
    """Return the folder of a sweep that was begun; none of its runs were."""
    begin(tmp_path / "sweep", GRID, small_config)
    return tmp_path / "sweep"


def go(folder: Path, jobs: int = 1) -> Frontier:
    """Carry a sweep out with workers that only pretend."""
    program = pretender(folder)
    return carry_out(folder, jobs=jobs, worker=(sys.executable, "-I", str(program)))


def seen(folder: Path) -> Counter[str]:
    """Return how often each piece was asked for."""
    return Counter((folder / "seen.txt").read_text("utf-8").split())


@pytest.mark.parametrize("jobs", [1, 3])
def test_every_piece_is_done_once(begun: Path, jobs: int) -> None:
    frontier = go(begun, jobs)
    assert seen(begun) == Counter([*names(GRID), "baselines"])
    assert [run.point.name for run in frontier.runs] == names(GRID)
    made = {file.name for file in begun.iterdir()}
    assert made >= {"results.csv", "results.json", "frontier.html", "frontier.png"}


def test_a_piece_whose_process_was_killed_is_done_by_another(begun: Path) -> None:
    (begun / f"strike-{names(GRID)[2]}").touch()
    go(begun)
    expected = Counter([*names(GRID), "baselines"])
    assert seen(begun) == expected + Counter([names(GRID)[2]])


def test_a_sweep_that_was_refused_goes_on_where_it_was(begun: Path) -> None:
    last = names(GRID)[-1]
    (begun / f"refuse-{last}").touch()
    with pytest.raises(InfeasibleError, match=f"{last}: too few"):
        go(begun)
    (begun / f"refuse-{last}").unlink()
    done = {file.parent.name for file in begun.glob("runs/*/report.json")}
    before = seen(begun)
    go(begun)
    assert done
    assert set(seen(begun) - before) & done == set()
    assert set(seen(begun)) == {*names(GRID), "baselines"}


def test_what_is_finished_is_not_run_again(begun: Path) -> None:
    go(begun)
    before = seen(begun)
    assert go(begun).csv() == (begun / "results.csv").read_text("utf-8")
    assert seen(begun) == before


def test_a_worker_that_always_dies_ends_the_sweep_and_names_the_log(begun: Path) -> None:
    with pytest.raises(HomebodyError, match="its process ended 2 times") as caught:
        carry_out(begun, jobs=1, worker=(sys.executable, "-c", "import sys; sys.exit('broken')"))
    assert "sweep.log" in caught.value.fix
    assert "broken" in (begun / "sweep.log").read_text("utf-8")


def test_a_sweep_is_begun_once_and_continued_as_it_was(begun: Path, small_config: Path) -> None:
    with pytest.raises(UsageError, match="already"):
        begin(begun, GRID, small_config)
    with pytest.raises(InvalidFileError, match="there is no sweep"):
        sweep(out=begun / "nowhere", resume=True)


def test_a_config_that_was_changed_since_is_noticed(
    begun: Path, write_config: Callable[..., Path]
) -> None:
    other = write_config(rounds=3).read_bytes()
    (begun / "privacy.toml").write_bytes(other)
    with pytest.raises(IntegrityError, match="not what the sweep was begun with"):
        go(begun)


def test_more_than_the_config_allows_is_refused_before_anything_runs(
    tmp_path: Path, small_config: Path
) -> None:
    with pytest.raises(PolicyViolationError, match=r"--epsilon 9 is above"):
        sweep("synthetic", config=small_config, epsilon=[1.0, 9.0], out=tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_fewer_than_one_process_is_refused(begun: Path) -> None:
    with pytest.raises(UsageError, match="--jobs"):
        carry_out(begun, jobs=0)


def trained(folder: Path, grid: Grid, config: Path) -> tuple[Frontier, list[Mapping[str, Any]]]:
    """Carry a sweep out in this process; return it and what its workers would have told."""
    begin(folder, grid, config)
    told: list[Mapping[str, Any]] = []
    for point in [*map(asdict, grid.points()), None]:
        piece = {"folder": str(folder), "grid": grid.to_dict(), "name": "x", "point": point}
        work(json.loads(json.dumps(piece)), told.append)
    return carry_out(folder, jobs=1), told  # nothing is left to do


def test_the_runs_of_a_sweep_are_runs_like_any_other(tmp_path: Path, small_config: Path) -> None:
    grid = Grid(
        data="synthetic",
        options={"devices": 40, "items": 20},
        epsilons=(8.0,),
        seeds=(5,),
        rounds=1,
        cohort=40,
    )
    frontier, told = trained(tmp_path / "s", grid, small_config)
    assert [answer["round"] for answer in told if "round" in answer] == [1, 1]
    file = tmp_path / "s/runs/eps8-two-tower-s5/report.json"
    report = json.loads(file.read_text("utf-8"))
    assert frontier.runs[0].ndcg.mean == report["utility"]["model"]["ndcg@10"]["mean"]
    assert report["utility"]["test_opened"] == 1
    assert {row.name for row in frontier.rows} >= {"popularity", "two-tower", "ease-windowed"}
    assert frontier.runs[0].spent is not None
    assert frontier.runs[0].spent <= 8.0
    assert frontier.price is None


def test_a_private_sweep_says_what_its_runs_and_the_final_one_cost(
    tmp_path: Path, correlated_config: Path
) -> None:
    grid = Grid(
        data="synthetic",
        options={"devices": 40, "items": 20},
        epsilons=(4.0, 8.0),
        seeds=(1,),
        tuning="private",
    )
    frontier, _ = trained(tmp_path / "s", grid, correlated_config)
    chosen = frontier.chosen()[0].point.name
    spent = {
        name: [
            c.squared_loss
            for c in read_ledger(tmp_path / "s/runs" / name / "ledger.jsonl")[0].charges()
        ]
        for name in names(grid)
    }
    swept = sum(map(sum, spent.values()))
    final = sum(spent[chosen])
    delta = accounted_delta(1e-3)
    assert frontier.price is not None
    price = frontier.price
    # Nothing is sampled, so that mu adds up as squares.
    assert price["epsilon_tuning"] == pytest.approx(gaussian_epsilon(swept**0.5, delta), abs=0.02)
    truth = gaussian_epsilon((swept + final) ** 0.5, delta)
    assert truth <= price["epsilon_total"]
    training = spent[chosen][0]  # the whole run; figures follow
    assert (price["tuning_runs"] - 1) * training < swept <= price["tuning_runs"] * training
    assert not price["allowed"]
    assert f"dp.tuning_runs = {price['tuning_runs']} " in price["words"]
    assert price["words"] in (tmp_path / "s/frontier.html").read_text("utf-8").replace("&#34;", '"')
    assert not [row for row in frontier.rows if row.kind == "no-dp"]
