"""The report's figures of quality: the model beside its baselines, on the test opened once."""

from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from homebody_models.local_recency import LocalRecency
from homebody_models.metrics import Evaluation, evaluate
from homebody_models.popularity import Popularity, popularity_baseline
from homebody_models.recommender import Recommender
from homebody_models.split import Task
from homebody_simulation.curve import look, sample
from homebody_simulation.setup import Prepared

_NAMES = ("ndcg@10", "hit@10", "mrr@10", "recall@10", "coverage@10", "novelty@10")
_BOOTSTRAP_SEED = 2026


def utility_report(prepared: Prepared, parameters: npt.NDArray[np.float32]) -> dict[str, Any]:
    """Open the test and return what model and baselines do on it."""
    split = prepared.split
    task = split.test.open()  # once, after every choice was made
    catalog = prepared.dataset.interactions.catalog
    options = prepared.model_spec.options
    decay = float(options.get("history_decay", 0.9))
    popularity = Popularity(len(catalog))
    counts = popularity_baseline(split.train)
    local = LocalRecency(n_items=len(catalog), history_decay=decay)
    contenders: list[tuple[str, str, Recommender, npt.NDArray[np.float32]]] = [
        (prepared.model.name, "", prepared.model, parameters),
        ("popularity", "the same list for all; no differential privacy", popularity, counts),
        (
            "local-only",
            "the device's own recent choices; nothing is shared, nothing learned from others",
            local,
            local.init(np.random.default_rng(0)),
        ),
    ]
    if task.kind == "new":
        contenders.pop()  # it can only repeat, and a new item is never a repetition
    tasks = [task] if task.kind == "new" else [task, task.first_time()]
    results = [
        {name: _evaluate(model, values, each) for name, _, model, values in contenders}
        for each in tasks
    ]
    headline = results[0]
    baselines = {name: _values(result) for name, result in headline.items()}
    own = baselines.pop(prepared.model.name)
    _, shelf = look(popularity, counts, sample(split.validation))
    baselines["popularity"]["validation_ndcg@10"] = shelf
    report: dict[str, Any] = {
        "task": f"{task.kind} items",
        "protocol": (
            "Leave-one-out by time: the last event of each device is the test, opened once; the "
            "one before is the validation item; the model was trained on the rest. Full ranking "
            "of the catalog, a tie counts half; intervals are 95 % bootstrap over devices."
        ),
        "laboratory": (
            "These figures are the laboratory's: a simulation can look into every device, a fleet "
            "cannot. They are not covered by epsilon, and nothing in the run depended on them."
        ),
        "names": list(_NAMES),
        "model": own,
        "baselines": baselines,
        "rows": [
            {
                "name": name,
                "note": note,
                "own": model is prepared.model,
                "cells": [_values(headline[name])[metric] for metric in _NAMES],
            }
            for name, note, model, _ in contenders
        ],
        "segments": {
            name: asdict(relevance.ndcg)
            for name, relevance in headline[prepared.model.name].by_segment.items()
        },
    }
    if len(results) > 1:
        report["first_time"] = {name: _values(result) for name, result in results[1].items()}
        report["rows"] += [
            {
                "name": f"{name}, first time",
                "note": "only devices whose next item was new to them; seen items hidden",
                "own": False,
                "cells": [_values(results[1][name])[metric] for metric in _NAMES],
            }
            for name, _, _, _ in contenders[:2]
        ]
    return report


def _evaluate(model: Recommender, parameters: npt.NDArray[np.float32], task: Task) -> Evaluation:
    return evaluate(model, parameters, task, rng=np.random.default_rng(_BOOTSTRAP_SEED))


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
