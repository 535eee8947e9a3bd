"""Points of the curve: what the laboratory saw, read back whatever a crash left of the file."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from homebody_models.metrics import ndcg, target_ranks
from homebody_models.split import Task, leave_one_out
from homebody_models.zoo import ModelSpec
from homebody_simulation.curve import Curve, Point, look, read_points, sample
from homebody_simulation.datasets import load_dataset

DATA = load_dataset("synthetic", devices=30, items=15).interactions
MODEL = ModelSpec("two-tower", {"dim": 4}).build(DATA.catalog)
VALIDATION = leave_one_out(DATA).validation
PARAMETERS = MODEL.init(np.random.default_rng(0))


def curve(file: Path, *, rounds: int = 3, told: list[Point] | None = None) -> Curve:
    """Return a curve that writes to ``file``."""
    seen = [] if told is None else told
    return Curve(
        model=MODEL,
        task=VALIDATION,
        rounds=rounds,
        spent=lambda number: number / 2,
        file=file,
        tell=seen.append,
    )


def softmax_loss(task: Task, parameters: npt.NDArray[np.float32]) -> float:
    """Return the mean cross entropy, one device at a time."""
    losses = []
    for i in range(len(task)):
        scores = MODEL.scores(parameters, [task.history(i)])[0].astype(np.float64)
        losses.append(np.log(np.exp(scores).sum()) - scores[task.targets[i]])
    return float(np.mean(losses))


def test_loss_and_ndcg_are_those_of_a_softmax_and_a_full_ranking() -> None:
    loss, quality = look(MODEL, PARAMETERS, VALIDATION, block=7)
    histories = [VALIDATION.history(i) for i in range(len(VALIDATION))]
    ranks = target_ranks(MODEL.scores(PARAMETERS, histories), VALIDATION.targets, histories)
    assert loss == pytest.approx(softmax_loss(VALIDATION, PARAMETERS), rel=1e-5)
    assert quality == pytest.approx(float(ndcg(ranks, 10).mean()))
    assert VALIDATION.kind == "new"


def test_points_are_read_as_they_were_written(tmp_path: Path) -> None:
    told: list[Point] = []
    watch = curve(tmp_path / "m.jsonl", told=told)
    for number in (1, 2, 3):
        watch(number, PARAMETERS)
    assert [point.round for point in told] == [1, 2, 3]
    assert read_points(tmp_path / "m.jsonl") == told
    assert told[1].epsilon == 1.0


def test_long_runs_are_looked_at_now_and_then_and_at_their_end(tmp_path: Path) -> None:
    told: list[Point] = []
    watch = curve(tmp_path / "m.jsonl", rounds=203, told=told)
    for number in range(1, 204):
        if number % 4 == 0 or number > 200:
            watch(number, PARAMETERS)
    rounds = [point.round for point in told]
    assert rounds[-1] == 203
    assert len(rounds) <= 52


def test_of_a_round_seen_twice_the_later_look_counts(tmp_path: Path) -> None:
    file = tmp_path / "m.jsonl"
    curve(file)(1, PARAMETERS)
    curve(file)(1, PARAMETERS * 2)
    (point,) = read_points(file)
    assert point.loss == pytest.approx(look(MODEL, PARAMETERS * 2, VALIDATION)[0])


def test_no_file_is_no_points(tmp_path: Path) -> None:
    assert read_points(tmp_path / "m.jsonl") == []


def test_a_last_line_cut_short_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "m.jsonl"
    curve(file)(1, PARAMETERS)
    with file.open("a") as lines:
        lines.write('{"round": 2, "loss": 3.')
    assert [point.round for point in read_points(file)] == [1]


def test_a_run_that_goes_on_after_a_line_cut_short_keeps_its_curve(tmp_path: Path) -> None:
    file = tmp_path / "m.jsonl"
    curve(file)(1, PARAMETERS)
    with file.open("a") as lines:
        lines.write('{"round": 2, "loss": 3.')
    curve(file)(2, PARAMETERS)
    curve(file)(3, PARAMETERS)
    assert [point.round for point in read_points(file)][-1] == 3


def test_a_sample_is_at_most_two_thousand_always_the_same_devices() -> None:
    small = sample(VALIDATION)
    assert small is VALIDATION
    many = load_dataset("synthetic", devices=2500, items=10).interactions
    task = leave_one_out(many).validation
    first, again = sample(task), sample(task)
    assert len(first) == 2000
    assert first.devices.tolist() == again.devices.tolist()
    assert len(set(first.devices.tolist())) == 2000
