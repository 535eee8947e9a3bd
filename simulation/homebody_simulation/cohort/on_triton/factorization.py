"""Logistic factorisation in Triton: one launch a cohort."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from homebody_models.logistic_factorization import LogisticFactorization
from homebody_simulation.cohort.again import add_alone
from homebody_simulation.cohort.bounds import Bounds
from homebody_simulation.cohort.kernel import Sums, Work
from homebody_simulation.cohort.on_triton.answers import answer
from homebody_simulation.cohort.on_triton.loading import Loaded, Loader
from homebody_simulation.cohort.on_triton.processor import (
    FUSED,
    power_of_two,
    processor,
    program_count,
)
from homebody_simulation.cohort.on_triton.programs import factorization as programs
from homebody_simulation.cohort.on_triton.weights import shares_by_age

_SCRATCH_BYTES: Final = 1 << 30
_LARGEST: Final = (1 << 31) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How the work is cut up for a GPU; it decides the time, and the order of float32 sums.

    Attributes:
        pairs: Pairs a program works on at once, a power of two: more take registers, fewer wait
            longer.
        warps: Warps of a program.
        registers: Most registers of a thread.
        programs: Programs a multiprocessor.
    """

    pairs: int = 32
    warps: int = 4
    registers: int = 128
    programs: int = 4


@dataclass(slots=True)
class _Scratch:
    """What programs work with, kept from round to round; see ``programs.train``."""

    head: torch.Tensor
    bases: torch.Tensor
    coefficients: torch.Tensor
    previous: torch.Tensor
    met: torch.Tensor
    path: torch.Tensor
    used: int = 1

    @classmethod
    def of(cls, where: torch.device, count: int, items: int, room: int, path: int) -> "_Scratch":
        """Return scratch of ``count`` programs."""

        def empty(length: int, kind: torch.dtype) -> torch.Tensor:
            return torch.empty((count, length), dtype=kind, device=where)

        return cls(
            head=torch.zeros((count, items), dtype=torch.int32, device=where),
            bases=torch.ones(count, dtype=torch.int32, device=where),
            coefficients=empty(room, torch.float32),
            previous=empty(room, torch.int32),
            met=empty(room, torch.int32),
            path=empty(path, torch.float32),
        )

    def take(self, entries: int) -> None:
        """Make sure that no program's entries overflow when each makes at most ``entries``."""
        if self.used + entries > _LARGEST:
            self.head.zero_()
            self.bases.fill_(1)
            self.used = 1
        self.used += entries


