"""Which engine a run trains with.

Where nothing else is asked for, a short run trains one device after another: compiling a kernel
takes longer than it saves. Longer ones take Triton where there is a CUDA device, else numba, as far
as the model has a kernel there. PyTorch trains more models than either; on a processor it is slower
than one device after another for most, so that it is taken unasked on a CUDA device alone.
"""

import os
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final

from homebody_client.host import Host
from homebody_models.recommender import Recommender
from homebody_privacy.errors import MissingExtraError, UsageError
from homebody_server.run_spec import RunSpec
from homebody_simulation.cohort.engine import Engine
from homebody_simulation.cohort.kernel import Counter, Kernel
from homebody_simulation.cohort.kernel_engine import KernelEngine
from homebody_simulation.cohort.reference import ReferenceEngine
from homebody_simulation.request import EngineName

FEW_ANSWERS: Final = 20_000
"""Answers of devices in a run, below which ``auto`` compiles nothing."""


_EXTRAS: Final = {"numba": "simulation", "torch": "simulation", "triton": "gpu"}


def answers(spec: RunSpec) -> int:
    """Return how many times a device is expected to answer in a run: rounds, and all else."""
    everybody = len(spec.statistics) + sum(len(spec.figure_rounds(one)) for one in spec.metrics)
    return spec.rounds * spec.cohort_size + everybody * spec.devices


def engine_of(host: Host, name: EngineName, *, answers: int, threads: int | None) -> Engine:
    """Return the engine that trains the devices of a host.

    Args:
        host: What the devices hold, and the config in force.
        name: Which engine; ``auto`` chooses.
        answers: Answers of devices in the whole run: in rounds, statistics and figures.
        threads: Threads to use; None for one a processor.

    Raises:
        UsageError: If the engine asked for cannot train this model.
        MissingExtraError: If what the engine is made of is not installed.
    """
    way = _way(host, name, answers)
    if way is None:
        return ReferenceEngine(host)
    return KernelEngine(
        kernel=way.kernel,
        counter=way.counter,
        histories=host.histories,
        lattice=host.lattice,
        example_key=host.example_key,
        threads=threads or os.cpu_count() or 1,
    )


@dataclass(frozen=True, slots=True)
class _Way:
    """What trains the devices of a run, and what counts their statistics."""

    kernel: Kernel
    counter: Counter | None = None


def _way(host: Host, name: EngineName, answers: int) -> _Way | None:
    record = host.config.dp.record
    alone = record is not None and record.enabled
    if name == "reference":
        return None
    if name == "auto":
        if alone or answers < FEW_ANSWERS:
            return None
        ways = ("triton", "numba", "torch") if _has_gpu() else ("numba",)
        ready = (_find(way, host.model) for way in ways if _installed(way))
        return next((way for way in ready if way is not None), None)
    if alone:
        raise UsageError(
            f"--engine {name} has no record level: its noise is drawn device by device",
            fix="leave --engine out, or ask for reference",
        )
    if not _installed(name):
        raise MissingExtraError(
            f"--engine {name} needs {name}",
            fix=f'pip install "homebody[{_EXTRAS[name]}]", or leave --engine out',
        )
    found = _find(name, host.model)
    if found is None:
        raise UsageError(
            f"--engine {name} has no kernel for the model {host.model.name}",
            fix="leave --engine out: the run takes one that has",
        )
    return found


def _find(name: str, model: Recommender) -> _Way | None:
    # Each of these loads a compiler: only where it is used.
    kernel: Kernel | None
    match name:
        case "numba":
            from homebody_simulation.cohort.on_numba import kernels as on_numba  # noqa: PLC0415

            kernel = on_numba.kernel_of(model)
        case "triton":
            from homebody_simulation.cohort.on_triton import kernels as on_triton  # noqa: PLC0415

            triton = on_triton.kernel_of(model)
            return None if triton is None else _Way(triton, on_triton.counter_beside(triton))
        case _:
            from homebody_simulation.cohort.on_torch import kernels as on_torch  # noqa: PLC0415

            kernel = on_torch.kernel_of(model)
    return None if kernel is None else _Way(kernel)


def _installed(name: str) -> bool:
    return find_spec(name) is not None


def _has_gpu() -> bool:
    import torch  # noqa: PLC0415 - part of every simulation, but not of every import

    return torch.cuda.is_available()
