"""Where the time of a run goes, by stage.

The time of a stage is its own: what a stage inside it takes is that one's. Work done beside the
main thread is not in any stage; waiting for it is.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

DATA: Final = "data"
PLAN: Final = "plan"
DEVICES: Final = "devices"
MESSAGES: Final = "messages"
STATISTICS: Final = "statistics"
STEP: Final = "sum and step"
NOISE: Final = "noise"
LEDGER: Final = "ledger"
CHECKPOINT: Final = "checkpoint"
LOOKS: Final = "looks"
EVALUATION: Final = "evaluation"
REPORT: Final = "report"

STAGES: Final = {
    DATA: "load and split the data",
    PLAN: "check the config, find the noise, open the run",
    DEVICES: "what devices compute: rounds, statistics, figures",
    MESSAGES: "draw the cohort, make and carry messages, the devices' record of joins",
    STATISTICS: "make and carry their messages, noise, the model they lead to",
    STEP: "check and add the replies, step of the optimizer",
    NOISE: "wait for noise that is drawn beside the devices",
    LEDGER: "charge and close, synced",
    CHECKPOINT: "wait for the model of the round to be on disk",
    LOOKS: "quality of some releases, for the curve",
    EVALUATION: "rank every device's test item, intervals",
    REPORT: "bundle, report, everything else",
}
"""What each stage is, in the order of a run."""


class Stages:
    """Adds up seconds by stage, for one thread.

    Args:
        clock: Seconds, monotonic.

    Examples:
        >>> ticks = iter(range(10))
        >>> stages = Stages(lambda: float(next(ticks)))
        >>> with stages.of("messages"):
        ...     with stages.of("devices"):
        ...         pass
        >>> stages.seconds
        {'devices': 1.0, 'messages': 2.0}
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        """Start with nothing measured."""
        self.seconds: dict[str, float] = {}
        """Seconds of each stage that was entered."""
        self._clock = clock
        self._inside: list[float] = []

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Count the block's time to a stage, but for stages inside it."""
        started = self._clock()
        self._inside.append(0.0)
        try:
            yield
        finally:
            whole = self._clock() - started
            own = whole - self._inside.pop()
            self.seconds[name] = self.seconds.get(name, 0.0) + own
            if self._inside:
                self._inside[-1] += whole

    def timed(self, name: str, function: Callable[P, T]) -> Callable[P, T]:
        """Return a function whose calls count to a stage."""

        def called(*args: P.args, **kwargs: P.kwargs) -> T:
            with self.of(name):
                return function(*args, **kwargs)

        return called
