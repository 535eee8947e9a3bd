"""What one device adds to a one-shot statistic: norm at most 1, by its own config, on the lattice.

A server says which statistic, and for the second one how popular items are. Head and window are the
device's own. Whatever was sent, what leaves is bounded before anyone else sees it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from homebody_client.host import Host
from homebody_models.statistics.contribution import Sparse, gram_statistic, popularity_statistic
from homebody_models.statistics.settings import StatisticsSettings
from homebody_models.statistics.space import Space
from homebody_models.statistics.start import space_of
from homebody_privacy.errors import IntegrityError, PolicyViolationError
from homebody_privacy.lattice import Lattice
from homebody_privacy.messages import StatisticName

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Which items of a head one history has close to each other: ``Statistic.of`` of the Gram pass.

    A type, so that who computes many histories at once can see what is asked.

    Attributes:
        space: Where the matrix lies. Public.
        window: Weight that a step further costs beyond the harmonic one, in (0, 1]. Public.
    """

    space: Space
    window: float

    def __call__(self, history: npt.NDArray[np.integer], /) -> Sparse:
        """Return the entries that are not zero."""
        return gram_statistic(history, self.space, self.window)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistic:
    """One statistic as a node computes it.

    Attributes:
        length: Entries of the sum.
        lattice: Bound and step of one device's part.
        of: Returns the entries of one history that are not zero: ``popularity_statistic``, or
            ``Pairs``.
    """

    length: int
    lattice: Lattice
    of: Callable[[npt.NDArray[np.integer]], Sparse] = field(repr=False)

    def total(self, histories: Iterable[npt.NDArray[np.integer]]) -> Integers:
        """Return the sum of what these devices add, int64 of shape ``(length,)``. Secret.

        Each part has norm at most ``2**lattice.bits``; one that is not finite is zeros. Only the
        entries that are not zero are looked at: the others are zero on the lattice, too.
        """
        total = np.zeros(self.length, np.int64)
        for history in histories:
            part = self.of(history)
            total[part.places] += self.lattice.contribution(part.values)
        return total


def statistic_of(host: Host, name: StatisticName, broadcast: npt.NDArray[np.float32]) -> Statistic:
    """Return how a host computes a statistic.

    Args:
        host: The node; its catalog's content and its config's settings are what counts.
        name: Which statistic.
        broadcast: What the server sent with the invitation, flat. Public.

    Raises:
        PolicyViolationError: If the config lists no statistics, or leaves their settings open.
        IntegrityError: If the broadcast is not what the statistic is computed with.
    """
    lattice = Lattice(clip_norm=1.0, bits=host.config.dp.lattice_bits)
    settings = _settings(host)
    features = host.histories.catalog.features
    if name == "popularity":
        if broadcast.shape != (1,) or broadcast[0] != 0.0:
            raise IntegrityError("the first statistic is sent one zero, and nothing else")
        return Statistic(length=len(features), lattice=lattice, of=popularity_statistic)
    try:
        space = space_of(settings, features, broadcast)
    except ValueError as error:
        raise IntegrityError("what was sent to compute a statistic with is malformed") from error
    of = Pairs(space=space, window=settings.window)
    return Statistic(length=space.length, lattice=lattice, of=of)


def _settings(host: Host) -> StatisticsSettings:
    section = host.config.statistics
    if section is None:
        raise PolicyViolationError("the config in force does not list statistics")
    if section.window is None or section.head is None:
        raise PolicyViolationError(
            "the config in force does not fix statistics.window and statistics.head",
            fix="run homebody plan --write and approve the file it writes",
        )
    # How the model ranks later is no part of what is sent.
    return StatisticsSettings(window=section.window, head=section.head, history_decay=1.0)
