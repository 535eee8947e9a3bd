"""``from homebody import baselines``: the floor and the ceiling of a data set, without privacy.

Settings are chosen on validation items, the chosen one is fitted again on all but the last event,
and the test is opened once for the whole table.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from homebody_models.baselines.choosing import NAMES, Chosen, choose
from homebody_models.metrics import Evaluation, rank_scores, summarise
from homebody_models.sampled import Sampled, sampled
from homebody_models.split import Choice, Kind, Task, leave_one_out
from homebody_privacy.environment import DATA
from homebody_privacy.errors import InfeasibleError, UsageError
from homebody_simulation.datasets import Dataset, load_dataset
from homebody_simulation.datasets.published_negatives import published_negatives

PROTOCOL = """\
Leave-one-out by time: the last event of each device is the test, opened once; the one before is \
the validation item, on which each setting was chosen; the choice was fitted again on all but the \
last event. Full ranking of the catalog, a tie counts half; intervals are 95 % bootstrap over \
devices. No differential privacy: these are references, not something a fleet could release."""
_BOOTSTRAP_SEED = 2026


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineRow:
    """What one baseline does on one task. Aggregates of secret data, for a laboratory.

    Attributes:
        name: Name of the baseline.
        note: What it is, in words.
        kind: ``new`` or ``again``; the two are never averaged.
        setting: The setting that validation preferred.
        tried: Settings it was chosen among.
        validation: Mean ndcg@10 of validation items with that setting; None without a choice.
        evaluation: Full ranking of the test.
        sampled: Ranking against published negatives, for comparison only; None without a list.
        seconds: Fitting, choosing and fitting again, all tasks together.
    """

    name: str
    note: str
    kind: Kind
    setting: Mapping[str, float]
    tried: int
    validation: float | None
    evaluation: Evaluation
    sampled: Sampled | None
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return the row as JSON values."""
        overall = self.evaluation.overall
        return {
            "name": self.name,
            "note": self.note,
            "task": self.kind,
            "setting": dict(self.setting),
            "tried": self.tried,
            "validation_ndcg@10": self.validation,
            "ndcg@10": asdict(overall.ndcg),
            "hit@10": asdict(overall.hit),
            "mrr@10": asdict(overall.mrr),
            "coverage@10": self.evaluation.coverage,
            "novelty@10": self.evaluation.novelty,
            "segments": {
                name: asdict(part.ndcg) for name, part in self.evaluation.by_segment.items()
            },
            "comparison_only": None if self.sampled is None else _sampled(self.sampled),
            "seconds": self.seconds,
        }


def _sampled(found: Sampled) -> dict[str, Any]:
    return {f"s{found.negatives}_ndcg@10": asdict(found.ndcg),
            f"s{found.negatives}_hit@10": asdict(found.hit)}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineTable:
    """All baselines of a data set.

    Attributes:
        data: Name of the data set.
        devices: Devices it has.
        items: Items of its catalog.
        seed: Seed of initial values and batches.
        rows: One for each baseline and task.
        notes: Sentences a reader of figures must know.
    """

    data: str
    devices: int
    items: int
    seed: int
    rows: tuple[BaselineRow, ...] = field(repr=False)
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the table as JSON values."""
        return {
            "schema": "baselines/1",
            "data": self.data,
            "devices": self.devices,
            "items": self.items,
            "seed": self.seed,
            "protocol": PROTOCOL,
            "rows": [row.to_dict() for row in self.rows],
            "notes": list(self.notes),
        }


def baselines(
    data: str = "complete-journey",
    *,
    only: Sequence[str] | None = None,
    seed: int = 0,
    **options: object,
) -> BaselineTable:
    """Measure recommenders that know no privacy on a data set: its floor and its ceiling.

    Args:
        data: Name of the data set.
        only: Some of the baselines, by name; None for all.
        seed: Draws initial values and batches; no privacy rests on it.
        options: Options of the data set's loader, such as ``devices`` of ``synthetic``.

    Raises:
        HomebodyError: If anything is refused; its ``code``, ``exit_code`` and ``fix`` say what.
    """
    names = _known(only)
    dataset = load_dataset(data, root=None, **options)
    return BaselineTable(
        data=dataset.name,
        devices=dataset.interactions.devices,
        items=len(dataset.interactions.catalog),
        seed=seed,
        rows=baseline_rows(dataset, names, seed=seed),
        notes=dataset.notes,
    )


def baseline_rows(
    dataset: Dataset, names: Sequence[str] = NAMES, *, seed: int = 0
) -> tuple[BaselineRow, ...]:
    """Split a data set, choose and fit its baselines, and open the test once for all of them.

    Args:
        dataset: The data set. Secret.
        names: Baselines, of ``NAMES``.
        seed: Draws initial values and batches.

    Raises:
        InfeasibleError: If no device has the three events that a split needs.
    """
    split = leave_one_out(dataset.interactions)
    if not len(split.validation):
        raise InfeasibleError(
            f"data set {dataset.name}: no device has three events and a next item to find",
            fix="use data with longer histories",
        )
    chosen = choose(split, names, seed=seed)
    task = split.test.open(Choice(what=f"baselines {', '.join(names)}", by="validation"))
    tasks = {task.kind: task}
    if task.kind == "again":
        tasks["new"] = task.first_time()
    negatives = published_negatives(dataset, _root())
    rows = []
    for each in chosen:
        if not len(tasks[each.kind]):
            continue
        found = None
        if negatives is not None:
            rng = np.random.default_rng(_BOOTSTRAP_SEED)
            found = sampled(each.scores, tasks[each.kind], negatives, rng=rng)
        rows.append(_row(each, tasks[each.kind], found))
    return tuple(rows)


def _row(chosen: Chosen, task: Task, found: Sampled | None) -> BaselineRow:
    rng = np.random.default_rng(_BOOTSTRAP_SEED)
    return BaselineRow(
        name=chosen.name,
        note=chosen.note,
        kind=chosen.kind,
        setting=chosen.setting,
        tried=chosen.tried,
        validation=chosen.validation,
        evaluation=summarise(rank_scores(chosen.scores, task), task, rng=rng),
        sampled=found,
        seconds=chosen.seconds,
    )


def _known(only: Sequence[str] | None) -> tuple[str, ...]:
    """Return the names asked for, in the order of the table.

    Raises:
        UsageError: If one of them is no baseline.
    """
    if only is None:
        return NAMES
    unknown = [name for name in only if name not in NAMES]
    if unknown or not only:
        what = f"no baseline is called {unknown[0]!r}" if unknown else "no baseline is named"
        raise UsageError(f"{what}; there are {', '.join(NAMES)}", fix="name some of them")
    return tuple(name for name in NAMES if name in only)


def _root() -> Path | None:
    folder = os.environ.get(DATA)
    return Path(folder) if folder else None
