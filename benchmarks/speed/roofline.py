"""TwoTower on a GPU beside what the GPU's arithmetic and memory would allow: its roofline."""

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))

from world import DEVICES, DIM, ITEMS, cohort, device_keys, make_world, round_key

from homebody_models.two_tower import TwoTower
from homebody_privacy.errors import HomebodyError
from homebody_privacy.lattice import Lattice
from homebody_simulation.cohort.kernel import Work

_WARM: Final = 3


class NoDeviceError(Exception):
    """There is no CUDA device here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Roofline:
    """TwoTower beside what this GPU could do.

    Attributes:
        precision: Of the products.
        devices: Devices trained.
        seconds: Median seconds they took, from the work to the sum on the host.
        flop: Floating-point operations counted from the shapes.
        bytes: Bytes that must pass the memory, counted likewise.
        flop_s: Operations a second of a large float32 matrix product here.
        bytes_s: Bytes a second of a large copy here.
    """

    precision: str
    devices: int
    seconds: float
    flop: float
    bytes: float
    flop_s: float
    bytes_s: float

    @property
    def least_s(self) -> float:
        """Seconds the roofline allows."""
        return max(self.flop / self.flop_s, self.bytes / self.bytes_s)

    @property
    def ratio(self) -> float:
        """How many times longer it takes."""
        return self.seconds / self.least_s


def tower_roofline(precision: str, devices: int, rounds: int, items: int = ITEMS) -> Roofline:
    """Train TwoTower and return what it took beside what its arithmetic and memory would.

    Raises:
        NoDeviceError: If there is no CUDA device, and Triton does not interpret.
    """
    processor_here()  # says what is missing, before a program is loaded
    from homebody_simulation.cohort.on_triton.tower import TritonTower  # noqa: PLC0415

    world = make_world(DEVICES)
    model = TwoTower(items, np.zeros((items, 0), np.float32), dim=DIM)
    kernel = TritonTower(model, precision)
    parameters = model.init(np.random.default_rng(0)).reshape(-1)
    rows = np.sort(cohort(world, 0, devices))
    work = Work(
        ptr=world.ptr,
        items=np.minimum(world.items, items - 1),
        rows=rows,
        keys=device_keys(round_key(0), rows),
        lattice=Lattice(1.0),
    )
    flop, moved = _counted(model, work)
    return Roofline(
        precision=precision,
        devices=devices,
        seconds=median_s(lambda: kernel.run(parameters, work), rounds),
        flop=flop,
        bytes=moved,
        flop_s=_product_rate(),
        bytes_s=_copy_rate(),
    )


def _counted(model: TwoTower, work: Work) -> tuple[float, float]:
    """Return the operations and bytes of a pass, from its shapes.

    A cut is scored against every item and multiplied back: 2 x 2 x items x dim operations. A
    device's rows R and X give its Gram matrix, 2 x (2 cuts)^2 x items, and its update, 2 x 2 cuts x
    items x dim. Of memory: X is written once as zeros, scores are written once, softmax reads and
    writes them, and R is read by three programs, X by two.
    """
    events = np.diff(work.ptr)[work.rows]
    cuts = np.clip(events - 1, 0, model.cuts).astype(np.float64)
    scored = 4.0 * cuts.sum() * model.n_items * model.dim
    gram = 8.0 * (cuts**2).sum() * model.n_items
    updated = 4.0 * cuts.sum() * model.n_items * model.dim
    passes = 1 + 1 + 2 + 3 + 2
    return float(scored + gram + updated), float(4.0 * passes * cuts.sum() * model.n_items)


def _product_rate(size: int = 8192) -> float:
    where = processor_here()
    size = size if where.type == "cuda" else 256
    torch.backends.cuda.matmul.allow_tf32 = False
    a, b = (torch.randn(size, size, device=where) for _ in range(2))
    out = torch.empty_like(a)
    return 2.0 * size**3 / median_s(lambda: torch.matmul(a, b, out=out), 5)


def _copy_rate(length: int = 1 << 28) -> float:
    where = processor_here()
    length = length if where.type == "cuda" else 1 << 16
    source, target = (torch.zeros(length, device=where) for _ in range(2))
    return 2.0 * 4.0 * length / median_s(lambda: target.copy_(source), 5)


def median_s(task: Callable[[], Any], rounds: int) -> float:
    """Return the median seconds of a task, which is done when the GPU is."""
    walls = []
    for _ in range(_WARM + rounds):
        begun = time.perf_counter()
        task()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        walls.append(time.perf_counter() - begun)
    return statistics.median(walls[_WARM:])


def processor_here() -> torch.device:
    """Return where Triton runs.

    Raises:
        NoDeviceError: If nowhere.
    """
    from homebody_simulation.cohort.on_triton.processor import processor  # noqa: PLC0415

    try:
        return processor()
    except HomebodyError as error:
        raise NoDeviceError("no CUDA device") from error
