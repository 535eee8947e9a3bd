"""What every model of the zoo can do, and how its parameters lie in one flat vector.

A model is public configuration; its parameters travel as one float32 vector, because each tensor
of a message costs requests of its own on every hop. Personal state (the user vector) is rebuilt on
the device from its history and is not a parameter.
"""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from homebody_models.draws import Draws

Scores = Callable[[Sequence[npt.NDArray[np.integer]]], npt.NDArray[np.floating]]
"""From n histories, oldest event first, to a score for each item: shape ``(n, items)``.

The array is a new one each time: who asked for it may write to it."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Names and shapes of the tensors of a flat parameter vector, in order.

    Attributes:
        shapes: Shape of each tensor by name; the order is the order in the vector.
        frozen: The first of these names: tensors that every device is sent and none trains. A
            contribution, its bound and its noise cover the rest alone.

    Raises:
        ValueError: If ``frozen`` are not the first names, or are all of them.
    """

    shapes: Mapping[str, tuple[int, ...]]
    frozen: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse frozen tensors among trained ones: the vector is cut in two once."""
        if self.frozen != tuple(self.shapes)[: len(self.frozen)] or (
            self.frozen and len(self.frozen) == len(self.shapes)
        ):
            raise ValueError("frozen must be the first names of shapes, and not all of them")

    @property
    def size(self) -> int:
        """Number of parameters, frozen ones included: what is broadcast."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    @property
    def frozen_size(self) -> int:
        """Number of frozen parameters; they come first."""
        return sum(math.prod(self.shapes[name]) for name in self.frozen)

    @property
    def trained_size(self) -> int:
        """Number of parameters that rounds change: the length of a contribution."""
        return self.size - self.frozen_size

    @property
    def trained_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each tensor that rounds change, in order."""
        return {name: shape for name, shape in self.shapes.items() if name not in self.frozen}

    def trained(self, flat: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        """Return the parameters that rounds change, as a view into ``flat``.

        Raises:
            ValueError: If ``flat`` has not the shape ``(size,)``.
        """
        self._check(flat)
        return flat[self.frozen_size :]

    def views(self, flat: npt.NDArray[np.floating]) -> dict[str, npt.NDArray[np.floating]]:
        """Return the tensors as views into ``flat``; writing to one writes to the vector.

        Raises:
            ValueError: If ``flat`` has not the shape ``(size,)``.
        """
        self._check(flat)
        views, start = {}, 0
        for name, shape in self.shapes.items():
            stop = start + math.prod(shape)
            views[name] = flat[start:stop].reshape(shape)
            start = stop
        return views

    def _check(self, flat: npt.NDArray[np.floating]) -> None:
        if flat.shape != (self.size,):
            raise ValueError(f"parameters must have shape ({self.size},), got {flat.shape}")


def model_digest(parameters: npt.NDArray[np.float32]) -> str:
    """Return the SHA-256 of a flat float32 model, as hex."""
    return hashlib.sha256(np.ascontiguousarray(parameters, "<f4").tobytes()).hexdigest()


@dataclass(frozen=True, slots=True)
class PrivacySplit:
    """Which parameters may enter an update, and what never leaves the device."""

    shared: tuple[str, ...]
    personal: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LocalGradient:
    """Gradient of one device's loss by the parameters that rounds change. Secret.

    Attributes:
        vector: float64 of shape ``(trained_size,)``; zeros where the device has too little
            history.
        loss: Mean loss over the examples used, in nats; NaN with no example. Never sent.
        examples: Number of examples used. Never sent.
    """

    vector: npt.NDArray[np.float64] = field(repr=False)
    loss: float = field(repr=False)
    examples: int = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What a bundle carries to rank with: the arrays of the inference contract, in float32.

    Attributes:
        encoder: ``none`` (bias only), ``mean``, ``mean-repeat`` or ``ridge``.
        embeddings: Item table of shape ``(items, dim)``; ``(items, 0)`` for ``none``.
        bias: Item bias of shape ``(items,)``.
        history_max: Newest events that form the user vector, at most 64.
        history_decay: Weight of an event relative to the next newer one, in (0, 1].
        ridge: Regularisation of the ``ridge`` encoder; None for the others.
        unseen_weight: Weight of unseen items in the ``ridge`` encoder; None for the others.
        repeat: What a history item's share of the weights adds to its own score in the encoder
            ``mean-repeat``; None for the others.
    """

    encoder: str
    embeddings: npt.NDArray[np.float32] = field(repr=False)
    bias: npt.NDArray[np.float32] = field(repr=False)
    history_max: int
    history_decay: float
    ridge: float | None = None
    unseen_weight: float | None = None
    repeat: float | None = None


class Recommender(Protocol):
    """A recommender whose shared parameters can be trained in federated rounds."""

    @property
    def name(self) -> str:
        """Kebab-case name, as the command line takes it."""
        ...

    @property
    def layout(self) -> Layout:
        """Names and shapes of the shared parameters."""
        ...

    def init(self, rng: "np.random.Generator") -> npt.NDArray[np.float32]:
        """Return initial shared parameters of shape ``(size,)``; no data is read."""
        ...

    def local_gradient(
        self,
        parameters: npt.NDArray[np.float32],
        history: npt.NDArray[np.integer],
        draws: Draws,
    ) -> LocalGradient:
        """Return the gradient of one device's loss; never raises for a short history.

        Args:
            parameters: Shared parameters of shape ``(size,)``. Public.
            history: Item indices, oldest first; may be empty. Secret.
            draws: Choose the device's training examples; no privacy rests on it.
        """
        ...

    def scores(
        self,
        parameters: npt.NDArray[np.float32],
        histories: Sequence[npt.NDArray[np.integer]],
    ) -> npt.NDArray[np.float32]:
        """Return a score for each item, shape ``(len(histories), items)``; larger is better."""
        ...

    def privacy_split(self) -> PrivacySplit:
        """Name what may leave in an update and what never does."""
        ...

    def export(self, parameters: npt.NDArray[np.float32]) -> Exported:
        """Return the arrays a device ranks with."""
        ...


@runtime_checkable
class ScoresMany(Protocol):
    """A model that gets ready once to score many blocks of histories."""

    def scorer(self, parameters: npt.NDArray[np.float32], *, apart: bool = False) -> Scores:
        """Return what ``scores`` is for these parameters, without the work they all share.

        Args:
            parameters: Shared parameters of shape ``(size,)``. Public.
            apart: Score each history as if it were alone, to the bit. A product of two matrices may
                round a row otherwise than the product of that row does, and otherwise among other
                rows: what is summed over devices must not depend on who is asked together.
        """
        ...


def scorer_of(
    model: Recommender, parameters: npt.NDArray[np.float32], *, apart: bool = False
) -> Scores:
    """Return a scorer of many histories; see ``ScoresMany``. Any model has one.

    Args:
        model: The model.
        parameters: Its shared parameters. Public.
        apart: Score each history as if it were alone, to the bit.
    """
    if isinstance(model, ScoresMany):
        return model.scorer(parameters, apart=apart)
    return partial(_one_by_one, model, parameters) if apart else partial(model.scores, parameters)


def _one_by_one(
    model: Recommender,
    parameters: npt.NDArray[np.float32],
    histories: Sequence[npt.NDArray[np.integer]],
) -> npt.NDArray[np.float32]:
    nobody = model.scores(parameters, [])
    return np.concatenate([nobody, *(model.scores(parameters, [own]) for own in histories)])
