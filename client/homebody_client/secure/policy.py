"""What a node's own config says of sessions; a server's word is not taken for any of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

from homebody_privacy.errors import PolicyViolationError
from homebody_privacy.lattice import Lattice

if TYPE_CHECKING:
    from homebody_privacy.config import PrivacyConfig

TRAINING: Final = "training"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Minima of a session, and what it may be for. Public.

    Attributes:
        config_sha256: Digest of the config in force on the node.
        max_corrupt: Share of nodes assumed to work with the server.
        max_dropout: Share of nodes a session must survive the loss of.
        least: Fewest nodes of a sum.
        lattice: Bound and step of one device's contribution; None for a laboratory reference
            without differential privacy, which promises nothing.
        purposes: Purpose of each metric the config lists.
        statistics: Whether the config lists one-shot statistics.
    """

    config_sha256: str
    max_corrupt: float
    max_dropout: float
    least: int
    lattice: Lattice | None
    purposes: Mapping[str, str] = field(default_factory=dict)
    statistics: bool = False

    @classmethod
    def of(cls, config: "PrivacyConfig", *, reference: bool = False) -> Self:
        """Return what a config says; in a ``reference`` it does not bound contributions."""
        rules = config.aggregation
        own = Lattice(clip_norm=config.dp.clip_norm, bits=config.dp.lattice_bits)
        return cls(
            config_sha256=config.digest(),
            max_corrupt=rules.max_corrupt,
            max_dropout=rules.max_dropout,
            least=rules.min_nodes,
            lattice=None if reference else own,
            purposes={name: metric.purpose for name, metric in config.metrics.items()},
            statistics=config.statistics is not None,
        )

    def bounds(self, clip_norm: float, bits: int) -> bool:
        """Tell whether a run's bound on a contribution is the config's own."""
        told = (clip_norm, bits)
        return self.lattice is None or told == (self.lattice.clip_norm, self.lattice.bits)

    def purpose(self, metric: str, number: int) -> str:
        """Return what a session is for: training, or a metric's purpose.

        Args:
            metric: Which figure; empty for an update or a statistic.
            number: Round it is for; a statistic is before the first, in round 0.

        Raises:
            PolicyViolationError: If the config does not list the metric, or statistics.
        """
        if not metric:
            if number == 0 and not self.statistics:
                raise PolicyViolationError("the config in force does not list statistics")
            return TRAINING
        if metric not in self.purposes:
            raise PolicyViolationError("the config in force does not list this metric")
        return self.purposes[metric]
