"""The tower whose core alone is trained, in Triton: the steps of a tower, then a packed matrix."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from homebody_models.core_matrix import unpack_core
from homebody_models.core_tower import CoreTower
from homebody_simulation.cohort.again import add_alone
from homebody_simulation.cohort.bounds import Bounds
from homebody_simulation.cohort.kernel import Sums, Work
from homebody_simulation.cohort.on_triton import tower_steps as steps
from homebody_simulation.cohort.on_triton.answers import answer
from homebody_simulation.cohort.on_triton.loading import Loaded, Loader
from homebody_simulation.cohort.on_triton.processor import FUSED, power_of_two, processor
from homebody_simulation.cohort.on_triton.programs import core as programs

_SCRATCH_BYTES: Final = 1 << 30
_BLOCK: Final = 256
_TILE: Final = 32
_SIXTEEN: Final = 16
_ENOUGH: Final = 1024  # programs that keep a GPU busy


@dataclass(frozen=True, slots=True, kw_only=True)
class _Broadcast:
    """What was broadcast, scores already times the sharpness. Public.

    Attributes:
        table: float32 of shape ``(items, dim)``.
        bias: float32 of shape ``(items,)``.
        core: float32 of shape ``(dim, dim)``.
        half: float64 of shape ``(1,)``: half the sharpness.
    """

    table: torch.Tensor
    bias: torch.Tensor
    core: torch.Tensor
    half: torch.Tensor


@dataclass(slots=True)
class TritonCore:
    """The kernel of ``CoreTower``; see ``Kernel``.

    Attributes:
        model: The model.
        precision: Of products on a GPU; see ``TritonTower``.
        loader: Brings histories to the processor.
    """

    model: CoreTower
    precision: steps.Precision = "ieee"
    loader: Loader = field(init=False, repr=False)
    _where: torch.device = field(init=False)

    def __post_init__(self) -> None:
        """Find the processor.

        Raises:
            UsageError: If there is none.
        """
        self._where = processor()
        self.loader = Loader(self._where)

    def run(self, parameters: npt.NDArray[np.float32], work: Work) -> Sums:
        """Return the sum of what the devices of ``work`` contribute; see ``Kernel.run``."""
        loaded = self.loader.load(work)
        devices, size = len(loaded), self.model.layout.trained_size
        broadcast = self._broadcast(parameters)
        total = torch.zeros(
            (devices if work.per_device else 1, size), dtype=torch.int64, device=self._where
        )
        norms = torch.zeros(devices, dtype=torch.float64, device=self._where)
        left = torch.zeros(devices, dtype=torch.bool, device=self._where)
        positions, numbers = self._cuts(loaded)
        window = steps.Window.of(self.model.history_max, self.model.history_decay, self._where)
        block = self._block()
        for first in range(0, devices, block):
            own = slice(first, min(first + block, devices))
            cuts = steps.Cuts.of(loaded, positions, numbers, own)
            users, backs = self._vectors(cuts, window, broadcast)
            self._measure(users, backs, cuts, broadcast, norms[own])
            part = total[own] if work.per_device else total
            arrays = (users, backs, cuts.numbers)
            left[own] = self._add(arrays, broadcast, norms[own], work, part)
        sums, places = answer(
            total, norms, numbers == 0, left, loaded.order, per_device=work.per_device
        )
        add_alone(self.model, parameters, work, sums, places)
        return sums

    def _broadcast(self, parameters: npt.NDArray[np.float32]) -> _Broadcast:
        """Bring what was broadcast to the processor."""
        model, sharp = self.model, self.model.sharpness
        views = model.layout.views(np.asarray(parameters, np.float32))
        with np.errstate(all="ignore"):  # what is not finite is found device by device
            core = unpack_core(views["M"].astype(np.float64), model.dim) * sharp
            bias = views["b"] * np.float32(sharp)
            core = core.astype(np.float32)
        return _Broadcast(
            table=self._to(views["V"]),
            bias=self._to(bias),
            core=self._to(core),
            half=torch.tensor([0.5 * sharp], dtype=torch.float64, device=self._where),
        )

    def _cuts(self, loaded: Loaded) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the positions each device predicts, the newest, and how many they are."""
        numbers = torch.clamp(loaded.counts - 1, 0, self.model.cuts)
        lane = torch.arange(power_of_two(self.model.cuts), dtype=torch.int32, device=self._where)
        positions = (loaded.counts - numbers)[:, None] + lane[None, :]
        return torch.where(lane[None, :] < numbers[:, None], positions, 0), numbers

    def _vectors(
        self, cuts: steps.Cuts, window: steps.Window, broadcast: _Broadcast
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the user vector of each row, and what comes back from its softmax."""
        model, rows = self.model, cuts.rows

        def empty(columns: int) -> torch.Tensor:
            return torch.empty((rows, columns), dtype=torch.float32, device=self._where)

        stride = steps.stride_of(model.n_items)
        x = empty(stride).zero_() if model.repeat > 0.0 else None
        users, turned, scores = empty(model.dim), empty(model.dim), empty(stride)
        steps.read(cuts, window, broadcast.table, x, users)
        steps.multiply(users, broadcast.core, turned, self.precision)
        repeat = model.sharpness * model.repeat
        steps.score(
            turned,
            broadcast.table,
            broadcast.bias,
            x,
            scores,
            dim=model.dim,
            repeat=repeat,
            precision=self.precision,
        )
        if model.hidden:
            programs.hide[(rows,)](
                scores,
                cuts.items,
                cuts.starts,
                cuts.positions,
                cuts.numbers,
                stride,
                PADDED=cuts.padded,
                BLOCK=_BLOCK,
                enable_fp_fusion=FUSED,
            )
        steps.to_residuals(cuts, scores, model.n_items)
        steps.multiply(scores, broadcast.table, turned, self.precision)
        return users, turned

    def _measure(
        self,
        users: torch.Tensor,
        backs: torch.Tensor,
        cuts: steps.Cuts,
        broadcast: _Broadcast,
        norms: torch.Tensor,
    ) -> None:
        """Write the norm of each device's gradient."""
        programs.measure[(len(norms),)](
            users,
            backs,
            cuts.numbers,
            norms,
            broadcast.half,
            self.model.dim,
            PADDED=cuts.padded,
            TILE=_TILE,
            enable_fp_fusion=FUSED,
        )
        norms[~torch.isfinite(norms)] = float("nan")

    def _add(
        self,
        arrays: tuple[torch.Tensor, ...],
        broadcast: _Broadcast,
        norms: torch.Tensor,
        work: Work,
        total: torch.Tensor,
    ) -> torch.Tensor:
        """Add what some devices contribute to the sums, and return which add nothing after all."""
        bounds = Bounds.of(work.lattice, self.model.layout.trained_size)
        factors = torch.where(norms > bounds.clip, bounds.clip / norms, 1.0) * -bounds.scale
        factors = torch.where(norms > 0.0, factors, 0.0)  # nothing to add, or no number
        most = 1 if work.per_device else work.lattice.max_devices
        squares = self._put(arrays, broadcast, factors, total, most)
        over = squares > float(bounds.squares)
        if bool(over.any()):  # rounding of the norm let them pass: the same integers, taken away
            self._put(arrays, broadcast, torch.where(over, -factors, 0.0), total, most)
        return over | torch.isnan(norms)

    def _put(
        self,
        arrays: tuple[torch.Tensor, ...],
        broadcast: _Broadcast,
        factors: torch.Tensor,
        total: torch.Tensor,
        most: int,
    ) -> torch.Tensor:
        """Add gradients to ``total``; return the sum of the squares of each device's integers."""
        devices, tiles = len(factors), -(-self.model.dim // _TILE)
        chunks = -(-_ENOUGH // tiles**2)
        chunk = max(1, min(most, -(-devices // chunks)))
        squares = torch.zeros((devices, tiles, tiles), dtype=torch.float64, device=self._where)
        programs.add_core[(tiles, tiles, -(-devices // chunk))](
            *arrays,
            factors,
            broadcast.half,
            total,
            squares,
            devices,
            chunk,
            self.model.dim,
            total.shape[1] if most == 1 else 0,
            PADDED=power_of_two(self.model.cuts),
            TILE=_TILE,
            enable_fp_fusion=FUSED,
        )
        return squares.sum((1, 2))

    def _block(self) -> int:
        """Return how many devices fit the scratch: scores, perhaps weights, and three vectors."""
        planes = 2 if self.model.repeat > 0.0 else 1
        row = 4 * (planes * steps.stride_of(self.model.n_items) + 3 * self.model.dim)
        fit = max(1, _SCRATCH_BYTES // (row * power_of_two(self.model.cuts)))
        return fit if fit < _SIXTEEN else fit - fit % _SIXTEEN

    def _to(self, array: npt.NDArray[np.generic]) -> torch.Tensor:
        return torch.from_numpy(np.array(array)).to(self._where)
