"""Which model a run with statistics trains: its item table is what the statistics make."""

from typing import Final

from homebody_models.statistics.settings import StatisticsSettings
from homebody_models.zoo import CORE, ModelSpec, Option
from homebody_privacy.protection import Recipe
from homebody_simulation.profiles import Reference

CORE_RATE: Final = 0.01
"""Server learning rate of a core: the root mean square step of its entries, which start at 0 or 1.

Chosen on the validation items of MovieLens 1M."""

CORE_REFERENCE: Final = Reference(rounds=8, cohort_share=1.0, learning_rate=CORE_RATE)
"""A core without noise: from some 15 rounds of everybody on it learns its devices by heart."""


def start_model_spec(settings: StatisticsSettings, *, recipe: Recipe, repeats: bool) -> ModelSpec:
    """Return the model whose parameters one-shot statistics give.

    Width and recency follow from what was fixed for the statistics. Rounds train a core on top of
    the table, which stays as it is; without rounds there is the table alone. Content is in it
    already, so it has no part of its own.

    Args:
        settings: What was fixed before the statistics.
        recipe: ``both`` where rounds follow.
        repeats: Whether items are chosen again: then nothing is hidden, in lists or in training.
    """
    options: dict[str, Option] = {
        "dim": settings.rank,
        "history_decay": settings.history_decay,
        "repeat": settings.repeat,
    }
    if recipe == "both":
        return ModelSpec(CORE, {**options, "hidden": not repeats})
    return ModelSpec("two-tower", options)
