"""Which of the models a run made is given to devices, and why: settled before the test is opened.

A run of one-shot statistics and rounds makes two models: its start and its end. The figure devices
sent about each, noised and charged, decides; a tie or a missing figure goes to the start, because
then nothing shows that the rounds bought anything.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from homebody_models.device_metrics import figure_names, figure_scale
from homebody_models.recommender import model_digest
from homebody_models.split import Choice
from homebody_privacy.ledger import read_ledger
from homebody_server.run_spec import RunSpec
from homebody_server.spending import anchors_of
from homebody_simulation.curve import read_points
from homebody_simulation.setup import Prepared

FIGURE: Final = "ndcg@10"
"""What decides."""

_CHANCE: Final = 1.96  # standard deviations: a smaller gap is called one that may be chance

StageName = Literal["start", "end"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure about a model, as it was released. Public, but for a run without noise.

    Attributes:
        value: Mean ndcg@10 over devices.
        noise_sd: Standard deviation of its noise; 0 in a laboratory run without noise.
    """

    value: float
    noise_sd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A model that a run made.

    Attributes:
        name: ``start``, after the statistics, or ``end``, after the last round.
        words: How it came about.
        parameters: Flat float32.
        figure: What devices said about it; None if nothing was asked or nothing came.
    """

    name: StageName
    words: str
    parameters: npt.NDArray[np.float32] = field(repr=False)
    figure: Figure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipping:
    """The models of a run, and the one that devices get.

    Attributes:
        stages: One model, or start and end.
        shipped: The one that is published.
        why: The reason, in words.
        by: How that was settled, as the test is told.
    """

    stages: tuple[Stage, ...]
    shipped: Stage
    why: str
    by: Literal["fixed beforehand", "validation", "charged validation"]

    def choice(self, model: str) -> Choice:
        """Return what the test is opened for."""
        return Choice(what=f"{model}, {self.shipped.words}", by=self.by)

    def to_dict(self) -> dict[str, Any]:
        """Return the object of the report."""
        return {
            "shipped": self.shipped.name,
            "why": self.why,
            "by": self.by,
            "figure": FIGURE,
            "stages": [
                {
                    "name": stage.name,
                    "words": stage.words,
                    "model": model_digest(stage.parameters),
                    "value": None if stage.figure is None else stage.figure.value,
                    "noise_sd": None if stage.figure is None else stage.figure.noise_sd,
                }
                for stage in self.stages
            ],
        }


def shipping_of(prepared: Prepared) -> Shipping:
    """Return the models of a run that has ended, and which of them is published."""
    spec, state = prepared.spec, prepared.folder.load_state()
    rounds = state.next_round - 1
    if spec.recipe == "rounds":
        end = Stage(name="end", words=_rounds(rounds), parameters=state.parameters)
        return _only(end, "the run makes one model: that of its last round")
    made = np.load(prepared.folder.start_file, allow_pickle=False)
    start = Stage(name="start", words="one-shot statistics", parameters=made)
    if spec.recipe == "statistics" or not rounds:
        return _only(start, "the run made one model: that of its statistics")
    charged, by_round = spec.ceiling is not None, _figures(prepared)
    first = Stage(name="start", words=start.words, parameters=made, figure=by_round.get(0))
    last = Stage(
        name="end",
        words=f"one-shot statistics, then {_rounds(rounds)}",
        parameters=state.parameters,
        figure=by_round.get(rounds),
    )
    better, why = decide(first.figure, last.figure)
    return Shipping(
        stages=(first, last),
        shipped=first if better == "start" else last,
        why=why if charged else f"{why}; looked up in the laboratory, which is bound by nothing",
        by="charged validation" if charged else "validation",
    )


def decide(start: Figure | None, end: Figure | None) -> tuple[StageName, str]:
    """Return which model is published, and why.

    Args:
        start: Figure of the start; None for none.
        end: Figure of the end; None for none.

    Examples:
        >>> decide(Figure(0.05, 0.001), Figure(0.04, 0.001))[0]
        'start'
        >>> decide(Figure(0.05, 0.001), Figure(0.06, 0.001))
        ('end', 'ndcg@10 of the end, 0.0600, is above that of the start, 0.0500')
        >>> decide(None, Figure(0.06, 0.001))[0]
        'start'
    """
    if start is None or end is None:
        return "start", (
            f"{FIGURE} was not released of both models: nothing shows that the rounds bought "
            "anything"
        )
    gap, noise = end.value - start.value, math.hypot(start.noise_sd, end.noise_sd)
    chance = " (by less than its noise: it may be chance)" if abs(gap) <= _CHANCE * noise else ""
    won = gap > 0.0
    why = (
        f"{FIGURE} of the end, {end.value:.4f}, is {'above' if won else 'not above'} that of the "
        f"start, {start.value:.4f}{chance if noise else ''}"
    )
    return ("end", why) if won else ("start", f"{why}; the rounds bought nothing to ship")


def _only(stage: Stage, why: str) -> Shipping:
    return Shipping(stages=(stage,), shipped=stage, why=why, by="fixed beforehand")


def _rounds(number: int) -> str:
    return f"{number} round{'' if number == 1 else 's'}"


def _figures(prepared: Prepared) -> dict[int, Figure]:
    """Return what is known of the model after each round: charged figures, or looks without DP."""
    spec, folder = prepared.spec, prepared.folder
    if spec.ceiling is None:
        points = read_points(folder.path / "metrics.jsonl")
        return {point.round: Figure(point.ndcg, 0.0) for point in points if point.ndcg is not None}
    answers = read_ledger(folder.ledger_file, anchors_of(spec))[0].answers
    return charged_figures(spec, answers)


def charged_figures(spec: RunSpec, answers: Mapping[str, Mapping[str, float]]) -> dict[int, Figure]:
    """Return the released ndcg@10 by the round after which it was asked.

    Args:
        spec: The run's constants.
        answers: Released figures by purchase. Public.
    """
    found = {}
    for plan in spec.metrics:
        if FIGURE not in figure_names(plan.name):
            continue
        noise = plan.noise_multiplier * figure_scale(plan.name, spec.devices)
        for number in spec.figure_rounds(plan):
            values = answers.get(plan.purchase(number))
            if values is not None:
                found[number] = Figure(values[FIGURE], noise)
    return found
