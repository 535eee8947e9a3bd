"""Which model a run with statistics trains: its item table is what the statistics make."""

from homebody_models.statistics.settings import StatisticsSettings
from homebody_models.zoo import ModelSpec
from homebody_simulation.profiles import Profile


def start_model_spec(settings: StatisticsSettings, profile: Profile) -> ModelSpec:
    """Return the two-tower model whose parameters one-shot statistics give.

    Width and recency follow from what was fixed for the statistics; how a device learns in rounds
    follows from the data set's profile. Content is in the table already, so it has no part of its
    own.

    Args:
        settings: What was fixed before the statistics.
        profile: Settings of the data set.
    """
    learning = {name: profile.two_tower[name] for name in ("cuts",) if name in profile.two_tower}
    return ModelSpec(
        "two-tower",
        {
            **learning,
            "dim": settings.rank,
            "history_decay": settings.history_decay,
            "repeat": settings.repeat,
        },
    )
