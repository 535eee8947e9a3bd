"""Compile what the kernels launch for a GPU that is not there, in a process of its own.

``python triton_compiler.py FILE CAPABILITY``: runs the kernels of all cases with every launch
replaced by its compilation, and writes what each program takes of a multiprocessor as JSON. The
arrays stay as they were, so the results mean nothing.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn, cast

import numpy as np
import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.backends.driver import DriverBase
from triton.runtime.jit import JITFunction
from triton_world import (  # type: ignore[import-not-found]  # beside it
    ITEMS,
    model_of,
    parameters_of,
    work_of,
)

from homebody_models.statistics.space import Space
from homebody_simulation.cohort.on_triton import (
    core,
    counts,
    factorization,
    processor,
    ridge,
    tower,
)
from homebody_simulation.cohort.on_triton.kernels import counter_beside, kernel_of

CASES: Final = (
    *("factorization", "content", "tower", "ridge", "core", "repeats", "popularity"),
    *("wide-factorization", "wide-tower", "wide-ridge", "wide-core"),
)
COHORTS: Final = ([0, 1, 2, 3, 4, 5], [3, 4], [3])


class Absent(DriverBase):  # type: ignore[misc]  # triton ships no types
    """A GPU of a compute capability, to compile for."""

    def __init__(self, capability: int) -> None:
        """Remember what to compile for."""
        super().__init__()
        self.capability = capability

    def get_current_target(self) -> GPUTarget:
        """Return what to compile for."""
        return GPUTarget("cuda", self.capability, 32)

    def get_current_device(self) -> int:
        """Return a number under which compiled programs are kept."""
        return 0

    def get_current_stream(self, device: int) -> int:
        """Return a stream nothing is launched on."""
        return device

    @classmethod
    def is_active(cls) -> bool:
        """Say no: it must be set."""
        return False

    def map_python_to_cpp_type(self, ty: str) -> str:
        """Return nothing: there is no launcher."""
        raise NotImplementedError(ty)

    def get_active_torch_device(self) -> torch.device:
        """Return where the arrays lie."""
        return torch.device("cpu")

    def get_benchmarker(self) -> NoReturn:
        """Return nothing: nothing runs."""
        raise NotImplementedError


def resources(cubin: bytes) -> dict[str, int]:
    """Return registers of a thread, its bytes of local memory, and shared bytes of a program."""
    tool = Path(cast("str", triton.__file__)).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [str(tool), "-res-usage", file.name]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = dict(re.findall(r"(REG|STACK|LOCAL|SHARED):(\d+)", done.stdout + done.stderr))
    return {name.lower(): int(number) for name, number in found.items()}


def rounds_otherwise(ptx: str) -> int:
    """Count the operations in float64 that are not rounded as IEEE 754 says, one by one."""
    found = re.findall(r"\b(?:fma|div|sqrt|rcp|rsqrt|add|sub|mul)\S*\.f64", ptx)
    plain = {"add.f64", "sub.f64", "mul.f64"}  # to the nearest
    exact = {f"{name}.rn.f64" for name in ("add", "sub", "mul", "div", "sqrt")}
    return sum(1 for operation in found if operation not in plain | exact)


def main(path: str, capability: str) -> None:
    """Compile every launch of every case."""
    triton.runtime.driver.set_active(Absent(int(capability)))
    found: dict[str, dict[str, int]] = {}
    seen: dict[str, set[str]] = {}

    def compiled(program: JITFunction, grid: tuple[int, ...]) -> Callable[..., None]:
        def launch(*arguments: object, **constants: object) -> None:
            kernel = program.warmup(*arguments, grid=grid, **constants)
            kernel = kernel.result() if hasattr(kernel, "result") else kernel
            name = f"{case}: {program.__name__}"
            seen.setdefault(name, set()).add(kernel.hash)
            found[name] = {
                **resources(kernel.asm["cubin"]),
                "shared": kernel.metadata.shared,
                "variants": len(seen[name]),
                "otherwise": rounds_otherwise(kernel.asm["ptx"]),
            }

        return launch

    JITFunction.__getitem__ = compiled
    for module in (core, counts, factorization, processor, ridge, tower):
        vars(module)["processor"] = lambda: torch.device("cpu")
    for case in CASES:
        kernel = kernel_of(model_of(case))
        assert kernel is not None
        for cohort in COHORTS:
            kernel.run(parameters_of(case), work_of(cohort))
    case, kernel = "statistics", kernel_of(model_of("popularity"))
    assert kernel is not None
    counter = counter_beside(kernel)
    for cohort in COHORTS:
        counter.popularity(work_of(cohort), ITEMS)
        counter.pairs(work_of(cohort), Space.of(np.arange(ITEMS, dtype=np.float32), 9), 0.8)
    Path(path).write_text(json.dumps(found), "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
