"""Choose each baseline's setting on validation items, then fit it again on all but the last event.

Nothing here opens the test, so that nothing can be chosen on it.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

import numpy as np

from homebody_models.baselines.baseline import Baseline, Setting
from homebody_models.baselines.ials import Ials
from homebody_models.baselines.linear import EASE, EASE_RECENCY, EASE_WINDOWED, ItemKnn
from homebody_models.baselines.next_item import NextItem
from homebody_models.baselines.next_linear import NextLinear
from homebody_models.baselines.simple import Bestsellers, LocalOnly, Rules
from homebody_models.metrics import histories_of, ndcg, target_ranks
from homebody_models.recommender import Scores
from homebody_models.split import Kind, Split, Task

_ALL: Final[tuple[Baseline, ...]] = (
    Bestsellers(),
    Rules(),
    LocalOnly(),
    ItemKnn(),
    EASE,
    EASE_RECENCY,
    EASE_WINDOWED,
    NextLinear(),
    Ials(),
    NextItem(),
)
BASELINES: Final = MappingProxyType({baseline.name: baseline for baseline in _ALL})
NAMES: Final = tuple(BASELINES)
"""Names of the baselines, in the order of a table."""

_SAMPLE: Final = 2_000
_BLOCK_SCORES: Final = 8_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A baseline with the setting that validation preferred, ready for the test.

    Attributes:
        name: Name of the baseline.
        note: What it is, in words.
        kind: The task the setting was chosen for; on ``new`` the history is hidden.
        setting: The setting.
        tried: Settings it was chosen among.
        validation: Mean ndcg@10 of the validation items, on at most 2,000 devices; None where
            there was nothing to choose.
        scores: Fitted on all but the last event of each device. Secret.
        seconds: How long fitting and choosing took.
    """

    name: str
    note: str
    kind: Kind
    setting: Setting
    tried: int
    validation: float | None
    scores: Scores = field(repr=False)
    seconds: float


def choose(split: Split, names: Sequence[str] = NAMES, *, seed: int = 0) -> tuple[Chosen, ...]:
    """Fit baselines on ``split.train``, choose on ``split.validation``, refit on ``split.refit``.

    Args:
        split: Histories. Secret.
        names: Baselines, of ``NAMES``.
        seed: Draws initial values and batches, where a baseline has any.

    Returns:
        One for each baseline and task, in the order of ``names``. Data whose items are chosen again
        has two tasks: ``again`` over all devices, and ``new`` over those whose next item was new to
        them. What only repeats leaves all new items tied there, and scores what chance does.

    Raises:
        ValueError: If there is no such baseline, or no device to validate on.
    """
    unknown = [name for name in names if name not in BASELINES]
    if unknown:
        raise ValueError(f"no baseline is called {unknown[0]!r}; there are {', '.join(NAMES)}")
    if not len(split.validation):
        raise ValueError("no device has an item to validate on")
    tasks = [split.validation]
    if split.validation.kind == "again" and len(fresh := split.validation.first_time()):
        tasks.append(fresh)
    return tuple(
        chosen for name in names for chosen in _choose(BASELINES[name], split, tasks, seed)
    )


def _choose(baseline: Baseline, split: Split, tasks: Sequence[Task], seed: int) -> list[Chosen]:
    """Choose one baseline's setting for each task, and fit it again."""
    started = time.perf_counter()
    search = _Search(baseline, split, [_sample(task) for task in tasks], seed)
    best = [search.best(column) for column in range(len(tasks))]
    fitted = {}
    for key in dict.fromkeys(tuple(setting.items()) for setting in best):
        (fitted[key],) = baseline.fit_each(split.refit, [dict(key)], seed=seed)
    seconds = time.perf_counter() - started
    return [
        Chosen(
            name=baseline.name,
            note=baseline.note,
            kind=task.kind,
            setting=setting,
            tried=max(1, len(search.found)),
            validation=search.found.get(tuple(setting.items()), (None, None))[column],
            scores=fitted[tuple(setting.items())],
            seconds=seconds,
        )
        for column, (task, setting) in enumerate(zip(tasks, best, strict=True))
    ]


class _Search:
    """Settings tried on validation, one axis after the other, with what they reached.

    Attributes:
        found: Mean ndcg@10 on each task, by the values of a setting.
    """

    def __init__(self, baseline: Baseline, split: Split, tasks: Sequence[Task], seed: int) -> None:
        self.found: dict[tuple[tuple[str, float], ...], tuple[float, ...]] = {}
        self._baseline = baseline
        self._split = split
        self._tasks = tasks
        self._seed = seed

    def best(self, column: int) -> Setting:
        """Return the setting that a task prefers; where there is no choice, without a look."""
        axes = self._baseline.axes(self._split.train)
        setting = {name: values[0] for name, values in axes.items()}
        for name, values in axes.items():
            line = [{**setting, name: value} for value in values]
            self._try(line)
            setting = max(line, key=lambda tried: self.found[tuple(tried.items())][column])
        return setting

    def _try(self, settings: Sequence[Setting]) -> None:
        new = [setting for setting in settings if tuple(setting.items()) not in self.found]
        fitted = self._baseline.fit_each(self._split.train, new, seed=self._seed)
        for setting, scores in zip(new, fitted, strict=True):
            reached = tuple(quality(scores, task) for task in self._tasks)
            self.found[tuple(setting.items())] = reached


def quality(scores: Scores, task: Task) -> float:
    """Return the mean ndcg@10 of a task, full ranking."""
    block = max(1, _BLOCK_SCORES // len(task.data.catalog))
    total = 0.0
    for start in range(0, len(task), block):
        histories = histories_of(task, slice(start, start + block))
        hidden = histories if task.kind == "new" else None
        ranks = target_ranks(scores(histories), task.targets[start : start + block], hidden)
        total += float(ndcg(ranks, 10).sum())
    return total / len(task)


def _sample(task: Task) -> Task:
    """Return at most 2,000 devices of a task, evenly spread, always the same ones."""
    if len(task) <= _SAMPLE:
        return task
    rows = np.linspace(0, len(task) - 1, _SAMPLE).astype(np.int64)
    return Task(
        data=task.data, devices=task.devices[rows], targets=task.targets[rows], kind=task.kind
    )
