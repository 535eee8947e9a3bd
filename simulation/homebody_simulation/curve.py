"""How good the model is after each release, as the laboratory sees it.

A simulation holds every device's data, so it can look; a fleet cannot. These figures are computed
beside the run, on validation items, from data that never leaves a real device; nothing in the run
depends on them, and epsilon does not cover them. The report says so.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from homebody_models.full_ranking import ranks_of, visible_scores
from homebody_models.metrics import histories_of, ndcg
from homebody_models.recommender import Recommender, scorer_of
from homebody_models.split import Task

_SAMPLE = 2_000
_POINTS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """The model after one release.

    Attributes:
        round: Round, from 1; 0 for the start that statistics give.
        loss: Mean cross entropy of the validation item under a softmax of the scores, in nats;
            None where devices train on that item too.
        ndcg: Mean ndcg@10 of the validation item, full ranking; None likewise.
        epsilon: User-level epsilon spent so far; None without differential privacy.
    """

    round: int
    loss: float | None
    ndcg: float | None
    epsilon: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return the values of one line of ``metrics.jsonl``."""
        return {
            "round": self.round,
            "loss": self.loss,
            "ndcg@10": self.ndcg,
            "epsilon": self.epsilon,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Observes releases and keeps a point for some of them.

    Attributes:
        model: Model being trained.
        task: Validation items; a fixed sample of devices is looked at. None where devices train
            on them too: a look would flatter.
        rounds: Rounds of the run, for the spacing of the points.
        spent: Epsilon spent after each round.
        file: ``metrics.jsonl``, one point a line.
        tell: Called with each point.
    """

    model: Recommender
    task: Task | None = field(repr=False)
    rounds: int
    spent: Callable[[int], float | None]
    file: Path
    tell: Callable[[Point], None]

    def __call__(self, number: int, parameters: npt.NDArray[np.float32]) -> None:
        """Look at the model after round ``number``, if it is one of those looked at."""
        if number % _every(self.rounds) and number != self.rounds:
            return
        loss, quality = None, None
        if self.task is not None:
            loss, quality = look(self.model, parameters, sample(self.task))
        point = Point(round=number, loss=loss, ndcg=quality, epsilon=self.spent(number))
        end_of_cut_line = "" if _ends_whole(self.file) else "\n"
        with self.file.open("a", encoding="utf-8") as lines:
            lines.write(f"{end_of_cut_line}{json.dumps(point.to_dict())}\n")
        self.tell(point)


def _every(rounds: int) -> int:
    return max(1, rounds // _POINTS)


def looks(rounds: int) -> int:
    """Return how often a run of that many rounds is looked at."""
    return -(-rounds // _every(rounds))


def _ends_whole(file: Path) -> bool:
    """Tell whether the last line has its end: a crash may have cut it short."""
    return not file.exists() or file.read_bytes()[-1:] in (b"", b"\n")


def read_points(file: Path) -> list[Point]:
    """Return the points of ``metrics.jsonl`` by round; of a round seen twice, the later look."""
    if not file.exists():
        return []
    whole = (line for line in file.read_text("utf-8").splitlines() if line.endswith("}"))
    lines: list[Mapping[str, Any]] = [json.loads(line) for line in whole]
    points = {
        line["round"]: Point(
            round=line["round"], loss=line["loss"], ndcg=line["ndcg@10"], epsilon=line["epsilon"]
        )
        for line in lines
    }
    return [points[number] for number in sorted(points)]


def sample(task: Task) -> Task:
    """Return at most 2,000 devices of a task, evenly spread, always the same ones."""
    if len(task) <= _SAMPLE:
        return task
    rows = np.linspace(0, len(task) - 1, _SAMPLE).astype(np.int64)
    return Task(
        data=task.data, devices=task.devices[rows], targets=task.targets[rows], kind=task.kind
    )


def look(
    model: Recommender, parameters: npt.NDArray[np.float32], task: Task, block: int = 512
) -> tuple[float, float]:
    """Return mean loss (nats) and mean ndcg@10 of a model on a task."""
    losses, qualities = [], []
    score = scorer_of(model, parameters)
    for start in range(0, len(task), block):
        rows = slice(start, start + block)
        histories, targets = histories_of(task, rows), task.targets[rows]
        scores = score(histories)
        hidden = histories if task.kind == "new" else None
        ranks = ranks_of(visible_scores(scores, targets, hidden), targets)
        qualities.append(ndcg(ranks, 10))
        shifted = scores - scores.max(axis=1, keepdims=True)
        total = np.log(np.exp(shifted).sum(axis=1))
        losses.append(total - shifted[np.arange(len(targets)), targets])
    return float(np.concatenate(losses).mean()), float(np.concatenate(qualities).mean())
