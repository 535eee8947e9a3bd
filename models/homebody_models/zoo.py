"""Build a model of the zoo from its name and options, the same on a server and on a device."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from homebody_models.core_tower import CoreTower
from homebody_models.interactions import Catalog
from homebody_models.logistic_factorization import LogisticFactorization
from homebody_models.matrix_factorization import MatrixFactorization
from homebody_models.popularity import Popularity
from homebody_models.recommender import Recommender
from homebody_models.two_tower import TwoTower

NAMES = ("two-tower", "matrix-factorization", "logistic-factorization", "popularity")
"""Models a person can choose."""

CORE = "core-tower"
"""Model of the rounds that go on from statistics; it takes their table and cannot do without."""

Option = int | float | bool


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Which model, with which options; public.

    Attributes:
        name: One of ``NAMES``, or ``CORE``.
        options: Keyword arguments of the model's class; what is absent has its default there.
    """

    name: str
    options: Mapping[str, Option] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        """Refuse a name outside the zoo."""
        if self.name not in (*NAMES, CORE):
            raise ValueError(f"model must be one of {', '.join(NAMES)}, got {self.name!r}")

    def build(self, catalog: Catalog) -> Recommender:
        """Return the model over ``catalog``.

        Raises:
            ValueError: If an option is out of range.
            TypeError: If the model has no such option.

        Examples:
            >>> import numpy as np
            >>> names = ("tea", "milk")
            >>> catalog = Catalog(ids=names, titles=names, categories=("", ""),
            ...                   features=np.zeros((2, 0), np.float32), feature_names=())
            >>> ModelSpec("popularity").build(catalog).layout.size
            2
        """
        match self.name:
            case "two-tower":
                return TwoTower(len(catalog), catalog.features, **self.options)  # type: ignore[arg-type]  # checked by the class
            case "core-tower":
                return CoreTower(len(catalog), **self.options)  # type: ignore[arg-type]  # checked by the class
            case "matrix-factorization":
                return MatrixFactorization(len(catalog), **self.options)  # type: ignore[arg-type]  # checked by the class
            case "logistic-factorization":
                return LogisticFactorization(len(catalog), **self.options)  # type: ignore[arg-type]  # checked by the class
            case _:
                return Popularity(len(catalog), **self.options)
