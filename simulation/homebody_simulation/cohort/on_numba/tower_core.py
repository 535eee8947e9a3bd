"""The tower whose table is frozen and whose core is trained, by whole cohorts.

Scores, softmax and the way back are those of the two-tower model; what a device contributes is
small enough to be formed as it stands, in float64.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from homebody_models.core_matrix import unpack_core
from homebody_models.core_tower import CoreTower
from homebody_models.history import HistoryWindow
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
from homebody_simulation.cohort.on_numba.tower_memory import Catalog, Job, Room, Rule
from homebody_simulation.cohort.on_numba.tower_tiles import TALL, product
from homebody_simulation.cohort.on_numba.tower_work import Train, Trained, train_all

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]

_OK, _EMPTY, _NOT_FINITE = int(Status.OK), int(Status.EMPTY), int(Status.NOT_FINITE)
_TALL = TALL  # a constant of compiled code
_ROOT = np.sqrt(2.0)  # what stands for two entries of the core counts as both


@dataclass(frozen=True, slots=True)
class CoreTowerKernel:
    """Trains ``CoreTower``; see ``Kernel``.

    Attributes:
        model: The model, public.
    """

    model: CoreTower

    def run(self, parameters: Floats, work: Work) -> Sums:
        """Return the sum of what the devices of ``work`` contribute; see ``Kernel.run``."""
        model, size = self.model, self.model.layout.trained_size
        views = model.layout.views(np.asarray(parameters, np.float32))
        sharp = np.float32(model.sharpness)
        with np.errstate(all="ignore"):  # what is not finite is found device by device
            catalog = Catalog.of(
                views["V"].astype(np.float32),
                (views["b"] * sharp).astype(np.float32),
                np.zeros((model.n_items, 0), np.float32),
                HistoryWindow(model.history_max, model.history_decay),
            )
            core = np.zeros((catalog.turned.shape[1],) * 2, np.float32)
            square = unpack_core(views["M"].astype(np.float64), model.dim)
            core[: model.dim, : model.dim] = square * model.sharpness
        bounds = Bounds.of(work.lattice, size)
        constants = (bounds.clip, bounds.scale, bounds.squares)
        repeat = float(model.sharpness * model.repeat)
        rule = Rule(model.cuts, newest=True, repeat=repeat, hidden=model.hidden)

        def of_thread(room: Room) -> Train:
            users = np.zeros((len(room.scores), len(core)), np.float32)
            own = np.zeros(size)

            def train(job: Job) -> Trained:
                total = np.zeros(size, np.int64)
                found = _train(
                    catalog, core, rule, job, (model.dim, float(model.sharpness)),
                    constants, room, users, own, total,
                )  # fmt: skip
                return *found, total

            return train

        return train_all(model, parameters, work, catalog, of_thread)


@njit(nogil=True, cache=True)
def _train(
    catalog: Catalog,
    core: Floats,
    rule: Rule,
    job: Job,
    model: tuple[int, float],
    bounds: tuple[float, float, int],
    room: Room,
    users: Floats,
    own: Doubles,
    total: Longs,
) -> tuple[Doubles, npt.NDArray[np.uint8]]:
    """Add what the devices of a job contribute to ``total``; return their norms and status.

    Args:
        catalog: What was broadcast.
        core: The core times the sharpness, padded.
        rule: What a device trains on; its scores are those times the sharpness.
        job: The devices.
        model: Dimension and sharpness.
        bounds: See ``Bounds``.
        room: Memory for a block.
        users: Room for its user vectors times the core.
        own: Room for one contribution.
        total: Receives the sum.
    """
    norms, status = np.zeros(len(job.rows)), np.full(len(job.rows), _EMPTY, np.uint8)
    dim, sharpness = model
    index, padded, width = int(np.int64(0)), len(core), room.vectors.shape[1]
    while index < len(job.rows):
        index, devices = fill(catalog, rule, job, index, room)
        for device in range(devices):
            first = room.places[device, 1]
            for row in range(0, room.places[device, 3], _TALL):
                product(
                    users, (first + row) * padded, padded,
                    room.vectors, (2 * first + row) * width, width, 1,
                    core, 0, padded, padded, padded,
                )  # fmt: skip
        write_scores(catalog.turned, room.places, devices, users, 1, room.scores)
        for device in range(devices):
            fine = write_residuals(catalog, rule, job, device, room)
            place = room.places[device, 0]
            status[place] = _OK if fine else _NOT_FINITE
            norms[place] = 0.0 if fine else np.nan
        write_back(catalog.rows, room.places, devices, room.scores, room.vectors)
        for device in range(devices):
            place = room.places[device, 0]
            if status[place] == _OK:
                norms[place] = _write_gradient(room, device, dim, sharpness, own)
                if np.isfinite(norms[place]):
                    _add(own, norms[place], bounds, total)
                else:
                    norms[place], status[place] = np.nan, _NOT_FINITE
    return norms, status


@inner
def _write_gradient(room: Room, device: int, dim: int, sharpness: float, own: Doubles) -> float:
    """Write a device's gradient by the packed core; return its norm."""
    places = room.places[device]
    first, windows, tall = 2 * places[1], places[2], places[3]
    for index in range(len(own)):
        own[index] = 0.0
    for window in range(windows):
        user, back = room.vectors[first + window], room.vectors[first + tall + window]
        start = 0
        for row in range(dim):
            one, other = np.float64(user[row]), np.float64(back[row])
            packed, users, backs = own[start : start + dim - row], user[row:dim], back[row:dim]
            for column in range(len(packed)):
                packed[column] += one * backs[column] + other * users[column]
            start += dim - row
    scale, squares, start = 0.5 * sharpness / windows, 0.0, 0
    for row in range(dim):
        packed = own[start : start + dim - row]
        for column in range(len(packed)):
            packed[column] *= scale * _ROOT
        packed[0] /= _ROOT
        start += dim - row
    for index in range(len(own)):
        squares += own[index] * own[index]
    norm: float = np.sqrt(squares)
    return norm


@inner
def _add(own: Doubles, norm: float, bounds: tuple[float, float, int], total: Longs) -> None:
    """Clip a gradient and add its opposite to the lattice, unless its integers pass the bound."""
    clip, scale, most = bounds
    factor = 1.0 if norm <= clip else clip / norm
    squares = 0.0  # exact: integers below 2**53
    for index in range(len(own)):
        own[index] = np.trunc(-own[index] * factor * scale)
        squares += own[index] * own[index]
    if squares <= most:
        for index in range(len(own)):
            total[index] += np.int64(own[index])
