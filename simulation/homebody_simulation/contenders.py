"""The rows of a report's table: the models a run made, and what they must beat."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from homebody_models.local_recency import LocalRecency
from homebody_models.metrics import Ranked, rank_task
from homebody_models.popularity import Popularity, popularity_baseline
from homebody_models.recommender import Recommender
from homebody_models.split import Task
from homebody_simulation.setup import Prepared
from homebody_simulation.shipping import Shipping


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A row of the report's table.

    Attributes:
        name: What it is called.
        note: What a reader must know of it.
        model: The model.
        parameters: Its shared parameters.
        own: Whether it is the one that devices get.
    """

    name: str
    note: str
    model: Recommender
    parameters: npt.NDArray[np.float32] = field(repr=False)
    own: bool = False

    def rank(self, task: Task) -> Ranked:
        """Return what it does for each device of a task. Secret."""
        return rank_task(self.model, self.parameters, task)


def stages(prepared: Prepared, shipping: Shipping) -> dict[str, Contender]:
    """Return the models a run made, by the stage's name, the one that ships marked."""
    model, several = prepared.model, len(shipping.stages) > 1
    return {
        stage.name: Contender(
            name=f"{model.name}, {stage.name}" if several else model.name,
            note=_note(stage.words, several, stage is shipping.shipped),
            model=model,
            parameters=stage.parameters,
            own=stage is shipping.shipped,
        )
        for stage in shipping.stages
    }


def _note(words: str, several: bool, shipped: bool) -> str:  # noqa: FBT001 one caller
    if not several:
        return words
    return f"{words}; {'this one is given to devices' if shipped else 'not given to devices'}"


def popularity(prepared: Prepared) -> Contender:
    """Return the same list for all, by what devices train on."""
    return Contender(
        name="popularity",
        note="the same list for all; no differential privacy",
        model=Popularity(len(prepared.dataset.interactions.catalog)),
        parameters=popularity_baseline(prepared.histories),
    )


def local_only(prepared: Prepared) -> Contender:
    """Return the device's own recent choices."""
    items = len(prepared.dataset.interactions.catalog)
    decay = float(prepared.model_spec.options.get("history_decay", 0.9))
    local = LocalRecency(n_items=items, history_decay=decay)
    return Contender(
        name="local-only",
        note="the device's own recent choices; nothing is shared, nothing learned from others",
        model=local,
        parameters=local.init(np.random.default_rng(0)),
    )
