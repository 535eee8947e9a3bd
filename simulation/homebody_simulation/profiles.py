"""Training settings for each data set: chosen beforehand, on public data's validation items.

They are constants of the product, not choices of a run: a run never tunes on the data it protects,
so nothing here is charged. The choice itself was made on the validation items of these public data
sets (``docs/utility.md`` says how); for data of your own, tune on public or synthetic data.
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
        learning_rate: Server learning rate.
        clip_norm: Wide enough that it does not bind; the lattice needs a bound.
    """

    rounds: int
    cohort_share: float
    learning_rate: float
    clip_norm: float = 4.0
    lattice_bits: int = 20


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
    reference: Reference = Reference(rounds=200, cohort_share=0.2, learning_rate=0.02)

    def model(self, name: str) -> ModelSpec:
        """Return the model called ``name`` with this profile's options."""
        return ModelSpec(name, self.two_tower if name == "two-tower" else {})


_PROFILES: Final[Mapping[str, Profile]] = MappingProxyType(
    {
        "complete-journey": Profile(
            two_tower=MappingProxyType(
                {"dim": 32, "history_decay": 0.8, "init_scale": 0.7, "cuts": 8, "repeat": 20.0}
            ),
            reference=Reference(rounds=40, cohort_share=0.2, learning_rate=0.01),
        ),
        "movielens-100k": Profile(),
        "movielens-1m": Profile(
            reference=Reference(rounds=400, cohort_share=0.05, learning_rate=0.03)
        ),
    }
)


def profile_of(data: str) -> Profile:
    """Return the settings of a data set; those of MovieLens' kind where it has none of its own."""
    return _PROFILES.get(data, Profile())
