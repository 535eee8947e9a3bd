"""The report's figures of quality: the model beside its baselines, on the test opened once."""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from homebody_models.local_recency import LocalRecency
from homebody_models.metrics import Evaluation, evaluate
from homebody_models.popularity import Popularity, popularity_baseline
from homebody_models.recommender import Recommender
from homebody_models.split import Choice, Task
from homebody_simulation.curve import look, sample
from homebody_simulation.setup import Prepared

_NAMES = ("ndcg@10", "hit@10", "mrr@10", "recall@10", "coverage@10", "novelty@10")
_BOOTSTRAP_SEED = 2026
_IN_WORDS = {"again": "next item, repeats included", "new": "next new item"}
_PROTOCOL = """\
Leave-one-out by time: the last event of each device is the test; the one before is \
the validation item; the model was trained on the rest. Full ranking of the catalog, a tie counts \
half; intervals are 95 % bootstrap over devices."""
_LABORATORY = """\
These figures are the laboratory's: a simulation can look into every device, a fleet cannot. They \
are not covered by epsilon, and nothing in the run depended on them."""

_GIVEN = """\
A fleet cannot look into devices. These figures are of the data set that its nodes were given, as \
the operator holds it; they are not covered by epsilon, and nothing in the run depended on them."""


@dataclass(frozen=True, slots=True)
class _Contender:
    """A row of the report's table."""

    name: str
    note: str
    model: Recommender
    parameters: npt.NDArray[np.float32]


def utility_report(prepared: Prepared, parameters: npt.NDArray[np.float32]) -> dict[str, Any]:
    """Open the test and return what model and baselines do on it."""
    own = _Contender(prepared.model.name, "", prepared.model, parameters)
    popularity, local = _baselines(prepared)
    task = prepared.split.test.open(Choice(what=prepared.model.name, by="fixed beforehand"))
    # A new item is never a repetition: what can only repeat has no row there.
    baselines = [popularity, local] if task.kind == "again" else [popularity]
    results = {each.name: _evaluate(each, task) for each in baselines}
    mine = _evaluate(own, task)
    values = {name: _values(result) for name, result in results.items()}
    shelf = look(popularity.model, popularity.parameters, sample(prepared.split.validation))[1]
    values["popularity"]["validation_ndcg@10"] = shelf
    report: dict[str, Any] = {
        "task": task.kind,
        "task_in_words": _IN_WORDS[task.kind],
        "protocol": _PROTOCOL,
        "test_opened": prepared.split.test.opened,
        "laboratory": _LABORATORY if prepared.request.fleet is None else _GIVEN,
        "names": list(_NAMES),
        "model": _values(mine),
        "baselines": values,
        "rows": [_row(own, mine), *(_row(each, results[each.name]) for each in baselines)],
        "segments": {name: asdict(part.ndcg) for name, part in mine.by_segment.items()},
    }
    report["rows"][0]["own"] = True
    if task.kind == "again":
        fresh = task.first_time()
        first = {"model": _evaluate(own, fresh), "popularity": _evaluate(popularity, fresh)}
        report["first_time"] = {name: _values(result) for name, result in first.items()}
        for each, result in zip((own, popularity), first.values(), strict=True):
            note = "only devices whose next item was new to them; seen items hidden"
            report["rows"].append(_row(replace(each, name=f"{each.name}, first time"), result))
            report["rows"][-1]["note"] = note
    return report


def _baselines(prepared: Prepared) -> tuple[_Contender, _Contender]:
    items = len(prepared.dataset.interactions.catalog)
    decay = float(prepared.model_spec.options.get("history_decay", 0.9))
    local = LocalRecency(n_items=items, history_decay=decay)
    return (
        _Contender(
            "popularity",
            "the same list for all; no differential privacy",
            Popularity(items),
            popularity_baseline(prepared.split.train),
        ),
        _Contender(
            "local-only",
            "the device's own recent choices; nothing is shared, nothing learned from others",
            local,
            local.init(np.random.default_rng(0)),
        ),
    )


def _row(contender: _Contender, result: Evaluation) -> dict[str, Any]:
    values = _values(result)
    return {
        "name": contender.name,
        "note": contender.note,
        "own": False,
        "cells": [values[metric] for metric in _NAMES],
    }


def _evaluate(contender: _Contender, task: Task) -> Evaluation:
    rng = np.random.default_rng(_BOOTSTRAP_SEED)
    return evaluate(contender.model, contender.parameters, task, rng=rng)


def _values(result: Evaluation) -> dict[str, Any]:
    overall = result.overall
    return {
        "ndcg@10": asdict(overall.ndcg),
        "hit@10": asdict(overall.hit),
        "mrr@10": asdict(overall.mrr),
        "recall@10": asdict(overall.recall),
        "coverage@10": result.coverage,
        "novelty@10": result.novelty,
    }
