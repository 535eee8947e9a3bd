"""Noise of the next round, drawn in a thread while this round's devices train.

What is drawn depends on the run's key and the round alone, never on a reply, so it may be drawn
before the replies come. It is held in memory, given out once, and never written: after a crash the
same key draws the same noise again, for the same round.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from homebody_privacy.mechanisms import Mechanism
from homebody_privacy.stream import NoiseStream

Integers = npt.NDArray[np.int64]
State = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class _Drawn:
    """Noise of a round, and the mechanism's state after it. Secret."""

    noise: Integers = field(repr=False)
    state: State = field(repr=False)


class NoiseAhead:
    """Draws the rounds of a run in order, one round ahead of its use; close it after the run.

    Args:
        mechanism: The run's, restored to the state before the first round drawn. It is drawn from
            here alone: correlated noise depends on all earlier draws.
        key: Key of each round's noise. Secret.
        dim: Coordinates of a release.
        rounds: Last round of the run.
    """

    def __init__(
        self, mechanism: Mechanism, key: Callable[[int], bytes], *, dim: int, rounds: int
    ) -> None:
        """Draw nothing yet."""
        self._mechanism = mechanism
        self._key = key
        self._dim = dim
        self._rounds = rounds
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="noise")
        self._due: tuple[int, Future[_Drawn]] | None = None
        self._state: tuple[int, State] | None = None

    def __enter__(self) -> Self:
        """Return the drawer itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Forget what was drawn and not used."""
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._due = None

    def begin(self, number: int) -> None:
        """Start to draw a round's noise, unless that was done or the run has no such round.

        Raises:
            RuntimeError: If another round's noise waits to be used: none may be left out.
        """
        if self._due is None and number <= self._rounds:
            self._due = number, self._thread.submit(self._draw, number)
        elif self._due is not None and self._due[0] != number:
            raise RuntimeError("noise is drawn and used round by round")

    def noise(self, number: int, dim: int) -> Integers:
        """Return the noise of a round, once, and begin the next. Secret.

        Raises:
            RuntimeError: If it is not the round whose turn it is, or has another size.
        """
        if dim != self._dim:
            raise RuntimeError("noise was drawn for another size")
        self.begin(number)
        if self._due is None:
            raise RuntimeError("the run has no such round")
        drawn = self._due[1].result()
        self._due, self._state = None, (number, drawn.state)
        self.begin(number + 1)
        return drawn.noise

    def state_after(self, number: int) -> State:
        """Return the mechanism's state after a round: what its next draw needs. Secret.

        Raises:
            RuntimeError: If it is not the round whose noise was used last.
        """
        if self._state is None or self._state[0] != number:
            raise RuntimeError("the state of that round is gone")
        return self._state[1]

    def _draw(self, number: int) -> _Drawn:
        noise = self._mechanism.noise(self._dim, NoiseStream(self._key(number)))
        state = {name: value.copy() for name, value in self._mechanism.state().items()}
        return _Drawn(noise, state)
