"""Logistic factorisation of a whole cohort, on processors.

A device's change of the item table has the rank of its steps, and is never written out: it is put
on the lattice row by row, and added to integers of the thread that trains it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from threading import Lock
from typing import Self

import numpy as np
import numpy.typing as npt

from homebody_models.history import HistoryWindow, normalised
from homebody_models.logistic_epoch import Epoch
from homebody_models.logistic_factorization import LogisticFactorization
from homebody_simulation.cohort.again import add_alone
from homebody_simulation.cohort.bounds import Bounds
from homebody_simulation.cohort.dealing import by_length, check_rows, in_turn, read_only
from homebody_simulation.cohort.engine import Status
from homebody_simulation.cohort.kernel import Sums, Work
from homebody_simulation.cohort.on_numba.factorization_desk import Desk, aligned
from homebody_simulation.cohort.on_numba.factorization_devices import (
    LEFT,
    empty,
    start_users,
    train,
)
from homebody_simulation.cohort.on_numba.factorization_memory import Limits, Pass
from homebody_simulation.cohort.on_numba.factorization_rows import Width

Integers = npt.NDArray[np.int64]
Array = npt.NDArray[np.float32]

_BLOCK = 4096  # devices whose user vectors a thread holds
_TURNS = 8  # parts a thread takes, so that threads end together


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorizationCohorts:
    """Trains cohorts over item tables of one shape.

    Attributes:
        n_items: Items of the catalog.
        dim: Width of the item table.
        epoch: How a device passes over its history.
        negatives: Items drawn for each event.
        with_bias: Whether there is an item bias.
    """

    n_items: int
    dim: int
    epoch: Epoch
    negatives: int
    with_bias: bool
    _desks: list[Desk] = field(default_factory=list, init=False, repr=False)

    def train(
        self, table: Array, bias: Array | None, users: Array | HistoryWindow, work: Work
    ) -> tuple[Sums, Integers]:
        """Train devices, and return what they contribute.

        Args:
            table: Item table of shape ``(items, dim)``; it is only read.
            bias: Item bias of shape ``(items,)``; None where there is none.
            users: float32 of shape ``(n, dim)``: user vectors of ``work.rows`` to start from,
                changed to those after the pass where these are finite. Or a window: then each
                starts from the weighted mean of its newest items' rows, and is forgotten.
            work: Whose histories, each item of them below ``n_items``, and how it is bounded.

        Returns:
            The sums, of the table and then of the bias if there is one; and the places in
            ``work.rows`` of devices that added nothing though they have a history: what they
            compute in float32 is not finite, or would pass the bound by a rounding.

        Raises:
            ValueError: If a shape is another, or a row is no device.
        """
        shape, biases = (self.n_items, self.dim), self.n_items if self.with_bias else 0
        if table.shape != shape or (bias is not None) != self.with_bias:
            raise ValueError(f"table must have shape {shape}, and a bias: {self.with_bias}")
        if not isinstance(users, HistoryWindow) and users.shape != (len(work.rows), self.dim):
            raise ValueError(f"users must have a row of {self.dim} for each device")
        check_rows(work.ptr, work.rows)
        size = self.n_items * self.dim + biases
        round_ = _Round(
            table=_on_a_line(table),
            bias=np.array(() if bias is None else bias, np.float32),
            users=users,
            work=work,
            ptr=read_only(work.ptr),
            items=read_only(work.items),
            order=by_length(work.ptr, work.rows),
            rules=self._rules(),
            limits=_limits(work, size),
            sum=np.zeros(size, np.int64),
            norms=np.zeros(len(work.rows)),
            status=np.zeros(len(work.rows), np.uint8),
            each=np.zeros((len(work.rows), size), np.int64) if work.per_device else None,
        )
        longest = int((work.ptr[work.rows + 1] - work.ptr[work.rows]).max(initial=0))

        def task(parts: Iterator[Integers]) -> None:
            desk = self._desk(longest)
            round_.train(desk, (round_.order[part] for part in parts))
            self._desks.append(desk)  # not one that an error left half full

        in_turn(task, len(work.rows), work.threads, _part_of(work))
        left = np.flatnonzero((round_.status == LEFT) | (round_.status == Status.NOT_FINITE))
        round_.status[round_.status == LEFT] = Status.OK
        sums = Sums(sum=round_.sum, norms=round_.norms, status=round_.status, each=round_.each)
        return sums, left

    def _rules(self) -> Pass:
        epoch = self.epoch
        rates = np.float32(epoch.rows_rate), np.float32(epoch.user_rate)
        return Pass(*rates, epoch.batch, self.negatives)

    def _desk(self, longest: int) -> Desk:
        shape, rules = (self.n_items, self.dim), self._rules()
        try:
            desk = self._desks.pop()
        except IndexError:
            return Desk.of(shape, self.n_items if self.with_bias else 0, rules, longest)
        desk.make_room(shape, rules, longest)
        return desk


@dataclass(frozen=True, slots=True)
class LogisticKernel:
    """Trains ``LogisticFactorization``; see ``Kernel``.

    Attributes:
        model: The model.
        cohorts: Trains its devices.
    """

    model: LogisticFactorization
    cohorts: FactorizationCohorts = field(repr=False)

    @classmethod
    def of(cls, model: LogisticFactorization) -> Self:
        """Return the kernel of a model."""
        return cls(
            model,
            FactorizationCohorts(
                n_items=model.n_items,
                dim=model.dim,
                epoch=model.epoch(),
                negatives=model.negatives,
                with_bias=True,
            ),
        )

    def run(self, parameters: Array, work: Work) -> Sums:
        """Return the sum of what the devices of ``work`` contribute; see ``Kernel.run``."""
        views = self.model.layout.views(np.asarray(parameters, np.float32))
        table, bias = views["Q"].astype(np.float32), views["b"].astype(np.float32)
        sums, left = self.cohorts.train(table, bias, self.model.window(), work)
        add_alone(self.model, parameters, work, sums, left)
        return sums


@dataclass(frozen=True, slots=True, kw_only=True)
class _Round:
    """One round's arrays; what threads write are places of their own, but for the sum."""

    table: Array
    bias: Array
    users: Array | HistoryWindow
    work: Work
    ptr: Integers
    items: npt.NDArray[np.int32]
    order: Integers
    rules: Pass
    limits: Limits
    sum: Integers
    norms: npt.NDArray[np.float64]
    status: npt.NDArray[np.uint8]
    each: Integers | None
    lock: Lock = field(default_factory=Lock)

    def train(self, desk: Desk, blocks: Iterable[Integers]) -> None:
        """Train the devices at some places of the work, a block at a time."""
        most = self.work.lattice.max_devices
        for block in blocks:
            if desk.devices + len(block) > most:
                self._empty(desk)
            self._block(desk, block)
            desk.devices += len(block)
            if self.each is not None:
                own = np.zeros(len(self.sum), np.int64)
                empty(desk.sums, own)
                desk.devices = 0
                self.each[block[0]] = own
                with self.lock:
                    self.sum[:] += own
        self._empty(desk)

    def _block(self, desk: Desk, block: Integers) -> None:
        width, cells = Width(self.table.shape[1]), self.table.size
        rows, keys = self.work.rows[block].astype(np.int64), self.work.keys[block]
        if isinstance(self.users, HistoryWindow):
            users = np.empty((len(block), self.table.shape[1]), np.float32)
            shares = _shares(self.users)
            start_users(width, self.table, self.ptr, self.items, rows, shares, users)
        else:
            users = self.users[block]
        norms, status = np.empty(len(block)), np.empty(len(block), np.uint8)
        train(
            width,
            self.table,
            self.bias,
            self.ptr,
            self.items,
            rows,
            keys,
            users,
            self.rules,
            self.limits,
            desk.scratch,
            desk.sums[:cells].reshape(self.table.shape),
            desk.sums[cells:],
            norms,
            status,
        )
        self.norms[block], self.status[block] = norms, status
        if not isinstance(self.users, HistoryWindow):
            self.users[block] = users

    def _empty(self, desk: Desk) -> None:
        with self.lock:
            empty(desk.sums, self.sum)
        desk.devices = 0


def _part_of(work: Work) -> int:
    """Return how many devices a thread trains before it takes the next ones."""
    if work.per_device:
        return 1
    most = min(_BLOCK, work.lattice.max_devices)
    if work.threads == 1:
        return most
    shared = -(-len(work.rows) // (_TURNS * work.threads))
    return min(most, max(1, shared))


def _limits(work: Work, size: int) -> Limits:
    bounds = Bounds.of(work.lattice, size)
    return Limits(bounds.clip, bounds.scale, float(bounds.squares))


def _shares(window: HistoryWindow) -> npt.NDArray[np.float64]:
    """Return the weights of the newest m events in row m, oldest first."""
    most = window.history_max
    shares = np.zeros((most + 1, most))
    for events in range(1, most + 1):
        weights = window.slots(np.zeros(events, np.int64))[1]
        shares[events, :events] = normalised(weights)
    return shares


def _on_a_line(table: Array) -> Array:
    """Return a copy of a table that begins with a cache line."""
    copy = aligned(table.shape, np.float32)
    copy[:] = table
    return copy
