"""The report's figures of quality: the run's models beside baselines, on the test opened once."""

from dataclasses import asdict, replace
from typing import Any, Final

import numpy as np

from homebody_models.metrics import Evaluation, Ranked, summarise
from homebody_models.split import Task
from homebody_simulation.contenders import Contender, local_only, popularity, rules, stages
from homebody_simulation.curve import sample
from homebody_simulation.segment_report import segment_report
from homebody_simulation.setup import Prepared
from homebody_simulation.shipping import Shipping

_NAMES: Final = ("ndcg@10", "hit@10", "mrr@10", "recall@10", "coverage@10", "novelty@10")
_BOOTSTRAP_SEED: Final = 2026
_IN_WORDS: Final = {"again": "next item, repeats included", "new": "next new item"}
_PROTOCOL: Final = """\
Leave-one-out by time: the last event of each device is the test; {held}. Full ranking of the \
catalog, a tie counts half; intervals are 95 % bootstrap over devices."""
_HELD: Final = "the one before is the validation item; the model was trained on the rest"
_REFIT: Final = """\
the model was trained on all the rest, with settings fixed beforehand, so that there is no \
validation item"""
_LABORATORY: Final = """\
These figures are the laboratory's: a simulation can look into every device, a fleet cannot. They \
are not covered by epsilon, and nothing in the run depended on them."""
_GIVEN: Final = """\
A fleet cannot look into devices. These figures are of the data set that its nodes were given, as \
the operator holds it; they are not covered by epsilon, and nothing in the run depended on them."""
_LOOKED: Final = """\
These figures are the laboratory's. In this run without differential privacy a look at validation \
items chose between start and end; nothing depended on the test."""


def utility_report(prepared: Prepared, shipping: Shipping) -> dict[str, Any]:
    """Open the test and return what the run's models and baselines do on it."""
    made = stages(prepared, shipping)
    shelf = popularity(prepared)
    own = made[shipping.shipped.name]
    task = prepared.split.test.open(shipping.choice(prepared.model.name))
    # A new item is never a repetition: what can only repeat has no row there.
    baselines = [shelf, rules(prepared)]
    baselines += [local_only(prepared)] if task.kind == "again" else []
    ranked, found = {}, {}
    for each in (*made.values(), *baselines):  # lists of a million devices take room: few are kept
        one = each.rank(task)
        found[each.name] = summarised(one, task)
        if each.name in (own.name, shelf.name):
            ranked[each.name] = one
    values = {each.name: _values(found[each.name]) for each in baselines}
    values["popularity"]["validation_ndcg@10"] = _validation(prepared, shelf)
    report: dict[str, Any] = {
        "task": task.kind,
        "task_in_words": _IN_WORDS[task.kind],
        "protocol": _PROTOCOL.format(held=_REFIT if prepared.request.refit else _HELD),
        "test_opened": prepared.split.test.opened,
        "laboratory": _whose(prepared, shipping),
        "names": list(_NAMES),
        "model": _values(found[own.name]),
        "validation": {"ndcg@10": _validation(prepared, own)},
        "stages": {name: _values(found[each.name]) for name, each in made.items()},
        "baselines": values,
        "rows": [_row(each, found[each.name]) for each in (*made.values(), *baselines)],
        "segments": segment_report(
            prepared, task, ranked[own.name], ranked[shelf.name], _BOOTSTRAP_SEED
        ),
    }
    if task.kind == "again":
        fresh = task.first_time()
        first = {"model": own, "popularity": shelf}
        results = {name: summarised(each.rank(fresh), fresh) for name, each in first.items()}
        report["first_time"] = {name: _values(result) for name, result in results.items()}
        report["rows"] += [
            _first_time_row(each, result)
            for each, result in zip(first.values(), results.values(), strict=True)
        ]
    return report


def _validation(prepared: Prepared, contender: Contender) -> float | None:
    """Return ndcg@10 of the validation item as the curve has it; None where it is trained on."""
    if prepared.request.refit:
        return None
    return float(contender.rank(sample(prepared.split.validation)).ndcg().mean())


def _whose(prepared: Prepared, shipping: Shipping) -> str:
    if prepared.request.fleet is not None:
        return _GIVEN
    return _LOOKED if shipping.by == "validation" else _LABORATORY


def summarised(ranked: Ranked, task: Task) -> Evaluation:
    """Return the figures of a row; every row has the same bootstrap samples."""
    return summarise(ranked, task, rng=np.random.default_rng(_BOOTSTRAP_SEED))


def _row(contender: Contender, result: Evaluation) -> dict[str, Any]:
    values = _values(result)
    return {
        "name": contender.name,
        "note": contender.note,
        "own": contender.own,
        "cells": [values[metric] for metric in _NAMES],
    }


def _first_time_row(contender: Contender, result: Evaluation) -> dict[str, Any]:
    note = "only devices whose next item was new to them; seen items hidden"
    named = replace(contender, name=f"{contender.name}, first time", note=note, own=False)
    return _row(named, result)


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