@dataclass(slots=True)
class TritonFactorization:
    """The kernel of ``LogisticFactorization``; see ``Kernel``.

    Attributes:
        model: The model.
        shape: How the work is cut up.
        loader: Brings histories to the processor.
    """

    model: LogisticFactorization
    shape: Shape = field(default_factory=Shape)
    loader: Loader = field(init=False, repr=False)
    _where: torch.device = field(init=False)
    _scratch: _Scratch | None = field(init=False, default=None, repr=False)

    def __post_init__(self) -> None:
        """Find the processor.

        Raises:
            UsageError: If there is none.
        """
        self._where = processor()
        self.loader = Loader(self._where)

    def run(self, parameters: npt.NDArray[np.float32], work: Work) -> Sums:
        """Return the sum of what the devices of ``work`` contribute; see ``Kernel.run``."""
        views = self.model.layout.views(parameters)
        loaded = self.loader.load(work)
        table, bias = self._to(views["Q"]), self._to(views["b"])
        users = self._users(loaded, table)
        sums, left = self.train(loaded, table, bias, users, work)
        add_alone(self.model, parameters, work, sums, left)
        return sums

    def train(
        self,
        loaded: Loaded,
        table: torch.Tensor,
        bias: torch.Tensor | None,
        users: torch.Tensor,
        work: Work,
    ) -> tuple[Sums, npt.NDArray[np.int64]]:
        """Return the sum of what some devices change in a pass, and the places of those left out.

        Left out is who is not finite in float32, or would pass the bound by a rounding of the norm.

        Args:
            loaded: Their histories.
            table: float32 of shape ``(items, dim)``. Public.
            bias: float32 of shape ``(items,)``; None for no bias, and none in the sum. Public.
            users: float32 of shape ``(n, dim)``, their vectors in the order of ``loaded``; each
                is changed to what it is after the pass. Secret.
            work: Their bound, and whether each contribution is wanted.
        """
        items, dim = table.shape
        size = items * dim + (0 if bias is None else items)
        devices = len(loaded)
        bounds = Bounds.of(work.lattice, size)
        count = devices if work.per_device else -(-devices // work.lattice.max_devices)
        tables = torch.zeros((max(count, 1), size), dtype=torch.int32, device=self._where)
        norms = torch.zeros(devices, dtype=torch.float64, device=self._where)
        left = torch.zeros(devices, dtype=torch.uint8, device=self._where)
        limits = torch.tensor(
            [bounds.clip, bounds.scale, float(bounds.squares)],
            dtype=torch.float64,
            device=self._where,
        )
        scratch = self._scratch_for(loaded, items)
        slots = len(scratch.bases)
        pairs = loaded.longest * (self.model.negatives + 1)
        piece = slots * max((_LARGEST - 1) // max(pairs, 1), 1)  # of devices, before a reset
        for first in range(0, devices, piece):
            now = slice(first, min(first + piece, devices))
            length = now.stop - first
            scratch.take(-(-length // slots) * pairs)
            programs.train[(min(slots, length),)](
                loaded.items,
                loaded.starts[now],
                loaded.counts[now],
                loaded.keys[now],
                users[now],
                table,
                table if bias is None else bias,
                limits,
                tables,
                norms[now],
                left[now],
                scratch.head,
                scratch.bases,
                scratch.coefficients,
                scratch.previous,
                scratch.met,
                scratch.path,
                length,
                first,
                len(tables),
                items,
                dim,
                size,
                self.model.rows_rate,
                self.model.user_rate,
                scratch.coefficients.shape[1],
                scratch.path.shape[1] // power_of_two(dim),
                BATCH=self.model.batch,
                NEGATIVES=self.model.negatives,
                DIM=power_of_two(dim),
                GROUP=self.shape.pairs,
                EXACT=power_of_two(dim) == dim,
                WIDE=size > _LARGEST,
                BIAS=bias is not None,
                num_warps=self.shape.warps,
                num_stages=1,  # nothing is fetched ahead of a barrier
                maxnreg=self.shape.registers,
                enable_fp_fusion=FUSED,
            )
        return answer(
            tables, norms, loaded.counts == 0, left > 0, loaded.order, per_device=work.per_device
        )

    def _users(self, loaded: Loaded, table: torch.Tensor) -> torch.Tensor:
        """Return the user vectors that devices start from."""
        window = self.model.window()
        padded = power_of_two(window.history_max)
        users = torch.zeros((len(loaded), self.model.dim), dtype=torch.float32, device=self._where)
        if len(loaded):
            programs.start_users[(len(loaded),)](
                loaded.items,
                loaded.starts,
                loaded.counts,
                self._to(shares_by_age(window.history_max, window.history_decay, padded)),
                table,
                users,
                self.model.dim,
                window.history_max,
                WINDOW=padded,
                DIM=power_of_two(self.model.dim),
                enable_fp_fusion=FUSED,
            )
        return users

    def _scratch_for(self, loaded: Loaded, items: int) -> _Scratch:
        """Return scratch for the longest history, made anew where it is too small."""
        batch, each = self.model.batch, self.model.negatives + 1
        steps = power_of_two(-(-max(loaded.longest, 1) // batch))
        room, path = steps * batch * each, steps * power_of_two(self.model.dim)
        old = self._scratch
        if old is not None and old.coefficients.shape[1] >= room and old.head.shape[1] == items:
            return old
        self._scratch = None  # give its memory back first
        one = 4 * (items + 3 * room + path)
        count = max(1, min(program_count(self._where, self.shape.programs), _SCRATCH_BYTES // one))
        self._scratch = _Scratch.of(self._where, count, items, room, path)
        return self._scratch

    def _to(self, array: npt.NDArray[np.generic]) -> torch.Tensor:
        return torch.from_numpy(np.array(array)).to(self._where)
