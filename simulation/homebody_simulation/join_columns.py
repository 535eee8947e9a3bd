"""What very many simulated devices joined, in columns, by the rules of ``participation``.

The record of ``ParticipationStore`` has a row and a hash for each join of each device. Here a
device is a place in a few arrays: how often it joined a run, when last and with which model, and
its squared loss. The arrays are in memory; ``join_log`` keeps what they are made of on disk, before
anybody is told that a device joined, and a resumed run makes them again from there.

They know nothing that outlives a run: devices with a budget for life keep the other record, which
is anchored.
"""

from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from homebody_client.participation import Allowance, epsilon_of
from homebody_simulation.join_log import JoinLog, Occasion

Devices = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_NEVER: Final = 0  # place in the list of broadcasts of who has joined none
_MOST: Final = 2**32 - 1  # devices of a population: their numbers are kept in 32 bits


@dataclass(slots=True)
class _Run:
    """What the devices did in one run, of those that joined it under the same terms.

    Attributes:
        joins: Rounds each device joined, shape ``(devices,)``.
        last: Place in ``broadcasts`` of the last one, shape ``(devices,)``.
        broadcasts: Places by round and digest of the model: a round may be asked twice.
        numbers: Round of each place.
    """

    joins: npt.NDArray[np.unsignedinteger]
    last: npt.NDArray[np.uint32]
    broadcasts: dict[tuple[int, str], int] = field(default_factory=dict)
    numbers: Devices = field(default_factory=lambda: np.zeros(1, np.int64))

    @classmethod
    def of(cls, devices: int, rounds: int) -> Self:
        """Return what devices did that joined nothing yet."""
        joins = np.zeros(devices, np.min_scalar_type(rounds + 1))
        return cls(joins, np.full(devices, _NEVER, np.uint32))

    def place(self, number: int, model: str) -> int | None:
        """Return the place of a broadcast; None if nobody joined it."""
        return self.broadcasts.get((number, model))

    def join(self, devices: Devices, number: int, model: str) -> None:
        """Count a join of each device."""
        place = self.broadcasts.setdefault((number, model), len(self.numbers))
        if place == len(self.numbers):
            self.numbers = np.append(self.numbers, number)
        self.joins[devices] += 1
        self.last[devices] = place


