"""Canaries: planted devices, each with a row of its own that no other device can move.

They exist in audit builds alone. An audit build is a production run whose model has one more
tensor, ``canaries``, and whose last devices each hold one event of an item that no catalog has. The
model turns that event into an update on the device's row, far longer than the clip norm; from
there on everything is the production path: clip, lattice, message, sum, noise, optimizer.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from homebody_models.draws import Draws
from homebody_models.interactions import Interactions
from homebody_models.recommender import Exported, Layout, LocalGradient, PrivacySplit, Recommender
from homebody_privacy.stream import NoiseStream

TENSOR = "canaries"
"""Name of the tensor that audit builds have and others do not."""

OVERSHOOT = 64.0
"""Length of a canary's update over the clip norm: what does not clip is seen."""

Vector = npt.NDArray[np.float32]


def coins(canaries: int, stream: NoiseStream) -> npt.NDArray[np.bool_]:
    """Flip one fair coin for each canary: shape ``(canaries,)``. Secret until the guesses are made.

    Args:
        canaries: How many.
        stream: Keyed for the coins of one audit alone.
    """
    return (stream.words(canaries) & np.uint64(1)).astype(np.bool_)


def plant(histories: Interactions, canaries: int) -> Interactions:
    """Give each of the last ``canaries`` devices one event, of an item reserved for it.

    Args:
        histories: Histories of the whole population.
        canaries: How many devices become canaries; fewer than there are.

    Returns:
        Histories over a catalog with one more item for each canary, behind all others.

    Raises:
        ValueError: If there are too few devices.
    """
    if not 0 < canaries < histories.devices:
        raise ValueError(f"canaries must be from 1 to {histories.devices - 1}, got {canaries}")
    kept = histories.ptr[: histories.devices - canaries + 1]
    events, catalog = int(kept[-1]), histories.catalog
    names = tuple(f"canary-{i}" for i in range(canaries))
    return Interactions(
        ptr=np.concatenate([kept, events + 1 + np.arange(canaries)]),
        items=np.concatenate(
            [histories.items[:events], len(catalog) + np.arange(canaries, dtype=np.int32)]
        ),
        repeats=histories.repeats,
        catalog=replace(
            catalog,
            ids=(*catalog.ids, *names),
            titles=(*catalog.titles, *names),
            categories=(*catalog.categories, *[""] * canaries),
            features=np.vstack(
                [catalog.features, np.zeros((canaries, catalog.features.shape[1]), np.float32)]
            ),
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryModel:
    """A model with one more row for each canary; it learns nothing there.

    Attributes:
        base: The model of the run that is audited.
        first_item: Index of the first reserved item; canary i owns item ``first_item + i``.
        inside: Coins, of shape ``(canaries,)``. A canary that is out takes part like the others
            and sends zeros: the neighbouring world of zero-out adjacency. Secret.
        length: L2 length of a canary's update before clipping, in model units.
        joined: Called with a canary's number whenever its device takes part.
    """

    base: Recommender
    first_item: int
    inside: npt.NDArray[np.bool_] = field(repr=False)
    length: float
    joined: Callable[[int], None] = field(repr=False)

    @property
    def name(self) -> str:
        """Name of the model that is audited."""
        return self.base.name

    @property
    def layout(self) -> Layout:
        """The model's tensors, then ``canaries`` of shape ``(canaries,)``."""
        return Layout({**self.base.layout.shapes, TENSOR: (len(self.inside),)})

    def init(self, rng: np.random.Generator) -> Vector:
        """Return the model's initial parameters and zeros."""
        return np.concatenate([self.base.init(rng), np.zeros(len(self.inside), np.float32)])

    def local_gradient(
        self, parameters: Vector, history: npt.NDArray[np.integer], draws: Draws
    ) -> LocalGradient:
        """Return the model's gradient, or a canary's: its own row and nothing else."""
        vector = np.zeros(self.layout.size)
        rows = self.base.layout.size
        if len(history) and history[0] >= self.first_item:
            canary = int(history[0]) - self.first_item
            self.joined(canary)
            # The update is minus the gradient, and a canary pushes its row up.
            vector[rows + canary] = -self.length * float(self.inside[canary])
            return LocalGradient(vector, 0.0, 1)
        own = self.base.local_gradient(parameters[:rows], history, draws)
        vector[:rows] = own.vector
        return LocalGradient(vector, own.loss, own.examples)

    def scores(self, parameters: Vector, histories: Sequence[npt.NDArray[np.integer]]) -> Vector:
        """Return the model's scores."""
        return self.base.scores(parameters[: self.base.layout.size], histories)

    def privacy_split(self) -> PrivacySplit:
        """Name what may leave: the model's shared tensors and the canaries' rows."""
        split = self.base.privacy_split()
        return replace(split, shared=(*split.shared, TENSOR))

    def export(self, parameters: Vector) -> Exported:
        """Return what the model would rank with."""
        return self.base.export(parameters[: self.base.layout.size])
