"""The two-tower model, trained by whole cohorts in closed form.

What a device would compute alone is computed here without its table of gradients. A block of
devices is scored against the catalog at once; then each adds its integers to one table of the
thread, tile by tile. Numbers are float32 as in the model's own gradient, norms are summed in
float64.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from homebody_models.history import HistoryWindow
from homebody_models.two_tower import TwoTower
from homebody_simulation.cohort.bounds import Bounds
from homebody_simulation.cohort.compiled import inner
from homebody_simulation.cohort.engine import Status
from homebody_simulation.cohort.kernel import Sums, Work
from homebody_simulation.cohort.on_numba.tower_block import (
    fill,
    write_back,
    write_residuals,
    write_scores,
)
from homebody_simulation.cohort.on_numba.tower_lattice import (
    Table,
    add_own,
    add_tile,
    squared_norm,
    take_own,
    turn_round,
    write_steps,
)
from homebody_simulation.cohort.on_numba.tower_memory import Catalog, Job, Room, Rule
from homebody_simulation.cohort.on_numba.tower_tiles import WIDE
from homebody_simulation.cohort.on_numba.tower_work import LEFT, Train, Trained, train_all

Floats = npt.NDArray[np.float32]
Longs = npt.NDArray[np.int64]

_WIDE = WIDE  # a constant of compiled code
_OK, _EMPTY, _NOT_FINITE = int(Status.OK), int(Status.EMPTY), int(Status.NOT_FINITE)
_LEFT, _PASSED = LEFT, LEFT - 1  # the latter until its integers are out again


@dataclass(frozen=True, slots=True)
class TwoTowerKernel:
    """Trains ``TwoTower``; see ``Kernel``.

    A device whose integers would pass the bound by float32's rounding is trained by the model
    itself, so that it adds what it would alone.

    Attributes:
        model: The model, public.
    """

    model: TwoTower

    def run(self, parameters: Floats, work: Work) -> Sums:
        """Return the sum of what the devices of ``work`` contribute; see ``Kernel.run``."""
        rule = Rule(self.model.cuts, newest=False, repeat=float(self.model.repeat), hidden=False)
        catalog, bounds = self._catalog(parameters), Bounds.of(work.lattice, self.model.layout.size)
        constants = (bounds.clip, bounds.scale, bounds.squares)

        def of_thread(room: Room) -> Train:
            table = Table.of(catalog, room, self._features)

            def train(job: Job) -> Trained:
                found = _train(catalog, rule, job, constants, room, table)
                return *found, self._emptied(table)

            return train

        return train_all(self.model, parameters, work, catalog, of_thread)

    @property
    def _features(self) -> int:
        return self.model.features.shape[1] if self.model.content else 0

    def _catalog(self, parameters: Floats) -> Catalog:
        """Lay the broadcast out for tiles."""
        model = self.model
        with np.errstate(all="ignore"):  # what is not finite is found device by device
            exported = model.export(parameters)
        return Catalog.of(
            exported.embeddings,
            exported.bias,
            model.features[:, : self._features],
            HistoryWindow(model.history_max, model.history_decay),
        )

    def _emptied(self, table: Table) -> Longs:
        """Return the integers in the order of the parameters; leave zeros behind."""
        model, padded = self.model, len(table.levels)
        parts = [table.rows[: model.n_items, : model.dim].ravel()]
        if model.content:
            parts.append(table.rows[padded:, : model.dim].ravel())
        found = np.concatenate([*parts, table.levels[: model.n_items]]).astype(np.int64)
        table.rows[:], table.levels[:] = 0, 0
        return found


@njit(nogil=True, cache=True)
def _train(
    catalog: Catalog,
    rule: Rule,
    job: Job,
    bounds: tuple[float, float, int],
    room: Room,
    table: Table,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.uint8]]:
    """Add what the devices of a job contribute to ``table``; return their norms and status.

    Args:
        catalog: What was broadcast.
        rule: What a device trains on.
        job: The devices, no more than int32 has room for.
        bounds: See ``Bounds``.
        room: Memory for a block.
        table: Where integers are added.
    """
    norms, status = np.zeros(len(job.rows)), np.full(len(job.rows), _EMPTY, np.uint8)
    clip, scale, most = bounds
    index, dim = int(np.int64(0)), catalog.turned.shape[1]
    while index < len(job.rows):
        index, devices = fill(catalog, rule, job, index, room)
        write_scores(catalog.turned, room.places, devices, room.vectors, 2, room.scores)
        for device in range(devices):
            fine = write_residuals(catalog, rule, job, device, room)
            place = room.places[device, 0]
            status[place] = _OK if fine else _NOT_FINITE
            norms[place] = 0.0 if fine else np.nan
        write_back(catalog.rows, room.places, devices, room.scores, room.vectors)
        for device in range(devices):
            place = room.places[device, 0]
            if status[place] == _OK:
                take_own(room, device, table.products)
                squared = squared_norm(room, device, dim, table.products)
                if not abs(squared) < np.inf:  # false for NaN too
                    norms[place], status[place] = np.nan, _NOT_FINITE
                    continue
                windows = room.places[device, 2]
                norm = np.sqrt(max(squared, 0.0)) / windows
                factor = 1.0 if norm <= clip else clip / norm
                norms[place] = norm
                if not write_steps(room, device, -factor * scale / windows, table):
                    status[place] = _LEFT
        _add_block(room, devices, status, np.uint8(_OK), table)
        for device in range(devices):
            place = room.places[device, 0]
            if status[place] == _OK and table.squares[device] > most:
                turn_round(device, table)
                status[place] = _PASSED
        _add_block(room, devices, status, np.uint8(_PASSED), table)
        for device in range(devices):
            place = room.places[device, 0]
            status[place] = _LEFT if status[place] == _PASSED else status[place]
    return norms, status


@inner
def _add_block(
    room: Room, devices: int, status: npt.NDArray[np.uint8], which: np.uint8, table: Table
) -> None:
    """Add the integers of the devices of a block that have one status."""
    for tile in range(len(table.levels) // _WIDE):
        for device in range(devices):
            if status[room.places[device, 0]] == which:
                add_tile(room, device, tile, table)
    for device in range(devices):
        if status[room.places[device, 0]] == which:
            add_own(room, device, table)
