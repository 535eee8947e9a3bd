"""The rows of a report's table: the models a run made, and what they must beat."""

from dataclasses import dataclass, field
from functools import partial

import numpy as np

from homebody_models.baselines.simple import Rules
from homebody_models.local_recency import LocalRecency
from homebody_models.metrics import Ranked, rank_scores
from homebody_models.popularity import Popularity, popularity_baseline
from homebody_models.recommender import Scores, scorer_of
from homebody_models.split import Task
from homebody_simulation.setup import Prepared
from homebody_simulation.shipping import Shipping


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A row of the report's table.

    Attributes:
        name: What it is called.
        note: What a reader must know of it.
        scores: Scores every item for some histories.
        own: Whether it is the one that devices get.
    """

    name: str
    note: str
    scores: Scores = field(repr=False)
    own: bool = False

    def rank(self, task: Task) -> Ranked:
        """Return what it does for each device of a task. Secret."""
        return rank_scores(self.scores, task)


def stages(prepared: Prepared, shipping: Shipping) -> dict[str, Contender]:
    """Return the models a run made, by the stage's name, the one that ships marked."""
    model, several = prepared.model, len(shipping.stages) > 1
    found: dict[str, Contender] = {}
    for stage in shipping.stages:
        own = stage is shipping.shipped
        given = f"; {'this one is given to devices' if own else 'not given to devices'}"
        found[stage.name] = Contender(
            name=f"{model.name}, {stage.name}" if several else model.name,
            note=stage.words + (given if several else ""),
            scores=scorer_of(model, stage.parameters),
            own=own,
        )
    return found


def popularity(prepared: Prepared) -> Contender:
    """Return the same list for all, by what devices train on."""
    shelf = Popularity(len(prepared.dataset.interactions.catalog))
    return Contender(
        name="popularity",
        note="the same list for all; no differential privacy",
        scores=partial(shelf.scores, popularity_baseline(prepared.histories)),
    )


def rules(prepared: Prepared) -> Contender:
    """Return what a shop writes by hand, fitted on what devices train on, nothing chosen."""
    hand, train = Rules(), prepared.histories
    usual = {name: values[0] for name, values in hand.axes(train).items()}
    return Contender(
        name=hand.name,
        note=f"{hand.note}; no differential privacy",
        scores=next(iter(hand.fit_each(train, [usual], seed=0))),
    )


def local_only(prepared: Prepared) -> Contender:
    """Return the device's own recent choices."""
    items = len(prepared.dataset.interactions.catalog)
    decay = float(prepared.model_spec.options.get("history_decay", 0.9))
    local = LocalRecency(n_items=items, history_decay=decay)
    return Contender(
        name="local-only",
        note="the device's own recent choices; nothing is shared, nothing learned from others",
        scores=partial(local.scores, local.init(np.random.default_rng(0))),
    )
