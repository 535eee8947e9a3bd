"""Training settings for each data set: constants, with their provenance.

They are constants of the product, not choices of a run. They were chosen on the validation items of
these public data sets, and a report on one of them says that this choice was not charged; for data
of your own they were fixed beforehand.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from homebody_models.zoo import ModelSpec, Option


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """The laboratory run without differential privacy: nothing of the privacy config binds it.

    Attributes:
        rounds: Rounds.
        cohort_share: Expected cohort as a share of the population, in (0, 1].
        learning_rate: Server learning rate of the first round; the last has a twentieth of it.
        clip_norm: Binds for few devices; a wider one would truncate small entries on the lattice.
    """

    rounds: int
    cohort_share: float
    learning_rate: float
    clip_norm: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Settings of one data set.

    Attributes:
        two_tower: Options of the two-tower model.
        learning_rate: Server learning rate under differential privacy.
        reference: Settings without differential privacy.
    """

    two_tower: Mapping[str, Option] = field(
        default_factory=lambda: MappingProxyType(
            {"dim": 64, "history_decay": 0.8, "init_scale": 1.0, "cuts": 16}
        )
    )
    learning_rate: float = 0.02
    reference: Reference = Reference(rounds=200, cohort_share=0.2, learning_rate=0.01)

    def model(self, name: str) -> ModelSpec:
        """Return the model called ``name`` with this profile's options."""
        return ModelSpec(name, self.two_tower if name == "two-tower" else {})


_GROCERIES: Final = Profile(
    two_tower=MappingProxyType(
        {"dim": 32, "history_decay": 0.8, "init_scale": 0.7, "cuts": 8, "repeat": 20.0}
    ),
    reference=Reference(rounds=40, cohort_share=0.2, learning_rate=0.01),
)
_FILMS: Final = Profile()
_PROFILES: Final[Mapping[str, Profile]] = MappingProxyType(
    {
        "complete-journey": _GROCERIES,
        "movielens-100k": _FILMS,
        "movielens-1m": Profile(
            reference=Reference(rounds=300, cohort_share=0.04, learning_rate=0.02)
        ),
    }
)


def has_own_profile(data: str) -> bool:
    """Tell whether a data set's settings were chosen on that data set."""
    return data in _PROFILES


def profile_of(data: str, *, repeats: bool) -> Profile:
    """Return the settings of a data set, or of its kind where it has none of its own.

    Args:
        data: Name of the data set.
        repeats: Whether items are chosen again, as groceries are and films are not.
    """
    return _PROFILES.get(data, _GROCERIES if repeats else _FILMS)
