"""Start a worker, watch its memory, and read its answer."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from environments import python_of
from job import JOB, Job
from systems import System
from tree import Watch, descendants

_TIMEOUT_S: Final = 600.0
_HERE: Final = Path(__file__).parent
_QUIET: Final = {  # one thread, no word to anyone, the modules beside this one
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "PYTHONWARNINGS": "ignore",
    "PYTHONPATH": os.pathsep.join((str(_HERE), str(_HERE / "peers"))),
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ADDRESS": "local",  # else Ray joins whatever cluster was started here last
}


class WorkerFailedError(Exception):
    """A worker gave no answer; the text has the last line it printed."""


class NotHereError(Exception):
    """A worker said why its system cannot run on this machine."""


def run(
    system: System, data: Path, *, check: bool, cohort: int, rounds: int | None = None
) -> tuple[dict[str, Any], npt.NDArray[np.float64] | None]:
    """Run a system once, in a process of its own.

    Returns:
        What the worker measured, with ``peak_bytes`` of its process tree added; of a check, also
        the sum of the devices' clipped updates.

    Raises:
        PeerMissingError: If it cannot be installed.
        NotHereError: If it needs what this machine has not.
        WorkerFailedError: If it ends without an answer.
    """
    python = python_of(system.peer)
    with tempfile.TemporaryDirectory(prefix="homebody-speed-") as name:
        folder = Path(name)
        job = Job(
            system=system.name,
            folder=name,
            data=str(data),
            check=check,
            cohort=cohort,
            warm=0 if check else system.warm,
            rounds=1 if check else rounds or system.rounds,
            workers=system.cores,
        )
        command = [str(python), *_launcher(system), str(_HERE / system.worker)]
        found = _answer(command, folder, job.write(), _TIMEOUT_S)
        return found, np.load(folder / "sum.npy") if check else None


def ask(program: str, section: str, *, quick: bool, timeout_s: float) -> dict[str, Any]:
    """Run a section's worker; return what it found, with ``peak_bytes`` of its tree added.

    Raises:
        NotHereError: If it needs what this machine has not.
        WorkerFailedError: If it ends without an answer.
    """
    with tempfile.TemporaryDirectory(prefix="homebody-speed-") as name:
        file = Path(name) / "job.json"
        asked = {"section": section, "quick": quick, "folder": name}
        file.write_text(json.dumps(asked), "utf-8")
        return _answer([sys.executable, str(_HERE / program)], Path(name), file, timeout_s)


def _answer(command: list[str], folder: Path, job: Path, timeout_s: float) -> dict[str, Any]:
    peak = _wait(command, folder, job, timeout_s)
    found: dict[str, Any] = json.loads((folder / "answer.json").read_text("utf-8"))
    if "not_here" in found:
        raise NotHereError(found["not_here"])
    found["peak_bytes"] = max(peak, found.pop("own_peak"))
    return found


def _launcher(system: System) -> list[str]:
    if system.peer == "pfl" and system.cores > 1:
        alone = ["--standalone", "--nproc-per-node", str(system.cores)]
        return ["-m", "torch.distributed.run", *alone]
    return []


def _wait(command: list[str], folder: Path, job: Path, timeout_s: float) -> int:
    """Run a worker to its end; return the most memory its tree held."""
    environ = {**os.environ, **_QUIET, JOB: str(job)}
    log = folder / "worker.log"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - our own arguments
            command, env=environ, stdout=output, stderr=output
        )
        watch = Watch(process.pid)
        watch.start()
        try:
            code = process.wait(timeout_s)
        except BaseException as error:
            _end(process)
            if isinstance(error, subprocess.TimeoutExpired):
                raise WorkerFailedError(f"no answer after {timeout_s:.0f} s") from error
            raise
        finally:
            peak = watch.stop()
    if code != 0 or not (folder / "answer.json").exists():
        text = log.read_text("utf-8", "replace")
        print(text[-4000:], file=sys.stderr)
        lines = [line for line in text.splitlines() if line.strip()] or [f"exit code {code}"]
        raise WorkerFailedError(lines[-1][:200])
    return peak


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a worker and all that it started."""
    for number in reversed(descendants(process.pid)):
        try:
            os.kill(number, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.kill()
    process.wait()
