"""Noise of the next round, drawn and its state kept in a thread while this round's devices train.

What is drawn depends on the run's key and the round alone, never on a reply, so it may be drawn
before the replies come. It is held in memory, given out once, and never written: after a crash the
same key draws the same noise again, for the same round.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from homebody_privacy.mechanisms import Mechanism
from homebody_privacy.stream import NoiseStream

Integers = npt.NDArray[np.int64]
Keep = Callable[[int, Mapping[str, npt.NDArray[Any]]], None]


class NoiseAhead:
    """Draws the rounds of a run in order, one round ahead of its use; close it after the run.

    Args:
        mechanism: The run's, restored to the state before the first round drawn. It is drawn from
            here alone: correlated noise depends on all earlier draws.
        key: Key of each round's noise. Secret.
        dim: Coordinates of a release.
        rounds: Last round of the run.
        keep: Keeps the mechanism's state after a round durably, before that round's noise is given
            out; None where it has none.
    """

    def __init__(
        self,
        mechanism: Mechanism,
        key: Callable[[int], bytes],
        *,
        dim: int,
        rounds: int,
        keep: Keep | None,
    ) -> None:
        """Draw nothing yet."""
        self._mechanism = mechanism
        self._key = key
        self._dim = dim
        self._rounds = rounds
        self._keep = keep
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="noise")
        self._due: tuple[int, Future[Integers]] | None = None

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
        (_, drawn), self._due = self._due, None
        noise = drawn.result()
        self.begin(number + 1)
        return noise

    def _draw(self, number: int) -> Integers:
        noise = self._mechanism.noise(self._dim, NoiseStream(self._key(number)))
        if self._keep is not None:
            self._keep(number, self._mechanism.state())
        return noise