class JoinColumns:
    """A ``JoinRecord`` of one run's very many devices; use it in a ``with`` statement.

    Made by ``open``. Each decision is that of ``Life.refusal``, for all devices at once.

    Args:
        log: Where joins are kept.
        devices: Devices of the population.
    """

    __slots__ = ("_devices", "_log", "_runs", "_squares")

    def __init__(self, log: JoinLog, devices: int) -> None:
        """Start before the first join."""
        self._log = log
        self._devices = devices
        self._runs: dict[str, dict[str, _Run]] = {}  # by name of the run, then by terms
        self._squares = np.zeros(devices)

    @classmethod
    def open(cls, path: Path, devices: int) -> Self:
        """Open the record in a file, made at the first use.

        Args:
            path: The file; its folder must be there. Secret: who took part.
            devices: Devices of the population, from 1 to 2**32 - 1.

        Raises:
            IntegrityError: If the file is damaged or of another population.
            UsageError: If another process has it open.
            ValueError: If ``devices`` is out of range.
        """
        if not 1 <= devices <= _MOST:
            raise ValueError(f"devices must be from 1 to {_MOST}, got {devices}")
        columns = cls(JoinLog.open(path, devices), devices)
        try:
            columns._read()
        except BaseException:
            columns.close()
            raise
        return columns

    def __enter__(self) -> Self:
        """Return the record itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._log.close()

    @property
    def squares(self) -> npt.NDArray[np.float64]:
        """Squared loss of each device, rounded up, shape ``(devices,)``, read-only. Secret."""
        squares = self._squares.view()
        squares.setflags(write=False)
        return squares

    def joins(self, run: str) -> Devices:
        """Return how many rounds of a run each device joined, shape ``(devices,)``. Secret."""
        counts = np.zeros(self._devices, np.int64)
        for joined in self._runs.get(run, {}).values():
            counts += joined.joins
        return counts

    def join_many(
        self, devices: npt.NDArray[np.int64], allowance: Allowance, number: int, digest: str
    ) -> npt.NDArray[np.int64]:
        """Count the joins of those of a cohort that may train, and return them; see ``JoinRecord``.

        Raises:
            OSError: If the joins cannot be kept; none counts then.
            ValueError: If a device is named twice, or there is no such device.
        """
        if not len(devices):
            return devices
        ordered = np.sort(devices)
        if ordered[0] < 0 or ordered[-1] >= self._devices:
            raise ValueError(f"devices must be from 0 to {self._devices - 1}")
        if (ordered[1:] == ordered[:-1]).any():
            raise ValueError("a device may not be named twice: it would count twice")
        if not allowance.first <= number <= allowance.rounds:
            return devices[:0]
        may, again = self._judged(devices, allowance, number, digest)
        fresh = devices[may & ~again]
        if len(fresh):
            first, later = allowance.costs
            occasion = Occasion(
                run=allowance.run,
                terms=allowance.terms,
                rounds=allowance.rounds,
                first=first,
                later=later,
                number=number,
                model=digest,
            )
            self._log.append(occasion, fresh)
            self._count(occasion, fresh)
        return devices[may]

    def _judged(
        self, devices: Devices, allowance: Allowance, number: int, digest: str
    ) -> tuple[Flags, Flags]:
        """Return which devices may join, and which of all join again what they joined last."""
        by_terms = self._runs.get(allowance.run, {})
        others = [run for terms, run in by_terms.items() if terms != allowance.terms]
        own = by_terms.get(allowance.terms)
        may = np.ones(len(devices), np.bool_)
        for run in others:
            may &= run.joins[devices] == 0
        again = np.zeros(len(devices), np.bool_)
        joined = again
        if own is not None:
            joins, last = own.joins[devices], own.last[devices]
            joined = joins > 0
            passed = number - own.numbers[last]
            again = joined & (passed == 0)
            same = again & (last == (own.place(number, digest) or _NEVER)) & allowance.again
            on_time = ~joined | (passed >= allowance.min_separation)
            may &= same | (on_time & (joins < allowance.max_rounds))
        if allowance.max_runs is not None:
            may &= joined | (self._runs_of(devices) < allowance.max_runs)
        if (ceiling := allowance.epsilon_max) is not None:
            asked = np.flatnonzero(may & ~again)
            squares = self._squares_after(devices[asked], joined[asked], allowance.costs)
            values, which = np.unique(squares, return_inverse=True)
            spent = np.array([epsilon_of(value, allowance.delta) for value in values.tolist()])
            may[asked] = spent[which] <= ceiling
        return may, again

    def _runs_of(self, devices: Devices) -> Devices:
        """Return how many runs each device joined."""
        runs = np.zeros(len(devices), np.int64)
        for by_terms in self._runs.values():
            for run in by_terms.values():  # a device joins a run under one set of terms at most
                runs += run.joins[devices] > 0
        return runs

    def _squares_after(
        self, devices: Devices, joined: Flags, costs: tuple[float, float]
    ) -> npt.NDArray[np.float64]:
        """Return the squared losses of devices with one more join of a run they joined or not."""
        first, later = costs
        return _added(self._squares[devices], np.where(joined, later, first))

    def _count(self, occasion: Occasion, devices: Devices) -> None:
        """Enter joins in the columns."""
        by_terms = self._runs.setdefault(occasion.run, {})
        run = by_terms.get(occasion.terms)
        if run is None:
            run = by_terms[occasion.terms] = _Run.of(self._devices, occasion.rounds)
        costs = occasion.first, occasion.later
        self._squares[devices] = self._squares_after(devices, run.joins[devices] > 0, costs)
        run.join(devices, occasion.number, occasion.model)

    def _read(self) -> None:
        """Enter all that the file holds; where nodes are many, a round has many entries."""
        waiting: list[Devices] = []
        before: Occasion | None = None
        for occasion, devices in self._log.entries():
            if before is not None and occasion != before:
                self._count(before, np.concatenate(waiting))
                waiting = []
            before = occasion
            waiting.append(devices)
        if before is not None:
            self._count(before, np.concatenate(waiting))


def _added(
    totals: npt.NDArray[np.float64], more: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Add losses as ``add_losses`` does, so that rounding never makes a sum smaller."""
    with np.errstate(over="ignore"):  # to infinity, which no ceiling allows
        sums = np.nextafter(totals + more, np.inf)
    return np.where(more > 0.0, sums, totals)
